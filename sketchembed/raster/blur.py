"""Gaussian blur of the pixel loss."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


class GaussianBlur(torch.nn.Module):
    """Separable Gaussian blur with a normalised kernel and zero padding, g of equation 4.

    Args:
        sigma: standard deviation in pixels; 2 in the paper.
        radius: of the kernel in pixels; 2 for the released code's 5 × 5 kernel, None for four sigma.
    """

    kernel: Tensor

    def __init__(self, sigma: float | int = 2.0, radius: int | None = 2) -> None:
        """Compute the kernel in float64."""
        super().__init__()
        radius = math.ceil(4 * sigma) if radius is None else radius
        place = torch.arange(-radius, radius + 1, dtype=torch.float64)
        weight = torch.exp(-0.5 * (place / sigma) ** 2)
        self.register_buffer("kernel", (weight / weight.sum()).float(), persistent=False)

    def forward(self, image: Float[Tensor, "batch h w"]) -> Float[Tensor, "batch h w"]:
        """Blur each image in its own precision, also under autocast."""
        rows, columns = (self._band(side, image) for side in image.shape[-2:])
        with torch.autocast(image.device.type, enabled=False):
            return rows @ image @ columns

    def _band(self, side: int, like: Tensor) -> Tensor:
        """Return the blur of one axis as a matrix, ``[side, side]``.

        For small images, and especially for their gradient, a matrix product is several times as fast as a
        convolution with a single channel.
        """
        radius = len(self.kernel) // 2
        place = torch.arange(side, device=like.device)
        gap = (place.unsqueeze(0) - place.unsqueeze(1)).abs()
        weight = self.kernel.to(like.device, like.dtype)[radius:][gap.clamp_max(radius)]
        return weight.masked_fill(gap > radius, 0.0)
