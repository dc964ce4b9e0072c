"""Strokes to pixels: each segment meets the pixels near it, in one of two inks.

*Source*: paper appendix A, equations 6 to 10. The *sigmoid* ink is the paper's differentiable one; the
*pen* ink draws a line of one pixel, as CairoSVG drew the paper's inputs.

A segment is a few pixels long and its ink reaches a pixel or two, so of all pairs of a segment and a
pixel less than one in fifty matters: :func:`near_pairs` lists those, and both inks are computed on that list.

Images are ``[batch, H, W]`` with row = y (down) and column = x; ink is 1 on paper of 0.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from sketchembed.raster.kernels import triton_module

KERNELS = "sketchembed.raster.raster_triton"
"""The same for CUDA, where looking at every pair is cheaper than a list of the near ones."""

PAIR_LIMIT = 1 << 22
"""Pairs of a segment and a pixel held at a time (some 0.4 GB): a batch with more is drawn in halves."""

FAINTEST = 22.0
"""The sigmoid ink is looked for where its exponent is above -20: σ(2 - 22) is 2e-9, nothing in float32
beside the 1e-7 at which the pixel loss is clipped."""


class Canvas(NamedTuple):
    """Where drawings lie on a canvas: ``pixels = points * scale + shift``.

    *Source*: paper equations 8 and 9, with the released code's margin.

    Attributes:
        scale: ``[batch]``, λ, pixels for one unit of the drawing.
        shift: ``[batch, 2]``, x and y in pixels.
    """

    scale: Float[Tensor, " batch"]
    shift: Float[Tensor, "batch 2"]

    @classmethod
    def fit(
        cls,
        points: Float[Tensor, "batch n 2"],
        present: Bool[Tensor, "batch n"],
        size: int,
        margin: float | int,
    ) -> Canvas:
        """Scale and centre each drawing by the box around its points.

        Args:
            points: absolute points, in any unit.
            present: which of them belong to the drawing; where none does, one unit is one pixel and the
                origin is the middle.
            size: side of the square canvas in pixels.
            margin: empty border on each side in pixels.
        """
        inside = present.unsqueeze(-1)
        low = points.masked_fill(~inside, math.inf).amin(dim=1)
        high = points.masked_fill(~inside, -math.inf).amax(dim=1)
        extent = (high - low).amax(dim=-1)
        scale = torch.where(
            extent > 0, (size - 2 * margin) / extent.clamp_min(1e-12), torch.ones_like(extent)
        )
        middle = ((low + high) / 2).masked_fill(~inside.any(dim=1), 0.0)
        return cls(scale, size / 2 - middle * scale.unsqueeze(-1))

    def place(self, points: Float[Tensor, "batch n 2"]) -> Float[Tensor, "batch n 2"]:
        """Return the points in pixels."""
        return points * self.scale[:, None, None] + self.shift[:, None, :]


def margin(size: int) -> int:
    """Return the border in pixels that the released code leaves on each side: 3 at 28, 8 at 84."""
    return round(size / 10)


def absolute_points(stroke5: Float[Tensor, "batch n columns"]) -> Float[Tensor, "batch n 2"]:
    """Return the absolute points of stroke-5 rows (equation 6), in the unit of the offsets."""
    return stroke5[..., :2].cumsum(dim=1)


def pen_down(stroke5: Float[Tensor, "batch n 5"]) -> Bool[Tensor, "batch n-1"]:
    """Return for each segment, from row t-1 to row t, whether it is drawn (equation 10).

    It is when the pen is on paper after row t-1 and the drawing has not ended by row t.
    """
    ended = (stroke5[..., 4] > 0.5).cummax(dim=1).values
    return (stroke5[:, :-1, 2] > 0.5) & ~ended[:, 1:]


# ---- segments and the pixels near them ---------------------------------------------------------------


class Pairs(NamedTuple):
    """Segments beside the pixels near them, one after the other.

    Attributes:
        segment: index into the flattened ``[batch, n]`` segments.
        pixel: index into the flattened ``[batch, size, size]`` pixels.
        centre: of the pixel, x and y in pixels.
    """

    segment: Int[Tensor, " pairs"]
    pixel: Int[Tensor, " pairs"]
    centre: Float[Tensor, "2 pairs"]


@torch.no_grad()
def near_pairs(
    start: Float[Tensor, "batch n 2"],
    end: Float[Tensor, "batch n 2"],
    drawn: Bool[Tensor, "batch n"],
    size: int,
    pixel_offset: float | int,
    reach: float | int,
) -> Pairs | None:
    """List for each drawn segment the pixels in the box around it, widened by `reach`.

    Args:
        start: where each segment begins, x and y in pixels.
        end: where it ends.
        drawn: whether the pen was on paper along it.
        size: side of the image in pixels.
        pixel_offset: centre of the first pixel.
        reach: how far to widen the box, in pixels; infinity lists every pixel.

    Returns:
        None if a batch of several drawings has more than `PAIR_LIMIT` pairs: list its halves instead.
    """
    first = (torch.minimum(start, end) - (reach + pixel_offset)).ceil().clamp(0, size)
    last = (torch.maximum(start, end) + (reach - pixel_offset)).floor().clamp(-1, size - 1)
    # A segment whose end is not a number, as when training diverges, is near no pixel.
    extent = (last - first + 1).clamp_min(0).nan_to_num(0.0)
    counts = extent.prod(dim=-1).masked_fill(~drawn, 0).flatten().long()
    total = int(counts.sum())
    if total > PAIR_LIMIT and len(drawn) > 1:
        return None
    segment = torch.repeat_interleave(counts, output_size=total)
    # The place within the box, row by row. Floating point divides much faster than integers do, and
    # exactly: the half keeps the quotient clear of whole numbers.
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
    """Repeat each ``[batch, n]`` property of the segments for every pair, ``[pairs]``."""
    table = torch.stack([column.float() for column in columns], dim=-1).flatten(0, 1)
    return table.index_select(0, pairs.segment).unbind(-1)


# ---- the paper's ink ---------------------------------------------------------------------------------


def squared_distance(
    start: Float[Tensor, "batch n 2"],
    end: Float[Tensor, "batch n 2"],
    drawn: Bool[Tensor, "batch n"],
    size: int,
    pixel_offset: float | int,
    reach: float | int = math.inf,
) -> Float[Tensor, "batch {size} {size}"]:
    """Return each pixel's squared distance to the nearest drawn segment, in pixels².

    Exact, and differentiable in the end points. The nearest segment is sought without gradient; only
    its distance is then computed with gradient, so that the graph holds a few images a drawing however
    many segments there are.

    Args:
        start: where each segment begins, x and y in pixels.
        end: where it ends.
        drawn: whether the pen was on paper along it.
        size: side of the image in pixels.
        pixel_offset: centre of the first pixel: 0.5 as graphics libraries have it, 0 as the released
            code's pixel loss does.
        reach: pixels farther than this from every segment may be left unlooked at, with some greater
            distance or infinity.

    Returns:
        Infinity where a drawing has no drawn segment.
    """
    kernels = triton_module(KERNELS, start)
    if kernels is not None:
        which = kernels.nearest_segment(start.detach(), end.detach(), drawn, size, pixel_offset)
        return _distance_to(which, start, end, size, pixel_offset)
    pairs = near_pairs(start.detach(), end.detach(), drawn, size, pixel_offset, reach)
    if pairs is None:
        parts = [
            squared_distance(start[half], end[half], drawn[half], size, pixel_offset, reach)
            for half in _halves(len(drawn))
        ]
        return torch.cat(parts)
    pixel, segment = _nearest_segment(pairs, start.detach(), end.detach(), size)
    row = torch.div(pixel % size**2, size, rounding_mode="floor")
    centre = torch.stack([pixel % size, row], dim=-1) + pixel_offset
    tails, heads = (points.flatten(0, 1).index_select(0, segment) for points in (start, end))
    found = _point_segment(centre.to(start.dtype), tails, heads)
    image = torch.full((len(drawn) * size**2,), math.inf, dtype=start.dtype, device=start.device)
    return image.index_put((pixel,), found).reshape(len(drawn), size, size)


def _distance_to(
    which: Int[Tensor, "batch pixels"], start: Tensor, end: Tensor, size: int, pixel_offset: float | int
) -> Float[Tensor, "batch {size} {size}"]:
    """Return each pixel's squared distance to the segment of this number; infinity where it is negative."""
    place = torch.arange(size**2, device=start.device)
    row = torch.div(place, size, rounding_mode="floor")
    centre = torch.stack([place % size, row], dim=-1).to(start.dtype) + pixel_offset
    chosen = which.clamp_min(0).long().unsqueeze(-1).expand(-1, -1, 2)
    tails, heads = start.gather(1, chosen), end.gather(1, chosen)
    found = _point_segment(centre, tails, heads)
    image: Tensor = torch.where(which < 0, math.inf, found).view(-1, size, size)
    return image


