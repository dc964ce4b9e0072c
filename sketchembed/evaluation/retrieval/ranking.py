"""Rank embeddings by similarity, and score how highly embeddings of the same class are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

BLOCK = 256  # queries ranked together


@dataclass(frozen=True, eq=False)
class RankingScores:
    """Average precision ``[n]`` and precision@k of n queries, with their classes.

    Both are NaN for a query without another embedding of its class.
    """

    average_precision: np.ndarray
    precision: dict[int, np.ndarray]
    labels: np.ndarray

    def by_class(self, values: np.ndarray) -> dict[int, float]:
        """Return the mean over the queries of each class, without classes that have only NaN."""
        kept = ~np.isnan(values)
        return {
            int(label): float(values[kept & (self.labels == label)].mean())
            for label in np.unique(self.labels[kept])
        }

    def mean(self, values: np.ndarray) -> float:
        """Return the unweighted mean over classes."""
        return float(np.mean(list(self.by_class(values).values())))

    def interval(self, values: np.ndarray) -> float | None:
        """Return half of the 95 % interval of :meth:`mean` over classes; None for a single class."""
        means = list(self.by_class(values).values())
        return float(1.96 * np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else None


def similarities(
    queries: Float[Tensor, "queries size"], gallery: Float[Tensor, "gallery size"]
) -> Float[Tensor, "queries gallery"]:
    """Return the cosine of every query with every embedding of the gallery."""
    found: Tensor = normalize(queries) @ normalize(gallery).T
    return found


def rank(
    vectors: Float[Tensor, "n size"], labels: np.ndarray, cutoffs: Sequence[int] = (1, 5, 10)
) -> RankingScores:
    """Use each embedding as a query, rank all others by cosine, and score the ranking.

    `cutoffs` are the k of precision@k, which counts all others if there are fewer than k.
    """
    classes = torch.as_tensor(labels, device=vectors.device)
    unit = normalize(vectors)
    count = len(vectors)
    ranks = torch.arange(1, count, device=vectors.device, dtype=torch.float64)
    averages: list[Tensor] = []
    precisions: dict[int, list[Tensor]] = {cutoff: [] for cutoff in cutoffs}
    for first in range(0, count, BLOCK):
        rows = torch.arange(first, min(first + BLOCK, count), device=vectors.device)
        close = unit[rows] @ unit.T
        # The query itself is ranked last, and removed.
        close[torch.arange(len(rows)), rows] = -torch.inf
        order = close.argsort(dim=1, descending=True, stable=True)[:, :-1]
        relevant = (classes[order] == classes[rows, None]).double()
        precision = relevant.cumsum(dim=1) / ranks
        averages.append((precision * relevant).sum(dim=1) / relevant.sum(dim=1))
        known = torch.where(relevant.any(dim=1), 1.0, torch.nan)
        for cutoff in cutoffs:
            precisions[cutoff].append(precision[:, min(cutoff, count - 1) - 1] * known)
    return RankingScores(
        torch.cat(averages).cpu().numpy(),
        {cutoff: torch.cat(parts).cpu().numpy() for cutoff, parts in precisions.items()},
        np.asarray(labels),
    )


def chance(labels: np.ndarray, cutoffs: Sequence[int] = (1, 5, 10)) -> RankingScores:
    """Return the expected scores of a random ranking.

    Let N be the number of other embeddings, and R the number of relevant ones. The embedding at rank k is
    relevant with probability R / N. In this case, (k - 1)(R - 1) / (N - 1) of the k - 1 embeddings before it
    are relevant on average. The mean over k is E[AP] = (H + (R - 1)(N - H) / (N - 1)) / N with
    H = 1 + 1/2 + ... + 1/N.
    """
    labels = np.asarray(labels)
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    others, relevant = len(labels) - 1, (counts[places] - 1).astype(np.float64)
    harmonic = (1 / np.arange(1, others + 1)).sum()
    average = (harmonic + (relevant - 1) * (others - harmonic) / max(others - 1, 1)) / others
    known = np.where(relevant > 0, 1.0, np.nan)
    return RankingScores(average * known, {cutoff: relevant / others * known for cutoff in cutoffs}, labels)
