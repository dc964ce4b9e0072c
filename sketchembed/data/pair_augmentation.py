"""Augmentation of photos together with their drawings, on the device.

Off in the paper's configuration, whose 56,000 pairs a user seldom has. What moves the photo moves the drawing
with it; the colours are the photo's alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sketchembed.data.shared_random import uniform

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue contribute to brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class PairAugmentation:
    """How far pairs are changed at random; every default is off.

    Attributes:
        rotation: largest angle either way, in degrees.
        scale: largest change of size, as a factor minus one: 0.2 gives 1/1.2 to 1.2. What leaves the frame
            is cropped from the photo and stays in the drawing.
        shift: largest shift of the photo in it, either way, as a part of its side; a drawing has no place
            of its own.
        flip: chance of a left-right mirror image.
        colour: largest change of brightness, contrast and saturation, each as a factor minus one.
        grey: chance that the photo loses its colours.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    flip: float = 0.0
    colour: float = 0.0
    grey: float = 0.0

    def __call__(
        self,
        photo: Float[Tensor, "batch 3 size size"],
        stroke5: Float[Tensor, "batch n 5"],
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "batch 3 size size"], Float[Tensor, "batch n 5"]]:
        """Return changed photos and drawings; the pen's states stay.

        Args:
            photo: values in [0, 1].
            stroke5: rows with their start token, in normalised units.
            generator: source of randomness, on the photos' device.
        """
        chances = uniform((9, len(photo)), generator, photo, batch_dim=1) * 2 - 1
        if self.rotation or self.scale or self.shift or self.flip:
            matrix = self._matrices(chances[:3])
            photo = moved(photo, matrix, chances[3:5].T * (2 * self.shift))
            # Not a matrix product, which autocast would take to 16 bits.
            offsets = (matrix.unsqueeze(1) * stroke5[..., None, :2]).sum(-1)
            stroke5 = torch.cat([offsets, stroke5[..., 2:]], dim=-1)
        if self.colour or self.grey:
            photo = self._recoloured(photo, chances[5:])
        return photo, stroke5

    def _matrices(self, chances: Float[Tensor, "3 batch"]) -> Float[Tensor, "batch 2 2"]:
        """Return what x and y are multiplied with: mirror, then turn and size."""
        angle, size, flip = chances
        size = torch.exp(size * math.log1p(self.scale))
        cosine = size * (angle * math.radians(self.rotation)).cos()
        sine = size * (angle * math.radians(self.rotation)).sin()
        mirror = torch.where(flip < 2 * self.flip - 1, -1.0, 1.0)
        first, second = torch.stack([mirror * cosine, -sine], -1), torch.stack([mirror * sine, cosine], -1)
        return torch.stack([first, second], dim=-2)

    def _recoloured(self, photo: Tensor, chances: Float[Tensor, "4 batch"]) -> Tensor:
        brightness, contrast, saturation = (1 + self.colour * chances[:3])[..., None, None, None]
        photo = photo * brightness
        luma = (photo * photo.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
        photo = luma + saturation * (photo - luma)
        photo = torch.where((chances[3] < 2 * self.grey - 1)[:, None, None, None], luma, photo)
        middle = luma.mean(dim=(2, 3), keepdim=True)
        out: Tensor = (middle + contrast * (photo - middle)).clamp(0, 1)
        return out


def moved(
    photo: Float[Tensor, "batch 3 size size"],
    matrix: Float[Tensor, "batch 2 2"],
    shift: Float[Tensor, "batch 2"],
) -> Float[Tensor, "batch 3 size size"]:
    """Return photos moved about their centre; what comes into the frame mirrors what is at its edge.

    Args:
        photo: any values.
        matrix: a point p of the photo, from its centre, comes to lie at matrix · p + shift.
        shift: of each photo; the photo's side is 2.
    """
    # The sampling grid asks the other way round: which point of the photo comes to lie here?
    back: Tensor = torch.linalg.inv(matrix)
    place = torch.cat([back, -(back * shift[:, None]).sum(-1, keepdim=True)], dim=-1)
    grid = functional.affine_grid(place, list(photo.shape), align_corners=False)
    out: Tensor = functional.grid_sample(photo, grid, padding_mode="reflection", align_corners=False)
    return out
