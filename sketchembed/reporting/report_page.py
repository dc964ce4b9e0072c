"""A checkpoint's report as one file that needs no network: every part's tables, figures and drawings."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from sketchembed.reporting.part import Cell, Drawings, Figure, Part, Table, shown
from sketchembed.reporting.svg_elements import svg_uri

SCRIPTS = ("page.js", "page_drawings.js", "report_page.js")
STYLES = ("page.css", "report_page.css")
NUMBER = re.compile(r"[-−+±<>≤≥~≈]?\s*\.?\d.*|nan|-?inf|[-–—]")
"""What stands to the right of its column."""

LONG = 90
"""Letters of a fact that takes a line of its own."""


@dataclass
class Entry:
    """A part's place on the page.

    Attributes:
        name: of the part.
        title: heading.
        state: whether it is there.
        part: once it is there.
        message: why it is not there, or since when it has been worked on.
    """

    name: str
    title: str
    state: Literal["waiting", "begun", "done", "failed", "stopped"] = "waiting"
    part: Part | None = None
    message: str = ""


@dataclass
class ReportPage:
    """What a report's page shows.

    Attributes:
        title: heading.
        state: how far it is, in a line.
        facts: of the models and of the report.
        entries: the parts, in order.
        details: long texts by their heading, such as the configuration.
        warning: what must not be overlooked.
        common: facts that every part repeats, and that the page's own say.
    """

    title: str
    state: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)
    warning: str = ""
    common: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        """Write the page beside its place and rename it, so that it is whole whenever it is looked at."""
        path.parent.mkdir(parents=True, exist_ok=True)
        work = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            # Half a surrogate pair, which a stranger's JSON may hold, is no letter.
            work.write_text(self.html(), encoding="utf-8", errors="replace")
            os.replace(work, path)
        finally:
            work.unlink(missing_ok=True)
        return path

    def html(self) -> str:
        """Return the page."""
        package = resources.files("sketchembed.reporting.web")
        sets: list[Any] = []
        body = [self._head(), *(_section(entry, self.common, sets) for entry in self.entries)]
        for title, content in self.details.items():
            body.append(
                f"<details><summary>{escape(title)}</summary>"
                f'<pre tabindex="0">{escape(content)}</pre></details>'
            )
        values = {
            "TITLE": escape(self.title),
            "STYLE": "\n".join(package.joinpath(name).read_text("utf-8") for name in STYLES),
            "BODY": "\n".join(body),
            # In a script element only "<" can begin what ends it.
            "DRAWINGS": json.dumps(_plain(sets), separators=(",", ":")).replace("<", "\\u003c"),
            "SCRIPT": "\n".join(package.joinpath(name).read_text("utf-8") for name in SCRIPTS),
        }
        template = package.joinpath("report_page.html").read_text("utf-8")
        # All marks at once: nothing that is put in is taken for one.
        return re.sub(r"__([A-Z]+)__", lambda found: values[found[1]], template)

    def _head(self) -> str:
        parts = [f'<div class="banner" role="alert">{escape(self.warning)}</div>'] if self.warning else []
        parts.append(f"<header><h1>{escape(self.title)}</h1>")
        parts.append(f'<p class="soft">{escape(self.state)}</p>' if self.state else "")
        parts.append(_facts(self.facts) + "</header>")
        items = "".join(
            f'<li><a href="#{_anchor(entry.name)}">{escape(entry.title)}</a> '
            f"<small>{escape(_size(entry))}</small></li>"
            for entry in self.entries
        )
        parts.append(f'<nav aria-label="Contents"><h3>Contents</h3><ol>{items}</ol></nav>')
        if any(table.paper for entry in self.entries if entry.part for table in entry.part.tables):
            parts.append(
                '<p class="legend soft">In tables, rows like <i>this one <small>paper</small></i> are the '
                "paper's own numbers; all others were measured here.</p>"
            )
        return "\n".join(parts)


# ---- parts ---------------------------------------------------------------------------------------------


def _section(entry: Entry, known: Mapping[str, Any], sets: list[Any]) -> str:
    """Return a part as a section; its drawings go to `sets`, for the script."""
    anchor = _anchor(entry.name)
    parts = [f'<section id="{anchor}"><h2>{escape(entry.title)}</h2>']
    if entry.state != "done" or entry.part is None:
        kind = ' class="failed" role="alert"' if entry.state == "failed" else ' class="soft"'
        parts.append(f"<p{kind}>{escape(_status(entry))}</p></section>")
        return "\n".join(parts)
    part = entry.part
    parts += [f"<p>{_words(text)}</p>" for text in re.split(r"\n\s*\n", part.about) if text.strip()]
    parts += [_table(table) for table in part.tables]
    parts += [_figure(figure) for figure in part.figures]
    for drawings in part.drawings:
        parts.append(_drawings(drawings, len(sets)))
        sets.append(drawings.items)
    facts = {key: value for key, value in part.facts.items() if known.get(key) != value}
    facts["computed in"] = f"{part.seconds:g} s"
    parts.append(f'<details class="small"><summary>Facts</summary>{_facts(facts)}</details></section>')
    return "\n".join(parts)


def _table(table: Table) -> str:
    cells = [[shown(cell) for cell in row] for row in [*table.rows, *table.paper]]
    numeric = [
        at > 0 and all(NUMBER.fullmatch(row[at]) for row in cells if at < len(row) and row[at])
        for at in range(len(table.columns))
    ]

    def row(given: Sequence[Cell], papers: bool) -> str:
        shown_cells = [escape(shown(cell)) for cell in given]
        mark = " <small>paper</small>" if papers else ""
        name = f'<th scope="row">{shown_cells[0]}{mark}</th>' if shown_cells else ""
        rest = "".join(
            f"<td{_number(numeric, at)}>{cell}</td>" for at, cell in enumerate(shown_cells[1:], start=1)
        )
        return f"<tr{' class=papers' if papers else ''}>{name}{rest}</tr>"

    heads = "".join(
        f'<th scope="col"{_number(numeric, at)}>{escape(name)}</th>' for at, name in enumerate(table.columns)
    )
    rows = "".join([*(row(one, False) for one in table.rows), *(row(one, True) for one in table.paper)])
    note = f'<p class="note">{_words(table.note)}</p>' if table.note else ""
    return (
        f'<h3>{escape(table.title)}</h3><div class="scroll" tabindex="0"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{note}"
    )


def _number(numeric: Sequence[bool], at: int) -> str:
    return " class=number" if at < len(numeric) and numeric[at] else ""


def _figure(figure: Figure) -> str:
    try:
        image = f'<img src="{svg_uri(figure.svg)}" alt="{escape(figure.title)}">'
        drawn = f'<div class="sheet" tabindex="0">{image}</div>'
    except ValueError as error:
        drawn = f'<p class="failed">{escape(figure.name)} cannot be shown: {escape(str(error))}</p>'
    caption = f"<b>{escape(figure.title)}</b> {_words(figure.caption)}"
    return f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>"


def _drawings(drawings: Drawings, number: int) -> str:
    return f'<h3>{escape(drawings.title)}</h3><div data-drawings="{number}"></div>'


# ---- words ---------------------------------------------------------------------------------------------


def _facts(facts: Mapping[str, Any]) -> str:
    entries = []
    for key, value in facts.items():
        if value is not None and value != "":
            words = _value(value)
            kind = " class=long" if len(words) > LONG else ""
            entries.append(f"<div{kind}><dt>{escape(str(key))}</dt><dd>{escape(words)}</dd></div>")
    return f"<dl>{''.join(entries)}</dl>"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        # A year or a seed has no separators.
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_value(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_value(one) for one in value)
    return shown(value) if isinstance(value, float) else str(value)


def _words(text: str) -> str:
    """Return a text escaped, with what is in backticks as code and what is between asterisks emphasised."""
    parts = re.split(r"(`[^`]+`)", escape(text.strip()))
    emphasised = (re.sub(r"\*(\w[^*]*)\*", r"<em>\1</em>", part) for part in parts[::2])
    code = [f"<code>{part[1:-1]}</code>" for part in parts[1::2]]
    return "".join(words for pair in zip(emphasised, [*code, ""], strict=True) for words in pair)


def _status(entry: Entry) -> str:
    words = {"waiting": "Still to come.", "begun": "Being computed", "stopped": "Stopped"}
    return " ".join(text for text in (words.get(entry.state, ""), entry.message) if text)


def _size(entry: Entry) -> str:
    if entry.part is None or entry.state != "done":
        return {"waiting": "still to come", "begun": "being computed"}.get(entry.state, entry.state)
    part = entry.part
    counts = [
        (len(part.tables), "table", "tables"),
        (len(part.figures), "figure", "figures"),
        (sum(len(drawings.items) for drawings in part.drawings), "drawing to replay", "drawings to replay"),
    ]
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in counts if count)


def _anchor(name: str) -> str:
    """Return a name of an element."""
    return "part-" + re.sub(r"[^a-z0-9-]", "-", name.lower())


def _plain(value: Any) -> Any:
    """Return JSON's values, with None for numbers that a browser cannot read."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
