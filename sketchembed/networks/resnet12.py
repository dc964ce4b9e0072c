"""The residual CNN of the paper's better drawings."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sketchembed.networks.conv4 import Pool, batch_norm, init_convolutions, normalised


class ResidualBlock(nn.Module):
    """Three 3 × 3 convolutions beside a 1 × 1 shortcut, then 2 × 2 max pooling and ReLU.

    *Source*: the released code's block, which unlike others of the name has a ReLU after the third
    convolution too, before the sum, and pools so that an odd side is rounded up.
    """

    def __init__(self, channels: int, filters: int) -> None:
        """Build the layers."""
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(3):
            inputs = channels if number == 0 else filters
            layers += [
                normalised(nn.Conv2d(inputs, filters, 3, padding=1)),
                batch_norm(filters),
                nn.ReLU(inplace=True),
            ]
        self.residual = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(normalised(nn.Conv2d(channels, filters, 1)), batch_norm(filters))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, image: Tensor) -> Tensor:
        """Return the block's feature map, half the side."""
        return torch.relu(self.pool(self.residual(image) + self.shortcut(image)))


class ResNet12(nn.Module):
    """Four residual blocks, then global average pooling.

    *Source*: Oreshkin et al. 2018; paper appendix B.

    Args:
        channels: of the image.
        width: filters of the first block, doubled by each next one; the paper's 64 (64 to 512).
        pool: ``"mean"`` averages the last feature map, as the paper's; ``"flatten"`` keeps its places apart,
            6 × 6 of them at 84 pixels, 3 × 3 at 42, 2 × 2 at 28.
        size: side of the image in pixels, which ``"flatten"`` must know.
    """

    features: int

    def __init__(self, channels: int = 1, width: int = 64, pool: Pool = "mean", size: int = 28) -> None:
        """Build and initialise the layers."""
        super().__init__()
        filters = [width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(before, after)
                for before, after in zip([channels, *filters], filters, strict=False)
            )
        )
        self.pool = pool
        self.features = filters[-1] if pool == "mean" else filters[-1] * math.ceil(size / 16) ** 2
        init_convolutions(self)

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """Return the features of images in [0, 1]."""
        out: Tensor = self.blocks(image)
        return out.mean(dim=(-2, -1)) if self.pool == "mean" else out.flatten(1)
