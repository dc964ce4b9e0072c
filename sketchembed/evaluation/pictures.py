"""Drawings by class and the pictures of them: what evaluations look at, labels included."""

from __future__ import annotations

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


class Pictures:
    """The drawings of a store by class, as strokes and as a network's input.

    Attributes:
        store: prepared drawings.
        seen: classes that a drawing model is trained on.
        unseen: classes that are held out from it.

    Args:
        store: see there.
        seen: see there.
        unseen: see there.
        max_length: T, the longest drawing in points.
    """

    def __init__(
        self, store: DrawingStore, seen: Sequence[str], unseen: Sequence[str], max_length: int = 64
    ) -> None:
        self.store, self.seen, self.unseen = store, list(seen), list(unseen)
        self.dataset = DrawingDataset(store, max_length, store.offset_scale(self.seen or None))

    @classmethod
    def quickdraw(cls, folder: Path | None = None, max_length: int = 64) -> Pictures:
        """Open Quick, Draw! with the paper's split of its classes.

        Args:
            folder: of the data sets; ``SKETCHEMBED_DATA``, else ``data``, if not given.
            max_length: T.

        Raises:
            DataError: if there is none, or a file is damaged.
        """
        module = QuickdrawDataModule(str(folder) if folder else None, max_length=max_length)
        store = module.prepare_store()
        return cls(store, *module.split_classes(store), max_length)

    @property
    def classes(self) -> list[str]:
        """All classes, seen ones first."""
        return [*self.seen, *self.unseen]

    def select(
        self, name: str, count: int | None = None, partition: str | None = None, seed: int = 0
    ) -> np.ndarray:
        """Choose drawings of a class.

        Args:
            name: of the class.
            count: how many, by chance without replacement; all if not given.
            partition: ``train``, ``valid`` or ``test``; all if not given.
            seed: of the choice, which depends on the class's name too.

        Returns:
            their indices in the store, int64 ``[count]``.

        Raises:
            DataError: if there is no such class, or there are fewer drawings of it.
        """
        if name not in self.store.class_names:
            raise DataError(
                f"the data have no class '{name}'",
                expected=f"one of their {len(self.store.class_names)} classes",
                fix=f"The nearest: {nearest(name, self.store.class_names)}",
            )
        found = self.store.select([name], partition)
        if count is None:
            return found
        if len(found) < count:
            where = f" in the part '{partition}'" if partition else ""
            raise DataError(
                f"there are {len(found)} drawings of '{name}'{where}, {count - len(found)} too few",
                expected=f"{count} drawings",
                fix="Ask for fewer, or get more drawings of the class",
            )
        random = np.random.default_rng([seed, *name.encode()])
        return np.sort(random.choice(found, count, replace=False))

    def up_to(self, name: str, count: int, seed: int = 0, held_out: bool = False) -> np.ndarray:
        """Choose drawings of a class as :meth:`select` does, fewer where there are not so many.

        Args:
            name: of the class.
            count: how many at the most.
            seed: of the choice.
            held_out: only those that a drawing model is not trained on: the parts ``valid`` and ``test`` of a
                seen class, and all of one that is held out.

        Raises:
            DataError: if there is no such class.
        """
        found = self.select(name)
        if held_out and name in self.seen:
            found = found[self.store.partitions[found] != PARTITIONS.index("train")]
        if len(found) <= count:
            return found
        random = np.random.default_rng([seed, *name.encode()])
        return np.sort(random.choice(found, count, replace=False))

    def sketches(self, indices: Sequence[int] | np.ndarray) -> list[Sketch]:
        """Return drawings as values, in the store's unit."""
        return [Sketch.from_stroke3(self.store[int(index)]) for index in indices]

    def strokes(self, indices: Sequence[int] | np.ndarray) -> Float[Tensor, "batch rows 5"]:
        """Return drawings as stroke-5 rows in normalised units, the start token first."""
        return self.dataset.__getitems__([int(index) for index in indices])

    def images(
        self, indices: Sequence[int] | np.ndarray, size: int = 28
    ) -> Float[Tensor, "batch 1 size size"]:
        """Return drawings as a network's input: dark lines (0) on white (1), one channel.

        Args:
            indices: in the store.
            size: side in pixels.
        """
        rows = torch.split(self.strokes(indices), 1024)
        return 1 - torch.cat([draw_pen(part, size) for part in rows]).unsqueeze(1)


def rasters(sketches: Sequence[Sketch], size: int = 28) -> Float[Tensor, "batch 1 size size"]:
    """Return drawings as a network's input; one without a point is blank.

    Args:
        sketches: in any unit.
        size: side in pixels.
    """
    out = torch.ones(len(sketches), 1, size, size)
    drawn = [number for number, sketch in enumerate(sketches) if len(sketch)]
    for first in range(0, len(drawn), 1024):
        places = drawn[first : first + 1024]
        length = max(len(sketches[at]) for at in places)
        rows = torch.from_numpy(np.stack([sketches[at].to_stroke5(length) for at in places]))
        out[places, 0] = 1 - draw_pen(rows, size)
    return out
