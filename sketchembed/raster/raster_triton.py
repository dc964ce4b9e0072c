"""Triton kernels of the raster: one program evaluates all segments of a drawing for a tile of pixels.

The result of each pixel stays in a register, so that nothing of size pixels × segments is written to memory.
All sizes are known in advance, so the kernels do not synchronize with the host and can be captured in a CUDA
graph.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float, Int
from torch import Tensor

# ruff: noqa: ANN001, ANN202 - arguments of Triton kernels are pointers and constants without Python types
# mypy: disable-error-code="no-untyped-def, untyped-decorator"

TILE = 256  # pixels per program


@triton.jit
@no_type_check
def _nearest(start, end, drawn, found, count, size, offset, TILE: tl.constexpr):
    drawing = tl.program_id(0)
    pixel = tl.program_id(1) * TILE + tl.arange(0, TILE)
    x, y = (pixel % size).to(tl.float32) + offset, (pixel // size).to(tl.float32) + offset
    best = tl.full((TILE,), float("inf"), tl.float32)
    which = tl.full((TILE,), -1, tl.int32)
    for segment in range(count):
        at = drawing * count + segment
        tail_x, tail_y = tl.load(start + 2 * at), tl.load(start + 2 * at + 1)
        chord_x, chord_y = tl.load(end + 2 * at) - tail_x, tl.load(end + 2 * at + 1) - tail_y
        length = tl.maximum(chord_x * chord_x + chord_y * chord_y, 1e-12)
        from_x, from_y = x - tail_x, y - tail_y
        along = tl.minimum(tl.maximum((from_x * chord_x + from_y * chord_y) / length, 0.0), 1.0)
        rest_x, rest_y = from_x - along * chord_x, from_y - along * chord_y
        distance = rest_x * rest_x + rest_y * rest_y
        # Ties go to the first segment, and a NaN distance is never nearer.
        nearer = (distance < best) & (tl.load(drawn + at) != 0)
        best = tl.where(nearer, distance, best)
        which = tl.where(nearer, segment, which)
    tl.store(found + drawing * size * size + pixel, which, pixel < size * size)


@triton.jit
@no_type_check
def _below(edge, outer, inner):
    a, b = tl.maximum(edge + outer, 0.0), tl.maximum(edge + inner, 0.0)
    c, d = tl.maximum(edge - inner, 0.0), tl.maximum(edge - outer, 0.0)
    return a * a - b * b - c * c + d * d


@triton.jit
@no_type_check
def _share(along, length):
    upper = tl.minimum(tl.maximum(along + 0.5, 0.0), 1.0)
    return upper - tl.minimum(tl.maximum(along - length + 0.5, 0.0), 1.0)


@triton.jit
@no_type_check
def _pen(start, end, drawn, image, count, size, width, reach, TILE: tl.constexpr):
    drawing = tl.program_id(0)
    pixel = tl.program_id(1) * TILE + tl.arange(0, TILE)
    x, y = (pixel % size).to(tl.float32) + 0.5, (pixel // size).to(tl.float32) + 0.5
    most = tl.zeros((TILE,), tl.float32)
    least = tl.zeros((TILE,), tl.float32)
    for segment in range(count):
        at = drawing * count + segment
        on = tl.load(drawn + at) != 0
        before = tl.load(drawn + at - 1, segment > 0, 0) != 0
        after = tl.load(drawn + at + 1, segment + 1 < count, 0) != 0
        tail_x, tail_y = tl.load(start + 2 * at), tl.load(start + 2 * at + 1)
        chord_x, chord_y = tl.load(end + 2 * at) - tail_x, tl.load(end + 2 * at + 1) - tail_y
        length = tl.sqrt(chord_x * chord_x + chord_y * chord_y)
        unit_x = tl.where(length < 1e-6, 1.0, chord_x / tl.maximum(length, 1e-6))
        unit_y = chord_y / tl.maximum(length, 1e-6)
        from_x, from_y = x - tail_x, y - tail_y
        along = from_x * unit_x + from_y * unit_y
        across = from_x * unit_y - from_y * unit_x
        side_x, side_y = tl.maximum(tl.abs(unit_x), 1e-2), tl.maximum(tl.abs(unit_y), 1e-2)
        outer, inner = (side_x + side_y) / 2, (side_x - side_y) / 2
        area = _below(across + width / 2, outer, inner) - _below(across - width / 2, outer, inner)
        strip = tl.minimum(tl.maximum(area / (2 * side_x * side_y), 0.0), 1.0)
        early, late = tl.where(on & before, width / 2, 0.0), tl.where(on & after, width / 2, 0.0)
        alone = strip * _share(along, length)
        corner = strip * _share(along + early, length + early + late)
        # Only pixels that near_pairs() lists, since rounding errors occur farther away. Segments with NaN
        # coordinates, as in diverging training, are near no pixel.
        low_x, high_x = tl.minimum(tail_x, tail_x + chord_x), tl.maximum(tail_x, tail_x + chord_x)
        low_y, high_y = tl.minimum(tail_y, tail_y + chord_y), tl.maximum(tail_y, tail_y + chord_y)
        near = (x >= low_x - reach) & (x <= high_x + reach) & (y >= low_y - reach) & (y <= high_y + reach)
        counts = on & near & (alone == alone) & (corner == corner)
        most += tl.where(counts, alone, 0.0)
        least = tl.maximum(least, tl.where(counts, corner, 0.0))
    ink = (least + tl.minimum(most, 1.0)) * 0.5
    tl.store(image + drawing * size * size + pixel, ink, pixel < size * size)


def nearest_segment(
    start: Float[Tensor, "batch n 2"],
    end: Float[Tensor, "batch n 2"],
    drawn: Bool[Tensor, "batch n"],
    size: int,
    pixel_offset: float | int,
) -> Int[Tensor, "batch pixels"]:
    """Return the index of the nearest drawn segment of each pixel, or -1 if there is none."""
    batch, count = drawn.shape
    found = torch.empty(batch, size**2, dtype=torch.int32, device=start.device)
    _nearest[(batch, triton.cdiv(size**2, TILE))](
        start.contiguous(), end.contiguous(), drawn.to(torch.uint8).contiguous(), found, count, size,
        float(pixel_offset), TILE=TILE,
    )  # fmt: skip
    return found


def pen_coverage(
    start: Float[Tensor, "batch n 2"],
    end: Float[Tensor, "batch n 2"],
    drawn: Bool[Tensor, "batch n"],
    size: int,
    width: float | int,
    reach: float | int,
) -> Float[Tensor, "batch {size} {size}"]:
    """Return the fraction of each pixel that the pen covers, see :func:`rasterize.pen_coverage`."""
    batch, count = drawn.shape
    image = torch.empty(batch, size, size, dtype=torch.float32, device=start.device)
    _pen[(batch, triton.cdiv(size**2, TILE))](
        start.contiguous(), end.contiguous(), drawn.to(torch.uint8).contiguous(), image, count, size,
        float(width), float(reach), TILE=TILE,
    )  # fmt: skip
    return image
