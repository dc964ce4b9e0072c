"""Random numbers of a step, the same however many processes share its batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class SharedGenerator(torch.Generator):
    """A generator that draws for the batch of all processes, of which this one takes its rows.

    All processes seed it alike and ask for the same, so row i of the global batch has the same numbers
    wherever it is computed. What the other rows would get is thrown away, which costs next to nothing.

    Attributes:
        rank: number of this process.
        world: number of processes; each has as many rows.
    """

    rank: int = 0
    world: int = 1


def uniform(
    size: Sequence[int], generator: torch.Generator | None, like: Tensor, batch_dim: int = 0
) -> Tensor:
    """Return numbers in [0, 1) for this process's rows.

    Args:
        size: shape, with the rows of this process along `batch_dim`.
        generator: source; a plain one draws for these rows alone, torch's own if not given.
        like: a tensor on the device to draw on, of the type to draw.
        batch_dim: dimension of the batch.
    """
    return _share(torch.rand, size, generator, like, batch_dim)


def normal(
    size: Sequence[int], generator: torch.Generator | None, like: Tensor, batch_dim: int = 0
) -> Tensor:
    """Return numbers of a standard normal distribution for this process's rows; see :func:`uniform`."""
    return _share(torch.randn, size, generator, like, batch_dim)


def _share(
    draw: Callable[..., Tensor], size: Sequence[int], generator: Any, like: Tensor, batch_dim: int
) -> Tensor:
    rank, world = getattr(generator, "rank", 0), getattr(generator, "world", 1)
    whole, rows = list(size), size[batch_dim]
    whole[batch_dim] = world * rows
    out = draw(whole, generator=generator, device=like.device, dtype=like.dtype)
    return out.narrow(batch_dim, rank * rows, rows)
