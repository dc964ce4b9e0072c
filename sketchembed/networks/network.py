"""The interface that all networks share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sketchembed.errors import CheckpointError


class NetworkConfig:
    """Base of the dataclasses with the sizes of a network."""

    image_size: int
    channels: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for checkpoints."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


class Network(nn.Module):
    """Base of the networks that a checkpoint or a weights file can hold."""

    kind: ClassVar[str]  # name of the class in such a file
    facts: ClassVar[tuple[str, ...]] = ()  # attributes that are stored with the weights, beside the sizes
    config: Any

    @torch.no_grad()
    def embed(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """Return the embeddings of images in [0, 1], computed in evaluation mode."""
        with evaluating(self):
            return self._embedding(images)

    def _embedding(self, images: Tensor) -> Tensor:
        raise CheckpointError(
            f"the network is a {self.kind}, which does not embed images",
            expected="a network with an embedding",
            fix="Load another model",
        )


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and restore its mode afterwards."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
