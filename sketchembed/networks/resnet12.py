"""ResNet-12, the encoder of the paper's better drawings."""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sketchembed.networks.conv4 import Pool, batch_norm, convolution_block, init_convolutions, normalised


class ResidualBlock(nn.Module):
    """Three 3 × 3 convolutions with a 1 × 1 shortcut, then 2 × 2 max pooling and ReLU.

    *Source*: the released code. Unlike other ResNet-12 blocks, it also applies a ReLU after the third
    convolution, before the sum, and its pooling rounds odd sides up.
    """

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (channels, filters, filters):
            layers += convolution_block(inputs, filters)
        self.residual = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(normalised(nn.Conv2d(channels, filters, 1)), batch_norm(filters))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, image: Tensor) -> Tensor:
        """Return the feature map of the block, at half the side."""
        return torch.relu(self.pool(self.residual(image) + self.shortcut(image)))


class ResNet12(nn.Module):
    """Four residual blocks, then global average pooling.

    *Source*: Oreshkin et al. 2018; paper appendix B.

    Args:
        channels: channels of the image.
        width: filters of the first block, doubled by each next one; the paper has 64 (64 to 512).
        pool: ``"mean"`` averages the last feature map, as in the paper. ``"flatten"`` keeps its positions:
            6 × 6 at 84 pixels, 3 × 3 at 42, 2 × 2 at 28.
        size: side of the image in pixels.
    """

    features: int

    def __init__(self, channels: int = 1, width: int = 64, pool: Pool = "mean", size: int = 28) -> None:
        super().__init__()
        filters = [width, 2 * width, 4 * width, 8 * width]
        blocks = itertools.starmap(ResidualBlock, itertools.pairwise([channels, *filters]))
        self.blocks = nn.Sequential(*blocks)
        self.pool = pool
        self.features = filters[-1] if pool == "mean" else filters[-1] * math.ceil(size / 16) ** 2
        init_convolutions(self)

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """Return the features of images in [0, 1]."""
        out: Tensor = self.blocks(image)
        return out.mean(dim=(-2, -1)) if self.pool == "mean" else out.flatten(1)
