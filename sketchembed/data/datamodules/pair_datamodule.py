"""Base data module of photos with drawings, for models of natural images.

A store of pairs is a store of drawings (see :mod:`sketchembed.data.store`) with two more arrays::

    photos.npy       uint8 [photos, 3, size, size], RGB
    photo_of.npy     int32 [drawings]: index of the photo of each drawing

A photo can have drawings by several people. All of them are in the same partition, so that no validation
photo is also a training photo.
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
    """A batch of photos with one drawing each.

    Attributes:
        photo: RGB, ``[batch, 3, size, size]``.
        stroke5: ``[batch, T + 1, 5]`` in normalised units; the first row is the start token.
    """

    photo: UInt8[Tensor, "batch 3 size size"]
    stroke5: Float[Tensor, "batch rows 5"]

    @property
    def images(self) -> Float[Tensor, "batch 3 size size"]:
        """Photos in [0, 1], the input of networks."""
        return self.photo.float() / 255


class PairDataset(Dataset[Pair]):
    """Drawings of a store as stroke-5 rows, with their photos.

    Args:
        store: store of pairs.
        length: T, see :class:`~sketchembed.data.datamodules.drawing_datamodule.DrawingDataset`.
        offset_scale: divisor of the offsets, in the store's unit.

    Raises:
        DataError: if the store has no valid array of photos.
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
                f"{store.path} does not contain a photo for each drawing",
                expected="a store of prepared pairs",
                fix="Delete the folder; it is prepared again from the source files",
            )
        self.photos, self.photo_of = photos, photo_of

    def __len__(self) -> int:
        """Return the number of drawings."""
        return len(self.drawings)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> Pair:
        """Return a batch, read from the memory maps at once."""
        photos = self.photos[self.photo_of[np.asarray(indices, dtype=np.int64)]]
        return Pair(torch.from_numpy(photos), self.drawings[indices])


class PairDataModule(DrawingDataModule):
    """Base class of the data sets of photos with drawings.

    Args:
        batch_size: pairs per optimiser step, over all ranks; 64 in the paper (appendix B).
        max_length: T, the maximum number of points of a drawing; 100 in the paper (section 4).
        image_size: side of the photos, in pixels; 84 in the paper (section 4).
    """

    def __init__(
        self,
        *args: Any,
        batch_size: int = 64,
        max_length: int = 100,
        image_size: int = 84,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, batch_size=batch_size, max_length=max_length, per_class=None, **kwargs)
        self.image_size = image_size

    def make_dataset(self, store: DrawingStore) -> PairDataset:
        """Return the dataset of all pairs in the store."""
        return PairDataset(store, self.max_length, self.offset_scale)

    def facts(self) -> dict[str, Any]:
        """Return a description of the data for run pages and reports."""
        assert self.store is not None, "setup() has not been called"
        photos = len(np.unique(self.store.arrays["photo_of"][self.train_indices]))
        return super().facts() | {"photos": photos}
