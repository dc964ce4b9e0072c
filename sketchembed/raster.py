"""Strokes to pixels: one point-to-segment distance, two inks, and the blur.

*Source*: paper appendix A, equations 6 to 10. The *sigmoid* ink is the paper's differentiable one; the
*pen* ink draws a line of one pixel, as CairoSVG drew the paper's inputs.

Images are ``[batch, H, W]`` with row = y (down) and column = x; ink is 1 on paper of 0.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

SEGMENT_CHUNK = 8
"""Segments compared at a time in the search for the nearest: memory grows with this, not with T."""


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
    def fit(cls, points: Float[Tensor, "batch n 2"], present: Bool[Tensor, "batch n"], size: int, margin: float) -> Canvas:
        """Scale and centre each drawing by the box around its points.

        Args:
            points: absolute points, in any unit.
            present: which of them belong to the drawing.
            size: side of the square canvas in pixels.
            margin: empty border on each side in pixels.
        """
        inside = present.unsqueeze(-1)
        low = points.masked_fill(~inside, math.inf).amin(dim=1)
        high = points.masked_fill(~inside, -math.inf).amax(dim=1)
        extent = (high - low).amax(dim=-1)
        scale = torch.where(extent > 0, (size - 2 * margin) / extent.clamp_min(1e-12), torch.ones_like(extent))
        return cls(scale, size / 2 - (low + high) / 2 * scale.unsqueeze(-1))

    def place(self, points: Float[Tensor, "batch n 2"]) -> Float[Tensor, "batch n 2"]:
        """Return the points in pixels."""
        return points * self.scale[:, None, None] + self.shift[:, None, :]


def margin(size: int) -> int:
    """Return the border in pixels that the released code leaves on each side: 3 at 28, 8 at 84."""
    return round(size / 10)


def absolute_points(stroke5: Float[Tensor, "batch n 5"]) -> Float[Tensor, "batch n 2"]:
    """Return the absolute points of stroke-5 rows (equation 6), in the unit of the offsets."""
    return stroke5[..., :2].cumsum(dim=1)


def squared_distance(
    start: Float[Tensor, "batch n 2"],
    end: Float[Tensor, "batch n 2"],
    drawn: Bool[Tensor, "batch n"],
    size: int,
    pixel_offset: float,
) -> Float[Tensor, "batch size size"]:
    """Return each pixel's squared distance to the nearest drawn segment, in pixels².

    Exact, and differentiable in the end points. The nearest segment is sought without gradient, a few
    segments at a time; only its distance is then computed with gradient, so that memory is a few
    images a drawing however many segments there are.

    Args:
        start: where each segment begins, x and y in pixels.
        end: where it ends.
        drawn: whether the pen was on paper along it.
        size: side of the image in pixels.
        pixel_offset: centre of the first pixel: 0.5 as graphics libraries have it, 0 as the released
            code's pixel loss does.

    Returns:
        Infinity where a drawing has no drawn segment.
    """
    nearest, any_drawn = _nearest_segment(start.detach(), end.detach(), drawn, size, pixel_offset)
    index = nearest.flatten(1).unsqueeze(-1).expand(-1, -1, 2)
    pixels = _pixel_centres(size, pixel_offset, start).reshape(1, -1, 2)
    distance = _point_segment(pixels, start.gather(1, index), end.gather(1, index))
    return distance.masked_fill(~any_drawn[:, None], math.inf).reshape(-1, size, size)


def _pixel_centres(size: int, offset: float, like: Tensor) -> Float[Tensor, "size size 2"]:
    line = torch.arange(size, dtype=like.dtype, device=like.device) + offset
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([columns, rows], dim=-1)


def _point_segment(point: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return squared distances; the last axis is x, y, the others broadcast."""
    chord, offset = end - start, point - start
    length = (chord * chord).sum(-1)
    along = ((offset * chord).sum(-1) / length.clamp_min(1e-12)).clamp(0, 1)
    rest = offset - along.unsqueeze(-1) * chord
    return (rest * rest).sum(-1)


