"""Episodes to train on: for the supervised baselines, which are given labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import pytorch_lightning as pl
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from sketchembed.data.episodes import Episodes
from sketchembed.data.folders import data_folder
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sampling import batches_before
from sketchembed.errors import ConfigError


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


class EpisodeDataModule(pl.LightningDataModule, ABC):
    """Episodes of a data set's training part, and of its validation part to look at.

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

    source_name: ClassVar[str]

    def __init__(
        self,
        folder: str | None,
        way: int,
        shot: int,
        query: int,
        image_size: int,
        validation_way: int,
        validation_episodes: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.folder = data_folder(folder)
        self.way, self.shot, self.query, self.seed = way, shot, query, seed
        self.image_size = image_size
        self.validation_way, self.validation_episodes = validation_way, validation_episodes
        self.parts: dict[str, ImageSet] = {}

    @abstractmethod
    def load_parts(self) -> dict[str, ImageSet]:
        """Return the images of the parts ``train`` and ``val``, preparing them first if need be.

        Raises:
            DataError: if files are missing or damaged.
        """

    def prepare_data(self) -> None:
        """Prepare the images, on one process."""
        self.load_parts()

    def setup(self, stage: str | None = None) -> None:
        """Read the images and check that episodes can be drawn, and that each process has one to look at.

        Raises:
            ConfigError: if there are fewer validation episodes than processes; one without any would wait for
                the others' for ever.
            DataError: if the images are too few.
        """
        world = self.trainer.world_size if self.trainer else 1
        if self.validation_episodes < world:
            raise ConfigError(
                f"{self.validation_episodes} validation episodes cannot be divided over {world} processes",
                expected="at least one for each",
                fix=f"Set --data.init_args.validation_episodes to {world} or more",
            )
        if self.parts:
            return
        self.parts = self.load_parts()
        self.train = Episodes(self.parts["train"], self.way, self.shot, self.query, self.seed)
        way = min(self.validation_way, len(self.parts["val"].class_names))
        self.val = Episodes(self.parts["val"], way, self.shot, self.query)

    def train_dataloader(self) -> DataLoader:
        """Return the endless stream of training episodes, from the trainer's step on."""
        trainer = self.trainer
        rank, world, seen = (
            (trainer.global_rank, trainer.world_size, batches_before(trainer)) if trainer else (0, 1, 0)
        )
        return DataLoader(EpisodeStream(self.train, seen * world + rank, world), batch_size=None)

    def members(self, number: int, rank: int, world: int) -> dict[str, list[Any]]:
        """Return the id of a training batch's episode.

        Args:
            number: of the batch, from 0.
            rank: of the process that it is for.
            world: number of processes.
        """
        return {"episodes": [number * world + rank]}

    def val_dataloader(self) -> DataLoader:
        """Return this process's share of the validation episodes."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        count = len(range(rank, self.validation_episodes, world))
        return DataLoader(EpisodeStream(self.val, rank, world, count), batch_size=None)

    def facts(self) -> dict[str, object]:
        """Return what a run's page and a report say of the data."""
        train = self.parts["train"]
        return train.about | {
            "source": self.source_name,
            "drawings": len(train),
            "classes": len(train.class_names),
        }
