"""The supervised baseline: a CNN whose class means are what images are compared with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sketchembed.networks.conv4 import Conv4
from sketchembed.networks.evaluating import evaluating
from sketchembed.networks.precision import at_least_float32


@dataclass(frozen=True)
class ProtoNetConfig:
    """The sizes of a prototypical network; the defaults are Snell et al.'s for Omniglot.

    Attributes:
        width: filters of each block of the Conv4.
        pool: how Conv4 ends, see :class:`~sketchembed.networks.conv4.Conv4`.
        image_size: side of the input in pixels.
        channels: of the input.
    """

    width: int = 64
    pool: Literal["mean", "flatten"] = "mean"
    image_size: int = 28
    channels: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for checkpoints."""
        return asdict(self)


class ProtoNet(nn.Module):
    """A prototypical network.

    *Source*: Snell et al. 2017; a supervised row of the paper's table 8.

    Args:
        config: sizes.
    """

    kind: ClassVar[str] = "protonet"
    facts: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ProtoNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ProtoNetConfig()
        self.encoder = Conv4(config.channels, config.width, config.pool, config.image_size)

    def forward(self, image: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch features"]:
        """Return the embeddings of images in [0, 1]."""
        out: Tensor = self.encoder(image)
        return out

    @torch.no_grad()
    def embed(self, images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch features"]:
        """Return the embeddings with batch norm in evaluation mode."""
        with evaluating(self):
            out: Tensor = self(images)
        return out


def prototype_logits(
    support: Float[Tensor, "way shot features"], query: Float[Tensor, "queries features"]
) -> Float[Tensor, "queries way"]:
    """Return minus the squared Euclidean distance of each query to each class mean (equation 2)."""
    # Sums of hundreds of squares, of which the differences count: 16 bits of an autocast would drown them.
    prototypes = at_least_float32(support).mean(dim=1)
    return -(at_least_float32(query).unsqueeze(1) - prototypes).square().sum(-1)


def prototype_loss(
    support: Float[Tensor, "way shot features"], query: Float[Tensor, "way asked features"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the cross-entropy of an episode, and the accuracy, 0 to 1."""
    way, asked = query.shape[:2]
    logits = prototype_logits(support, query.flatten(0, 1))
    labels: Int[Tensor, " queries"] = torch.arange(way, device=query.device).repeat_interleave(asked)
    return nn.functional.cross_entropy(logits, labels), (logits.argmax(-1) == labels).float().mean()
