"""The four-layer CNN that few-shot learning uses."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sketchembed.networks.batch_norm import BatchNorm2d
from sketchembed.networks.network import NetworkConfig
from sketchembed.networks.norm_pool import run_layers

Module = TypeVar("Module", bound=nn.Module)
Convolution = TypeVar("Convolution", nn.Conv2d, nn.ConvTranspose2d)
Pool = Literal["mean", "flatten"]


def batch_norm(channels: int) -> BatchNorm2d:
    """Return batch norm with Keras' defaults, as in the released code (Keras' momentum 0.99 is 0.01 here)."""
    return BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def normalised(convolution: Convolution) -> Convolution:
    """Freeze the bias of a convolution that batch norm follows.

    Batch norm subtracts the bias again. Its gradient is rounding error, which Adam would scale to full steps.
    """
    assert convolution.bias is not None
    convolution.bias.requires_grad_(False)
    return convolution


def convolution_block(inputs: int, outputs: int) -> list[nn.Module]:
    """Return a 3 × 3 convolution, batch norm and ReLU."""
    convolution = normalised(nn.Conv2d(inputs, outputs, 3, padding=1))
    return [convolution, batch_norm(outputs), nn.ReLU(inplace=True)]


def init_convolutions(network: nn.Module) -> None:
    """Initialise every convolution as Keras does: Glorot's normal distribution, bias 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@dataclass(frozen=True)
class Conv4Config(NetworkConfig):
    """The sizes of a network that consists of a Conv4.

    Attributes:
        width: filters of each block.
        pool: see :class:`Conv4`.
        image_size: side of the input in pixels.
        channels: channels of the input.
    """

    width: int = 64
    pool: Literal["mean", "flatten"] = "mean"
    image_size: int = 28
    channels: int = 1


class Conv4(nn.Module):
    """Four blocks of convolution, batch norm, ReLU and max pooling, then global average pooling.

    *Source*: Vinyals et al. 2016; paper appendix B.

    Args:
        channels: channels of the image.
        width: filters of each block; 64 in the paper.
        pool: ``"mean"`` averages the last feature map, as in the released code. ``"flatten"`` keeps its
            positions: 5 × 5 at 84 pixels. Below 32 pixels it omits the fourth max pooling, which gives 3 × 3
            at 28 pixels.
        size: side of the image in pixels.

    Raises:
        ValueError: if the image is too small for the max poolings.
    """

    features: int

    def __init__(self, channels: int = 1, width: int = 64, pool: Pool = "mean", size: int = 28) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        pools = 4 if pool == "mean" or size >= 32 else 3
        if size < 2**pools:
            raise ValueError(f"an image side of {size} is too small for {pools} max poolings")
        for number in range(4):
            blocks += convolution_block(channels if number == 0 else width, width)
            if number < pools:
                blocks.append(nn.MaxPool2d(2))
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1) if pool == "mean" else nn.Identity()
        self.features = width if pool == "mean" else width * (size // 2**pools) ** 2
        init_convolutions(self)
        # Channels-last is twice as fast on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """Return the features of images in [0, 1]."""
        image = image.contiguous(memory_format=torch.channels_last)
        out: Tensor = self.pool(run_layers(self.blocks, image)).flatten(1)
        return out


def for_inference(network: Module) -> Module:
    """Return a copy of a network with the batch norms of its Conv4s fused into the convolutions.

    The network must be in evaluation mode. Embedding on a CPU takes two thirds of the time. The outputs are
    equal up to rounding.
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
