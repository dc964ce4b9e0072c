"""Contact sheets: inputs beside the drawings sampled from them, as one SVG or PNG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

CELL = 84
GAP = 10
LABEL = 15
HEAD = 26
BOX = 255.0

Item = dict[str, Any]
"""A drawing as a run's samples hold it: ``class``, ``seen``, ``input``, and ``samples`` by temperature."""


def contact_sheet_svg(items: Sequence[Item], columns: int = 4) -> str:
    """Return a sheet with one block an item: the input (boxed), then a sample at each temperature.

    Args:
        items: what a run's samples file lists. Strokes are flat lists in a 0..255 box.
        columns: blocks side by side.
    """
    samples = max((len(item["samples"]) for item in items), default=0)
    block = (1 + samples) * CELL + 2 * GAP
    width, y = columns * block + GAP, GAP
    parts: list[str] = []
    for seen, title in ((True, "Seen classes, held-out drawings"), (False, "Unseen classes")):
        group = [item for item in items if bool(item["seen"]) is seen]
        if not group:
            continue
        heads = ", ".join(f"τ = {sample['temperature']:g}" for sample in group[0]["samples"])
        parts.append(_text(GAP, y + 14, f"{title}: input, then {heads}", 13, "#222"))
        y += HEAD
        for number, item in enumerate(group):
            x = GAP + number % columns * block
            top = y + number // columns * (CELL + LABEL + GAP)
            parts.append(f'<rect x="{x}" y="{top}" width="{CELL}" height="{CELL}" fill="#f1f3f5"/>')
            drawings = [item["input"], *(sample["strokes"] for sample in item["samples"])]
            for place, strokes in enumerate(drawings):
                parts.append(_drawing(x + place * CELL, top, strokes))
            parts.append(_text(x, top + CELL + 11, str(item["class"]), 11, "#555"))
        y += -(-len(group) // columns) * (CELL + LABEL + GAP) + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>'
    )


def contact_sheet_png(items: Sequence[Item], path: str | Path | None = None, columns: int = 4) -> bytes:
    """Return the sheet as a PNG, at twice its size, and write it where a path is given.

    Args:
        items: see :func:`contact_sheet_svg`.
        path: where to write it.
        columns: blocks side by side.

    Raises:
        ImportError: if CairoSVG or the system library libcairo2 is missing.
    """
    from sketchembed.sketch import cairosvg

    png: bytes = cairosvg().svg2png(bytestring=contact_sheet_svg(items, columns).encode(), scale=2)
    if path is not None:
        Path(path).write_bytes(png)
    return png


def _drawing(x: float, y: float, strokes: Sequence[Sequence[float]]) -> str:
    if not strokes:
        return _text(x + 14, y + CELL / 2, "nothing drawn", 9, "#999")
    scale = CELL / BOX
    paths = []
    for stroke in strokes:
        points = [
            f"{x + a * scale:.1f},{y + b * scale:.1f}" for a, b in zip(stroke[::2], stroke[1::2], strict=True)
        ]
        # A stroke of one point is a dot: a line of no length with round ends.
        paths.append("M" + " L".join(points if len(points) > 1 else points * 2))
    return (
        f'<path d="{" ".join(paths)}" fill="none" stroke="#111" stroke-width="1.6" '
        'stroke-linecap="round" stroke-linejoin="round"/>'
    )


def _text(x: float, y: float, text: str, size: int, colour: str) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-family="Helvetica, Arial, sans-serif" font-size="{size}" '
        f'fill="{colour}">{escape(text)}</text>'
    )
