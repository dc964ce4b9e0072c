"""Data modules of mini-ImageNet: photos without labels, and few-shot episodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from sketchembed.data.datamodules.episode_datamodule import EpisodeDataModule
from sketchembed.data.folders import data_folder, prepared_folder
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sampling import StepBatchSampler, stream_position, validation_batches
from sketchembed.data.sources import mini_imagenet

FLIPS = 1
"""Part of the seed, so that the flips and the order use different random numbers."""


class ImageStream(IterableDataset[Tensor]):
    """Endless stream of batches of images, in which the batch of a step is always the same.

    Args:
        data: images.
        batch_size: images per step, over all ranks.
        seed: seed of the order and of the flips.
        rank: rank of this process.
        world_size: number of ranks; must divide `batch_size`.
        first_step: first step to yield.
        flip: mirror a random half of the images left to right.

    Raises:
        DataError: if the ranks do not divide the batch.
    """

    def __init__(
        self,
        data: ImageSet,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        first_step: int = 0,
        flip: bool = False,
    ) -> None:
        self.data, self.flip, self.first_step = data, flip, first_step
        self.sampler = StepBatchSampler(np.arange(len(data)), batch_size, seed, rank, world_size, first_step)

    def __iter__(self) -> Iterator[Float[Tensor, "batch channels size size"]]:
        """Yield the images of this rank in [0, 1], step by step."""
        for step, rows in enumerate(self.sampler, self.first_step):
            images = self.data.batch(np.array(rows))
            yield self._flipped(images, step) if self.flip else images

    def _flipped(self, images: Tensor, step: int) -> Tensor:
        sampler = self.sampler
        # Drawn for the global batch, so that the result does not depend on the number of ranks.
        chances = np.random.default_rng([sampler.seed, step, FLIPS]).random(sampler.batch_size)
        own = chances[sampler.rank * len(images) : (sampler.rank + 1) * len(images)]
        mirrored = torch.from_numpy(own < 0.5)[:, None, None, None]
        return torch.where(mirrored, images.flip(-1), images)


class MiniImageNetDataModule(pl.LightningDataModule):
    """Photos of mini-ImageNet, without labels.

    *Source*: paper section 5, table 2. The training part has 64 classes; the validation photos are of the
    validation part, which has other classes.

    Args:
        folder: folder of the data sets; default: ``SKETCHEMBED_DATA``, or else ``data``.
        batch_size: photos per optimiser step, over all ranks.
        flip: mirror a random half of the photos left to right; the released code does not.
        image_size: side of the photos, in pixels.
        seed: seed of the order and of the flips.
        validation_images: maximum number of validation photos.
    """

    def __init__(
        self,
        folder: str | None = None,
        batch_size: int = 64,
        flip: bool = False,
        image_size: int = mini_imagenet.SIZE,
        seed: int = 0,
        validation_images: int = 512,
    ) -> None:
        super().__init__()
        self.folder = data_folder(folder)
        self.batch_size, self.flip, self.image_size, self.seed = batch_size, flip, image_size, seed
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
        position = stream_position(self.trainer)
        stream = ImageStream(self.parts["train"], self.batch_size, self.seed, *position, flip=self.flip)
        return DataLoader(stream, batch_size=None, pin_memory=torch.cuda.is_available())

    def batch_members(self, number: int, rank: int, world_size: int) -> dict[str, list[Any]]:
        """Return the indices, classes and names of the photos in a training batch.

        Args:
            number: number of the batch, from 0.
            rank: rank that trains on it.
            world_size: number of ranks.
        """
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
        batches = [data.batch(rows) for rows in validation_batches(chosen, self.trainer)]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

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
