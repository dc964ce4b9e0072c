"""Lines of a picture made one pixel wide, so that their thickness does not matter."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from sketchembed.raster.rasterize import margin

FINE = 4
"""Lines are thinned at this many times the size of the result."""
RING = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
"""The eight neighbours (row, column) of the middle of a 3 × 3 square, clockwise from the north."""
SQUARE = {(0, 0): 0b00011100, (0, 1): 0b01110000, (1, 0): 0b00000111, (1, 1): 0b11000001}
"""What surrounds each pixel (row, column) of a square of two by two that stands alone; bits as in `RING`."""


def one_pixel_lines(ink: np.ndarray, size: int) -> np.ndarray:
    """Redraw a drawing's lines one pixel wide on a canvas of `size`, however thick they were.

    The lines are thinned at four times the size; the box around their middles is fitted to the canvas, as
    the raster does it with strokes; and they are drawn three fine pixels wide and averaged.

    Args:
        ink: float32 ``[height, width]``, 0 to 1, cropped to what is drawn.
        size: side of the canvas in pixels.

    Returns:
        ink of 0 to 1, float32 ``[size, size]``.
    """
    reach = FINE * (size - 2 * margin(size))
    shape = tuple(max(1, round(side * reach / max(ink.shape))) for side in reversed(ink.shape))
    large = np.asarray(Image.fromarray(ink).resize(shape, Image.Resampling.BOX))
    # A thin line fades where a picture is shrunk much; half of the darkest is then still the line.
    # With a border, so that the outermost lines become three pixels wide as well.
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


def box_of(ink: np.ndarray) -> tuple[slice, slice] | None:
    """Return the rows and columns that hold ink, None where there is none.

    Args:
        ink: bool ``[height, width]``.
    """
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def thinned(ink: np.ndarray) -> np.ndarray:
    """Thin lines to a width of one pixel.

    *Source*: Zhang and Suen 1984. A pixel goes if it is on the edge, is no end of a line, and holds nothing
    together; pixels of the south-east and the north-west go in turns.

    Args:
        ink: bool ``[height, width]``.
    """
    ink = ink.astype(np.uint8)
    height, width = ink.shape
    padded = np.pad(ink, 1)
    inside = padded[1:-1, 1:-1]
    while True:
        before = int(inside.sum())
        for goes in _tables():
            code = np.zeros_like(ink)
            for bit, (y, x) in enumerate(RING):
                code |= padded[y : y + height, x : x + width] << bit
            gone = goes[code]
            # All four pixels of a square that stands alone would go at once; one stays.
            alone = inside[:-1, :-1].astype(bool)
            for place, neighbours in SQUARE.items():
                row, column = place
                alone &= code[row : height - 1 + row, column : width - 1 + column] == neighbours
            gone[:-1, :-1] &= ~alone
            inside[gone] = 0
        if int(inside.sum()) == before:
            return inside.astype(bool)


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Return for each of the 256 surroundings of a pixel whether it goes, in the two turns."""
    around = (np.arange(256) >> np.arange(8)[:, None] & 1).astype(bool)
    count = around.sum(0)
    crossings = (~around & np.roll(around, -1, axis=0)).sum(0)
    north, east, south, west = around[0], around[2], around[4], around[6]
    free = (count >= 2) & (count <= 6) & (crossings == 1)
    south_east = ~(north & east & south) & ~(east & south & west)
    north_west = ~(north & east & west) & ~(north & south & west)
    return free & south_east, free & north_west
