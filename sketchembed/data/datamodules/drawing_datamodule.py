"""Base data module of all drawings, and the dataset that makes stroke-5 rows of them.

A batch contains strokes only. Images are rendered on the device after augmentation, and class labels stay in
the store.
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
from sketchembed.data.sampling import StepBatchSampler, stream_position, validation_batches
from sketchembed.data.store import OFFSET_LIMIT, DrawingStore


class DrawingDataset(Dataset[Tensor]):
    """Drawings of a store as stroke-5 rows in normalised units.

    Args:
        store: prepared drawings.
        length: T; a drawing has T + 1 rows, beginning with the start token.
        offset_scale: divisor of the offsets, in the store's unit.
    """

    def __init__(self, store: DrawingStore, length: int, offset_scale: float) -> None:
        self.store, self.length, self.offset_scale = store, length, offset_scale

    def __len__(self) -> int:
        """Return the number of drawings in the store."""
        return len(self.store)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> Float[Tensor, "batch rows 5"]:
        """Return a batch, read from the memory map at once.

        As in :meth:`Sketch.to_stroke5`, the start token replaces the first point.
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


class DrawingDataModule(pl.LightningDataModule, ABC):
    """Base class of the data sets of drawings.

    A subclass prepares the store and splits its classes.

    Args:
        folder: folder of the data sets; default: ``SKETCHEMBED_DATA``, or else ``data``.
        batch_size: drawings per optimiser step, over all ranks; 256 in the paper.
        max_length: T, the maximum number of points of a drawing; longer ones are excluded. 64 in the paper.
        per_class: maximum number of drawings per class; default: all.
        num_workers: number of loader processes. 0 is usually enough: a batch is one read from a memory map.
        seed: seed of the order of the drawings.
        validation_drawings: maximum number of drawings in each of the two validation sets.
    """

    def __init__(
        self,
        folder: str | None = None,
        *,
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

    @abstractmethod
    def prepare_store(self) -> DrawingStore:
        """Open the prepared drawings, after preparing them if necessary.

        Raises:
            DataError: if files are missing or damaged.
        """

    @abstractmethod
    def split_classes(self, store: DrawingStore) -> tuple[list[str], list[str]]:
        """Return the training classes and the held-out classes."""

    def measure_offsets(self, store: DrawingStore) -> float:
        """Return the divisor of the offsets, in the store's unit."""
        return store.offset_scale(self.seen)

    def make_dataset(self, store: DrawingStore) -> Dataset[Any]:
        """Return the dataset of all drawings in the store."""
        return DrawingDataset(store, self.max_length, self.offset_scale)

    def prepare_data(self) -> None:
        """Prepare the store, on one process."""
        self.prepare_store()

    def setup(self, stage: str | None = None) -> None:
        """Open the store and select the training and validation drawings."""
        if self.store is not None:
            return
        self.store = store = self.prepare_store()
        self.seen, self.unseen = self.split_classes(store)
        self.offset_scale = self.measure_offsets(store)
        self.dataset = self.make_dataset(store)
        self.train_indices = self._select(self.seen, "train")
        self.seen_indices = self._subsample(self._select(self.seen, "valid"))
        self.unseen_indices = self._subsample(self._select(self.unseen))

    def _select(self, classes: list[str], partition: str | None = None) -> np.ndarray:
        """Return the indices of the drawings with at most T points."""
        assert self.store is not None
        indices = self.store.select(classes, partition)
        return np.asarray(indices[self.store.lengths[indices] <= self.max_length])

    def _subsample(self, indices: np.ndarray) -> np.ndarray:
        """Choose at most `validation_drawings` of the indices, independently of the seed."""
        if len(indices) <= self.validation_drawings:
            return indices
        chosen = np.random.default_rng(0).choice(indices, self.validation_drawings, replace=False)
        return np.sort(chosen)

    def train_dataloader(self) -> DataLoader:
        """Return the endless stream of training batches, which begins at the trainer's step."""
        position = stream_position(self.trainer)
        return DataLoader(
            self.dataset,
            batch_size=None,  # an item of the dataset is a batch
            sampler=StepBatchSampler(self.train_indices, self.batch_size, self.seed, *position),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def batch_members(self, number: int, rank: int, world_size: int) -> dict[str, list[Any]]:
        """Return the indices and classes of the drawings in a rank's training batch `number`, from 0."""
        assert self.store is not None, "setup() has not been called"
        sampler = StepBatchSampler(self.train_indices, self.batch_size, self.seed, rank, world_size, number)
        indices = next(iter(sampler))
        return {
            "indices": indices,
            "classes": [self.store.class_names[self.store.labels[at]] for at in indices],
        }

    def val_dataloader(self) -> list[DataLoader]:
        """Return two loaders: validation drawings of the training classes, and of the held-out classes."""
        loaders = []
        for indices in (self.seen_indices, self.unseen_indices):
            if len(indices):
                batches = validation_batches(indices, self.trainer)
                loaders.append(DataLoader(self.dataset, batch_size=None, sampler=batches))
        return loaders

    def facts(self) -> dict[str, object]:
        """Return a description of the data for run pages and reports."""
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
