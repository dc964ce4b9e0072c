"""Data module of drawings with class labels, for the classifiers that evaluate generated drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

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

MIN_HELD_OUT = 2  # held-out drawings per class, unless that is more than a third of the class


@dataclass(frozen=True, eq=False)
class LabelledSplit:
    """Split of the drawings of some classes into training drawings and held-out drawings.

    Attributes:
        labels: names of the classes.
        train: indices of the training drawings in the store, int64, ascending.
        held_out: indices of the held-out drawings.
        borrowed: number of held-out drawings that are in the training part of the store.
    """

    labels: list[str]
    train: np.ndarray
    held_out: np.ndarray
    borrowed: int

    @classmethod
    def of(cls, store: DrawingStore, classes: Sequence[str], max_length: int) -> LabelledSplit:
        """Split the drawings of some classes.

        The drawings of the published parts ``valid`` and ``test`` are held out. If a class has fewer than
        :data:`MIN_HELD_OUT` of them, the last drawings of its training part are held out too, up to that
        number and up to a third of the class.

        Args:
            store: drawings.
            classes: names of the classes; classes without drawings are skipped.
            max_length: maximum number of points; longer drawings are excluded.

        Raises:
            DataError: if fewer than two classes have drawings.
        """
        labels, train, held_out, borrowed = [], [], [], 0
        for name in classes:
            parts = [store.select([name], part) for part in ("train", "valid", "test")]
            own, *others = (part[store.lengths[part] <= max_length] for part in parts)
            published = np.concatenate(others)
            needed = min(MIN_HELD_OUT, (len(own) + len(published)) // 3)
            lent = max(0, needed - len(published))
            if len(own) == lent:
                continue
            cut = len(own) - lent
            labels.append(name)
            train.append(own[:cut])
            held_out.append(np.concatenate([own[cut:], published]))
            borrowed += lent
        if len(labels) < 2:
            raise DataError(
                f"{store.path} has drawings of {len(labels)} of the {len(classes)} classes",
                expected="drawings of at least two classes",
                fix="Download more classes with `sketchembed data quickdraw --classes ...`",
            )
        return cls(labels, np.sort(np.concatenate(train)), np.sort(np.concatenate(held_out)), borrowed)

    def facts(self) -> dict[str, object]:
        """Return a description of the split for reports."""
        return {
            "classes": len(self.labels),
            "training_drawings": len(self.train),
            "held_out_drawings": len(self.held_out),
            "held_out_from_training_part": self.borrowed,
        }


class LabelledDrawings(NamedTuple):
    """A batch of drawings with labels.

    Attributes:
        stroke5: stroke-5 rows in normalised units; the first row is the start token.
        labels: class number of each drawing.
    """

    stroke5: Float[Tensor, "batch rows 5"]
    labels: Int[Tensor, " batch"]


class LabelledDataset(Dataset[LabelledDrawings]):
    """Drawings of a store as stroke-5 rows with their class numbers, which are indices into `labels`."""

    def __init__(self, drawings: DrawingDataset, labels: Sequence[str]) -> None:
        self.drawings = drawings
        number = {name: at for at, name in enumerate(labels)}
        self.numbers = np.array([number.get(name, -1) for name in drawings.store.class_names])

    def __len__(self) -> int:
        """Return the number of drawings in the store."""
        return len(self.drawings)

    def classes_of(self, indices: Sequence[int] | np.ndarray) -> Int[Tensor, " n"]:
        """Return the class numbers of drawings; -1 for other classes."""
        return torch.from_numpy(self.numbers[np.asarray(self.drawings.store.labels[np.asarray(indices)])])

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> LabelledDrawings:
        """Return a batch."""
        return LabelledDrawings(self.drawings[indices], self.classes_of(indices))


class LabelledQuickdrawDataModule(QuickdrawDataModule):
    """45 classes of Quick, Draw! with labels.

    *Source*: paper section 7: 45 training classes of the drawing model ("seen") and its 45 held-out classes
    ("unseen").

    Args:
        which: the set of classes.
        validation_drawings: maximum number of held-out drawings for validation.
    """

    def __init__(
        self,
        which: Literal["seen", "unseen"] = "seen",
        *args: Any,
        validation_drawings: int = 5000,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args,
            validation_drawings=validation_drawings,
            split="paper",
            classes=None,
            fallback=False,  # doodles have other classes
            **kwargs,
        )
        self.which = which

    def setup(self, stage: str | None = None) -> None:
        """Open the store and split it."""
        if self.store is not None:
            return
        self.store = store = self.prepare_store()
        # The scale of the drawing models, which train on 300 classes.
        self.offset_scale = store.offset_scale(self.split_classes(store)[0] or None)
        self.drawings = LabelledSplit.of(store, quickdraw.class_names(self.which), self.max_length)
        rows = DrawingDataset(store, self.max_length, self.offset_scale)
        self.labelled = LabelledDataset(rows, self.drawings.labels)
        self.dataset = self.labelled  # type: ignore[assignment]
        self.seen, self.unseen = self.drawings.labels, []
        self.train_indices = self.drawings.train
        self.seen_indices = self._subsample(self.drawings.held_out)
        self.unseen_indices = self.seen_indices[:0]

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of their numbers."""
        return self.drawings.labels

    def facts(self) -> dict[str, object]:
        """Return a description of the data for run pages and reports."""
        return super().facts() | {"which": self.which} | self.drawings.facts()
