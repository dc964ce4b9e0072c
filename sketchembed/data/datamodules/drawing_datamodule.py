"""From a store of prepared drawings to batches of stroke-5 rows.

A batch holds strokes alone: images are drawn from them on the device, after augmentation, and class
labels never leave the store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sketchembed.data.folders import data_folder
from sketchembed.data.sampling import StepBatchSampler, batches_before
from sketchembed.data.store import OFFSET_LIMIT, DrawingStore

VALIDATION_BATCH = 128


class DrawingDataset(Dataset[Tensor]):
    """Drawings of a store as stroke-5 rows in normalised units.

    Args:
        store: prepared drawings.
        length: T; the rows of an item are T + 1, the start token first.
        offset_scale: what offsets are divided by, in the store's unit.
    """

    def __init__(self, store: DrawingStore, length: int, offset_scale: float) -> None:
        self.store, self.length, self.offset_scale = store, length, offset_scale

    def __len__(self) -> int:
        """Return the number of drawings in the store."""
        return len(self.store)

    def __getitem__(self, index: int) -> Float[Tensor, "rows 5"]:
        """Return one drawing."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> Float[Tensor, "batch rows 5"]:
        """Return a batch, gathered from the memory map at once.

        Row 0 is the start token in the place of the first point, as :meth:`Sketch.to_stroke5` has it.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        starts = np.asarray(self.store.starts[chosen])
        lengths = np.asarray(self.store.starts[chosen + 1]) - starts
        place = np.arange(self.length)
        real = place < lengths[:, None]
        rows = self.store.points[np.minimum(starts[:, None] + place, len(self.store.points) - 1)]
        out = np.zeros((len(chosen), self.length + 1, 5), dtype=np.float32)
        offsets = np.clip(rows[..., :2], -OFFSET_LIMIT, OFFSET_LIMIT) / np.float32(self.offset_scale)
        lifted = rows[..., 2] > 0
        out[:, :-1, :2] = offsets * real[..., None]
        out[:, :-1, 2] = real & ~lifted
        out[:, :-1, 3] = real & lifted
        out[:, :-1, 4] = ~real
        out[:, -1, 4] = 1
        out[:, 0] = (0, 0, 1, 0, 0)
        return torch.from_numpy(out)


def validation_share(indices: np.ndarray, trainer: pl.Trainer | None) -> list[np.ndarray]:
    """Return this process's batches of a validation set.

    The batches are the same whatever the number of processes, and are dealt out in turn. A process for which
    there is none has one without rows, since Lightning would leave it out of the end of the validation, where
    the others wait for it.
    """
    batches = [indices[at : at + VALIDATION_BATCH] for at in range(0, len(indices), VALIDATION_BATCH)]
    mine = batches if trainer is None else batches[trainer.global_rank :: trainer.world_size]
    return mine or [indices[:0]]


def _whole(batch: Any) -> Any:
    """Hand on what :meth:`DrawingDataset.__getitems__` has already put together."""
    return batch


class DrawingDataModule(pl.LightningDataModule, ABC):
    """What all data sets of drawings share: which drawings train, and which are looked at.

    A subclass says where the store comes from and which classes train.

    Args:
        folder: of the data sets; ``SKETCHEMBED_DATA``, else ``data``, if not given.
        batch_size: drawings in an optimiser step, over all processes together; the paper's 256.
        max_length: T, the longest drawing in points; longer ones are dropped and counted. The paper's 64.
        per_class: at most so many drawings a class; all if not given.
        num_workers: loader processes. A batch is one gather from a memory map, so 0 is mostly enough.
        seed: of the order of the drawings.
        validation_drawings: how many drawings each of the two validation sets has at most.
    """

    title = "drawings"

    def __init__(
        self,
        folder: str | None = None,
        batch_size: int = 256,
        max_length: int = 64,
        per_class: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        validation_drawings: int = 512,
    ) -> None:
        super().__init__()
        self.folder = data_folder(folder)
        self.batch_size, self.max_length, self.per_class = batch_size, max_length, per_class
        self.num_workers, self.seed, self.validation_drawings = num_workers, seed, validation_drawings
        self.store: DrawingStore | None = None

    # ---- what a subclass says ------------------------------------------------------------------

    @abstractmethod
    def prepare_store(self) -> DrawingStore:
        """Open the prepared drawings, preparing them first if need be."""

    @abstractmethod
    def split_classes(self, store: DrawingStore) -> tuple[list[str], list[str]]:
        """Return the classes that train and those that are held out."""

    def make_dataset(self, store: DrawingStore) -> Dataset[Any]:
        """Return the drawings of the store as items to train on."""
        return DrawingDataset(store, self.max_length, self.offset_scale)

    # ---- what Lightning calls ------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Prepare the store, on one process."""
        self.prepare_store()

    def setup(self, stage: str | None = None) -> None:
        """Open the store and divide it."""
        if self.store is not None:
            return
        self.store = store = self.prepare_store()
        self.seen, self.unseen = self.split_classes(store)
        self.offset_scale = store.offset_scale(self.seen)
        self.dataset = self.make_dataset(store)
        self.train_indices = self._select(self.seen, "train")
        self.seen_indices = self._some(self._select(self.seen, "valid"))
        self.unseen_indices = self._some(self._select(self.unseen))

    def _select(self, classes: list[str], partition: str | None = None) -> np.ndarray:
        """Choose the drawings that are not longer than T."""
        assert self.store is not None
        indices = self.store.select(classes, partition)
        return np.asarray(indices[self.store.lengths[indices] <= self.max_length])

    def _some(self, indices: np.ndarray) -> np.ndarray:
        """Choose at most `validation_drawings`, the same ones for every seed of a run."""
        if len(indices) <= self.validation_drawings:
            return indices
        chosen = np.random.default_rng(0).choice(indices, self.validation_drawings, replace=False)
        return np.sort(chosen)

    def train_dataloader(self) -> DataLoader:
        """Return the endless stream of training batches, from the trainer's step on."""
        trainer = self.trainer
        rank, world, step = (
            (trainer.global_rank, trainer.world_size, batches_before(trainer)) if trainer else (0, 1, 0)
        )
        sampler = StepBatchSampler(self.train_indices, self.batch_size, self.seed, rank, world, step)
        return DataLoader(
            self.dataset,
            batch_sampler=sampler,
            collate_fn=_whole,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def members(self, number: int, rank: int, world: int) -> dict[str, list[Any]]:
        """Return the indices in the store of a training batch's drawings, and their classes.

        Args:
            number: of the batch, from 0.
            rank: of the process that it is for.
            world: number of processes.
        """
        assert self.store is not None, "setup() has not been called"
        sampler = StepBatchSampler(self.train_indices, self.batch_size, self.seed, rank, world, number)
        indices = next(iter(sampler))
        return {
            "indices": indices,
            "classes": [self.store.class_names[self.store.labels[at]] for at in indices],
        }

    def val_dataloader(self) -> list[DataLoader]:
        """Return held-out drawings of the training classes, and drawings of the held-out classes."""
        loaders = []
        for indices in (self.seen_indices, self.unseen_indices):
            if len(indices):
                batches = [batch.tolist() for batch in validation_share(indices, self.trainer)]
                loaders.append(DataLoader(self.dataset, batch_sampler=batches, collate_fn=_whole))
        return loaders

    def facts(self) -> dict[str, object]:
        """Return what a run's page and a report say of the data."""
        assert self.store is not None, "setup() has not been called"
        return {
            "source": self.store.source,
            "folder": str(self.store.path),
            "drawings": len(self.train_indices),
            "classes_seen": len(np.unique(self.store.labels[self.train_indices])),
            "classes_unseen": len(np.unique(self.store.labels[self._select(self.unseen)])),
            "offset_scale": self.offset_scale,
            "digest": self.store.manifest["digests"]["points.bin"],
        }
