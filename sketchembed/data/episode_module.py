"""Episodes to train on: for the supervised baselines, which are given labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytorch_lightning as pl
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from sketchembed.data import omniglot_images
from sketchembed.data.drawings import data_folder
from sketchembed.data.episodes import Episodes
from sketchembed.data.image_set import ImageSet
from sketchembed.data.modules import prepared_folder


class EpisodeImages(NamedTuple):
    """The images of one episode, in [0, 1].

    Attributes:
        support: ``[way, shot, channels, size, size]``.
        query: ``[way, queries, channels, size, size]``.
    """

    support: Float[Tensor, "way shot channels size size"]
    query: Float[Tensor, "way queries channels size size"]


class EpisodeStream(IterableDataset[EpisodeImages]):
    """Episodes by id, one after the other.

    Args:
        episodes: with a number of queries.
        first: id of the first.
        step: difference of two ids: the number of processes that share them.
        count: how many; endless if None.
    """

    def __init__(self, episodes: Episodes, first: int = 0, step: int = 1, count: int | None = None) -> None:
        self.episodes, self.first, self.step, self.count = episodes, first, step, count

    def __iter__(self) -> Iterator[EpisodeImages]:
        """Yield the images of each episode."""
        number, episodes = 0, self.episodes
        while self.count is None or number < self.count:
            batch = episodes.batch([self.first + number * self.step])
            images = (episodes.data.batch(rows[0]) for rows in (batch.support, batch.query))
            yield EpisodeImages(*(part.view(episodes.way, -1, *part.shape[1:]) for part in images))
            number += 1


class OmniglotEpisodeDataModule(pl.LightningDataModule):
    """Episodes of Omniglot's Vinyals split, rotations as classes of their own.

    *Source*: Snell et al. 2017: 60-way episodes train, with one shot and five queries.

    Args:
        folder: of the data sets; ``SKETCHEMBED_DATA``, else ``data``, if not given.
        way: classes of a training episode.
        shot: support images a class.
        query: query images a class.
        source: ``strokes`` or ``images``, see :func:`~sketchembed.data.omniglot_images.load`.
        image_size: side in pixels.
        validation_episodes: 20-way episodes of the validation part.
        seed: of the episodes.
    """

    def __init__(
        self,
        folder: str | None = None,
        way: int = 60,
        shot: int = 1,
        query: int = 5,
        source: omniglot_images.Kind = "strokes",
        image_size: int = 28,
        validation_episodes: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.folder = data_folder(folder)
        self.way, self.shot, self.query, self.seed = way, shot, query, seed
        self.source, self.image_size = source, image_size
        self.validation_episodes = validation_episodes
        self.parts: dict[str, ImageSet] = {}

    def prepare_data(self) -> None:
        """Prepare the images, on one process."""
        self._load()

    def _load(self) -> ImageSet:
        prepared = prepared_folder(self.folder)
        return omniglot_images.load(self.folder / "omniglot", prepared, self.source, self.image_size)

    def setup(self, stage: str | None = None) -> None:
        """Read the images and check that episodes can be drawn."""
        if self.parts:
            return
        images = self._load()
        self.parts = {part: omniglot_images.split(images, "vinyals", part) for part in ("train", "val")}
        self.train = Episodes(self.parts["train"], self.way, self.shot, self.query, self.seed)
        way = min(20, len(self.parts["val"].class_names))
        self.val = Episodes(self.parts["val"], way, self.shot, self.query)

    def train_dataloader(self) -> DataLoader:
        """Return the endless stream of training episodes, from the trainer's step on."""
        trainer = self.trainer
        rank, world, step = (
            (trainer.global_rank, trainer.world_size, trainer.global_step) if trainer else (0, 1, 0)
        )
        return DataLoader(EpisodeStream(self.train, step * world + rank, world), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """Return this process's share of the validation episodes."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        count = len(range(rank, self.validation_episodes, world))
        return DataLoader(EpisodeStream(self.val, rank, world, count), batch_size=None)

    def facts(self) -> dict[str, object]:
        """Return what a run's page and a report say of the data."""
        train = self.parts["train"]
        return train.about | {"source": "omniglot", "drawings": len(train), "classes": len(train.class_names)}
