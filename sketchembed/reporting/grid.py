"""Grids of drawings and small images as one SVG, with names of rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sketchembed.files.images import png_uri
from sketchembed.reporting.svg_elements import FRAME, GREY, INK, SHADE, svg_document, text
from sketchembed.sketch import Sketch
from sketchembed.sketch.svg import path_data

Content = Sketch | np.ndarray | str | None
EDGE, GUTTER, SIGN = 12.0, 16.0, 20.0
"""Around the grid; width of a column that holds nothing; least width of one that holds texts alone."""
HEAD, LABEL, HEADING = 16.0, 13.0, 26.0
"""Heights of a line of column heads, of a line below a cell, and of a heading above a row."""
NAME_SIZE, SMALL = 12.0, 10.0
GLYPH = 0.54
"""Mean width of a letter, in font sizes: enough to place texts without measuring a font."""


@dataclass(frozen=True, eq=False)
class Tile:
    """A cell of a grid that needs more than its content.

    Attributes:
        content: a drawing; an image ``[h, w]`` or ``[channels, h, w]`` in [0, 1], 1 or 3 channels; a text,
            such as a sign between drawings; or None for a place left free.
        colours: of each stroke, as in SVG; a stroke whose colour is None is not drawn.
        label: below the cell; lines are parted by a line break.
        shaded: whether the cell is marked as given rather than drawn by a model.
        frame: colour of a frame that marks the cell; the usual one if not given.
        box: (x_min, y_min, x_max, y_max) in the drawing's unit, to show several drawings in one place and
            scale; the drawing's own box if not given.
    """

    content: Content = None
    colours: Sequence[str | None] | None = None
    label: str = ""
    shaded: bool = False
    frame: str | None = None
    box: tuple[float | int, float | int, float | int, float | int] | None = None


def grid_svg(
    rows: Sequence[Sequence[Tile | Content]],
    *,
    heads: Sequence[str] = (),
    names: Sequence[str] = (),
    feet: Sequence[str] = (),
    headings: Mapping[int, str] | None = None,
    size: int = 72,
    framed: bool = True,
) -> str:
    """Return a grid as an SVG document. Drawings are lines, images keep their pixels.

    Args:
        rows: cells, row by row; rows may differ in length. A column of nothing but None is a narrow gap.
        heads: above the columns; equal ones side by side are written once, over all of their columns.
        names: before the rows; lines are parted by a line break.
        feet: below the columns, as `heads` are.
        headings: above a row, by the row's number.
        size: side of a drawing in pixels.
        framed: whether drawings stand in frames.
    """
    tiles = [[cell if isinstance(cell, Tile) else Tile(cell) for cell in row] for row in rows]
    count = max((len(row) for row in tiles), default=0)
    widths = [_width([row[at] for row in tiles if at < len(row)], size) for at in range(count)]
    widest = max((_extent(name, NAME_SIZE) for name in names), default=0.0)
    left = EDGE + (widest + 10 if widest else 0)
    lefts = [left + sum(widths[:at]) for at in range(count)]
    right = left + sum(widths)
    y, parts = EDGE, []
    drawn, y = _line(heads, lefts, widths, right, y)
    parts += drawn
    for number, row in enumerate(tiles):
        if heading := (headings or {}).get(number):
            parts.append(text(EDGE, y + 17, heading, 14, weight="bold"))
            right = max(right, EDGE + _extent(heading, 14) * 1.1)
            y += HEADING
        if number < len(names):
            parts += _block(EDGE, y + size / 2, names[number], NAME_SIZE, "start", "#1c1f23")
        for at, tile in enumerate(row):
            parts += _cell(tile, lefts[at], y, widths[at], size, framed)
        lines = max((tile.label.count("\n") + 1 for tile in row if tile.label), default=0)
        y += size + (lines * LABEL + 4 if lines else 0)
    drawn, y = _line(feet, lefts, widths, right, y)
    parts += drawn
    return svg_document(right + EDGE, y + EDGE, parts)


# ---- parts ---------------------------------------------------------------------------------------------


def _extent(words: str, size: float | int) -> float | int:
    """Return about how wide a text is."""
    return max(len(line) for line in words.split("\n")) * GLYPH * size


def _width(column: Sequence[Tile], size: int) -> float | int:
    """Return the width of a column: that of a drawing, of its texts, or of a gap."""
    contents = [tile.content for tile in column if tile.content is not None]
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) < len(contents):
        return size
    return max([SIGN, *(_extent(words, 16) + 8 for words in texts)]) if texts else GUTTER


def _line(
    words: Sequence[str],
    lefts: Sequence[float | int],
    widths: Sequence[float | int],
    right: float | int,
    y: float | int,
) -> tuple[list[str], float | int]:
    """Return a line of heads, and where what follows begins."""
    if not any(words):
        return [], y
    parts: list[str] = []
    lines = max(word.count("\n") + 1 for word in words)
    first = 0
    while first < len(words):
        last = first
        while last + 1 < len(words) and words[last + 1] == words[first]:
            last += 1
        if words[first]:
            middle = (lefts[first] + lefts[last] + widths[last]) / 2
            half = _extent(words[first], SMALL + 1) / 2
            middle = min(max(middle, half + 2), max(right + EDGE - half - 2, half + 2))
            bottom = y + lines * HEAD - 5
            for number, line in enumerate(reversed(words[first].split("\n"))):
                parts.append(text(middle, bottom - number * (HEAD - 3), line, SMALL + 1, GREY, "middle"))
        first = last + 1
    return parts, y + lines * HEAD


def _block(
    x: float | int, middle: float | int, words: str, size: float | int, anchor: str, colour: str
) -> list[str]:
    """Return lines of text about a height."""
    lines = words.split("\n")
    top = middle - (len(lines) - 1) * size * 0.6 + size * 0.35
    return [
        text(x, top + number * size * 1.2, line, size, colour, anchor) for number, line in enumerate(lines)
    ]


def _cell(
    tile: Tile, x: float | int, y: float | int, width: float | int, size: int, framed: bool
) -> list[str]:
    content, middle = tile.content, x + width / 2
    parts: list[str] = []
    if isinstance(content, str):
        parts += _block(middle, y + size / 2, content, 16.0, "middle", GREY)
    elif content is not None:
        if framed or tile.shaded or tile.frame:
            parts.append(
                f'<rect x="{x + 1.5:g}" y="{y + 1.5:g}" width="{size - 3}" height="{size - 3}" rx="3" '
                f'fill="{SHADE if tile.shaded else "white"}" stroke="{tile.frame or FRAME}" '
                f'stroke-width="{2 if tile.frame else 1}"/>'
            )
        if isinstance(content, Sketch):
            drawn = _strokes(content, tile, x, y, size)
            nothing = text(middle, y + size / 2 + 3, "nothing", SMALL, GREY, "middle")
            parts.append(drawn or nothing)
        else:
            inner = size - 6
            parts.append(
                f'<image x="{x + 3:g}" y="{y + 3:g}" width="{inner}" height="{inner}" '
                f'style="image-rendering: pixelated" href="{png_uri(content)}"/>'
            )
    for number, line in enumerate(tile.label.split("\n") if tile.label else ()):
        parts.append(text(middle, y + size + (number + 1) * LABEL - 3, line, SMALL, GREY, "middle"))
    return parts


def _strokes(sketch: Sketch, tile: Tile, x: float | int, y: float | int, size: int) -> str:
    """Return the strokes in their cell, one path each; nothing if there is none to be seen."""
    if not len(sketch) or not np.isfinite(sketch.points).all():
        return ""
    x0, y0, x1, y1 = tile.box or sketch.bounds
    extent = max(x1 - x0, y1 - y0)
    margin = size / 9
    scale = (size - 2 * margin) / extent if extent > 0 else 1.0
    corner = np.array([x, y]) + size / 2 - np.array([x0 + x1, y0 + y1]) / 2 * scale
    strokes = sketch.strokes
    colours: Any = tile.colours or [INK] * len(strokes)
    if len(colours) != len(strokes):
        raise ValueError(f"{len(colours)} colours for {len(strokes)} strokes")
    return "".join(
        f'<path d="{path_data(stroke * scale + corner, 1)}" fill="none" '
        f'stroke="{colour}" stroke-width="{max(0.8, size / 52):.2g}" stroke-linecap="round" '
        'stroke-linejoin="round"/>'
        for stroke, colour in zip(strokes, colours, strict=True)
        if colour is not None
    )
