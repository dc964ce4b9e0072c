"""The page of a report: one HTML file with the tables, figures and drawings of every part."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sketchembed.reporting.part import Figure, Part, cell_text
from sketchembed.reporting.svg_elements import svg_uri
from sketchembed.reporting.templates import finite_json, render, write_page

TEMPLATE = "report_page.html"


@dataclass
class Entry:
    """A part of a report, which may not have been computed yet.

    ``part`` is None unless the state is ``done``. ``message`` is the reason of a failure, or the time of the
    last change of the state.
    """

    name: str
    title: str
    state: Literal["waiting", "begun", "done", "failed", "stopped"] = "waiting"
    part: Part | None = None
    message: str = ""

    @property
    def anchor(self) -> str:
        """The HTML id of the section."""
        return "part-" + re.sub(r"[^a-z0-9-]", "-", self.name.lower())

    @property
    def status(self) -> str:
        """The state as a sentence, for a part without results."""
        words = {"waiting": "Not computed yet.", "begun": "In progress", "stopped": "Stopped"}
        return f"{words.get(self.state, '')} {self.message}".strip()

    @property
    def summary(self) -> str:
        """The state or the number of results, for the table of contents."""
        if self.part is None or self.state != "done":
            return {"waiting": "not computed yet", "begun": "in progress"}.get(self.state, self.state)
        counts = {
            "table": len(self.part.tables),
            "figure": len(self.part.figures),
            "drawing": sum(len(drawings.items) for drawings in self.part.drawings),
        }
        return ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items() if n)


@dataclass
class ReportPage:
    """Content of the page.

    Attributes:
        state: progress of the report, in one line.
        facts: properties of the models and the report; None and empty texts are not shown.
        details: long texts by heading, such as the configuration.
        warning: text of a banner above the page.
        common: facts of all parts that are already among `facts`.
    """

    title: str
    state: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)
    warning: str = ""
    common: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        """Write the page to an HTML file, and return its path."""
        return write_page(path, TEMPLATE, **self._values())

    def html(self) -> str:
        """Return the page as HTML."""
        return render(TEMPLATE, **self._values())

    @property
    def parts(self) -> list[Part]:
        """The parts that have been computed."""
        return [entry.part for entry in self.entries if entry.state == "done" and entry.part]

    @property
    def has_paper_rows(self) -> bool:
        """Whether a table contains numbers of the paper."""
        return any(table.paper for part in self.parts for table in part.tables)

    def facts_of(self, part: Part) -> dict[str, Any]:
        """Return the facts of a part that the page does not show elsewhere."""
        facts = {key: value for key, value in part.facts.items() if self.common.get(key) != value}
        return facts | {"computed in": f"{part.seconds:g} s"}

    def _values(self) -> dict[str, Any]:
        drawings = [one.items for part in self.parts for one in part.drawings]
        return {
            "title": self.title,
            "live": any(entry.state == "begun" for entry in self.entries),
            "page": self,
            "data": json.dumps(finite_json(drawings), separators=(",", ":")),
            "fact_texts": fact_texts,
            "picture_of": _picture,
        }


def _picture(figure: Figure) -> dict[str, str]:
    """Return the address of a figure's image, or an error message."""
    try:
        return {"uri": svg_uri(figure.svg)}
    except ValueError as error:
        return {"error": str(error)}


def fact_texts(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of all facts that have a value."""
    for key, value in facts.items():
        if value is not None and value != "":
            yield str(key), _fact_text(value)


def _fact_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        # Years and most seeds have less than five digits and no separators.
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_fact_text(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_fact_text, value))
    return cell_text(value) if isinstance(value, float) else str(value)