@torch.no_grad()
def _nearest_segment(
    start: Tensor, end: Tensor, drawn: Tensor, size: int, pixel_offset: float
) -> tuple[Int[Tensor, "batch size size"], Bool[Tensor, " batch"]]:
    pixels = _pixel_centres(size, pixel_offset, start)
    x, y = pixels[None, None, 0, :, 0], pixels[None, None, :, 0, 1]  # [1, 1, size] each
    batch = start.shape[0]
    best = torch.full((batch, size, size), math.inf, dtype=start.dtype, device=start.device)
    index = torch.zeros((batch, size, size), dtype=torch.int64, device=start.device)
    for first in range(0, start.shape[1], SEGMENT_CHUNK):
        part = slice(first, first + SEGMENT_CHUNK)
        chord = end[:, part] - start[:, part]
        length = (chord * chord).sum(-1).clamp_min(1e-12)
        dx, dy = x - start[:, part, :1], y - start[:, part, 1:]  # [batch, chunk, size]
        # The foot's place along the chord is a sum of a part of x and a part of y: never a product of grids.
        along = (dy * (chord[..., 1:] / length[..., None])).unsqueeze(-1) + (
            dx * (chord[..., :1] / length[..., None])
        ).unsqueeze(-2)
        along.clamp_(0, 1)
        square = (dx.unsqueeze(-2) - along * chord[..., 0, None, None]).square_()
        square += (dy.unsqueeze(-1) - along * chord[..., 1, None, None]).square_()
        square.masked_fill_(~drawn[:, part, None, None], math.inf)
        value, at = square.min(dim=1)
        closer = value < best
        best = torch.where(closer, value, best)
        index = torch.where(closer, at + first, index)
    return index, drawn.any(dim=1)


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


def pen_ink(distance_squared: Float[Tensor, "*batch h w"], width: float = 1.0) -> Float[Tensor, "*batch h w"]:
    """Return the coverage of pixels by a line: how CairoSVG, the oracle, draws it.

    Args:
        distance_squared: d², pixels², to pixel centres at one half.
        width: line width in pixels.
    """
    return (0.5 + width / 2 - distance_squared.sqrt()).clamp(0, min(1.0, width))


def draw_pen(
    stroke5: Float[Tensor, "batch n 5"], size: int = 28, width: float = 1.0, border: float | None = None
) -> Float[Tensor, "batch size size"]:
    """Draw stroke-5 rows with the one-pixel pen: the model's input, as ink 1 on paper 0.

    *Source*: paper appendix H.1; the released code's preparation (28 px, 3-px margin, 1-px line).

    Args:
        stroke5: rows in any unit; row 0 is the start token, at the first point.
        size: side of the image in pixels.
        width: line width in pixels.
        border: margin in pixels on each side; :func:`margin` of the size if not given.
    """
    points = absolute_points(stroke5)
    canvas = Canvas.fit(points, stroke5[..., 4] < 0.5, size, margin(size) if border is None else border)
    placed = canvas.place(points)
    drawn = pen_down(stroke5)
    return pen_ink(squared_distance(placed[:, :-1], placed[:, 1:], drawn, size, 0.5), width)


def pen_down(stroke5: Float[Tensor, "batch n 5"]) -> Bool[Tensor, "batch n-1"]:
    """Return for each segment, from row t-1 to row t, whether it is drawn (equation 10).

    It is when the pen is on paper after row t-1 and the drawing has not ended by row t.
    """
    ended = (stroke5[..., 4] > 0.5).cummax(dim=1).values
    return (stroke5[:, :-1, 2] > 0.5) & ~ended[:, 1:]


class GaussianBlur(torch.nn.Module):
    """The blur g of equation 4: a normalised Gaussian, zero padded, one axis after the other.

    Args:
        sigma: standard deviation in pixels; the paper's 2.
        radius: half the kernel; 2 gives the released code's 5 × 5, and None four sigma.
    """

    kernel: Tensor

    def __init__(self, sigma: float = 2.0, radius: int | None = 2) -> None:
        super().__init__()
        radius = math.ceil(4 * sigma) if radius is None else radius
        place = torch.arange(-radius, radius + 1, dtype=torch.float64)
        weight = torch.exp(-0.5 * (place / sigma) ** 2)
        self.register_buffer("kernel", (weight / weight.sum()).float(), persistent=False)

    def forward(self, image: Float[Tensor, "batch h w"]) -> Float[Tensor, "batch h w"]:
        """Blur each image."""
        kernel = self.kernel.to(image.dtype)
        radius = len(kernel) // 2
        rows = functional.conv2d(image.unsqueeze(1), kernel.reshape(1, 1, -1, 1), padding=(radius, 0))
        return functional.conv2d(rows, kernel.reshape(1, 1, 1, -1), padding=(0, radius)).squeeze(1)
