"""The classifier of generated drawings: a ResNet with the parameter names of torchvision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sketchembed.networks.batch_norm import BatchNorm2d
from sketchembed.networks.network import Network, NetworkConfig, evaluating
from sketchembed.networks.precision import at_least_float32

DEPTHS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Blocks per stage (He et al. 2016, table 1). Depths 50 and 101 use bottlenecks."""


@dataclass(frozen=True)
class ResNetConfig(NetworkConfig):
    """The sizes of a ResNet; the defaults are those of the paper's classifiers.

    Attributes:
        depth: number of layers.
        classes: number of classes.
        width: filters of the 3 × 3 convolutions of the first stage, doubled by each next stage.
        stem: ``"imagenet"`` halves the side twice before the first block (7 × 7 convolution and max pooling);
            an image of 32 pixels then ends at one position. ``"small"`` is the stem for images of that
            size, a 3 × 3 convolution at full resolution (He et al. 2016, section 4.2).
        image_size: side of the input in pixels.
        channels: channels of the input.
        labels: class names by number; empty before training.
    """

    depth: Literal[18, 50, 101] = 101
    classes: int = 45
    width: int = 64
    stem: Literal["imagenet", "small"] = "imagenet"
    image_size: int = 32
    channels: int = 1
    labels: list[str] = field(default_factory=list)


class Block(nn.Module, ABC):
    """Base of both blocks: the ReLU of the sum of a residual branch and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            None
            if stride == 1 and inputs == outputs
            else nn.Sequential(convolution(inputs, outputs, 1, stride), BatchNorm2d(outputs))
        )

    @abstractmethod
    def branch(self, image: Tensor) -> Tensor:
        """Return the residual, which is added to the shortcut."""

    def forward(self, image: Tensor) -> Tensor:
        """Return the feature map of the block."""
        shortcut = image if self.downsample is None else self.downsample(image)
        out: Tensor = self.relu(self.branch(image) + shortcut)
        return out


class BasicBlock(Block):
    """Two 3 × 3 convolutions; the first has the stride."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__(inputs, filters, stride)
        self.conv1, self.bn1 = convolution(inputs, filters, 3, stride), BatchNorm2d(filters)
        self.conv2, self.bn2 = convolution(filters, filters, 3), BatchNorm2d(filters)

    def branch(self, image: Tensor) -> Tensor:
        """Return the residual, which is added to the shortcut."""
        out: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(image)))))
        return out


class Bottleneck(Block):
    """A 1 × 1, a 3 × 3 and a 1 × 1 convolution; the last has four times the filters.

    The stride is in the 3 × 3 convolution, as in published weights for PyTorch. In the paper's Keras model it
    is in the first convolution.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__(inputs, 4 * filters, stride)
        self.conv1, self.bn1 = convolution(inputs, filters, 1), BatchNorm2d(filters)
        self.conv2, self.bn2 = convolution(filters, filters, 3, stride), BatchNorm2d(filters)
        self.conv3, self.bn3 = convolution(filters, 4 * filters, 1), BatchNorm2d(4 * filters)

    def branch(self, image: Tensor) -> Tensor:
        """Return the residual, which is added to the shortcut."""
        out: Tensor = self.relu(self.bn1(self.conv1(image)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return out


class ResNet(Network):
    """A residual network that classifies images; layers have the names of torchvision, see :meth:`adopt`.

    *Source*: He et al. 2016; paper section 7 ("two separate ResNet-101 classifiers").
    """

    kind = "resnet"
    config: ResNetConfig

    def __init__(self, config: ResNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ResNetConfig()
        width, small = config.width, config.stem == "small"
        self.conv1 = convolution(config.channels, width, 3 if small else 7, 1 if small else 2)
        self.bn1 = BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        block = BasicBlock if config.depth < 50 else Bottleneck
        inputs = width
        for stage, count in enumerate(DEPTHS[config.depth]):
            filters, blocks = width * 2**stage, []
            for number in range(count):
                blocks.append(block(inputs, filters, 2 if stage and not number else 1))
                inputs = filters * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, config.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch features"]:
        """Return the mean of the last feature map, for images in [0, 1]."""
        out = images.contiguous(memory_format=torch.channels_last)
        out = self.maxpool(self.relu(self.bn1(self.conv1(out))))
        for stage in range(len(DEPTHS[self.config.depth])):
            out = self.get_submodule(f"layer{stage + 1}")(out)
        features: Tensor = self.avgpool(out).flatten(1)
        return features

    def forward(self, images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch classes"]:
        """Return the class logits of images in [0, 1], in float32 even under autocast."""
        return at_least_float32(self.fc(self.features(images)))

    def _embedding(self, images: Tensor) -> Tensor:
        return self.features(images)

    @torch.no_grad()
    def predict(self, images: Float[Tensor, "batch channels size size"]) -> Int[Tensor, " batch"]:
        """Return the index of the most likely class, with batch norm in evaluation mode."""
        with evaluating(self):
            classes: Tensor = self(images).argmax(-1)
        return classes

    def adopt(self, weights: Mapping[str, Tensor]) -> None:
        """Load published weights of the same depth and width by torchvision's names, such as ImageNet's.

        The last layer keeps its weights if the number of classes differs. For grey images, the weights of the
        first layer are summed over the colours, which is equivalent.

        Raises:
            RuntimeError: if the other weights do not fit.
        """
        mine, theirs = self.state_dict(), dict(weights)
        if theirs["conv1.weight"].shape[1] > mine["conv1.weight"].shape[1] == 1:
            theirs["conv1.weight"] = theirs["conv1.weight"].sum(1, keepdim=True)
        if theirs["fc.weight"].shape != mine["fc.weight"].shape:
            theirs |= {name: mine[name] for name in ("fc.weight", "fc.bias")}
        self.load_state_dict(theirs)


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with zero padding and no bias; batch norm follows it."""
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)
