"""What the project's own SVG pictures are made of: text, and strokes as paths."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from sketchembed.sketch import Sketch

INK, GREY, FRAME, SHADE = "#15171a", "#5f6771", "#dfe3e8", "#eef1f4"
"""Colours of lines, of remarks, of frames, and of what was given rather than drawn."""
BOX = 255.0
"""Side of the box that the strokes of a run's samples and of a page are in."""


def text(
    x: float | int,
    y: float | int,
    words: str,
    size: float | int,
    colour: str = "#1c1f23",
    anchor: str = "start",
    weight: str = "normal",
) -> str:
    """Return a line of text as an SVG element."""
    # XML has no way to write control characters, not even escaped.
    shown = escape("".join(letter if letter.isprintable() else " " for letter in words))
    return (
        f'<text x="{x:g}" y="{y:g}" font-family="Helvetica, Arial, sans-serif" font-size="{size:g}" '
        f'font-weight="{weight}" text-anchor="{anchor}" fill="{colour}">{shown}</text>'
    )


def path(stroke: Sequence[float | int]) -> str:
    """Return a stroke ``[x0, y0, x1, y1, ...]`` as SVG path data; points that are not finite are left out."""
    pairs = zip(stroke[::2], stroke[1::2], strict=False)
    points = [f"{x:g},{y:g}" for x, y in pairs if math.isfinite(x) and math.isfinite(y)]
    # A dot is a line from its point to itself, which the round cap makes visible.
    points = points * 2 if len(points) == 1 else points
    return "M" + "L".join(points) if points else ""


def png_link(image: Float[Tensor, "channels height width"]) -> str:
    """Return an image with values in [0, 1] as a link that holds it, for pages that stand alone."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def boxed(sketch: Sketch) -> list[list[float]]:
    """Return the strokes as flat lists in a 0..255 box, to a tenth: what pages replay."""
    if not len(sketch):
        return []
    return [[round(float(value), 1) for value in stroke.reshape(-1)] for stroke in sketch.fit(BOX, 8).strokes]
