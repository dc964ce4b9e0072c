"""One part of a report: its tables beside the paper's numbers, its figures, its drawings that replay."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sketchembed.errors import DataError
from sketchembed.files.reading import read_file
from sketchembed.files.serialization import dataclass_from_dict, parse_json

Cell = str | float | int | None


@dataclass
class Table:
    """A table beside the paper's.

    Attributes:
        title: with the number of the paper's table or figure.
        columns: heads; the first names the rows.
        rows: cells of what was measured; numbers are shown to four significant digits, texts as they are.
        paper: the paper's rows, shown below and marked as the paper's.
        note: what a reader must know to compare them.
    """

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    paper: list[list[Cell]] = field(default_factory=list)
    note: str = ""

    def markdown(self) -> str:
        """Return the table in Markdown, the paper's rows in italics."""
        lines = [f"**{self.title}**", "", _row(self.columns), "|" + "---|" * len(self.columns)]
        lines += [_row([shown(cell) for cell in row]) for row in self.rows]
        lines += [_row([f"*{shown(cell)}*" if shown(cell) else "" for cell in row]) for row in self.paper]
        return "\n".join([*lines, "", self.note] if self.note else lines)


@dataclass
class Figure:
    """A picture.

    Attributes:
        name: of its file, without a suffix; after the paper's, such as ``figure-5b-angle``.
        title: in one line.
        svg: the document.
        caption: what is seen, and how it was made.
    """

    name: str
    title: str
    svg: str
    caption: str = ""


@dataclass
class Drawings:
    """Drawings that a page can replay, stroke by stroke.

    Attributes:
        title: in one line.
        items: as in a run's samples: ``class``, ``seen``, ``input`` and ``samples``, strokes being flat lists
            ``[x0, y0, x1, y1, ...]`` in a 0..255 box, y down. A sample may have a ``label`` in place of its
            ``temperature``, and ``colours`` of its strokes; without ``seen`` there are no headings.
    """

    title: str
    items: list[dict[str, Any]]


@dataclass
class Part:
    """What one evaluation found.

    Attributes:
        name: of the command that makes it, and of its files.
        title: heading.
        about: what was asked and how, in a few sentences.
        tables: see :class:`Table`.
        figures: see :class:`Figure`.
        drawings: see :class:`Drawings`.
        values: each number by a name with slashes, for W&B and for programs.
        facts: checkpoints, counts, seeds and digests.
        seconds: that it took.
    """

    name: str
    title: str
    about: str = ""
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    drawings: list[Drawings] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def markdown(self) -> str:
        """Return heading, text and tables, and the facts."""
        parts = [f"### {self.title}", self.about, *(table.markdown() for table in self.tables)]
        facts = "; ".join(f"{key}: {value}" for key, value in self.facts.items())
        return "\n\n".join(part for part in [*parts, facts] if part) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Write ``NAME.json``, ``NAME.md`` and each figure as an SVG file; the JSON last, and whole.

        Args:
            folder: where to.

        Returns:
            the files.
        """
        folder.mkdir(parents=True, exist_ok=True)
        texts = {f"{figure.name}.svg": figure.svg for figure in self.figures}
        texts |= {f"{self.name}.md": self.markdown(), f"{self.name}.json": self.to_json()}
        for name, text in texts.items():
            work = folder / f".{name}.{os.getpid()}"
            work.write_text(text, encoding="utf-8", errors="replace")
            os.replace(work, folder / name)
        return [folder / name for name in texts]

    def to_json(self) -> str:
        """Return the part as JSON text, from which :meth:`read` restores it."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, file: Path) -> Part:
        """Return a part that was written.

        Raises:
            ValueError: if there is none, or the file is no part's.
        """
        try:
            content = read_file(file, str(file), expected="a part of a report", fix="Compute it anew")
            return dataclass_from_dict(cls, parse_json(content.decode("utf-8", "replace")))
        except (DataError, ValueError) as error:
            raise ValueError(f"{file} is no part of a report ({error})") from error


def shown(cell: Cell) -> str:
    """Return a cell as it is shown."""
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
