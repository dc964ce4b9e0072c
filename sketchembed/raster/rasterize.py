"""Rasterization of strokes with two kinds of ink.

*Source*: paper appendix A, equations 6 to 10. The *sigmoid* ink is the paper's differentiable ink. The *pen*
ink draws lines of one pixel, as CairoSVG did for the paper's inputs. Fewer than one in fifty pairs of a
segment and a pixel contribute. :func:`near_pairs` lists these pairs, and both inks are computed from the
list. Images are ``[batch, H, W]`` with row = y (down) and column = x. Ink is 1 and the background is 0.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from sketchembed.raster import raster_native
from sketchembed.raster.kernels import triton_module

KERNELS = "sketchembed.raster.raster_triton"  # CUDA kernels, which evaluate all pairs instead of a list

PAIR_LIMIT = 1 << 22  # about 0.4 GB; a batch with more pairs is split into halves

MAX_DISTANCE_TERM = 22.0
"""The sigmoid ink σ(2 - x) is neglected for larger x: σ(-20) is 2e-9; the pixel loss is clipped at 1e-7."""


class Canvas(NamedTuple):
    """Mapping of drawings to a canvas, ``pixels = points * scale + shift``.

    *Source*: paper equations 8 and 9, with the released code's margin.
    """

    scale: Float[Tensor, " batch"]  # λ, pixels per unit of the drawing
    shift: Float[Tensor, "batch 2"]  # x and y in pixels

    @classmethod
    def fit(
        cls,
        points: Float[Tensor, "batch n 2"],
        present: Bool[Tensor, "batch n"],
        size: int,
        margin: float | int,
        mixed: bool = False,
    ) -> Canvas:
        """Scale and centre the bounding box of the `present` points of each drawing on a square canvas.

        The points are absolute, in any unit; size and margin are in pixels. If no point is present, one unit
        is one pixel and the origin is the centre. With `mixed`, the coordinates of the boxes' centres are
        assigned to the drawings of the batch in the released code's order, which moves the drawings.
        """
        inside = present.unsqueeze(-1)
        low = points.masked_fill(~inside, math.inf).amin(dim=1)
        high = points.masked_fill(~inside, -math.inf).amax(dim=1)
        extent = (high - low).amax(dim=-1)
        scale = torch.where(
            extent > 0, (size - 2 * margin) / extent.clamp_min(1e-12), torch.ones_like(extent)
        )
        middle = ((low + high) / 2).masked_fill(~inside.any(dim=1), 0.0)
        if mixed:  # [2, batch] read as [batch, 2]
            middle = middle.t().reshape(-1, 2)
        return cls(scale, size / 2 - middle * scale.unsqueeze(-1))

    def place(self, points: Float[Tensor, "batch n 2"]) -> Float[Tensor, "batch n 2"]:
        """Return the points in pixels."""
        return points * self.scale[:, None, None] + self.shift[:, None, :]


def margin(size: int) -> int:
    """Return the released code's border on each side in pixels: 3 for size 28, 8 for size 84."""
    return round(size / 10)


def absolute_points(stroke5: Float[Tensor, "batch n columns"]) -> Float[Tensor, "batch n 2"]:
    """Return the absolute points of stroke-5 rows in the unit of the offsets (equation 6)."""
    return stroke5[..., :2].cumsum(dim=1)


def pen_down(stroke5: Float[Tensor, "batch n 5"]) -> Bool[Tensor, "batch n-1"]:
    """Return whether each segment, from row t-1 to row t, is drawn (equation 10).

    A segment is drawn if the pen is on paper after row t-1 and the drawing has not ended by row t.
    """
    ended = (stroke5[..., 4] > 0.5).cummax(dim=1).values
    return (stroke5[:, :-1, 2] > 0.5) & ~ended[:, 1:]


# ---- pairs of a segment and a near pixel -------------------------------------------------------------


class Pairs(NamedTuple):
    """Pairs of a segment and a pixel near it, ordered by segment."""

    segment: Int[Tensor, " pairs"]  # index into the flattened [batch, n] segments
    pixel: Int[Tensor, " pairs"]  # index into the flattened [batch, size, size] pixels
    centre: Float[Tensor, "2 pairs"]  # of the pixel, x and y in pixels


