"""The interface that all networks share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, ClassVar

from torch import nn


class NetworkConfig:
    """Base of the dataclasses with the sizes of a network."""

    image_size: int
    channels: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for checkpoints."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


class Network(nn.Module):
    """Base of the networks that a checkpoint or a weights file can hold.

    Attributes:
        kind: name of the class in such a file.
        facts: attributes that are stored with the weights, beside the sizes.
        config: the sizes.
    """

    kind: ClassVar[str]
    facts: ClassVar[tuple[str, ...]] = ()
    config: Any


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and restore its mode afterwards."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
