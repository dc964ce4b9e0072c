"""Using a network that may be in the middle of its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put batch norm into evaluation mode, and the network's mode back afterwards."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