@torch.no_grad()
def near_pairs(
    start: Float[Tensor, "batch n 2"],
    end: Float[Tensor, "batch n 2"],
    drawn: Bool[Tensor, "batch n"],
    size: int,
    pixel_offset: float | int,
    reach: float | int,
) -> Pairs | None:
    """List the pixels in the bounding box of each drawn segment, extended by `reach` on each side.

    Args:
        start: start points of the segments, x and y in pixels.
        end: end points of the segments.
        drawn: whether the pen is down along each segment.
        size: side of the image in pixels.
        pixel_offset: coordinate of the centre of the first pixel: 0.5 in graphics libraries, 0 in the
            released code's pixel loss.
        reach: in pixels; infinity lists all pixels.

    Returns:
        The pairs, or None if a batch of several drawings has more than :data:`PAIR_LIMIT`.
    """
    first = (torch.minimum(start, end) - (reach + pixel_offset)).ceil().clamp(0, size)
    last = (torch.maximum(start, end) + (reach - pixel_offset)).floor().clamp(-1, size - 1)
    # A segment with a NaN coordinate, as in diverging training, is near no pixel.
    extent = (last - first + 1).clamp_min(0).nan_to_num(0.0)
    counts = extent.prod(dim=-1).masked_fill(~drawn, 0).flatten().long()
    total = int(counts.sum())
    if total > PAIR_LIMIT and len(drawn) > 1:
        return None
    segment = torch.repeat_interleave(counts, output_size=total)
    # Index within the box, row by row. Floating-point division is much faster than integer division, and the
    # added 0.5 keeps the quotient away from integers, so that its floor is exact.
    place = (torch.arange(total, device=start.device) - (counts.cumsum(0) - counts)[segment]).float()
    columns, left, top = (part.reshape(-1)[segment].float() for part in (extent[..., 0], *first.unbind(-1)))
    row = ((place + 0.5) / columns).floor_()
    column = place.sub_(row * columns).add_(left)
    row += top
    drawing = torch.div(segment, drawn.shape[1], rounding_mode="floor")
    pixel = (row * size + column).long() + drawing * size**2
    return Pairs(segment, pixel, torch.stack([column, row]).add_(pixel_offset))


