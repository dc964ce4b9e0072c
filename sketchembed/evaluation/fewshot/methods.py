"""Few-shot methods: an interface, and fixed embeddings with a head that is fitted in each episode."""

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
from sketchembed.evaluation.fewshot.heads import HEADS, Products
from sketchembed.runs.ranks import Ranks

GPU_IMAGES = 512  # images in a batch on a GPU
CPU_PIXELS = 1 << 16
"""Pixels in a batch on a CPU. Activations that fit into its caches halve the time of 512 images."""
GPU_NUMBERS = 1 << 26  # numbers gathered for a batch of episodes on a GPU: 256 MB
CPU_NUMBERS = 1 << 22
"""Numbers gathered for a batch of episodes on a CPU, so that they fit into its caches."""

Embed = Callable[[Float[Tensor, "batch channels size size"]], Float[Tensor, "batch features"]]


class Method(ABC):
    """A few-shot classifier with a display name, and facts about it for the report."""

    name: str
    about: dict[str, Any]

    @abstractmethod
    def prepare(self, data: ImageSet, ranks: Ranks) -> None:
        """Prepare for episodes of a set of images."""

    @abstractmethod
    def predict(self, batch: EpisodeBatch, way: int, shot: int) -> Int[Tensor, "episodes queries"]:
        """Return the predicted class of each query; values at missing queries (-1) are ignored."""


class EmbeddingMethod(Method):
    """A fixed embedding, and a head that is fitted in each episode.

    *Source*: paper section 5: features are the means of z, each divided by its norm (`normalise`).

    `embed` takes images in [0, 1]. If another method with the same embedding is prepared before this one, it
    can be `shared`: its features are used again.
    """

    def __init__(
        self,
        name: str,
        embed: Embed,
        head: str = "logistic",
        normalise: bool = True,
        about: dict[str, Any] | None = None,
        shared: EmbeddingMethod | None = None,
    ) -> None:
        self.name, self.embed, self.normalise, self.shared = name, embed, normalise, shared
        self.about = {"head": head} | (about or {})
        self.features = torch.zeros(0, 0)
        self.gram: Tensor | None = None

    def prepare(self, data: ImageSet, ranks: Ranks) -> None:
        """Embed every image once."""
        if self.shared is not None:
            self.features, self.gram = self.shared.features, self.shared.gram
            return
        device = ranks.device

        def embed(rows: range) -> Tensor:
            out = self.embed(data.batch(slice(rows.start, rows.stop)).to(device)).float()
            return functional.normalize(out, dim=-1) if self.normalise else out

        at_once = max(1, CPU_PIXELS // data.size**2) if device.type == "cpu" else GPU_IMAGES
        with torch.inference_mode():
            width = embed(range(1)).shape[-1]
            features = torch.zeros(len(data), width)
            self.features = ranks.gather(features, at_once, embed, f"Embedding by {self.name}").to(device)
            # If there are fewer images than features, the Gram matrix is smaller than the features.
            self.gram = _gram_matrix(self.features, ranks) if width > len(data) else None

    def predict(self, batch: EpisodeBatch, way: int, shot: int) -> Int[Tensor, "episodes queries"]:
        """Fit the head to the support images and predict the classes of the queries."""
        device = self.features.device
        support, query = (
            torch.from_numpy(part).to(device).clamp_min(0) for part in (batch.support, batch.query)
        )
        labels = torch.arange(way, device=device).repeat_interleave(shot)
        # Numbers gathered per episode: Gram rows of the support images, or features of the queries.
        numbers = query.shape[1] * self.features.shape[1]
        if self.gram is not None:
            numbers = support.shape[1] * len(self.gram)
        most = CPU_NUMBERS if device.type == "cpu" else GPU_NUMBERS
        at_once = max(1, most // max(1, numbers))
        with torch.inference_mode():
            predicted = [
                HEADS[self.about["head"]](self._products(*part), labels, way)
                for part in zip(torch.split(support, at_once), torch.split(query, at_once), strict=True)
            ]
        return torch.cat(predicted)

    def _products(self, support: Tensor, query: Tensor) -> Products:
        if self.gram is not None:
            rows = self.gram[support]
            columns = support.unsqueeze(1).expand(-1, support.shape[1], -1)
            among = rows.gather(2, columns).double()
            return Products(among, partial(_sums_of_rows, rows, query), lambda: self.features[support])
        known = self.features[support]
        among = known.double() @ known.double().mT
        return Products(among, partial(sums_of_features, known, self.features[query]), lambda: known)


def sums_of_features(support: Tensor, query: Tensor, weight: Tensor | None) -> Tensor:
    """Return the products of queries with support images, from features; see ``heads.Products.query``."""
    columns = support.mT if weight is None else (support.double().mT @ weight).float()
    return query @ columns


def _sums_of_rows(rows: Tensor, query: Tensor, weight: Tensor | None) -> Tensor:
    """Return the same from rows of the Gram matrix, ``[episodes, n, images]``."""
    # Summing whole rows is faster than gathering the columns of the queries first.
    sums = rows if weight is None else weight.mT.float() @ rows
    return sums.gather(2, query.unsqueeze(1).expand(-1, sums.shape[1], -1)).mT


def _gram_matrix(features: Tensor, ranks: Ranks) -> Tensor:
    """Return the inner products of all features; the upper triangle is copied from the lower one."""
    count = len(features)

    def lower(rows: range) -> Tensor:
        found = features[rows.start : rows.stop] @ features[: rows.stop].mT
        return functional.pad(found, (0, count - rows.stop))

    gram = ranks.gather(torch.zeros(count, count), GPU_IMAGES, lower, "Computing products").to(
        features.device
    )
    for first in range(0, count, GPU_IMAGES):
        last = first + GPU_IMAGES
        gram[:first, first:last] = gram[first:last, :first].mT
    return gram


def invert(images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch channels size size"]:
    """Return images with 1 for ink and 0 for paper, so that the blank background has no effect."""
    return 1 - images


def pixel_features(images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch features"]:
    """Return the inverted pixels as features."""
    return invert(images).flatten(1)
