"""Augmentation of drawings on the device, before the raster: free, since the image is drawn after it.

Off in the paper's configuration. Every change is to the strokes, so image and target stay a pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.data.shared_random import normal, uniform


@dataclass(frozen=True)
class Augmentation:
    """How far drawings are changed at random; every default is off.

    Rotation, scale and shear leave the larger side of a drawing as it was.

    Attributes:
        rotation: largest angle either way, in degrees.
        scale: largest stretch of each axis, as a factor minus one: 0.2 gives 1/1.2 to 1.2.
        shear: largest shear of x by y.
        jitter: standard deviation of the noise on each offset, in normalised units.
        flip: chance of a left-right mirror image.
        reorder: chance that the strokes are drawn in a random order.
        reverse: chance that each stroke is drawn from its other end.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    jitter: float = 0.0
    flip: float = 0.0
    reorder: float = 0.0
    reverse: float = 0.0

    @property
    def active(self) -> bool:
        """Whether anything is switched on."""
        return any(value > 0 for value in vars(self).values())

    def __call__(
        self, stroke5: Float[Tensor, "batch n 5"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch n 5"]:
        """Return changed drawings; lengths, ends and start tokens stay.

        Args:
            stroke5: rows with their start token, in normalised units.
            generator: source of randomness, on the drawings' device.
        """
        if self.reorder > 0 or self.reverse > 0:
            stroke5 = self._resequence(stroke5, generator)
        if self.rotation or self.scale or self.shear or self.flip:
            matrix = self._matrices(stroke5, generator)
            offsets = _product(stroke5[..., :2], matrix)
            # The image is scaled to the drawing's larger side, so a change of size would be a change of
            # the strokes that the image does not show.
            offsets = offsets * (_side(stroke5[..., :2]) / _side(offsets).clamp_min(1e-6))[:, None, None]
            stroke5 = torch.cat([offsets, stroke5[..., 2:]], dim=-1)
        if self.jitter > 0:
            noise = normal(stroke5[..., :2].shape, generator, stroke5) * self.jitter
            real = stroke5[..., 4:] < 0.5
            real[:, 0] = False
            stroke5 = torch.cat([stroke5[..., :2] + noise * real, stroke5[..., 2:]], dim=-1)
        return stroke5

    def _matrices(self, like: Tensor, generator: torch.Generator | None) -> Float[Tensor, "batch 2 2"]:
        angle, x, y, shear, flip = uniform((5, len(like)), generator, like, batch_dim=1) * 2 - 1
        angle = angle * math.radians(self.rotation)
        cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        turn = torch.stack([torch.stack([cosine, sine], -1), torch.stack([-sine, cosine], -1)], -2)
        widen = torch.exp(x * math.log1p(self.scale)) * torch.where(flip < 2 * self.flip - 1, -1.0, 1.0)
        heighten = torch.exp(y * math.log1p(self.scale))
        shear = shear * self.shear
        slant = torch.stack([torch.stack([widen, zero], -1), torch.stack([shear, heighten], -1)], -2)
        return _product(slant, turn)

    def _resequence(self, stroke5: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw the same lines in another order: a permutation of points, and new offsets between them."""
        batch, rows = stroke5.shape[:2]
        points = stroke5[..., :2].cumsum(1)
        lifted, ended = stroke5[..., 3] > 0.5, stroke5[..., 4] > 0.5
        number = torch.cat([lifted.new_zeros(batch, 1), lifted[:, :-1]], dim=1).cumsum(1)
        number = number.masked_fill(ended, rows)

        def chance(probability: float, size: tuple[int, ...]) -> Tensor:
            return uniform(size, generator, stroke5) < probability

        rank = uniform((batch, rows + 1), generator, stroke5)
        straight = torch.arange(rows + 1, device=stroke5.device, dtype=rank.dtype) / (rows + 1)
        # A stroke of one point goes after the others: as the first its lift would be lost to the start token.
        sizes = number.new_zeros(batch, rows + 1).scatter_add_(1, number, torch.ones_like(number))
        rank = torch.where(chance(self.reorder, (batch, 1)), rank + (sizes == 1), straight)
        rank[:, rows] = 3.0  # what lies past the end stays there
        turned = chance(self.reverse, (batch, rows + 1)).gather(1, number) & ~ended
        place = torch.arange(rows, device=stroke5.device).expand(batch, rows)
        place = torch.where(turned, -place, place)
        # Two stable sorts: by place within the stroke, then by the stroke's rank.
        first = place.argsort(dim=1, stable=True)
        second = rank.gather(1, number).gather(1, first).argsort(dim=1, stable=True)
        order = first.gather(1, second)
        moved = points.gather(1, order.unsqueeze(-1).expand(-1, -1, 2))
        offsets = torch.diff(moved, dim=1, prepend=moved[:, :1]).masked_fill(ended.unsqueeze(-1), 0.0)
        # A stroke's last point in the new order lifts the pen; so does the drawing's last.
        owner = number.gather(1, order)
        lift = torch.cat([owner[:, 1:] != owner[:, :-1], lifted.new_ones(batch, 1)], dim=1) & ~ended
        pen = torch.stack([~lift & ~ended, lift, ended], dim=-1).to(stroke5.dtype)
        pen[:, 0] = pen.new_tensor([1.0, 0.0, 0.0])
        return torch.cat([offsets, pen], dim=-1)


def _product(
    rows: Float[Tensor, "batch n 2"], matrix: Float[Tensor, "batch 2 2"]
) -> Float[Tensor, "batch n 2"]:
    # Not a matrix product, which autocast would take to 16 bits.
    return (rows.unsqueeze(-1) * matrix.unsqueeze(1)).sum(-2)


def _side(offsets: Float[Tensor, "batch n 2"]) -> Float[Tensor, " batch"]:
    """Return the larger side of each drawing's box."""
    points = offsets.cumsum(dim=1)
    return (points.amax(dim=1) - points.amin(dim=1)).amax(dim=-1)
