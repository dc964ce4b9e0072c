"""Random numbers of a step that do not depend on the number of ranks that share its batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class GlobalBatchGenerator(torch.Generator):
    """Generator that draws numbers for the global batch; each rank uses its own rows.

    All ranks set the same seed and draw in the same order, so row i of the global batch gets the same numbers
    whichever rank computes it. Each rank discards the numbers of the other rows. All ranks have the same
    number of rows.
    """

    rank: int = 0
    world_size: int = 1


def uniform(
    size: Sequence[int], generator: torch.Generator | None, like: Tensor, batch_dim: int = 0
) -> Tensor:
    """Return uniform numbers in [0, 1) for the rows of this rank.

    Args:
        size: shape of the result; `batch_dim` has the rows of this rank only.
        generator: a :class:`GlobalBatchGenerator`. Any other generator (None for PyTorch's default one) draws
            for the rows of this rank only.
        like: tensor with the device and type of the result.
        batch_dim: dimension of the batch.
    """
    return _draw(torch.rand, size, generator, like, batch_dim)


def normal(
    size: Sequence[int], generator: torch.Generator | None, like: Tensor, batch_dim: int = 0
) -> Tensor:
    """Return standard normal numbers for the rows of this rank; see :func:`uniform`."""
    return _draw(torch.randn, size, generator, like, batch_dim)


def _draw(
    distribution: Callable[..., Tensor], size: Sequence[int], generator: Any, like: Tensor, batch_dim: int
) -> Tensor:
    rank, world_size = getattr(generator, "rank", 0), getattr(generator, "world_size", 1)
    global_size, rows = list(size), size[batch_dim]
    global_size[batch_dim] = world_size * rows
    out = distribution(global_size, generator=generator, device=like.device, dtype=like.dtype)
    return out.narrow(batch_dim, rank * rows, rows)
