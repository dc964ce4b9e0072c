"""What can answer few-shot episodes: an embedding with a head on top."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sketchembed.data.episodes import EpisodeBatch
from sketchembed.data.image_set import ImageSet
from sketchembed.evaluation.fewshot.heads import Products, head
from sketchembed.runs.ranks import Ranks

EMBEDDED_AT_ONCE = 512
"""Images that go through a network together on a GPU."""
PIXELS_AT_ONCE = 1 << 16
"""Pixels that do on a CPU, in half the time of 512 images: its caches hold what layers leave each other."""
HELD_AT_ONCE = 1 << 26
"""Numbers gathered for episodes that are answered together on a GPU: a quarter of a gigabyte."""
CACHED_AT_ONCE = 1 << 22
"""Numbers gathered on a CPU, for its caches likewise."""

Embed = Callable[[Float[Tensor, "batch channels size size"]], Float[Tensor, "batch features"]]


class Method(ABC):
    """Something that answers episodes.

    Attributes:
        name: for the report's row.
        about: facts for the report: head, checkpoint, what it was trained on.
    """

    name: str
    about: dict[str, Any]

    @abstractmethod
    def prepare(self, data: ImageSet, ranks: Ranks) -> None:
        """Take the images of all episodes to come."""

    @abstractmethod
    def answer(self, batch: EpisodeBatch, way: int, shot: int) -> Int[Tensor, "episodes queries"]:
        """Return the class of each image asked about; what stands where there is none (-1) is ignored."""


class Embedding(Method):
    """A fixed embedding of each image, and a head fitted anew in each episode.

    *Source*: paper section 5: features are the means of z, each divided by its length.

    Args:
        name: for the report.
        embed: from images in [0, 1], on the device that `device` says, to their embeddings.
        head: name of the head, see :mod:`~sketchembed.evaluation.fewshot.heads`.
        normalise: divide each embedding by its length.
        about: facts for the report.
        beside: another head on the same embedding; what that one has prepared before serves both.
    """

    def __init__(
        self,
        name: str,
        embed: Embed,
        head: str = "logistic",
        normalise: bool = True,
        about: dict[str, Any] | None = None,
        beside: Embedding | None = None,
    ) -> None:
        self.name, self.embed, self.normalise, self.beside = name, embed, normalise, beside
        self.about = {"head": head} | (about or {})
        self.features = torch.zeros(0, 0)
        self.gram: Tensor | None = None

    def prepare(self, data: ImageSet, ranks: Ranks) -> None:
        """Embed every image once."""
        if self.beside is not None:
            self.features, self.gram = self.beside.features, self.beside.gram
            return
        device = ranks.device

        def embed(rows: range) -> Tensor:
            out = self.embed(data.batch(slice(rows.start, rows.stop)).to(device)).float()
            return functional.normalize(out, dim=-1) if self.normalise else out

        at_once = max(1, PIXELS_AT_ONCE // data.size**2) if device.type == "cpu" else EMBEDDED_AT_ONCE
        with torch.inference_mode():
            width = embed(range(1)).shape[-1]
            self.features = ranks.gather(torch.zeros(len(data), width), at_once, embed).to(device)
            # Where there are fewer images than features, their products are the smaller table.
            self.gram = _products_among(self.features, ranks) if width > len(data) else None

    def answer(self, batch: EpisodeBatch, way: int, shot: int) -> Int[Tensor, "episodes queries"]:
        """Fit the head to the support images and ask it about the others."""
        device = self.features.device
        support, query = (
            torch.from_numpy(part).to(device).clamp_min(0) for part in (batch.support, batch.query)
        )
        labels = torch.arange(way, device=device).repeat_interleave(shot)
        # Of an episode: the support images' rows of the table, or the features of those asked about.
        numbers = query.shape[1] * self.features.shape[1]
        if self.gram is not None:
            numbers = support.shape[1] * len(self.gram)
        held = CACHED_AT_ONCE if device.type == "cpu" else HELD_AT_ONCE
        at_once = max(1, held // max(1, numbers))
        with torch.inference_mode():
            answers = [
                head(self.about["head"])(self._products(*part), labels, way)
                for part in zip(torch.split(support, at_once), torch.split(query, at_once), strict=True)
            ]
        return torch.cat(answers)

    def _products(self, support: Tensor, query: Tensor) -> Products:
        if self.gram is not None:
            rows = self.gram[support]
            columns = support.unsqueeze(1).expand(-1, support.shape[1], -1)
            return Products(rows.gather(2, columns).double(), partial(_sums_of_rows, rows, query))
        known = self.features[support]
        among = known.double() @ known.double().mT
        return Products(among, partial(sums_of_features, known, self.features[query]))


def sums_of_features(known: Tensor, asked: Tensor, weight: Tensor | None) -> Tensor:
    """Return ``[episodes, queries, columns]``: see `Products` in `evaluation.fewshot.heads`."""
    columns = known.mT if weight is None else (known.double().mT @ weight).float()
    return asked @ columns


def _sums_of_rows(rows: Tensor, query: Tensor, weight: Tensor | None) -> Tensor:
    """Return the same from the support images' products with all images, ``[episodes, n, images]``."""
    # Whole rows are summed faster than the images asked about are picked from them.
    sums = rows if weight is None else weight.mT.float() @ rows
    return sums.gather(2, query.unsqueeze(1).expand(-1, sums.shape[1], -1)).mT


def _products_among(features: Tensor, ranks: Ranks) -> Tensor:
    """Return the inner products of all rows with each other, half of which are the other half's."""
    count = len(features)

    def left(rows: range) -> Tensor:
        found = features[rows.start : rows.stop] @ features[: rows.stop].mT
        return functional.pad(found, (0, count - rows.stop))

    table = ranks.gather(torch.zeros(count, count), EMBEDDED_AT_ONCE, left).to(features.device)
    for first in range(0, count, EMBEDDED_AT_ONCE):
        last = first + EMBEDDED_AT_ONCE
        table[:first, first:last] = table[first:last, :first].mT
    return table


def ink(images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch channels size size"]:
    """Return images as ink, 1 on paper of 0: drawings are mostly paper, which then counts nothing."""
    return 1 - images


def pixels(images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch features"]:
    """Return the pixels themselves, as ink."""
    return ink(images).flatten(1)
