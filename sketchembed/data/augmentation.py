"""Random changes of drawings, and of photos with their drawings, on the device.

Off in the paper's configuration. Images are rendered from the changed strokes, so they match their targets.
Changes of a photo's geometry are applied to its drawing too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sketchembed.data.batch_random import normal, uniform

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in the luma (ITU-R BT.601)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of drawings; all are off by default.

    Rotation, scale and shear preserve the longer side of a drawing.

    Attributes:
        rotation: maximum angle in either direction, in degrees.
        scale: maximum scaling of each axis, as a factor minus one: 0.2 means 1/1.2 to 1.2.
        shear: maximum shear of x by y.
        jitter: standard deviation of the noise on each offset, in normalised units.
        flip: probability of mirroring left to right.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    jitter: float = 0.0
    flip: float = 0.0

    def __call__(
        self, stroke5: Float[Tensor, "batch n 5"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch n 5"]:
        """Return changed drawings with the same pen states; rows begin with their start token."""
        if self.rotation or self.scale or self.shear or self.flip:
            matrix = self._matrices(stroke5, generator)
            offsets = _multiply(stroke5[..., :2], matrix)
            # An image is scaled to the drawing's longer side, so it would not show a change of that side.
            offsets = offsets * (_side(stroke5[..., :2]) / _side(offsets).clamp_min(1e-6))[:, None, None]
            stroke5 = torch.cat([offsets, stroke5[..., 2:]], dim=-1)
        if self.jitter > 0:
            noise = normal(stroke5[..., :2].shape, generator, stroke5) * self.jitter
            real = stroke5[..., 4:] < 0.5
            real[:, 0] = False
            stroke5 = torch.cat([stroke5[..., :2] + noise * real, stroke5[..., 2:]], dim=-1)
        return stroke5

    def _matrices(self, like: Tensor, generator: torch.Generator | None) -> Float[Tensor, "batch 2 2"]:
        """Return matrices for row vectors: scale, mirror and shear, then rotate."""
        angle, x, y, shear, flip = uniform((5, len(like)), generator, like, batch_dim=1) * 2 - 1
        angle = angle * math.radians(self.rotation)
        cosine, sine = angle.cos(), angle.sin()
        width = torch.exp(x * math.log1p(self.scale)) * torch.where(flip < 2 * self.flip - 1, -1.0, 1.0)
        height = torch.exp(y * math.log1p(self.scale))
        stretch = _stack(width, torch.zeros_like(width), shear * self.shear, height)
        return _multiply(stretch, _stack(cosine, sine, -sine, cosine))


@dataclass(frozen=True)
class PairAugmentation:
    """Random changes of photos with their drawings; all are off by default.

    Attributes:
        rotation: maximum angle in either direction, in degrees.
        scale: maximum scaling, as a factor minus one: 0.2 means 1/1.2 to 1.2. Parts that leave the frame are
            cropped from the photo but stay in the drawing.
        shift: maximum shift of the photo in either direction, as a fraction of its side; the drawing stays.
        flip: probability of mirroring left to right.
        colour: maximum change of the photo's brightness, contrast and saturation, as factors minus one.
        grey: probability of making the photo grey.
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
        """Return changed photos in [0, 1], and changed drawings with the same pen states."""
        chances = uniform((9, len(photo)), generator, photo, batch_dim=1) * 2 - 1
        if self.rotation or self.scale or self.shift or self.flip:
            matrix = self._matrices(chances[:3])
            photo = transform_photos(photo, matrix, chances[3:5].T * (2 * self.shift))
            stroke5 = torch.cat([_multiply(stroke5[..., :2], matrix.mT), stroke5[..., 2:]], dim=-1)
        if self.colour or self.grey:
            photo = self._recolour(photo, chances[5:])
        return photo, stroke5

    def _matrices(self, chances: Float[Tensor, "3 batch"]) -> Float[Tensor, "batch 2 2"]:
        """Return matrices for column vectors: mirror, then rotate and scale."""
        angle, size, flip = chances
        size = torch.exp(size * math.log1p(self.scale))
        cosine = size * (angle * math.radians(self.rotation)).cos()
        sine = size * (angle * math.radians(self.rotation)).sin()
        mirror = torch.where(flip < 2 * self.flip - 1, -1.0, 1.0)
        return _stack(mirror * cosine, -sine, mirror * sine, cosine)

    def _recolour(self, photo: Tensor, chances: Float[Tensor, "4 batch"]) -> Tensor:
        brightness, contrast, saturation = (1 + self.colour * chances[:3])[..., None, None, None]
        photo = photo * brightness
        luma = (photo * photo.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
        photo = luma + saturation * (photo - luma)
        photo = torch.where((chances[3] < 2 * self.grey - 1)[:, None, None, None], luma, photo)
        mean = luma.mean(dim=(2, 3), keepdim=True)
        out: Tensor = (mean + contrast * (photo - mean)).clamp(0, 1)
        return out


def transform_photos(
    photo: Float[Tensor, "batch 3 size size"],
    matrix: Float[Tensor, "batch 2 2"],
    shift: Float[Tensor, "batch 2"],
) -> Float[Tensor, "batch 3 size size"]:
    """Apply an affine map to each photo, with reflection padding.

    Args:
        photo: any values.
        matrix: linear part. A point p, relative to the centre, moves to matrix · p + shift.
        shift: translation, in units in which the side of a photo is 2.
    """
    # grid_sample needs the inverse map, from the points of the result to those of the photo.
    inverse: Tensor = torch.linalg.inv(matrix)
    theta = torch.cat([inverse, -(inverse * shift[:, None]).sum(-1, keepdim=True)], dim=-1)
    grid = functional.affine_grid(theta, list(photo.shape), align_corners=False)
    out: Tensor = functional.grid_sample(photo, grid, padding_mode="reflection", align_corners=False)
    return out


def _stack(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Float[Tensor, "batch 2 2"]:
    """Return the matrices ``[[a, b], [c, d]]``."""
    return torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)


def _multiply(
    rows: Float[Tensor, "batch n 2"], matrix: Float[Tensor, "batch 2 2"]
) -> Float[Tensor, "batch n 2"]:
    """Return ``rows @ matrix`` in full precision: autocast would compute a matrix product in 16 bits."""
    return (rows.unsqueeze(-1) * matrix.unsqueeze(1)).sum(-2)


def _side(offsets: Float[Tensor, "batch n 2"]) -> Float[Tensor, " batch"]:
    """Return the longer side of the bounding box of each drawing."""
    points = offsets.cumsum(dim=1)
    return (points.amax(dim=1) - points.amin(dim=1)).amax(dim=-1)
