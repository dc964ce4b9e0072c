"""Photos with drawings of them: what a model of natural images trains on.

A store of pairs is a store of drawings (see :mod:`sketchembed.data.store`) with two further arrays::

    photos.npy       uint8 [photos, 3, size, size], RGB
    photo_of.npy     int32 [drawings]: which photo each drawing is of

Several people may have drawn one photo. All drawings of a photo are in the same partition, so that no photo
that is looked at has trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from sketchembed.data.datamodules.drawing_datamodule import DrawingDataModule, DrawingDataset
from sketchembed.data.store import DrawingStore
from sketchembed.errors import DataError


class Pair(NamedTuple):
    """A batch of photos with a drawing of each.

    Attributes:
        photo: RGB, ``[batch, 3, size, size]``.
        stroke5: ``[batch, T + 1, 5]`` in normalised units, the start token first.
    """

    photo: UInt8[Tensor, "batch 3 size size"]
    stroke5: Float[Tensor, "batch rows 5"]

    @property
    def images(self) -> Float[Tensor, "batch 3 size size"]:
        """The photos in [0, 1], as networks are given them."""
        return self.photo.float() / 255


class PairDataset(Dataset[Pair]):
    """Drawings of a store as stroke-5 rows, each with its photo.

    Args:
        store: of pairs.
        length: see :class:`~sketchembed.data.datamodules.drawing_datamodule.DrawingDataset`.
        offset_scale: see there.

    Raises:
        DataError: if the store is one of drawings alone, or its photos are not there.
    """

    def __init__(self, store: DrawingStore, length: int, offset_scale: float) -> None:
        self.drawings = DrawingDataset(store, length, offset_scale)
        photos, photo_of = (store.arrays.get(name) for name in ("photos", "photo_of"))
        if (
            photos is None
            or photo_of is None
            or photos.ndim != 4
            or photos.dtype != np.uint8
            or photos.shape[1] != 3
            or photo_of.dtype != np.int32
            or photo_of.shape != (len(store),)
            or not 0 <= int(photo_of.min()) <= int(photo_of.max()) < len(photos)
        ):
            raise DataError(
                f"{store.path} has no photo of each drawing",
                expected="a store of prepared pairs",
                fix="Delete the folder; it is prepared again from the source files",
            )
        self.photos, self.photo_of = photos, photo_of

    def __len__(self) -> int:
        """Return the number of drawings."""
        return len(self.drawings)

    def __getitem__(self, index: int) -> Pair:
        """Return one drawing with its photo, as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Pair:
        """Return a batch, gathered from the memory maps at once."""
        photos = self.photos[self.photo_of[np.asarray(indices, dtype=np.int64)]]
        return Pair(torch.from_numpy(photos), self.drawings.__getitems__(indices))


class PairDataModule(DrawingDataModule):
    """What all data sets of photos and drawings share.

    Args:
        image_size: side of the photos in pixels; the paper's 84 (section 4).
        options: those of :class:`DrawingDataModule`, with the paper's batch of 64
            (appendix B) and T of 100 (section 4).
    """

    def __init__(
        self,
        folder: str | None = None,
        batch_size: int = 64,
        max_length: int = 100,
        num_workers: int = 0,
        seed: int = 0,
        validation_drawings: int = 512,
        image_size: int = 84,
    ) -> None:
        super().__init__(folder, batch_size, max_length, None, num_workers, seed, validation_drawings)
        self.image_size = image_size

    def make_dataset(self, store: DrawingStore) -> PairDataset:
        """Return the drawings of the store, each with its photo."""
        return PairDataset(store, self.max_length, self.offset_scale)

    def facts(self) -> dict[str, Any]:
        """Return what a run's page and a report say of the data."""
        assert self.store is not None, "setup() has not been called"
        photos = len(np.unique(self.store.arrays["photo_of"][self.train_indices]))
        return super().facts() | {"photos": photos}
