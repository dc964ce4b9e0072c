"""The four-layer CNN of few-shot learning."""

from __future__ import annotations

import copy
import itertools
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sketchembed.networks.batch_norm import BatchNorm2d

Module = TypeVar("Module", bound=nn.Module)
Convolution = TypeVar("Convolution", nn.Conv2d, nn.ConvTranspose2d)
Pool = Literal["mean", "flatten"]


def batch_norm(channels: int) -> BatchNorm2d:
    """Return Keras' batch norm, which the released code uses: its momentum of 0.99 is PyTorch's 0.01."""
    return BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def normalised(convolution: Convolution) -> Convolution:
    """Return a convolution that batch norm follows, with a bias that stays what it is.

    Batch norm takes a bias out again, so its gradient is nothing but rounding errors, of which Adam makes
    steps as large as any.
    """
    assert convolution.bias is not None
    convolution.bias.requires_grad_(False)
    return convolution


def init_convolutions(network: nn.Module) -> None:
    """Start every convolution as Keras does: Glorot's normal distribution, and no bias."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Conv4(nn.Module):
    """Four blocks of convolution, batch norm, ReLU and max pooling, then global average pooling.

    *Source*: Vinyals et al. 2016; paper appendix B.

    Args:
        channels: of the image.
        width: filters of each block; the paper's 64.
        pool: ``"mean"`` averages the last feature map, as the released code; ``"flatten"`` keeps its
            places apart: 5 × 5 of them at 84 pixels. At 28 pixels the fourth max pooling would leave a
            single one, so it is left out there, which gives 3 × 3.
        size: side of the image in pixels, which ``"flatten"`` must know.
    """

    features: int

    def __init__(self, channels: int = 1, width: int = 64, pool: Pool = "mean", size: int = 28) -> None:
        """Build and initialise the layers."""
        super().__init__()
        blocks: list[nn.Module] = []
        pools = 4 if pool == "mean" or size >= 32 else 3
        for number in range(4):
            blocks += [
                normalised(nn.Conv2d(channels if number == 0 else width, width, 3, padding=1)),
                batch_norm(width),
                nn.ReLU(inplace=True),
            ]
            if number < pools:
                blocks.append(nn.MaxPool2d(2))
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1) if pool == "mean" else nn.Identity()
        self.features = width if pool == "mean" else width * (size // 2**pools) ** 2
        init_convolutions(self)
        # Channels last in memory: on a CPU twice as fast.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """Return the features of images in [0, 1]."""
        image = image.contiguous(memory_format=torch.channels_last)
        out: Tensor = self.pool(self.blocks(image)).flatten(1)
        return out


def for_inference(network: Module) -> Module:
    """Return a copy of a network with the batch norms of its Conv4s folded into the convolutions.

    A CPU then embeds in two thirds of the time; the outputs are the same to rounding.

    Args:
        network: in evaluation mode.
    """
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, Conv4):
            layers = list(module.blocks)
            for at, (before, layer) in enumerate(itertools.pairwise(layers)):
                if isinstance(before, nn.Conv2d) and isinstance(layer, nn.BatchNorm2d):
                    layers[at : at + 2] = [fuse_conv_bn_eval(before, layer), nn.Identity()]
            module.blocks = nn.Sequential(*layers)
    return network
