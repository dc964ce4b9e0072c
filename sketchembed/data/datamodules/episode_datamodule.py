"""Base data module of few-shot episodes, for supervised baselines."""

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
from sketchembed.data.sampling import stream_position
from sketchembed.errors import ConfigError


class EpisodeImages(NamedTuple):
    """Images of one episode, in [0, 1].

    Attributes:
        support: ``[way, shot, channels, size, size]``.
        query: ``[way, queries, channels, size, size]``.
    """

    support: Float[Tensor, "way shot channels size size"]
    query: Float[Tensor, "way queries channels size size"]


class EpisodeStream(IterableDataset[EpisodeImages]):
    """Episodes with the ids ``first``, ``first + step``, ``first + 2 * step``, and so on.

    Args:
        episodes: source of the episodes; must have a fixed number of queries.
        first: id of the first episode.
        step: difference between consecutive ids, usually the number of ranks.
        count: number of episodes; endless if None.
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
    """Base class of episodes from the training part and the validation part of a data set.

    Args:
        folder: folder of the data sets; default: ``SKETCHEMBED_DATA``, or else ``data``.
        way: classes per training episode.
        shot: support images per class.
        query: query images per class.
        image_size: side of the images, in pixels.
        validation_way: classes per validation episode, or as many as the validation part has.
        validation_episodes: number of validation episodes.
        seed: seed of the training episodes.
    """

    source_name: ClassVar[str]

    def __init__(
        self,
        folder: str | None = None,
        *,
        way: int,
        shot: int = 1,
        query: int,
        image_size: int,
        validation_way: int,
        validation_episodes: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.folder = data_folder(folder)
        self.way, self.shot, self.query, self.seed = way, shot, query, seed
        self.image_size = image_size
        self.validation_way, self.validation_episodes = validation_way, validation_episodes
        self.parts: dict[str, ImageSet] = {}

    @abstractmethod
    def load_parts(self) -> dict[str, ImageSet]:
        """Return the images of the parts ``train`` and ``val``, after preparing them if necessary.

        Raises:
            DataError: if files are missing or damaged.
        """

    def prepare_data(self) -> None:
        """Prepare the images, on one process."""
        self.load_parts()

    def setup(self, stage: str | None = None) -> None:
        """Load the images and check that there are enough of them.

        Raises:
            ConfigError: if there are fewer validation episodes than ranks. A rank without an episode would
                wait forever for the others.
            DataError: if there are too few classes or images for an episode.
        """
        episodes, world_size = self.validation_episodes, self.trainer.world_size if self.trainer else 1
        if episodes < world_size:
            raise ConfigError(
                f"{episodes} validation episodes cannot be divided over {world_size} processes",
                expected="at least one episode per process",
                fix=f"Set --data.init_args.validation_episodes to {world_size} or more",
            )
        if self.parts:
            return
        self.parts = self.load_parts()
        self.train = Episodes(self.parts["train"], self.way, self.shot, self.query, self.seed)
        way = min(self.validation_way, len(self.parts["val"].class_names))
        self.val = Episodes(self.parts["val"], way, self.shot, self.query)

    def train_dataloader(self) -> DataLoader:
        """Return the endless stream of training episodes, which begins at the trainer's step."""
        rank, world_size, batches = stream_position(self.trainer)
        stream = EpisodeStream(self.train, batches * world_size + rank, world_size)
        return DataLoader(stream, batch_size=None)

    def batch_members(self, number: int, rank: int, world_size: int) -> dict[str, list[Any]]:
        """Return the id of the episode in a rank's training batch `number`, from 0."""
        return {"episodes": [number * world_size + rank]}

    def val_dataloader(self) -> DataLoader:
        """Return this rank's share of the validation episodes."""
        rank, world_size, _ = stream_position(self.trainer)
        count = len(range(rank, self.validation_episodes, world_size))
        return DataLoader(EpisodeStream(self.val, rank, world_size, count), batch_size=None)

    def facts(self) -> dict[str, object]:
        """Return a description of the data for run pages and reports."""
        train = self.parts["train"]
        return train.about | {
            "source": self.source_name,
            "drawings": len(train),
            "classes": len(train.class_names),
        }
