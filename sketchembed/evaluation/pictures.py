"""Drawings of a store by class, and images of drawings as a network takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.data.datamodules.drawing_datamodule import DrawingDataset
from sketchembed.data.datamodules.quickdraw_datamodule import QuickdrawDataModule
from sketchembed.data.store import PARTITIONS, DrawingStore
from sketchembed.errors import DataError, nearest
from sketchembed.raster.rasterize import draw_pen
from sketchembed.sketch import Sketch

BATCH = 1024  # drawings rasterized together
MAX_LENGTH = 64  # T, the maximum number of points of a drawing


class Pictures:
    """The drawings of a store by class, as strokes and as images.

    Drawing models are trained on the seen classes, but not on the unseen ones.
    """

    def __init__(self, store: DrawingStore, seen: Sequence[str], unseen: Sequence[str]) -> None:
        self.store, self.seen, self.unseen = store, list(seen), list(unseen)
        self.dataset = DrawingDataset(store, MAX_LENGTH, store.offset_scale(self.seen or None))

    @classmethod
    def quickdraw(cls, folder: Path | None = None) -> Pictures:
        """Open Quick, Draw! with the paper's split of its classes.

        Raises:
            DataError: if the data are missing or damaged.
        """
        module = QuickdrawDataModule(str(folder) if folder else None, max_length=MAX_LENGTH)
        module.may_download = False
        store = module.prepare_store()
        return cls(store, *module.split_classes(store))

    @property
    def classes(self) -> list[str]:
        """All classes, seen classes first."""
        return [*self.seen, *self.unseen]

    def select(self, name: str, count: int | None = None, seed: int = 0) -> np.ndarray:
        """Choose drawings of a class at random, without replacement; all of them if `count` is not given.

        Returns indices in the store, int64 ``[count]``, sorted. They depend on the seed and the class name.

        Raises:
            DataError: if there is no such class, or it has too few drawings.
        """
        if name not in self.store.class_names:
            raise DataError(
                f"the data have no class '{name}'",
                expected=f"one of their {len(self.store.class_names)} classes",
                fix=f"The nearest: {nearest(name, self.store.class_names)}",
            )
        found = self.store.select([name])
        if count is None:
            return found
        if len(found) < count:
            raise DataError(
                f"there are {len(found)} drawings of '{name}', {count - len(found)} too few",
                expected=f"{count} drawings",
                fix="Ask for fewer, or get more drawings of the class",
            )
        return _choose(found, count, name, seed)

    def select_up_to(self, name: str, count: int, seed: int = 0, held_out: bool = False) -> np.ndarray:
        """Choose drawings of a class as :meth:`select` does, or all if the class has fewer.

        With `held_out`, the drawings that drawing models are trained on are excluded: the part ``train`` of
        the seen classes.
        """
        found = self.select(name)
        if held_out and name in self.seen:
            found = found[self.store.partitions[found] != PARTITIONS.index("train")]
        return found if len(found) <= count else _choose(found, count, name, seed)

    def sketches(self, indices: Sequence[int] | np.ndarray) -> list[Sketch]:
        """Return drawings as sketches, in the unit of the store."""
        return [Sketch.from_stroke3(self.store[int(index)]) for index in indices]

    def strokes(self, indices: Sequence[int] | np.ndarray) -> Float[Tensor, "batch rows 5"]:
        """Return drawings in stroke-5 format and normalised units, beginning with the start token."""
        return self.dataset[[int(index) for index in indices]]

    def images(
        self, indices: Sequence[int] | np.ndarray, size: int = 28
    ) -> Float[Tensor, "batch 1 size size"]:
        """Return drawings as images of `size` pixels: dark lines (0) on white (1), one channel."""
        rows = torch.split(self.strokes(indices), BATCH)
        return 1 - torch.cat([draw_pen(part, size) for part in rows]).unsqueeze(1)


def index_digest(indices: Sequence[int] | np.ndarray) -> str:
    """Return a short digest of a list of drawings."""
    return hashlib.sha256(np.asarray(indices, dtype="<i8").tobytes()).hexdigest()[:16]


def _choose(indices: np.ndarray, count: int, name: str, seed: int) -> np.ndarray:
    random = np.random.default_rng([seed, *name.encode()])
    return np.sort(random.choice(indices, count, replace=False))


def sketch_images(sketches: Sequence[Sketch], size: int = 28) -> Float[Tensor, "batch 1 size size"]:
    """Return sketches in any unit as images, see :meth:`Pictures.images`; an empty one is white."""
    out = torch.ones(len(sketches), 1, size, size)
    drawn = [number for number, sketch in enumerate(sketches) if len(sketch)]
    for first in range(0, len(drawn), BATCH):
        places = drawn[first : first + BATCH]
        length = max(len(sketches[at]) for at in places)
        rows = torch.from_numpy(np.stack([sketches[at].to_stroke5(length) for at in places]))
        out[places, 0] = 1 - draw_pen(rows, size)
    return out
