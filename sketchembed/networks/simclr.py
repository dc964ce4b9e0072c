"""The contrastive baseline: a CNN whose features of two views of an image agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from jaxtyping import Float
from torch import Tensor, nn

from sketchembed.networks.conv4 import Conv4Config
from sketchembed.networks.encoders import make_encoder, shrunk
from sketchembed.networks.network import Network
from sketchembed.networks.precision import at_least_float32


@dataclass(frozen=True)
class SimCLRConfig(Conv4Config):
    """The sizes of a SimCLR network.

    Attributes:
        encoder: the CNN, as in :class:`~sketchembed.networks.sketchembednet.ModelConfig`.
        shrink: factor by which the input is averaged down before the CNN.
        hidden: size of the projection head's hidden layer.
        projection: size of the projection, whose similarities the loss compares; 128 in Chen et al.
    """

    encoder: Literal["conv4", "resnet12"] = "conv4"
    shrink: int = 1
    hidden: int = 256
    projection: int = 128


class SimCLR(Network):
    """A CNN with a projection head for the contrastive loss.

    *Source*: Chen et al. 2020, section 2.1: features h, and their projection W₂ ReLU(W₁ h). The embedding is
    h.

    Raises:
        ValueError: if the images are too small for the CNN.
    """

    kind = "simclr"
    config: SimCLRConfig

    def __init__(self, config: SimCLRConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SimCLRConfig()
        self.encoder = make_encoder(
            config.encoder, config.channels, config.width, config.pool, config.image_size, config.shrink
        )
        self.head = nn.Sequential(
            nn.Linear(self.encoder.features, config.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden, config.projection),
        )

    def encode(self, images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch features"]:
        """Return h, the features of images in [0, 1]; drawings are dark lines (0) on white (1)."""
        return cast(Tensor, self.encoder(shrunk(images, self.config.shrink)))

    def forward(self, images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch projection"]:
        """Return the projections of images in [0, 1], in float32 even under autocast."""
        return at_least_float32(self.head(self.encode(images)))

    def _embedding(self, images: Tensor) -> Tensor:
        return at_least_float32(self.encode(images))