@torch.no_grad()
def _nearest_segment(
    pairs: Pairs, start: Tensor, end: Tensor, size: int
) -> tuple[Int[Tensor, " near"], Int[Tensor, " near"]]:
    """Return the pixels that any segment is near, and for each the nearest segment (the first of equals)."""
    chord = end - start
    # The foot of the perpendicular lies at the share (offset · unit) of the chord, unit = chord / |chord|².
    unit = chord / (chord * chord).sum(-1, keepdim=True).clamp_min(1e-12)
    tail_x, tail_y, chord_x, chord_y, unit_x, unit_y = _segment_columns(
        pairs, *start.unbind(-1), *chord.unbind(-1), *unit.unbind(-1)
    )
    x, y = pairs.centre[0] - tail_x, pairs.centre[1] - tail_y
    along = (x * unit_x).addcmul_(y, unit_y).clamp_(0, 1)
    distance = torch.addcmul(x, along, chord_x, value=-1).square_()
    distance += torch.addcmul(y, along, chord_y, value=-1).square_()
    # The bits of a float that is not negative sort as it does. With the segment's number below them one
    # minimum finds both, and the same ones whatever the order in which threads come.
    key = (distance.view(torch.int32).long() << 32) | pairs.segment
    none = torch.iinfo(torch.int64).max
    best = torch.full((len(start) * size**2,), none, device=start.device).scatter_reduce_(
        0, pairs.pixel, key, "amin"
    )
    pixel = (best != none).nonzero().squeeze(-1)
    return pixel, best[pixel] & 0xFFFFFFFF


