"""What can answer few-shot episodes: an embedding with a head on top."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sketchembed.data.episodes import EpisodeBatch
from sketchembed.data.image_set import ImageSet
from sketchembed.evaluation.heads import Products, head
from sketchembed.evaluation.sharing import Sharing

EMBEDDED_AT_ONCE = 512
"""Images that go through a network together."""
HELD_AT_ONCE = 1 << 26
"""Numbers gathered for the products of a block of episodes: a quarter of a gigabyte."""

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
    def prepare(self, data: ImageSet, sharing: Sharing) -> None:
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
        head: name of the head, see :mod:`~sketchembed.evaluation.heads`.
        normalise: divide each embedding by its length.
        about: facts for the report.
    """

    def __init__(
        self,
        name: str,
        embed: Embed,
        head: str = "logistic",
        normalise: bool = True,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.name, self.embed, self.normalise = name, embed, normalise
        self.about = {"head": head} | (about or {})
        self.features = torch.zeros(0, 0)
        self.gram: Tensor | None = None

    def prepare(self, data: ImageSet, sharing: Sharing) -> None:
        """Embed every image once."""
        device = sharing.device

        def embed(rows: range) -> Tensor:
            out = self.embed(data.batch(slice(rows.start, rows.stop)).to(device)).float()
            return functional.normalize(out, dim=-1) if self.normalise else out

        with torch.inference_mode():
            width = embed(range(1)).shape[-1]
            features = sharing.gather(torch.zeros(len(data), width), EMBEDDED_AT_ONCE, embed).to(device)
            # Where there are fewer images than features, their products are the smaller table.
            self.gram = features @ features.mT if width > len(data) else None
        self.features = features

    def answer(self, batch: EpisodeBatch, way: int, shot: int) -> Int[Tensor, "episodes queries"]:
        """Fit the head to the support images and ask it about the others."""
        device = self.features.device
        support, query = (
            torch.from_numpy(part).to(device).clamp_min(0) for part in (batch.support, batch.query)
        )
        labels = torch.arange(way, device=device).repeat_interleave(shot)
        with torch.inference_mode():
            return head(self.about["head"])(self._products(support, query), labels, way)

    def _products(self, support: Tensor, query: Tensor) -> Products:
        if self.gram is not None:
            among = self.gram[support.unsqueeze(2), support.unsqueeze(1)]
            return Products(among.double(), self.gram[query.unsqueeze(2), support.unsqueeze(1)])
        known = self.features[support]
        step = max(1, HELD_AT_ONCE // max(1, query.shape[1] * self.features.shape[1]))
        asked = [
            self.features[query[first : first + step]] @ known[first : first + step].mT
            for first in range(0, len(query), step)
        ]
        return Products(known.double() @ known.double().mT, torch.cat(asked))


def ink(images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch channels size size"]:
    """Return images as ink, 1 on paper of 0: drawings are mostly paper, which then counts nothing."""
    return 1 - images


def pixels(images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch features"]:
    """Return the pixels themselves, as ink."""
    return ink(images).flatten(1)
