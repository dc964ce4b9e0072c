"""Thinning of lines to a width of one pixel.

skimage.morphology.skeletonize keeps all strokes as well, but its pixels differ from those that models were
trained on, and inference would need scikit-image.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from sketchembed.raster.rasterize import margin

FINE = 4  # resolution at which lines are thinned, relative to the size of the result
RING = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
"""The eight neighbours (row, column) of the centre of a 3 × 3 square, clockwise from the north."""
SQUARE = {(0, 0): 0b00011100, (0, 1): 0b01110000, (1, 0): 0b00000111, (1, 1): 0b11000001}
"""Neighbours of each pixel (row, column) of an isolated 2 × 2 square; bit i stands for ``RING[i]``."""


def one_pixel_lines(ink: np.ndarray, size: int) -> np.ndarray:
    """Redraw the lines of a drawing one pixel wide on a canvas of `size`, whatever their original width.

    The lines are thinned at four times the resolution. The bounding box of the thinned lines is fitted to the
    canvas, as the raster does with strokes. They are then drawn three fine pixels wide and averaged.

    Args:
        ink: values in [0, 1], cropped to the drawing, float32 ``[height, width]``.
        size: side of the canvas in pixels.

    Returns:
        Ink in [0, 1], float32 ``[size, size]``.
    """
    reach = FINE * (size - 2 * margin(size))
    shape = tuple(max(1, round(side * reach / max(ink.shape))) for side in reversed(ink.shape))
    large = np.asarray(Image.fromarray(ink).resize(shape, Image.Resampling.BOX))
    # Downscaling fades thin lines, so the threshold is half of the darkest value.
    # The padding lets the outermost lines become three pixels wide as well.
    large = np.pad((large * (255 / large.max())).astype(np.uint8), 1)
    spread = np.asarray(Image.fromarray(large).filter(ImageFilter.MaxFilter(3)))
    points = np.argwhere(thinned(spread > 127)) + 0.5
    low, high = points.min(axis=0), points.max(axis=0)
    points = (points - (low + high) / 2) * reach / max(float((high - low).max()), 1.0) + FINE * size / 2
    rows, columns = np.clip(points.astype(int), 0, FINE * size - 1).T
    canvas = np.zeros((FINE * size, FINE * size), dtype=np.uint8)
    canvas[rows, columns] = 255
    drawn = Image.fromarray(canvas).filter(ImageFilter.MaxFilter(3))
    small = np.asarray(drawn.resize((size, size), Image.Resampling.BOX), dtype=np.float32) / 255
    return np.clip(small * FINE / 3, 0, 1)


def thinned(ink: np.ndarray) -> np.ndarray:
    """Thin lines to a width of one pixel.

    *Source*: Zhang and Suen 1984. A pixel is removed if it is on an edge, is not the end of a line and does
    not connect parts. Pixels at the south-east and at the north-west are removed in alternate passes.

    Args:
        ink: bool ``[height, width]``.
    """
    ink = ink.astype(np.uint8)
    height, width = ink.shape
    padded = np.pad(ink, 1)
    inside = padded[1:-1, 1:-1]
    while True:
        before = int(inside.sum())
        for removable in _tables():
            code = np.zeros_like(ink)
            for bit, (y, x) in enumerate(RING):
                code |= padded[y : y + height, x : x + width] << bit
            removed = removable[code]
            # All four pixels of an isolated square would be removed at once, so one of them is kept.
            isolated = inside[:-1, :-1].astype(bool)
            for (row, column), neighbours in SQUARE.items():
                isolated &= code[row : height - 1 + row, column : width - 1 + column] == neighbours
            removed[:-1, :-1] &= ~isolated
            inside[removed] = 0
        if int(inside.sum()) == before:
            return inside.astype(bool)


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Return, for either pass and each of the 256 neighbourhoods, whether the pixel is removed."""
    around = (np.arange(256) >> np.arange(8)[:, None] & 1).astype(bool)
    count = around.sum(0)
    crossings = (~around & np.roll(around, -1, axis=0)).sum(0)
    north, east, south, west = around[0], around[2], around[4], around[6]
    free = (count >= 2) & (count <= 6) & (crossings == 1)
    south_east = ~(north & east & south) & ~(east & south & west)
    north_west = ~(north & east & west) & ~(north & south & west)
    return free & south_east, free & north_west
