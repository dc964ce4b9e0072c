"""Order of the training batches, as a function of the seed and the step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

from sketchembed.errors import DataError

if TYPE_CHECKING:
    import pytorch_lightning as pl

VALIDATION_BATCH = 128


def check_batch_size(batch_size: int, world_size: int) -> None:
    """Raise a DataError if a global batch cannot be divided evenly among ranks."""
    if batch_size % world_size:
        raise DataError(
            f"a batch of {batch_size} cannot be divided over {world_size} processes",
            expected="a global batch size that is a multiple of the number of processes",
            fix=f"Set --data.init_args.batch_size to a multiple of {world_size}",
        )


class StepBatchSampler(Sampler[list[int]]):
    """Endless stream of batches, in which the batch of a step is always the same.

    Pass p over the data is shuffled with the seed (seed, p). The passes form one endless sequence. Step s
    takes its positions s · batch_size to (s + 1) · batch_size, and each rank its share of them. The global
    batches therefore stay the same if a run is resumed, or uses another number of ranks.

    Args:
        indices: items to draw from, int64 ``[n]``.
        batch_size: items per step, over all ranks.
        world_size: number of ranks; must divide `batch_size`.
        first_step: first step to yield.

    Raises:
        DataError: if there are no items, or the ranks do not divide the batch.
    """

    def __init__(
        self,
        indices: np.ndarray,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        first_step: int = 0,
    ) -> None:
        if not len(indices):
            raise DataError(
                "there is no drawing to train on",
                expected="at least one drawing in the training partition of the chosen classes",
                fix="Choose other classes, or prepare more drawings",
            )
        check_batch_size(batch_size, world_size)
        self.indices, self.batch_size, self.seed = indices, batch_size, seed
        self.rank, self.world_size, self.first_step = rank, world_size, first_step

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of this rank, step by step."""
        count, share = len(self.indices), self.batch_size // self.world_size
        number, order = -1, self.indices
        position = self.first_step * self.batch_size
        while True:
            batch: list[int] = []
            for place in range(position + self.rank * share, position + (self.rank + 1) * share):
                if place // count != number:
                    number = place // count
                    order = self.indices[np.random.default_rng([self.seed, number]).permutation(count)]
                batch.append(int(order[place % count]))
            yield batch
            position += self.batch_size


def stream_position(trainer: pl.Trainer | None) -> tuple[int, int, int]:
    """Return the rank, the number of ranks, and the number of batches that each rank has trained on."""
    if trainer is None:
        return 0, 1, 0
    step_offset = getattr(trainer.lightning_module, "step_offset", 0)
    batches = (trainer.global_step + step_offset) * trainer.accumulate_grad_batches
    return trainer.global_rank, trainer.world_size, int(batches)


def validation_batches(indices: np.ndarray, trainer: pl.Trainer | None) -> list[np.ndarray]:
    """Divide a validation set into batches and return those of this rank.

    The batches do not depend on the number of ranks. A rank without any gets one empty batch: Lightning would
    otherwise skip the end of its validation, where the other ranks wait for it.
    """
    batches = [indices[at : at + VALIDATION_BATCH] for at in range(0, len(indices), VALIDATION_BATCH)]
    own = batches if trainer is None else batches[trainer.global_rank :: trainer.world_size]
    return own or [indices[:0]]
