"""Episodic few-shot classification: how often a method names the class of an image it has seen once or so.

*Source*: paper section 5 and tables 1, 2, 5 and 6.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from sketchembed.data.episodes import EpisodeBatch
from sketchembed.errors import ConfigError
from sketchembed.evaluation.fewshot.methods import Method
from sketchembed.runs.ranks import Ranks

BLOCK = 100
"""Episodes answered together. A fixed number, so that the count of processes changes nothing."""
NORMAL_95 = 1.96


@dataclass(frozen=True)
class Setting:
    """A kind of episode, written as in ``20w1s``.

    Attributes:
        way: classes.
        shot: support images a class.
    """

    way: int
    shot: int

    @classmethod
    def parse(cls, text: str) -> Setting:
        """Read ``20w1s``.

        Raises:
            ConfigError: if it is written otherwise.
        """
        match = re.fullmatch(r"(\d+)w(\d+)s", text.strip())
        if match is None:
            raise ConfigError(
                f"'{text}' is no few-shot setting", expected="a way and a shot, as in 20w1s", fix="Correct it"
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        """Return ``20w1s``."""
        return f"{self.way}w{self.shot}s"


@dataclass(frozen=True)
class Score:
    """A method's accuracies, one an episode.

    Attributes:
        setting: way and shot.
        accuracies: float64 ``[episodes]``, 0 to 1.
        seed: of the episodes; None where they are a published list.
        query: images asked about a class; None for all the rest.
        digest: of the list of episodes.
    """

    setting: Setting
    accuracies: np.ndarray
    seed: int | None
    query: int | None
    digest: str

    @property
    def mean(self) -> float:
        """Mean accuracy in per cent."""
        return float(100 * self.accuracies.mean())

    @property
    def interval(self) -> float:
        """Half of the 95 % confidence interval of the mean, in per cent: 1.96 · σ / √n, as the paper's."""
        return float(100 * NORMAL_95 * self.accuracies.std() / math.sqrt(len(self.accuracies)))

    def to_dict(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "setting": str(self.setting),
            "mean": round(self.mean, 4),
            "ci95": round(self.interval, 4),
            "episodes": len(self.accuracies),
            "seed": self.seed,
            "query": "all" if self.query is None else self.query,
            "digest": self.digest,
        }


@runtime_checkable
class EpisodeSource(Protocol):
    """Where episodes come from: drawn at random, or a published list."""

    @property
    def way(self) -> int:
        """Classes in an episode."""

    @property
    def shot(self) -> int:
        """Support images a class."""

    @property
    def query(self) -> int | None:
        """Images asked about a class; None for all the rest."""

    @property
    def seed(self) -> int | None:
        """The seed, if they are drawn."""

    def batch(self, ids: Sequence[int] | range) -> EpisodeBatch:
        """Return the episodes of these ids."""

    def digest(self, count: int) -> str:
        """Return a digest of the first `count` episodes."""


def measure(
    methods: Sequence[Method], episodes: EpisodeSource, count: int, ranks: Ranks | None = None
) -> list[Score]:
    """Ask every method the same episodes.

    Args:
        methods: prepared ones.
        episodes: of one setting.
        count: of episodes: those of ids 0 to count - 1.
        ranks: of the work among processes.

    Returns:
        a score for each method.
    """
    ranks = ranks or Ranks()
    setting = Setting(episodes.way, episodes.shot)

    def answered(block: range) -> torch.Tensor:
        batch = episodes.batch(block)
        labels = torch.from_numpy(batch.query_labels)
        asked = labels >= 0
        columns = [
            ((method.answer(batch, setting.way, setting.shot).cpu() == labels) & asked).sum(1) / asked.sum(1)
            for method in methods
        ]
        return torch.stack(columns, dim=1).double()

    accuracies = ranks.gather(torch.zeros(count, len(methods), dtype=torch.float64), BLOCK, answered).numpy()
    digest = episodes.digest(count)
    return [
        Score(setting, accuracies[:, column], episodes.seed, episodes.query, digest)
        for column in range(len(methods))
    ]
