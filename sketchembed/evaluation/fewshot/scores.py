"""Accuracy of few-shot classification in episodes.

*Source*: paper section 5 and tables 1, 2, 5 and 6.

The accuracy of every episode is kept, for the confidence interval, so there is no torchmetrics metric here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sketchembed.data.episodes import Episodes
from sketchembed.data.sources.omniglot_runs import OneShotRuns
from sketchembed.errors import ConfigError
from sketchembed.evaluation.fewshot.methods import Method
from sketchembed.runs.ranks import Ranks

BLOCK = 100
"""Episodes in a batch. It is fixed, so that results do not depend on the number of ranks."""
NORMAL_95 = 1.96


@dataclass(frozen=True)
class EpisodeSetting:
    """Way (number of classes) and shot (support images per class) of an episode, written as ``20w1s``."""

    way: int
    shot: int

    @classmethod
    def parse(cls, text: str) -> EpisodeSetting:
        """Parse a setting such as ``20w1s``.

        Raises:
            ConfigError: if the text has another form.
        """
        match = re.fullmatch(r"(\d+)w(\d+)s", text.strip())
        if match is None:
            raise ConfigError(
                f"'{text}' is not a few-shot setting",
                expected="way and shot, as in 20w1s",
                fix="Correct --settings",
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        """Return the setting as text, such as ``20w1s``."""
        return f"{self.way}w{self.shot}s"


@dataclass(frozen=True)
class Score:
    """Accuracies of a method, float64 ``[episodes]``, 0 to 1, with a digest of the list of episodes.

    `seed` is None for a published list. `query` is None for all other images of a class.
    """

    setting: EpisodeSetting
    accuracies: np.ndarray
    seed: int | None
    query: int | None
    digest: str

    @property
    def mean(self) -> float:
        """Mean accuracy in percent."""
        return float(100 * self.accuracies.mean())

    @property
    def interval(self) -> float:
        """Half of the 95 % confidence interval of the mean, in percent: 1.96 σ / √n, as in the paper."""
        return float(100 * NORMAL_95 * self.accuracies.std() / math.sqrt(len(self.accuracies)))

    def to_dict(self) -> dict[str, object]:
        """Return values for JSON."""
        return {
            "setting": str(self.setting),
            "mean": round(self.mean, 4),
            "ci95": round(self.interval, 4),
            "episodes": len(self.accuracies),
            "seed": self.seed,
            "query": "all" if self.query is None else self.query,
            "digest": self.digest,
        }


def measure(
    methods: Sequence[Method], episodes: Episodes | OneShotRuns, count: int, ranks: Ranks | None = None
) -> list[Score]:
    """Measure the accuracy of prepared methods on the same episodes, numbers 0 to count - 1.

    Returns:
        a score per method.
    """
    ranks = ranks or Ranks()
    setting = EpisodeSetting(episodes.way, episodes.shot)

    def accuracies_of(block: range) -> torch.Tensor:
        batch = episodes.batch(block)
        labels = torch.from_numpy(batch.query_labels)
        present = labels >= 0
        columns = [
            ((method.predict(batch, setting.way, setting.shot).cpu() == labels) & present).sum(1)
            / present.sum(1)
            for method in methods
        ]
        return torch.stack(columns, dim=1).double()

    out = torch.zeros(count, len(methods), dtype=torch.float64)
    accuracies = ranks.gather(out, BLOCK, accuracies_of, f"Episodes {setting}").numpy()
    digest = episodes.digest(count)
    return [
        Score(setting, accuracies[:, column], episodes.seed, episodes.query, digest)
        for column in range(len(methods))
    ]
