"""Images to train on that have no strokes: photos, for models of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from sketchembed.data.datamodules.drawing_datamodule import validation_share
from sketchembed.data.datamodules.episode_datamodule import EpisodeDataModule
from sketchembed.data.folders import data_folder, prepared_folder
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sampling import StepBatchSampler, batches_before
from sketchembed.data.sources import mini_imagenet

FLIPS = 1
"""Tells the random numbers of the flips from those of the order."""


class ImageStream(IterableDataset[Tensor]):
    """An endless stream of batches of images, the one of a step a function of the seed and the step.

    The order is that of :class:`~sketchembed.data.sampling.StepBatchSampler`.

    Args:
        data: the images.
        batch_size: images in a step, over all processes together.
        seed: of the order and the flips.
        rank: number of this process.
        world: number of processes; must divide the batch.
        first_step: step to begin with.
        flip: whether half of the images, drawn anew each time, are mirrored left to right.

    Raises:
        DataError: if the processes don't divide the batch.
    """

    def __init__(
        self,
        data: ImageSet,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        first_step: int = 0,
        flip: bool = False,
    ) -> None:
        self.data, self.flip, self.first_step = data, flip, first_step
        self.sampler = StepBatchSampler(np.arange(len(data)), batch_size, seed, rank, world, first_step)

    def __iter__(self) -> Iterator[Float[Tensor, "batch channels size size"]]:
        """Yield this process's images of one step after the other, in [0, 1]."""
        for step, rows in enumerate(self.sampler, self.first_step):
            images = self.data.batch(np.array(rows))
            yield self._flipped(images, step) if self.flip else images

    def _flipped(self, images: Tensor, step: int) -> Tensor:
        sampler = self.sampler
        # Drawn for the batch of all processes, so that their number changes nothing.
        chances = np.random.default_rng([sampler.seed, step, FLIPS]).random(sampler.batch_size)
        mine = chances[sampler.rank * len(images) : (sampler.rank + 1) * len(images)]
        turned = torch.from_numpy(mine < 0.5)[:, None, None, None]
        return torch.where(turned, images.flip(-1), images)


class MiniImageNetDataModule(pl.LightningDataModule):
    """The photos of mini-ImageNet, without labels.

    *Source*: paper section 5, table 2: the 64 classes of the training part train; photos of the validation
    part, other classes, are looked at.

    Args:
        folder: of the data sets; ``SKETCHEMBED_DATA``, else ``data``, if not given.
        batch_size: photos in an optimiser step, over all processes together.
        flip: whether half of the photos are mirrored left to right; the released code has none.
        image_size: side in pixels.
        seed: of the order and the flips.
        validation_images: how many photos are looked at.
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

    def _load(self, part: str) -> ImageSet:
        prepared = prepared_folder(self.folder)
        return mini_imagenet.load(self.folder / "mini_imagenet", prepared, part, self.image_size)

    def prepare_data(self) -> None:
        """Prepare the photos, on one process."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Read the photos."""
        self.parts = self.parts or {part: self._load(part) for part in ("train", "val")}

    def train_dataloader(self) -> DataLoader:
        """Return the endless stream of training batches, from the trainer's step on."""
        trainer = self.trainer
        rank, world, step = (
            (trainer.global_rank, trainer.world_size, batches_before(trainer)) if trainer else (0, 1, 0)
        )
        stream = ImageStream(
            self.parts["train"], self.batch_size, self.seed, rank, world, step, flip=self.flip
        )
        return DataLoader(stream, batch_size=None, pin_memory=torch.cuda.is_available())

    def members(self, number: int, rank: int, world: int) -> dict[str, list[Any]]:
        """Return the rows of a training batch's photos, their classes and their names.

        Args:
            number: of the batch, from 0.
            rank: of the process that it is for.
            world: number of processes.
        """
        train = self.parts["train"]
        order = np.arange(len(train))
        rows = next(iter(StepBatchSampler(order, self.batch_size, self.seed, rank, world, number)))
        classes = [train.class_names[train.labels[row]] for row in rows]
        return {"indices": rows, "classes": classes, "names": [train.names[row] for row in rows]}

    def val_dataloader(self) -> DataLoader:
        """Return this process's share of photos of the validation part, the same for every seed."""
        data = self.parts["val"]
        count = min(self.validation_images, len(data))
        chosen = np.sort(np.random.default_rng(0).choice(len(data), count, replace=False))
        batches = [data.batch(rows) for rows in validation_share(chosen, self.trainer)]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    def facts(self) -> dict[str, object]:
        """Return what a run's page and a report say of the data."""
        train = self.parts["train"]
        return train.about | {"source": "mini-imagenet", "digest": train.digest()}


class MiniImageNetEpisodeDataModule(EpisodeDataModule):
    """Episodes of mini-ImageNet's training part: 64 classes of 600 photos.

    *Source*: Snell et al. 2017: 30-way episodes train one shot (20-way five shots), with 15 queries.

    Args:
        folder: of the data sets; ``SKETCHEMBED_DATA``, else ``data``, if not given.
        way: classes of a training episode.
        shot: support images a class.
        query: query images a class.
        image_size: side in pixels.
        validation_way: classes of a validation episode, or as many as there are.
        validation_episodes: how many of the validation part.
        seed: of the episodes.
    """

    source_name = "mini-imagenet"

    def __init__(
        self,
        folder: str | None = None,
        way: int = 30,
        shot: int = 1,
        query: int = 15,
        image_size: int = mini_imagenet.SIZE,
        validation_way: int = 5,
        validation_episodes: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(folder, way, shot, query, image_size, validation_way, validation_episodes, seed)

    def load_parts(self) -> dict[str, ImageSet]:
        """Return the images of the parts ``train`` and ``val``, preparing them first if need be."""
        prepared, folder = prepared_folder(self.folder), self.folder / "mini_imagenet"
        return {
            part: mini_imagenet.load(folder, prepared, part, self.image_size) for part in ("train", "val")
        }
