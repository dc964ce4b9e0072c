"""Which drawings a training step sees: a function of the seed and the step, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import Sampler

from sketchembed.errors import DataError


def check_share(batch_size: int, world: int) -> None:
    """Check that a batch can be divided evenly.

    Args:
        batch_size: drawings in a step, over all processes together.
        world: number of processes.

    Raises:
        DataError: if it cannot.
    """
    if batch_size % world:
        raise DataError(
            f"a batch of {batch_size} cannot be divided over {world} processes",
            expected="a global batch that is a multiple of their number",
            fix=f"Set --data.init_args.batch_size to a multiple of {world}",
        )


class StepBatchSampler(Sampler[list[int]]):
    """An endless stream of batches, the one of step s always the same.

    The drawings are shuffled anew for each pass by (seed, pass); step s takes the positions from
    s · batch on in that endless sequence, and each process its share of them. A run that is resumed
    at step s, or that is divided over other processes, therefore sees the same global batches.

    Args:
        indices: what to draw from, int64 ``[n]``.
        batch_size: drawings in a step, over all processes together.
        seed: of the shuffles.
        rank: number of this process.
        world: number of processes; must divide the batch.
        first_step: step to begin with.

    Raises:
        DataError: if there is nothing to draw from, or the processes don't divide the batch.
    """

    def __init__(
        self,
        indices: np.ndarray,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        first_step: int = 0,
    ) -> None:
        if not len(indices):
            raise DataError(
                "there is no drawing to train on",
                expected="at least one drawing in the training partition of the chosen classes",
                fix="Choose other classes, or prepare more drawings",
            )
        check_share(batch_size, world)
        self.indices, self.batch_size, self.seed = indices, batch_size, seed
        self.rank, self.world, self.first_step = rank, world, first_step

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process' indices of one step after the other."""
        count, share = len(self.indices), self.batch_size // self.world
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


def batches_before(trainer: pl.Trainer) -> int:
    """Return how many batches of each process come before those of the trainer's step."""
    step_offset = getattr(trainer.lightning_module, "step_offset", 0)
    return int((trainer.global_step + step_offset) * trainer.accumulate_grad_batches)