def _halves(count: int) -> tuple[slice, slice]:
    return slice(count // 2), slice(count // 2, None)


def _segment_columns(pairs: Pairs, *columns: Tensor) -> tuple[Tensor, ...]:
    """Repeat each per-segment value, ``[batch, n]``, for every pair of the segment, ``[pairs]``."""
    table = torch.stack([column.float() for column in columns], dim=-1).flatten(0, 1)
    return table.index_select(0, pairs.segment).unbind(-1)


# ---- sigmoid ink -------------------------------------------------------------------------------------


def squared_distance(
    start: Float[Tensor, "batch n 2"],
    end: Float[Tensor, "batch n 2"],
    drawn: Bool[Tensor, "batch n"],
    size: int,
    pixel_offset: float | int,
    reach: float | int = math.inf,
    length_floor: float | int = 0.0,
) -> Float[Tensor, "batch {size} {size}"]:
    """Return the squared distance in pixels² of each pixel to the nearest drawn segment, or infinity.

    The distance is exact and differentiable in the end points. Only the distance to the nearest segment is
    computed with gradient, so the graph holds a few images per drawing, whatever the number of segments.
    Beyond `reach` the result may be larger than the distance. For the arguments see :func:`near_pairs`.

    The released code adds `length_floor`, in pixels², to the squared length |ab|² of a segment when it
    divides by it. The squared distance to the line is then smaller by the factor |ab|² / (|ab|² + floor).
    """
    kernels = triton_module(KERNELS, start)
    if kernels is not None:
        which = kernels.nearest_segment(start.detach(), end.detach(), drawn, size, pixel_offset)
        return _distance_to(which, start, end, size, pixel_offset, length_floor)
    if not length_floor and raster_native.is_compiled(start):
        return raster_native.squared_distance(start, end, drawn, size, pixel_offset, reach)
    pairs = near_pairs(start.detach(), end.detach(), drawn, size, pixel_offset, reach)
    if pairs is None:
        parts = [
            squared_distance(start[half], end[half], drawn[half], size, pixel_offset, reach, length_floor)
            for half in _halves(len(drawn))
        ]
        return torch.cat(parts)
    pixel, segment = _nearest_segment(pairs, start.detach(), end.detach(), size, length_floor)
    row = torch.div(pixel % size**2, size, rounding_mode="floor")
    centre = torch.stack([pixel % size, row], dim=-1) + pixel_offset
    tails, heads = (points.flatten(0, 1).index_select(0, segment) for points in (start, end))
    found = _point_segment(centre.to(start.dtype), tails, heads, length_floor)
    image = torch.full((len(drawn) * size**2,), math.inf, dtype=start.dtype, device=start.device)
    return image.index_put((pixel,), found).reshape(len(drawn), size, size)


def _distance_to(
    which: Int[Tensor, "batch pixels"],
    start: Tensor,
    end: Tensor,
    size: int,
    pixel_offset: float | int,
    length_floor: float | int,
) -> Float[Tensor, "batch {size} {size}"]:
    """Return the squared distance of each pixel to the segment with index `which`; infinite if negative."""
    place = torch.arange(size**2, device=start.device)
    row = torch.div(place, size, rounding_mode="floor")
    centre = torch.stack([place % size, row], dim=-1).to(start.dtype) + pixel_offset
    chosen = which.clamp_min(0).long().unsqueeze(-1).expand(-1, -1, 2)
    tails, heads = start.gather(1, chosen), end.gather(1, chosen)
    found = _point_segment(centre, tails, heads, length_floor)
    image: Tensor = torch.where(which < 0, math.inf, found).view(-1, size, size)
    return image


@torch.no_grad()
def _nearest_segment(
    pairs: Pairs, start: Tensor, end: Tensor, size: int, length_floor: float | int
) -> tuple[Int[Tensor, " near"], Int[Tensor, " near"]]:
    """Return the pixels that are near any segment, and the nearest segment of each (the first if tied)."""
    chord = end - start
    length = (chord * chord).sum(-1, keepdim=True)
    # The nearest point divides the chord at the fraction (offset · unit), where unit = chord / |chord|².
    unit = chord / length.clamp_min(1e-12)
    tail_x, tail_y, chord_x, chord_y, unit_x, unit_y = _segment_columns(
        pairs, *start.unbind(-1), *chord.unbind(-1), *unit.unbind(-1)
    )
    x, y = pairs.centre[0] - tail_x, pairs.centre[1] - tail_y
    along = (x * unit_x).addcmul_(y, unit_y)
    beside = along == along.clamp(0, 1) if length_floor else None
    along.clamp_(0, 1)
    distance = torch.addcmul(x, along, chord_x, value=-1).square_()
    distance += torch.addcmul(y, along, chord_y, value=-1).square_()
    if beside is not None:
        (squared,) = _segment_columns(pairs, length.squeeze(-1))
        distance = _floored(distance, squared, beside, length_floor)
    # The bits of non-negative floats sort like their values. With the index of the segment in the low bits,
    # one minimum finds both the distance and the segment, independently of the order of threads.
    key = (distance.view(torch.int32).long() << 32) | pairs.segment
    none = torch.iinfo(torch.int64).max
    best = torch.full((len(start) * size**2,), none, device=start.device).scatter_reduce_(
        0, pairs.pixel, key, "amin"
    )
    pixel = (best != none).nonzero().squeeze(-1)
    return pixel, best[pixel] & 0xFFFFFFFF


def _point_segment(point: Tensor, start: Tensor, end: Tensor, length_floor: float | int) -> Tensor:
    """Return the squared distances of points to segments, ``[*n]`` for inputs ``[*n, 2]``."""
    chord, offset = end - start, point - start
    length = (chord * chord).sum(-1)
    fraction = (offset * chord).sum(-1) / length.clamp_min(1e-12)
    along = fraction.clamp(0, 1)
    # The nearest point minimizes the distance, so that its position along the chord has no gradient.
    rest = offset - along.detach().unsqueeze(-1) * chord
    squared = (rest * rest).sum(-1)
    return _floored(squared, length, fraction == along, length_floor) if length_floor else squared


def _floored(squared: Tensor, length: Tensor, beside: Tensor, length_floor: float | int) -> Tensor:
    """Return squared distances with the floor of the squared lengths, for points `beside` a chord."""
    return torch.where(beside & (length > 0), squared * (length / (length + length_floor)), squared)


def sigmoid_ink(
    distance_squared: Float[Tensor, "*batch h w"], power: Literal[1, 2] = 2
) -> Float[Tensor, "*batch h w"]:
    """Return the paper's differentiable ink, σ(2 - 5 d^power), which is at most 0.88; d is in pixels.

    *Source*: equation 10 uses the distance (power 1), the released code its square (power 2).
    """
    # The square root is not differentiable at 0, so d is at least a thousandth of a pixel.
    distance = distance_squared if power == 2 else torch.sqrt(distance_squared.clamp_min(1e-6))
    return torch.sigmoid(2 - 5 * distance)


def sigmoid_reach(power: Literal[1, 2], term: float | int = MAX_DISTANCE_TERM) -> float:
    """Return the distance in pixels beyond which the ink σ(2 - x) of :func:`sigmoid_ink` has x > `term`."""
    return float((term / 5) ** (1 / power))


# ---- pen ink -----------------------------------------------------------------------------------------


@torch.no_grad()
def draw_pen(
    stroke5: Float[Tensor, "batch n 5"],
    size: int = 28,
    width: float | int = 1.0,
    border: float | int | None = None,
) -> Float[Tensor, "batch {size} {size}"]:
    """Draw stroke-5 rows in any unit with the pen ink, without gradient: the input of a model.

    *Source*: paper appendix H.1; the released code's preprocessing (28 px, 3 px margin, 1 px lines with butt
    caps, drawn by CairoSVG). Size, line width and border are in pixels; the border is :func:`margin` of the
    size if not given.
    """
    points = absolute_points(stroke5)
    canvas = Canvas.fit(points, stroke5[..., 4] < 0.5, size, margin(size) if border is None else border)
    placed = canvas.place(points)
    return pen_coverage(placed[:, :-1], placed[:, 1:], pen_down(stroke5), size, width)


@torch.no_grad()
def pen_coverage(
    start: Float[Tensor, "batch n 2"],
    end: Float[Tensor, "batch n 2"],
    drawn: Bool[Tensor, "batch n"],
    size: int,
    width: float | int = 1.0,
) -> Float[Tensor, "batch {size} {size}"]:
    """Return the fraction of each pixel that lines of a width in pixels cover, approximating CairoSVG.

    The coverage of a pixel by one segment is a product: the exact area of the pixel within an infinite strip
    of the line's width, and the coverage along the line. For the other arguments see :func:`near_pairs`; the
    centre of the first pixel is at 0.5, and a drawn segment starts where the previous one ends.
    """
    reach = width / 2 + 0.71  # the corners of a pixel are 0.71 from its centre
    kernels = triton_module(KERNELS, start)
    if kernels is not None:
        image: Tensor = kernels.pen_coverage(start, end, drawn, size, width, reach)
        return image
    pairs = near_pairs(start, end, drawn, size, 0.5, reach)
    if pairs is None:
        parts = [
            pen_coverage(start[half], end[half], drawn[half], size, width) for half in _halves(len(drawn))
        ]
        return torch.cat(parts)
    chord = end - start
    length = torch.linalg.vector_norm(chord, dim=-1)
    unit_x, unit_y = (chord / length.clamp_min(1e-6).unsqueeze(-1)).unbind(-1)
    unit_x = torch.where(length < 1e-6, 1.0, unit_x)
    # A line is extended by half its width where another segment joins, so that both fill the corner.
    joined = functional.pad(drawn[:, :-1] & drawn[:, 1:], (1, 1)) * (width / 2)
    tail_x, tail_y, unit_x, unit_y, length, before, after = _segment_columns(
        pairs, *start.unbind(-1), unit_x, unit_y, length, joined[:, :-1], joined[:, 1:]
    )
    x, y = pairs.centre[0] - tail_x, pairs.centre[1] - tail_y
    along = (x * unit_x).addcmul_(y, unit_y)
    across = (x * unit_y).addcmul_(y, unit_x, value=-1)
    strip = _strip_coverage(across, unit_x.abs_(), unit_y.abs_(), width)
    alone = strip * _length_coverage(along, length)
    corner = strip.mul_(_length_coverage(along + before, length + before + after))

    # Several lines in one pixel cover at least the maximum and at most the sum of their areas, depending on
    # their overlap. The mean of both bounds is closest to CairoSVG on real drawings.
    paper = alone.new_zeros(len(drawn) * size**2)
    least = paper.scatter_reduce(0, pairs.pixel, corner, "amax")
    most = paper.scatter_add_(0, pairs.pixel, alone).clamp_max_(1)
    return least.add_(most).mul_(0.5).reshape(len(drawn), size, size).to(start.dtype)


def _strip_coverage(across: Tensor, side_x: Tensor, side_y: Tensor, width: float | int) -> Tensor:
    """Return the area of unit squares, `across` away from its centre line, within an infinite strip."""
    # Projected across the strip, a square has the density of the sum of two uniform variables of the widths
    # |cos| and |sin| of the angle: at least a hundredth of a pixel, to avoid a division by zero.
    side_x, side_y = side_x.clamp_min(1e-2), side_y.clamp_min(1e-2)
    outer, inner = (side_x + side_y) / 2, (side_x - side_y) / 2

    def twice_below(edge: Tensor) -> Tensor:
        ramps = (edge + outer).relu_().square_() - (edge + inner).relu_().square_()
        return ramps.sub_((edge - inner).relu_().square_()).add_((edge - outer).relu_().square_())

    area = twice_below(across + width / 2).sub_(twice_below(across - width / 2))
    return area.div_(2 * side_x * side_y).clamp_(0, 1)


def _length_coverage(along: Tensor, length: Tensor) -> Tensor:
    """Return the fraction of unit intervals, centred at `along`, that lies between 0 and `length`."""
    return (along + 0.5).clamp_(0, 1).sub_((along - length).add_(0.5).clamp_(0, 1))
