"""Grids of drawings and small images as SVG, with names of rows and columns."""

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
Number = float | int
EDGE, GUTTER, SIGN = 12.0, 16.0, 20.0
"""Margin of the grid, width of an empty column, and least width of a column of texts."""
HEAD, LABEL, HEADING = 16.0, 13.0, 26.0
"""Heights of a line of heads, of a line of a label, and of a heading."""
NAME_SIZE, SMALL, SMALLEST = 12.0, 10.0, 8.0  # font sizes
GLYPH = 0.54  # approximate width of a letter relative to the font size


@dataclass(frozen=True, eq=False)
class Tile:
    """A cell of a grid with more than its content.

    Attributes:
        content: drawing; image ``[h, w]`` or ``[channels, h, w]`` in [0, 1] with 1 or 3 channels; text, such
            as a sign between drawings; or None for an empty cell.
        colours: SVG colour of each stroke; a stroke with colour None is not drawn.
        label: text below the cell, with line breaks.
        shaded: whether the cell is marked as an input.
        frame: colour of the frame; the default colour if None.
        dashed: whether the frame is dashed.
        box: (x_min, y_min, x_max, y_max) in the drawing's unit, to show several drawings at the same place
            and scale; the drawing's own box if None.
    """

    content: Content = None
    colours: Sequence[str | None] | None = None
    label: str = ""
    shaded: bool = False
    frame: str | None = None
    dashed: bool = False
    box: tuple[Number, Number, Number, Number] | None = None


def grid_svg(
    rows: Sequence[Sequence[Tile | Content]],
    *,
    heads: Sequence[str] | Mapping[int, Sequence[str]] = (),
    names: Sequence[str] = (),
    feet: Sequence[str] = (),
    headings: Mapping[int, str] | None = None,
    size: int = 72,
    framed: bool = True,
) -> str:
    """Return a grid as an SVG document.

    Args:
        rows: cells, row by row; rows may differ in length. A column in which all cells are None is narrow.
        heads: texts above the columns, or by the number of a row, above that row. Equal neighbours are
            written once, above all of their columns.
        names: texts before the rows, with line breaks.
        feet: texts below the columns, like `heads`.
        headings: headings above rows, by the number of the row.
        size: side of a cell in pixels.
        framed: whether all drawings have a frame.
    """
    tiles = [[cell if isinstance(cell, Tile) else Tile(cell) for cell in row] for row in rows]
    count = max((len(row) for row in tiles), default=0)
    widths = [_column_width([row[at] for row in tiles if at < len(row)], size) for at in range(count)]
    widest = max((_text_width(name, NAME_SIZE) for name in names), default=0.0)
    left = EDGE + (widest + 10 if widest else 0)
    lefts = [left + sum(widths[:at]) for at in range(count)]
    right = left + sum(widths)
    y, parts = EDGE, []

    def write_line(words: Sequence[str]) -> None:
        nonlocal y
        line, y = _line_of_heads(words, lefts, widths, right, y)
        parts.extend(line)

    if not isinstance(heads, Mapping):
        write_line(heads)
    for number, row in enumerate(tiles):
        if heading := (headings or {}).get(number):
            parts.append(text(EDGE, y + 17, heading, 14, weight="bold"))
            right = max(right, EDGE + _text_width(heading, 14) * 1.1)
            y += HEADING
        if isinstance(heads, Mapping):
            write_line(heads.get(number, ()))
        if number < len(names):
            parts += _text_block(EDGE, y + size / 2, names[number], NAME_SIZE, "start", "#1c1f23")
        for at, tile in enumerate(row):
            parts += _cell(tile, lefts[at], y, widths[at], size, framed)
        lines = max((tile.label.count("\n") + 1 for tile in row if tile.label), default=0)
        y += size + (lines * LABEL + 4 if lines else 0)
    write_line(feet)
    return svg_document(right + EDGE, y + EDGE, parts)


def fit_text(words: str, width: Number) -> str:
    """Return a label that is cut so that it fits a width in pixels at the smallest font size."""
    most = int(width / (GLYPH * SMALLEST))
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def _text_width(words: str, size: Number) -> Number:
    """Return the approximate width of a text in pixels."""
    return max(len(line) for line in words.split("\n")) * GLYPH * size


def _column_width(column: Sequence[Tile], size: int) -> Number:
    contents = [tile.content for tile in column if tile.content is not None]
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) < len(contents):
        return size
    return max([SIGN, *(_text_width(words, 16) + 8 for words in texts)]) if texts else GUTTER


def _line_of_heads(
    words: Sequence[str], lefts: Sequence[Number], widths: Sequence[Number], right: Number, y: Number
) -> tuple[list[str], Number]:
    """Return a line of heads as SVG elements, and the y coordinate below it."""
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
            half = _text_width(words[first], SMALL + 1) / 2
            # Keep long heads of the outer columns within the document.
            middle = min(max(middle, half + 2), max(right + EDGE - half - 2, half + 2))
            bottom = y + lines * HEAD - 5
            for number, line in enumerate(reversed(words[first].split("\n"))):
                parts.append(text(middle, bottom - number * (HEAD - 3), line, SMALL + 1, GREY, "middle"))
        first = last + 1
    return parts, y + lines * HEAD


def _text_block(x: Number, middle: Number, words: str, size: Number, anchor: str, colour: str) -> list[str]:
    """Return lines of text that are centred at a height."""
    lines = words.split("\n")
    top = middle - (len(lines) - 1) * size * 0.6 + size * 0.35
    heights = [top + number * size * 1.2 for number in range(len(lines))]
    return [text(x, y, line, size, colour, anchor) for y, line in zip(heights, lines, strict=True)]


def _cell(tile: Tile, x: Number, y: Number, width: Number, size: int, framed: bool) -> list[str]:
    content, middle = tile.content, x + width / 2
    parts: list[str] = []
    if isinstance(content, str):
        parts += _text_block(middle, y + size / 2, content, 16.0, "middle", GREY)
    elif content is not None:
        if framed or tile.shaded or tile.frame:
            dashes = ' stroke-dasharray="4 3"' if tile.dashed else ""
            parts.append(
                f'<rect x="{x + 1.5:g}" y="{y + 1.5:g}" width="{size - 3}" height="{size - 3}" rx="3" '
                f'fill="{SHADE if tile.shaded else "white"}" stroke="{tile.frame or FRAME}" '
                f'stroke-width="{2 if tile.frame else 1}"{dashes}/>'
            )
        if isinstance(content, Sketch):
            empty = text(middle, y + size / 2 + 3, "empty", SMALL, GREY, "middle")
            parts.append(_strokes(content, tile, x, y, size) or empty)
        else:
            inner = size - 6
            parts.append(
                f'<image x="{x + 3:g}" y="{y + 3:g}" width="{inner}" height="{inner}" '
                f'style="image-rendering: pixelated" href="{png_uri(content)}"/>'
            )
    for number, line in enumerate(tile.label.split("\n") if tile.label else ()):
        font = max(SMALLEST, min(SMALL, width / (GLYPH * max(len(line), 1))))
        colour = tile.frame or GREY
        parts.append(text(middle, y + size + (number + 1) * LABEL - 3, line, font, colour, "middle"))
    return parts


def _strokes(sketch: Sketch, tile: Tile, x: Number, y: Number, size: int) -> str:
    """Return the strokes as SVG paths within their cell; an empty string if none is visible."""
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
