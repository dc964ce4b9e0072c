"""Contact sheets: inputs beside the drawings sampled from them, as one SVG or PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from sketchembed.reporting.svg_elements import BOX, svg_document, text
from sketchembed.sketch import cairosvg, rainbow
from sketchembed.sketch.svg import path_data

CELL = 84
"""Side of a drawing, in pixels."""
GAP = 20
"""Between blocks, and around the sheet."""
HEADING, COLUMN_HEADS, NAME = 26, 16, 20
"""Heights of a group's heading, of the line with the temperatures, and of a class's name."""
MARGIN = 5
"""Room around that box, in its own unit, so that lines along its edge are seen whole."""

Item = dict[str, Any]
"""A drawing as a run's samples hold it: ``class``, ``seen``, ``input``, and ``samples`` by temperature.

Where the model saw a photo, it is there as ``photo``, a link that holds it, and ``input`` is the sketch that
belongs to it.
"""


def contact_sheet_svg(items: Sequence[Item], columns: int | None = None, coloured: bool = False) -> str:
    """Return a sheet with one block an item: what was given (shaded), then a sample at each temperature.

    Items of seen and of unseen classes are grouped under a heading each.

    Args:
        items: what a run's samples file lists. Strokes are flat lists ``[x0, y0, x1, y1, ...]`` in a
            0..255 box, y down.
        columns: blocks side by side; as many as make the sheet nearly square if not given.
        coloured: whether each stroke has a colour of its own, in the order of the spectrum.
    """
    groups = [
        ("Seen classes", [item for item in items if item.get("seen")]),
        ("Unseen classes (never trained on)", [item for item in items if not item.get("seen")]),
    ]
    groups = [(title, group) for title, group in groups if group]
    most = max((len(item["samples"]) + len(_given(item)) for item in items), default=1)
    block = most * CELL
    if columns is None:
        columns = _square(block + GAP, CELL + NAME, [len(group) for _, group in groups])
    width, y = columns * (block + GAP) + GAP, GAP
    parts: list[str] = []
    for title, group in groups:
        parts.append(text(GAP, y + 13, title, 15, "#1c1f23", weight="bold"))
        y += HEADING
        for column in range(min(columns, len(group))):
            heads = [*_given(group[0]), *(_temperature(one) for one in group[0]["samples"])]
            for place, head in enumerate(heads):
                x = GAP + column * (block + GAP) + (place + 0.5) * CELL
                parts.append(text(x, y + 10, head, 11, "#5f6771", anchor="middle"))
        y += COLUMN_HEADS
        for number, item in enumerate(group):
            x = GAP + number % columns * (block + GAP)
            top = y + number // columns * (CELL + NAME)
            if "photo" in item:
                parts.append(_photo(x, top, item["photo"]))
            drawings = [item["input"], *(sample["strokes"] for sample in item["samples"])]
            for place, strokes in enumerate(drawings, len(_given(item)) - 1):
                given = place < len(_given(item))
                parts.append(_drawing(x + place * CELL, top, strokes, given, coloured))
            parts.append(text(x, top + CELL + 13, str(item["class"]), 12, "#1c1f23"))
        y += math.ceil(len(group) / columns) * (CELL + NAME) + GAP
    return svg_document(width, y, parts)


def contact_sheet_png(
    items: Sequence[Item],
    path: str | Path | None = None,
    columns: int | None = None,
    coloured: bool = False,
    scale: float | int = 2,
) -> bytes:
    """Return the sheet as a PNG, and write it where a path is given.

    Args:
        items: see :func:`contact_sheet_svg`.
        path: where to write it.
        columns: see :func:`contact_sheet_svg`.
        coloured: see :func:`contact_sheet_svg`.
        scale: pixels of the picture for each pixel of the SVG.

    Raises:
        ImportError: if CairoSVG or the system library libcairo2 is missing.
    """
    svg = contact_sheet_svg(items, columns, coloured)
    png: bytes = cairosvg().svg2png(bytestring=svg.encode(), scale=scale)
    if path is not None:
        Path(path).write_bytes(png)
    return png


def _square(width: int, height: int, counts: Sequence[int]) -> int:
    """Return how many blocks side by side make groups of `counts` blocks nearest to a square."""

    def elongation(columns: int) -> float:
        rows = sum(math.ceil(count / columns) for count in counts)
        heads = len(counts) * (HEADING + COLUMN_HEADS + GAP) + GAP
        return abs(math.log((columns * width + GAP) / (rows * height + heads)))

    return min(range(1, max(counts, default=1) + 1), key=elongation)


def _given(item: Item) -> list[str]:
    """Return the headings of what stands before the samples."""
    return ["photo", "sketch"] if "photo" in item else ["input"]


def _photo(x: float | int, y: float | int, link: str) -> str:
    return (
        f'<image x="{x + 1.5:g}" y="{y + 0.5:g}" width="{CELL - 3}" height="{CELL - 3}" '
        f"href={quoteattr(link)}/>"
    )


def _temperature(sample: dict[str, Any]) -> str:
    return f"τ = {sample['temperature']:g}"


def _drawing(
    x: float | int, y: float | int, strokes: Sequence[Sequence[float | int]], given: bool, coloured: bool
) -> str:
    """Return a drawing in its frame, one path a stroke."""
    frame = (
        f'<rect x="{x + 1.5:g}" y="{y + 0.5:g}" width="{CELL - 3}" height="{CELL - 3}" rx="3" '
        f'fill="{"#eef1f4" if given else "white"}" stroke="#dfe3e8"/>'
    )
    paths = [data for data in map(path_data, strokes) if data]
    if not paths:
        middle = (x + CELL / 2, y + CELL / 2 + 2)
        return frame + text(*middle, "nothing drawn", 10, "#5f6771", anchor="middle")
    colours = rainbow(len(paths)) if coloured else ["#15171a"] * len(paths)
    scale = (CELL - 3) / (BOX + 2 * MARGIN)
    drawn = "".join(f'<path d="{d}" stroke="{colour}"/>' for d, colour in zip(paths, colours, strict=True))
    return (
        f'{frame}<g transform="translate({x + 1.5 + MARGIN * scale:g} {y + 0.5 + MARGIN * scale:g}) '
        f'scale({scale:.5g})" fill="none" stroke-width="4.8" stroke-linecap="round" '
        f'stroke-linejoin="round">{drawn}</g>'
    )
