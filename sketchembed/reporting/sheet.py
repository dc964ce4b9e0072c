"""Contact sheets: inputs with the drawings sampled from them, as one SVG or PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from sketchembed.reporting.svg_elements import BOX, FRAME, GREY, INK, SHADE, svg_document, text
from sketchembed.sketch import cairosvg
from sketchembed.sketch.svg import path_data

CELL, GAP = 84, 20
"""Side of a drawing, and space between blocks and around the sheet, in pixels."""
HEADING, HEADS, NAME = 26, 16, 20
"""Heights of a heading, of the line with the temperatures, and of the name of a class."""
MARGIN = 5
"""Space around the box of a drawing, in its unit, so that lines along its edge have their full width."""

Item = dict[str, Any]
"""An input with its samples, as in a run's sample files: ``class``, ``seen``, ``input``, ``samples``.

A stroke is a flat list ``[x0, y0, x1, y1, ...]`` in a box from 0 to 255, y down. For a model of photos,
``photo`` is a data URI and ``input`` is the sketch that belongs to it.
"""


def contact_sheet_svg(items: Sequence[Item]) -> str:
    """Return a sheet with a block per item: the input (shaded), then a sample at each temperature.

    Seen and unseen classes have a heading each. The number of columns makes the sheet nearly square.
    """
    groups = {
        "Seen classes": [item for item in items if item.get("seen")],
        "Unseen classes (never trained on)": [item for item in items if not item.get("seen")],
    }
    groups = {title: group for title, group in groups.items() if group}
    block = GAP + CELL * max((len(_inputs(item)) + len(item["samples"]) for item in items), default=1)
    columns = _square(block, CELL + NAME, [len(group) for group in groups.values()])
    y, parts = GAP, []
    for title, group in groups.items():
        parts.append(text(GAP, y + 13, title, 15, weight="bold"))
        y += HEADING
        heads = [*_inputs(group[0]), *(f"τ = {one['temperature']:g}" for one in group[0]["samples"])]
        for column in range(min(columns, len(group))):
            for place, head in enumerate(heads):
                x = GAP + column * block + (place + 0.5) * CELL
                parts.append(text(x, y + 10, head, 11, GREY, "middle"))
        y += HEADS
        for number, item in enumerate(group):
            parts += _block(item, GAP + number % columns * block, y + number // columns * (CELL + NAME))
        y += math.ceil(len(group) / columns) * (CELL + NAME) + GAP
    return svg_document(columns * block + GAP, y, parts)


def contact_sheet_png(items: Sequence[Item]) -> bytes:
    """Return the sheet as a PNG with two pixels per unit of the SVG; needs CairoSVG and libcairo2."""
    png: bytes = cairosvg().svg2png(bytestring=contact_sheet_svg(items).encode(), scale=2)
    return png


def drawing_png(strokes: Sequence[Sequence[float | int]], is_input: bool = False) -> bytes:
    """Return one drawing with its frame as a PNG of twice :data:`CELL` pixels; strokes as in :data:`Item`."""
    svg = svg_document(CELL, CELL, [_drawing(0, 0, strokes, is_input)])
    png: bytes = cairosvg().svg2png(bytestring=svg.encode(), scale=2)
    return png


def _square(width: int, height: int, counts: Sequence[int]) -> int:
    """Return the number of columns for which the sheet is nearest to a square, from the size of a block."""

    def elongation(columns: int) -> float:
        rows = sum(math.ceil(count / columns) for count in counts)
        heads = len(counts) * (HEADING + HEADS + GAP) + GAP
        return abs(math.log((columns * width + GAP) / (rows * height + heads)))

    return min(range(1, max(counts, default=1) + 1), key=elongation)


def _inputs(item: Item) -> list[str]:
    """Return the heads of the columns before the samples."""
    return ["photo", "sketch"] if "photo" in item else ["input"]


def _block(item: Item, x: float | int, y: float | int) -> list[str]:
    """Return an item: its photo if there is one, its input, its samples, and its name."""
    parts = [text(x, y + CELL + 13, str(item["class"]), 12)]
    if "photo" in item:
        side = CELL - 3
        parts.append(
            f'<image x="{x + 1.5:g}" y="{y + 0.5:g}" width="{side}" height="{side}" '
            f"href={quoteattr(item['photo'])}/>"
        )
    first = len(_inputs(item)) - 1
    drawings = [item["input"], *(sample["strokes"] for sample in item["samples"])]
    for place, strokes in enumerate(drawings):
        parts.append(_drawing(x + (first + place) * CELL, y, strokes, is_input=place == 0))
    return parts


def _drawing(x: float | int, y: float | int, strokes: Sequence[Sequence[float | int]], is_input: bool) -> str:
    """Return a drawing with its frame, one path per stroke."""
    frame = (
        f'<rect x="{x + 1.5:g}" y="{y + 0.5:g}" width="{CELL - 3}" height="{CELL - 3}" rx="3" '
        f'fill="{SHADE if is_input else "white"}" stroke="{FRAME}"/>'
    )
    paths = [f'<path d="{data}"/>' for data in map(path_data, strokes) if data]
    if not paths:
        return frame + text(x + CELL / 2, y + CELL / 2 + 2, "empty", 10, GREY, "middle")
    scale = (CELL - 3) / (BOX + 2 * MARGIN)
    return (
        f'{frame}<g transform="translate({x + 1.5 + MARGIN * scale:g} {y + 0.5 + MARGIN * scale:g}) '
        f'scale({scale:.5g})" fill="none" stroke="{INK}" stroke-width="4.8" stroke-linecap="round" '
        f'stroke-linejoin="round">{"".join(paths)}</g>'
    )
