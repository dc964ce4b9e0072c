"""The CNNs of the networks that can have either."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from sketchembed.networks.conv4 import Conv4, Pool
from sketchembed.networks.resnet12 import ResNet12

EncoderName = Literal["conv4", "resnet12"]


def make_encoder(
    name: EncoderName, channels: int, width: int, pool: Pool, image_size: int, shrink: int
) -> Conv4 | ResNet12:
    """Return a CNN for images of a side in pixels that :func:`shrunk` averages down.

    Raises:
        ValueError: if the images are too small for the CNN.
    """
    size = image_size // shrink
    if size < 1:
        raise ValueError(f"an image side of {image_size} is too small to shrink by {shrink}")
    return (Conv4 if name == "conv4" else ResNet12)(channels, width, pool, size)


def shrunk(images: Tensor, factor: int) -> Float[Tensor, "batch channels h w"]:
    """Return images averaged down by a factor; 1 leaves them as they are."""
    return nn.functional.avg_pool2d(images, factor) if factor > 1 else images
