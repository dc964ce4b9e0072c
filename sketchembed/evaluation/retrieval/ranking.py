"""How well a ranking by similarity finds what is of the same class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

BLOCK = 256
"""Queries that are ranked at once."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """What each query found among all other drawings.

    Attributes:
        average_precision: of each query, float64 ``[n]``; NaN where there is no other drawing of its class.
        precision: among the first k, by k, likewise.
        labels: class of each query.
    """

    average_precision: np.ndarray
    precision: dict[int, np.ndarray]
    labels: np.ndarray

    def by_class(self, values: np.ndarray) -> dict[int, float]:
        """Return the mean over each class's queries, of the classes that have some."""
        kept = ~np.isnan(values)
        return {
            int(label): float(values[kept & (self.labels == label)].mean())
            for label in np.unique(self.labels[kept])
        }

    def mean(self, values: np.ndarray) -> float:
        """Return the mean over classes, each of which counts alike."""
        return float(np.mean(list(self.by_class(values).values())))

    def interval(self, values: np.ndarray) -> float | None:
        """Return half the 95 % interval of :meth:`mean`, over classes; None for a single class."""
        means = list(self.by_class(values).values())
        return float(1.96 * np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else None


def similarities(
    queries: Float[Tensor, "queries size"], gallery: Float[Tensor, "gallery size"]
) -> Float[Tensor, "queries gallery"]:
    """Return the cosine of every query with every one of the gallery."""
    found: Tensor = normalize(queries) @ normalize(gallery).T
    return found


def rank(vectors: Float[Tensor, "n size"], labels: np.ndarray, firsts: Sequence[int] = (1, 5, 10)) -> Ranking:
    """Rank all other vectors by cosine for each one, exactly, and say where its class comes.

    Args:
        vectors: each one is a query, and found by the others.
        labels: class of each.
        firsts: the k of precision@k; where there are fewer than k others, of those.
    """
    classes = torch.as_tensor(labels, device=vectors.device)
    unit = normalize(vectors)
    count = len(vectors)
    ranks = torch.arange(1, count, device=vectors.device, dtype=torch.float64)
    averages: list[Tensor] = []
    precisions: dict[int, list[Tensor]] = {first: [] for first in firsts}
    for first in range(0, count, BLOCK):
        rows = torch.arange(first, min(first + BLOCK, count), device=vectors.device)
        close = unit[rows] @ unit.T
        # A drawing does not find itself: it comes last and is cut off.
        close[torch.arange(len(rows)), rows] = -torch.inf
        order = close.argsort(dim=1, descending=True, stable=True)[:, :-1]
        right = (classes[order] == classes[rows, None]).double()
        among = right.cumsum(dim=1) / ranks
        averages.append((among * right).sum(dim=1) / right.sum(dim=1))
        known = torch.where(right.any(dim=1), 1.0, torch.nan)
        for number in firsts:
            precisions[number].append(among[:, min(number, count - 1) - 1] * known)
    return Ranking(
        torch.cat(averages).cpu().numpy(),
        {number: torch.cat(parts).cpu().numpy() for number, parts in precisions.items()},
        np.asarray(labels),
    )


def chance(labels: np.ndarray, firsts: Sequence[int] = (1, 5, 10)) -> Ranking:
    """Return what a ranking at random finds on average, exactly.

    With N other drawings of which R are right, the one at rank k is right with chance R / N, and then of the
    k - 1 before it (k - 1)(R - 1) / (N - 1) are on average. The mean over k of the sum gives
    E[AP] = (H + (R - 1)(N - H) / (N - 1)) / N with H = 1 + 1/2 + ... + 1/N.

    Args:
        labels: class of each drawing.
        firsts: the k of precision@k.
    """
    labels = np.asarray(labels)
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    others, right = len(labels) - 1, (counts[places] - 1).astype(np.float64)
    harmonic = (1 / np.arange(1, others + 1)).sum()
    average = (harmonic + (right - 1) * (others - harmonic) / max(others - 1, 1)) / others
    known = np.where(right > 0, 1.0, np.nan)
    return Ranking(average * known, {first: right / others * known for first in firsts}, labels)
