"""Few-shot methods that fit a whole network to each episode: MAML, and training from scratch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from sketchembed.data.episodes import EpisodeBatch
from sketchembed.data.image_set import ImageSet
from sketchembed.evaluation.fewshot.methods import GPU_NUMBERS, Method
from sketchembed.networks.maml import MAML, SupportNormConv4
from sketchembed.runs.ranks import Ranks

Scorer = Callable[[Float[Tensor, "queries channels size size"]], Float[Tensor, "queries way"]]
"""From queries to class scores."""


class FineTuningMethod(Method):
    """A method that fits a network to the support images of one episode at a time.

    The predictions of an episode depend only on its own images, hence neither on the order of the episodes
    nor on the number of ranks. `width` is the number of filters of the first layer, from which the batch
    size is computed.
    """

    def __init__(self, name: str, width: int, about: dict[str, Any]) -> None:
        self.name, self.width, self.about = name, width, about

    def prepare(self, data: ImageSet, ranks: Ranks) -> None:
        """Keep the images and the device."""
        self.data, self.device = data, ranks.device

    def predict(self, batch: EpisodeBatch, way: int, shot: int) -> Int[Tensor, "episodes queries"]:
        """Fit to the support images of each episode and predict the classes of its queries."""
        labels = torch.arange(way, device=self.device).repeat_interleave(shot)
        out = torch.full(batch.query.shape, -1)
        at_once = max(64, GPU_NUMBERS // (self.width * self.data.size**2))
        for row, (support, query) in enumerate(zip(batch.support, batch.query, strict=True)):
            present = query >= 0
            score = self.fit(self._images(support), labels, way, support)
            with torch.no_grad():
                parts = [
                    score(self._images(part))
                    for part in np.split(query[present], range(at_once, present.sum(), at_once))
                ]
            out[row, torch.from_numpy(present)] = torch.cat(parts).argmax(-1).cpu()
        return out

    def _images(self, rows: np.ndarray) -> Tensor:
        return self.data.batch(rows).to(self.device)

    @abstractmethod
    def fit(
        self,
        support: Float[Tensor, "n channels size size"],
        labels: Int[Tensor, " n"],
        way: int,
        rows: np.ndarray,
    ) -> Scorer:
        """Fit a network to support images in [0, 1], with classes 0 to way - 1.

        `rows` are their row numbers in the data, from which random numbers of the episode are seeded.
        """


class MAMLMethod(FineTuningMethod):
    """MAML: the network's test steps of gradient descent from learned initial weights."""

    def __init__(self, name: str, network: MAML, about: dict[str, Any] | None = None) -> None:
        self.network, self.steps = network, network.config.test_steps
        facts = {"steps": self.steps, "lr": network.config.inner_lr}
        super().__init__(name, network.config.width, facts | (about or {}))

    def fit(self, support: Tensor, labels: Tensor, way: int, rows: np.ndarray) -> Scorer:
        """Adapt the network to support images, without keeping the graph."""
        found = self.network.adapt(support, labels, way, self.steps, first_order=True)
        parameters = {name: value.detach() for name, value in found.items()}
        return lambda query: self.network.scores(parameters, support, query)


class FromScratchMethod(FineTuningMethod):
    """Training from scratch: a new Conv4 with a linear classifier, trained on the support images only.

    *Source*: a row of the paper's table 1, from Hsu et al. 2019.

    The initial weights depend only on a seed and the row numbers of the support images. Each of the Adam
    steps is on all support images.
    """

    def __init__(self, steps: int = 20, lr: float = 1e-3, width: int = 64, seed: int = 0) -> None:
        about = {"steps": steps, "lr": lr, "seed": seed}
        super().__init__("Training from scratch (Conv4)", width, about)
        self.steps, self.lr, self.seed = steps, lr, seed

    def fit(self, support: Tensor, labels: Tensor, way: int, rows: np.ndarray) -> Scorer:
        """Train a new network on support images."""
        state = np.random.SeedSequence([self.seed, *rows.tolist()]).generate_state(1, np.uint64)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(state[0] >> np.uint64(1)))
            encoder = SupportNormConv4(self.data.channels, self.width, "mean", self.data.size)
            head = nn.Linear(encoder.features, way)
        network = nn.ModuleList([encoder, head]).to(self.device)
        optimizer = torch.optim.Adam(network.parameters(), self.lr)
        for _ in range(self.steps):
            optimizer.zero_grad()
            functional.cross_entropy(head(encoder(support, len(support))), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        def score(query: Tensor) -> Tensor:
            out: Tensor = head(encoder(torch.cat([support, query]), len(support))[len(support) :])
            return out

        return score
