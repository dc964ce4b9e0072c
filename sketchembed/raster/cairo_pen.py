"""The pen ink as CairoSVG draws it: the exact inputs of the released program, but slow."""

from __future__ import annotations

import io

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from sketchembed.raster.rasterize import margin
from sketchembed.sketch.strokes import Sketch, cairosvg


def draw_cairo_pen(
    stroke5: Float[Tensor, "batch n 5"], size: int = 28
) -> Float[Tensor, "batch {size} {size}"]:
    """Draw stroke-5 rows in any unit, as :func:`~sketchembed.raster.rasterize.draw_pen` does.

    *Source*: the released code's preprocessing: one path of lines relative to each other, with a width of one
    pixel and butt caps.
    """
    ink = np.stack([_ink(Sketch.from_stroke5(rows), size) for rows in stroke5.double().cpu().numpy()])
    return torch.from_numpy(ink).to(stroke5)


def _ink(sketch: Sketch, size: int) -> np.ndarray:
    if not len(sketch):
        return np.zeros((size, size))
    fitted = sketch.fit(size, margin(size))
    moves = np.diff(fitted.points, axis=0, prepend=np.zeros((1, 2))).tolist()
    letters = np.where(np.append(True, fitted.lifted[:-1]), "m", "l")
    path = " ".join(f"{letter}{x},{y}" for letter, (x, y) in zip(letters, moves, strict=True))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}">'
        f'<rect width="{size}" height="{size}" fill="white"/>'
        f'<path d="{path}" fill="none" stroke="black" stroke-width="1"/></svg>'
    )
    picture = Image.open(io.BytesIO(cairosvg().svg2png(bytestring=svg.encode())))
    return 1 - np.asarray(picture.convert("RGB"))[..., 0] / 255
