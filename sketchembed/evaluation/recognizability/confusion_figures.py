"""Pictures with a classifier's verdict on each: what it saw, and what it took it for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sketchembed.files.images import png_uri
from sketchembed.reporting.svg_elements import svg_document, text
from sketchembed.sketch import Sketch
from sketchembed.sketch.svg import path_data

CELL, GAP, LINE = 76, 8, 15
"""Side of a picture, room between two, and height of a line of text, in pixels."""
SMALLEST, LETTER = 8.0, 0.53
"""Height of the smallest text in pixels, and width of a letter for its height."""
HEAD = 92
"""Width of the names of the rows."""
RIGHT, WRONG = "#1a7f37", "#c0362c"


@dataclass(frozen=True)
class Judged:
    """A picture and what the classifier took it for.

    Attributes:
        picture: strokes, or grey values in [0, 1].
        verdict: name of a class.
        right: whether it is the picture's own.
    """

    picture: Sketch | Float[Tensor, "size size"]
    verdict: str
    right: bool


@dataclass(frozen=True)
class JudgedGroup:
    """Pictures of one set of classes, a column for each class and a row for each way they were made.

    Attributes:
        title: heading.
        classes: names of the columns.
        rows: by the name of the way.
    """

    title: str
    classes: list[str]
    rows: dict[str, list[Judged]]


def verdict_sheet_svg(groups: Sequence[JudgedGroup]) -> str:
    """Return a sheet: under each picture the verdict, green where it is right, red and dashed where not.

    Args:
        groups: one below the other.
    """
    columns = max(len(group.classes) for group in groups)
    width, y = HEAD + columns * (CELL + GAP) + GAP, GAP
    parts: list[str] = []
    for group in groups:
        parts.append(_text(GAP, y + 14, group.title, 14, "#1c1f23", weight="bold"))
        y += LINE + GAP
        for column, name in enumerate(group.classes):
            parts.append(_text(_middle(column), y + 11, name, 11, "#1c1f23", limit=True))
        y += LINE + 2
        for row, cells in group.rows.items():
            for number, line in enumerate(row.split("\n")):
                parts.append(_text(GAP, y + CELL / 2 + number * 13, line, 11, "#5f6771"))
            for column, judged in enumerate(cells):
                parts.append(_judged(judged, _middle(column) - CELL / 2, y))
            y += CELL + LINE + GAP
        y += GAP
    return svg_document(width, y, parts)


def _middle(column: int) -> float:
    return HEAD + column * (CELL + GAP) + CELL / 2


def _judged(judged: Judged, x: float | int, y: float | int) -> str:
    colour = RIGHT if judged.right else WRONG
    dashes = "" if judged.right else ' stroke-dasharray="4 3"'
    frame = (
        f'<rect x="{x:g}" y="{y:g}" width="{CELL}" height="{CELL}" rx="3" fill="none" '
        f'stroke="{colour}" stroke-width="1.5"{dashes}/>'
    )
    verdict = _text(x + CELL / 2, y + CELL + 12, judged.verdict, 10, colour, limit=True)
    picture = judged.picture
    inside = _drawn(picture, x, y) if isinstance(picture, Sketch) else _pixels(picture, x, y)
    return inside + frame + verdict


def _drawn(sketch: Sketch, x: float | int, y: float | int) -> str:
    strokes = sketch.fit(CELL, 8).strokes if len(sketch) else []
    paths = [f'<path d="{path_data(stroke, 1)}"/>' for stroke in strokes]
    return (
        f'<g transform="translate({x:g} {y:g})" fill="none" stroke="#15171a" stroke-width="1.6" '
        f'stroke-linecap="round" stroke-linejoin="round">{"".join(paths)}</g>'
    )


def _pixels(image: Float[Tensor, "size size"], x: float | int, y: float | int) -> str:
    return (
        f'<image x="{x + 2:g}" y="{y + 2:g}" width="{CELL - 4}" height="{CELL - 4}" '
        f'style="image-rendering: pixelated" href="{png_uri(image.numpy())}"/>'
    )


def _text(
    x: float | int,
    y: float | int,
    words: str,
    size: float | int,
    colour: str,
    weight: str = "normal",
    limit: bool = False,
) -> str:
    """Return a line of text; one that is limited stands in the middle of a cell and stays within it."""
    if limit:
        # A letter is about half as wide as the text is high.
        size = max(SMALLEST, min(size, (CELL + GAP / 2) / (LETTER * len(words))))
        most = int((CELL + GAP / 2) / (LETTER * size))
        words = words if len(words) <= most else words[: most - 1].rstrip() + "…"
    return text(x, y, words, size, colour, "middle" if limit else "start", weight)
