"""Data modules of mini-ImageNet: photos without labels, and few-shot episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sketchembed.data.datamodules.episode_datamodule import EpisodeDataModule
from sketchembed.data.folders import data_folder, prepared_folder
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sampling import StepBatchSampler, stream_position, validation_batches
from sketchembed.data.sources import mini_imagenet


class ImageDataset(Dataset[Tensor]):
    """Batches of an image set."""

    def __init__(self, data: ImageSet) -> None:
        self.data = data

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.data)

    def __getitem__(self, rows: list[int] | np.ndarray) -> Float[Tensor, "batch channels size size"]:
        """Return a batch of images in [0, 1]."""
        return self.data.batch(np.asarray(rows))


class MiniImageNetDataModule(pl.LightningDataModule):
    """Photos of mini-ImageNet, without labels.

    *Source*: paper section 5, table 2. The training part has 64 classes; the validation photos are of the
    validation part, which has other classes.

    Args:
        folder: folder of the data sets; default: ``SKETCHEMBED_DATA``, or else ``data``.
        batch_size: photos per optimiser step, over all ranks.
        image_size: side of the photos, in pixels.
        seed: seed of the order of the photos.
        validation_images: maximum number of validation photos.
    """

    def __init__(
        self,
        folder: str | None = None,
        *,
        batch_size: int = 64,
        image_size: int = mini_imagenet.SIZE,
        seed: int = 0,
        validation_images: int = 512,
    ) -> None:
        super().__init__()
        self.folder = data_folder(folder)
        self.batch_size, self.image_size, self.seed = batch_size, image_size, seed
        self.validation_images = validation_images
        self.parts: dict[str, ImageSet] = {}

    def prepare_data(self) -> None:
        """Prepare the photos, on one process."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Load the photos."""
        self.parts = self.parts or _load_parts(self.folder, self.image_size)

    def train_dataloader(self) -> DataLoader:
        """Return the endless stream of training batches, which begins at the trainer's step."""
        data, position = self.parts["train"], stream_position(self.trainer)
        batches = StepBatchSampler(np.arange(len(data)), self.batch_size, self.seed, *position)
        pinned = torch.cuda.is_available()
        return DataLoader(ImageDataset(data), batch_size=None, sampler=batches, pin_memory=pinned)

    def batch_members(self, number: int, rank: int, world_size: int) -> dict[str, list[Any]]:
        """Return the indices, classes and names of the photos in a rank's training batch `number`, from 0."""
        train = self.parts["train"]
        order = np.arange(len(train))
        rows = next(iter(StepBatchSampler(order, self.batch_size, self.seed, rank, world_size, number)))
        classes = [train.class_names[train.labels[row]] for row in rows]
        return {"indices": rows, "classes": classes, "names": [train.names[row] for row in rows]}

    def val_dataloader(self) -> DataLoader:
        """Return this rank's share of the validation photos, which do not depend on the seed."""
        data = self.parts["val"]
        count = min(self.validation_images, len(data))
        chosen = np.sort(np.random.default_rng(0).choice(len(data), count, replace=False))
        batches = validation_batches(chosen, self.trainer)
        return DataLoader(ImageDataset(data), batch_size=None, sampler=batches)

    def facts(self) -> dict[str, object]:
        """Return a description of the data for run pages and reports."""
        train = self.parts["train"]
        return train.about | {"source": "mini-imagenet", "digest": train.digest()}


class MiniImageNetEpisodeDataModule(EpisodeDataModule):
    """Episodes of mini-ImageNet's training part: 64 classes of 600 photos.

    *Source*: Snell et al. 2017: 15 queries; 30 ways for one shot, 20 ways for five shots.
    """

    source_name = "mini-imagenet"

    def __init__(
        self,
        *args: Any,
        way: int = 30,
        query: int = 15,
        image_size: int = mini_imagenet.SIZE,
        validation_way: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args, way=way, query=query, image_size=image_size, validation_way=validation_way, **kwargs
        )

    def load_parts(self) -> dict[str, ImageSet]:
        """Return the images of the parts ``train`` and ``val``, after preparing them if necessary."""
        return _load_parts(self.folder, self.image_size)


def _load_parts(folder: Path, image_size: int) -> dict[str, ImageSet]:
    source, prepared = folder / "mini_imagenet", prepared_folder(folder)
    return {
        part: mini_imagenet.load_mini_imagenet(source, prepared, part, image_size)
        for part in ("train", "val")
    }
