"""The supervised baseline of few-shot learning: a CNN that compares images with class means."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sketchembed.networks.conv4 import Conv4, Conv4Config
from sketchembed.networks.network import Network
from sketchembed.networks.precision import at_least_float32


class ProtoNetConfig(Conv4Config):
    """The sizes of a prototypical network; the defaults are those of Snell et al. for Omniglot."""


class ProtoNet(Network):
    """A prototypical network. *Source*: Snell et al. 2017; a supervised row of the paper's table 8."""

    kind = "protonet"
    config: ProtoNetConfig

    def __init__(self, config: ProtoNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ProtoNetConfig()
        self.encoder = Conv4(config.channels, config.width, config.pool, config.image_size)

    def forward(self, image: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch features"]:
        """Return the embeddings of images in [0, 1]."""
        out: Tensor = self.encoder(image)
        return out

    def _embedding(self, images: Tensor) -> Tensor:
        return self.forward(images)


def prototype_logits(
    support: Float[Tensor, "way shot features"], query: Float[Tensor, "queries features"]
) -> Float[Tensor, "queries way"]:
    """Return the negative squared Euclidean distance of each query to each class mean.

    *Source*: Snell et al. 2017, equation 2.
    """
    # The differences between sums of hundreds of squares matter; 16 bits cannot hold them.
    prototypes = at_least_float32(support).mean(dim=1)
    return -(at_least_float32(query).unsqueeze(1) - prototypes).square().sum(-1)


def prototype_loss(
    support: Float[Tensor, "way shot features"], query: Float[Tensor, "way per_class features"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the cross-entropy of an episode, and the accuracy, 0 to 1."""
    way, per_class = query.shape[:2]
    logits = prototype_logits(support, query.flatten(0, 1))
    labels: Int[Tensor, " queries"] = torch.arange(way, device=query.device).repeat_interleave(per_class)
    return nn.functional.cross_entropy(logits, labels), (logits.argmax(-1) == labels).float().mean()