def _point_segment(point: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return squared distances, ``[*n]``, of points to segments, each ``[*n, 2]``."""
    chord, offset = end - start, point - start
    length = (chord * chord).sum(-1)
    along = ((offset * chord).sum(-1) / length.clamp_min(1e-12)).clamp(0, 1)
    # The foot is where the distance is least, so that its own movement adds nothing to the gradient.
    rest = offset - along.detach().unsqueeze(-1) * chord
    return (rest * rest).sum(-1)


def sigmoid_ink(
    distance_squared: Float[Tensor, "*batch h w"], power: Literal[1, 2] = 2
) -> Float[Tensor, "*batch h w"]:
    """Return the paper's ink, σ(2 - 5 d^power), at most 0.88.

    *Source*: equation 10 has the distance (power 1), the released code its square (power 2).

    Args:
        distance_squared: d², pixels².
        power: which of the two.
    """
    # The root has no slope at 0, so d is bounded away from it by a thousandth of a pixel.
    distance = distance_squared if power == 2 else torch.sqrt(distance_squared.clamp_min(1e-6))
    return torch.sigmoid(2 - 5 * distance)


def sigmoid_reach(power: Literal[1, 2]) -> float:
    """Return the distance in pixels from which :func:`sigmoid_ink` leaves no trace."""
    return float((FAINTEST / 5) ** (1 / power))


# ---- the pen -----------------------------------------------------------------------------------------


@torch.no_grad()
def draw_pen(
    stroke5: Float[Tensor, "batch n 5"],
    size: int = 28,
    width: float | int = 1.0,
    border: float | int | None = None,
) -> Float[Tensor, "batch {size} {size}"]:
    """Draw stroke-5 rows with the one-pixel pen: the model's input, as ink 1 on paper 0.

    *Source*: paper appendix H.1; the released code's preparation (28 px, 3-px margin, 1-px line with
    butt caps, drawn by CairoSVG). Has no gradient.

    Args:
        stroke5: rows in any unit; row 0 is the start token, at the first point.
        size: side of the image in pixels.
        width: line width in pixels.
        border: margin in pixels on each side; :func:`margin` of the size if not given.
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
    """Return how much of each pixel is covered by lines, 0 to 1: how CairoSVG, the oracle, draws them.

    One segment's share of one pixel is a product of two: across the line that of a strip of its width,
    exactly, and along it that of its length.

    Args:
        start: where each segment begins, x and y in pixels, a pixel's centre being at one half.
        end: where it ends; the next segment, if drawn, goes on from there.
        drawn: whether the pen was on paper along it.
        size: side of the image in pixels.
        width: line width in pixels.
    """
    reach = width / 2 + 0.71  # a pixel's corner is 0.71 from its centre
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
    # Where another segment joins, a line is longer by half its width: together they fill the corner.
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

    # Two lines in one pixel cover at least as much as the larger of them and at most their sum; which it
    # is, only their overlap could tell, and the middle is closest on real drawings.
    paper = alone.new_zeros(len(drawn) * size**2)
    least = paper.scatter_reduce(0, pairs.pixel, corner, "amax")
    most = paper.scatter_add_(0, pairs.pixel, alone).clamp_max_(1)
    return least.add_(most).mul_(0.5).reshape(len(drawn), size, size).to(start.dtype)


def _strip_coverage(across: Tensor, side_x: Tensor, side_y: Tensor, width: float | int) -> Tensor:
    """Return the area of unit squares within an infinite strip.

    Args:
        across: distance of the square's centre from the strip's middle line.
        side_x: |cos| of the strip's angle, so the breadth of the square's shadow across the strip is
            that of two uniform numbers, of widths side_x and side_y, added.
        side_y: |sin| of it.
        width: of the strip.
    """
    # A shadow of no breadth would divide by zero; a hundredth of a pixel is nothing to see.
    side_x, side_y = side_x.clamp_min(1e-2), side_y.clamp_min(1e-2)
    outer, inner = (side_x + side_y) / 2, (side_x - side_y) / 2

    def twice_below(edge: Tensor) -> Tensor:
        ramps = (edge + outer).relu_().square_() - (edge + inner).relu_().square_()
        return ramps.sub_((edge - inner).relu_().square_()).add_((edge - outer).relu_().square_())

    area = twice_below(across + width / 2).sub_(twice_below(across - width / 2))
    return area.div_(2 * side_x * side_y).clamp_(0, 1)


def _length_coverage(along: Tensor, length: Tensor) -> Tensor:
    """Return the share of unit intervals, centred at `along`, that lies between 0 and `length`."""
    return (along + 0.5).clamp_(0, 1).sub_((along - length).add_(0.5).clamp_(0, 1))
