"""A part of a report: tables with the paper's numbers, figures, and drawings that can be replayed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from sketchembed.errors import DataError
from sketchembed.files.reading import read_file
from sketchembed.files.serialization import dataclass_from_dict, parse_json
from sketchembed.files.writing import whole_file

Cell = str | float | int | None
# Texts that are aligned to the right.
NUMBER = re.compile(r"[-−+±<>≤≥~≈]?\s*\.?\d.*|nan|-?inf|[-–—]")


class TableHead(NamedTuple):
    """The head of a table's column in HTML: its name, its CSS class, and text in small print."""

    text: str
    kind: str = ""
    note: str = ""


@dataclass
class Table:
    """A table of measured numbers and the paper's.

    Attributes:
        title: heading, with the number of the paper's table or figure.
        columns: heads; the first column contains the names of the rows.
        rows: measured cells; numbers are shown with four significant digits, text as it is.
        paper: rows of the paper, shown below and marked as such.
        note: remarks on the comparison.
    """

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    paper: list[list[Cell]] = field(default_factory=list)
    note: str = ""

    def markdown(self) -> str:
        """Return the table in Markdown, with the paper's rows in italics."""
        lines = [f"**{self.title}**", ""] if self.title else []
        lines += [_markdown_row(self.columns), "|" + "---|" * len(self.columns)]
        lines += [_markdown_row(map(cell_text, row)) for row in self.rows]
        for row in self.paper:
            texts = map(cell_text, row)
            lines.append(_markdown_row(f"*{text}*" if text else "" for text in texts))
        return "\n".join([*lines, "", self.note] if self.note else lines)

    def heads(self) -> list[TableHead]:
        """Return the heads; a column of numbers, except the first column, has the CSS class ``number``."""
        columns = list(zip_longest(*([cell_text(cell) for cell in row] for row in [*self.rows, *self.paper])))
        columns += [()] * len(self.columns)
        numeric = [all(NUMBER.fullmatch(text) for text in texts if text) for texts in columns]
        kinds = ["number" if at and is_numeric else "" for at, is_numeric in enumerate(numeric)]
        return [TableHead(*head) for head in zip(self.columns, kinds, strict=False)]

    def all_rows(self) -> Iterator[tuple[list[tuple[str, str]], bool]]:
        """Yield each row as texts with the CSS classes of their columns, and whether it is the paper's."""
        classes = [head.kind for head in self.heads()]
        for rows, is_paper in ((self.rows, False), (self.paper, True)):
            for row in rows:
                texts = [cell_text(cell) for cell in row]
                kinds = [*classes, *[""] * len(texts)]
                yield list(zip(texts, kinds, strict=False)), is_paper


@dataclass
class Figure:
    """A figure as an SVG document; its name is that of its file, such as ``figure-5b-angle``."""

    name: str
    title: str
    svg: str
    caption: str = ""


@dataclass
class Drawings:
    """Drawings that a page replays stroke by stroke.

    The items are inputs with their samples, as :data:`sketchembed.reporting.sheet.Item` describes. A sample
    may have a ``label`` instead of a ``temperature``, and ``colours``, one per stroke. Items without ``seen``
    have no heading.
    """

    title: str
    items: list[dict[str, Any]]


@dataclass
class Part:
    """The results of one evaluation.

    Attributes:
        name: name of the command and of its files.
        about: question and method, in paragraphs separated by blank lines.
        tables, figures, drawings: in the order of the page.
        values: each number by a name with slashes, for W&B and for programs.
        facts: checkpoints, counts, seeds and digests.
        seconds: computing time.
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

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs of `about`."""
        return [text for text in re.split(r"\n\s*\n", self.about) if text.strip()]

    def markdown(self) -> str:
        """Return heading, text, tables and facts in Markdown."""
        parts = [f"### {self.title}", self.about, *(table.markdown() for table in self.tables)]
        facts = "; ".join(f"{key}: {value}" for key, value in self.facts.items())
        return "\n\n".join(part for part in [*parts, facts] if part) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Write the figures as SVG files, ``NAME.md``, and at last ``NAME.json``; return their paths."""
        texts = {f"{figure.name}.svg": figure.svg for figure in self.figures}
        texts |= {f"{self.name}.md": self.markdown(), f"{self.name}.json": self.to_json()}
        for name, text in texts.items():
            with whole_file(folder / name) as file:
                file.write(text.encode("utf-8", "replace"))
        return [folder / name for name in texts]

    def to_json(self) -> str:
        """Return the part as JSON text, see :meth:`read`."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, file: Path) -> Part:
        """Read a part from a JSON file of :meth:`write`, or raise a ValueError."""
        try:
            content = read_file(file, str(file), expected="a part of a report", fix="Compute it again")
            part = dataclass_from_dict(cls, parse_json(content.decode("utf-8", "replace")))
            for name in (part.name, *(figure.name for figure in part.figures)):
                # write() must not leave its folder.
                if not re.fullmatch(r"\w[\w.-]*", name):
                    raise ValueError(f"{name!r} is not the name of a file")
            return part
        except (DataError, ValueError) as error:
            raise ValueError(f"{file} is not a part of a report ({error})") from error


def cell_text(cell: Cell) -> str:
    """Return the text of a cell."""
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(re.sub(r"\s*\n\s*", " ", cell).replace("|", "\\|") for cell in cells) + " |"
