"""Drawings with their classes: for the classifiers that judge generated drawings, and for them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from sketchembed.data.datamodules.drawing_datamodule import DrawingDataset
from sketchembed.data.datamodules.quickdraw_datamodule import QuickdrawDataModule
from sketchembed.data.sources import quickdraw
from sketchembed.data.store import DrawingStore
from sketchembed.errors import DataError

LEAST = 2
"""Drawings that are held out of every class, if that is at most a third of it."""


@dataclass(frozen=True, eq=False)
class LabelledSplit:
    """Some classes' drawings, divided into those that train a classifier and those that are held out.

    Attributes:
        labels: names of the classes.
        train: indices in the store of the drawings that train, int64, ascending.
        held_out: those of the others.
        borrowed: how many of the held-out ones the store has in its training part.
    """

    labels: list[str]
    train: np.ndarray
    held_out: np.ndarray
    borrowed: int

    @classmethod
    def of(cls, store: DrawingStore, classes: Sequence[str], max_length: int) -> LabelledSplit:
        """Divide the drawings of some classes.

        The published parts ``valid`` and ``test`` are held out. A class that has fewer than two drawings
        there also gives the last ones of its training part, up to two together, but never more than a third
        of all its drawings.

        Args:
            store: the drawings.
            classes: names; those without a drawing are left out.
            max_length: longer drawings are left out.

        Raises:
            DataError: if fewer than two classes have drawings.
        """
        labels, train, held_out, borrowed = [], [], [], 0
        for name in classes:
            parts = [store.select([name], part) for part in ("train", "valid", "test")]
            mine, *others = (part[store.lengths[part] <= max_length] for part in parts)
            apart = np.concatenate(others)
            more = max(0, min(LEAST, (len(mine) + len(apart)) // 3) - len(apart))
            if len(mine) == more:
                continue
            cut = len(mine) - more
            labels.append(name)
            train.append(mine[:cut])
            held_out.append(np.concatenate([mine[cut:], apart]))
            borrowed += more
        if len(labels) < 2:
            raise DataError(
                f"{store.path} has drawings of {len(labels)} of the {len(classes)} classes to tell apart",
                expected="drawings of two classes or more",
                fix="Fetch more classes with `sketchembed data quickdraw --classes ...`",
            )
        return cls(labels, np.sort(np.concatenate(train)), np.sort(np.concatenate(held_out)), borrowed)

    def facts(self) -> dict[str, object]:
        """Return what a report says of it."""
        return {
            "classes": len(self.labels),
            "training_drawings": len(self.train),
            "held_out_drawings": len(self.held_out),
            "held_out_from_training_part": self.borrowed,
        }


@dataclass(eq=False)
class LabelledDrawings:
    """A batch.

    Attributes:
        stroke5: rows with their start token, in normalised units.
        labels: number of each drawing's class.
    """

    stroke5: Float[Tensor, "batch rows 5"]
    labels: Int[Tensor, " batch"]

    def __len__(self) -> int:
        """Return the number of drawings."""
        return len(self.labels)

    def to(self, *args: Any, **kwargs: Any) -> LabelledDrawings:
        """Return the batch on another device."""
        return LabelledDrawings(self.stroke5.to(*args, **kwargs), self.labels.to(*args, **kwargs))

    def pin_memory(self) -> LabelledDrawings:
        """Return the batch in memory that a GPU can fetch by itself."""
        return LabelledDrawings(self.stroke5.pin_memory(), self.labels.pin_memory())


class LabelledDataset(Dataset[LabelledDrawings]):
    """Drawings of a store as stroke-5 rows, with the numbers of their classes.

    Args:
        drawings: the rows.
        labels: names of the classes, in the order of their numbers.
    """

    def __init__(self, drawings: DrawingDataset, labels: Sequence[str]) -> None:
        self.drawings = drawings
        number = {name: at for at, name in enumerate(labels)}
        self.numbers = np.array([number.get(name, -1) for name in drawings.store.class_names])

    def __len__(self) -> int:
        """Return the number of drawings in the store."""
        return len(self.drawings)

    def classes_of(self, indices: Sequence[int] | np.ndarray) -> Int[Tensor, " n"]:
        """Return the numbers of drawings' classes, -1 for those of other classes."""
        return torch.from_numpy(self.numbers[np.asarray(self.drawings.store.labels[np.asarray(indices)])])

    def __getitem__(self, index: int) -> LabelledDrawings:
        """Return one drawing, as a batch."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> LabelledDrawings:
        """Return a batch."""
        return LabelledDrawings(self.drawings.__getitems__(indices), self.classes_of(indices))


class LabelledQuickdrawDataModule(QuickdrawDataModule):
    """45 classes of Quick, Draw!, with labels.

    *Source*: paper section 7: one set of 45 classes that trained the drawing model ("seen") and the 45 that
    did not ("unseen").

    Args:
        which: of the two sets.
        validation_drawings: how many of the held-out drawings are looked at in training, at most.
        options: those of :class:`~sketchembed.data.datamodules.quickdraw_datamodule.QuickdrawDataModule`.
    """

    def __init__(
        self,
        which: Literal["seen", "unseen"] = "seen",
        folder: str | None = None,
        batch_size: int = 256,
        max_length: int = 64,
        per_class: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        validation_drawings: int = 5000,
        form: Literal["npz", "ndjson", "bin"] = "npz",
        epsilon: float = 0.0,
    ) -> None:
        # Doodles are of other classes.
        super().__init__(
            folder,
            batch_size,
            max_length,
            per_class,
            num_workers,
            seed,
            validation_drawings,
            form=form,
            epsilon=epsilon,
            fallback=False,
        )
        self.which = which

    def setup(self, stage: str | None = None) -> None:
        """Open the store and divide it."""
        if self.store is not None:
            return
        self.store = store = self.prepare_store()
        # The unit of the drawing models, which train on 300 classes.
        self.offset_scale = store.offset_scale(self.split_classes(store)[0] or None)
        self.drawings = LabelledSplit.of(store, quickdraw.class_names(self.which), self.max_length)
        rows = DrawingDataset(store, self.max_length, self.offset_scale)
        self.labelled = LabelledDataset(rows, self.drawings.labels)
        self.dataset = self.labelled  # type: ignore[assignment]
        self.seen, self.unseen = self.drawings.labels, []
        self.train_indices = self.drawings.train
        self.seen_indices = self._some(self.drawings.held_out)
        self.unseen_indices = self.seen_indices[:0]

    @property
    def labels(self) -> list[str]:
        """Names of the classes, by number."""
        return self.drawings.labels

    def facts(self) -> dict[str, object]:
        """Return what a run's page and a report say of the data."""
        return super().facts() | {"which": self.which} | self.drawings.facts()
