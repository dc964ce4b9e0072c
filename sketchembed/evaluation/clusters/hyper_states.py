"""Cell states of the hyper-network while a model draws, and their clusters.

*Source*: paper appendix K; the released code clusters the hyper cell state by DBSCAN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.errors import CheckpointError, ConfigError
from sketchembed.networks.hyperlstm.cell import HyperState
from sketchembed.networks.sketchembednet import SketchEmbedNet
from sketchembed.sketch import Sketch

PAPER_EPS, PAPER_SIZE = 3.9, 512
"""The paper's radius, which fits only its size of the hyper-network; the released code has 4.2."""
NOISE = -1  # DBSCAN's label of steps that belong to no cluster


@dataclass(frozen=True, eq=False)
class Trace:
    """A drawing of n points with the hyper cell state of each segment, float32 ``[n - 1, hyper]``."""

    sketch: Sketch
    states: np.ndarray

    @property
    def visible(self) -> np.ndarray:
        """Which segments are visible, bool ``[n - 1]``."""
        return ~self.sketch.lifted[:-1]


def trace(net: SketchEmbedNet, z: Float[Tensor, "batch latent"]) -> list[Trace]:
    """Draw embeddings, on the model's device, greedily and keep the hyper cell state of every step.

    Raises:
        CheckpointError: if the decoder has no hyper-network.
    """
    if net.config.decoder != "hyperlstm":
        raise CheckpointError(
            f"the model's decoder is an {net.config.decoder}",
            expected="a HyperLSTM, whose hyper cell states are clustered",
            fix="Choose another checkpoint",
        )
    traces = []
    for part in torch.split(z, 512):
        kept: list[Tensor] = []
        rows = net.generate(part, temperature=0.0, watch=partial(_keep, kept))
        # The move from the centre to the first point is not a segment of the drawing.
        states = torch.stack(kept[net.config.start == "centre" :], dim=1).float().cpu().numpy()
        for row, its in zip(rows.float().cpu().numpy(), states, strict=True):
            sketch = Sketch.from_stroke5(row).scaled(net.offset_scale)
            traces.append(Trace(sketch, its[: max(len(sketch) - 1, 0)]))
    return traces


def _keep(kept: list[Tensor], state: HyperState) -> None:
    kept.append(state.d)


def cluster(states: Float[np.ndarray, "steps hyper"], eps: float, min_samples: int) -> np.ndarray:
    """Return the DBSCAN label of each step, int64 ``[steps]``."""
    from sklearn.cluster import DBSCAN

    if not len(states):
        return np.zeros(0, dtype=np.int64)
    labels = DBSCAN(eps=eps, min_samples=min_samples).fit_predict(states)
    return np.asarray(labels, dtype=np.int64)


def half_core_radius(states: Float[np.ndarray, "steps hyper"], min_samples: int) -> float:
    """Return the radius at which half of the steps are core steps of DBSCAN."""
    from sklearn.neighbors import NearestNeighbors

    count = min(min_samples, len(states))
    distances, _ = NearestNeighbors(n_neighbors=count).fit(states).kneighbors(states)
    return float(np.median(distances[:, -1]))


def radius(states: np.ndarray, eps: float | None, min_samples: int, size: int) -> tuple[float, str]:
    """Return the radius of DBSCAN, and where it is from.

    Distances depend on the number of units and on the length of the training. For other sizes than the
    paper's, its radius scaled by the square root of the sizes' ratio made almost all steps noise.
    """
    if eps is not None:
        if eps <= 0:
            raise ConfigError(f"eps is {eps:g}", expected="a radius above 0", fix="The paper's is 3.9")
        return eps, f"{eps:g} (given)"
    if size == PAPER_SIZE:
        return PAPER_EPS, f"{PAPER_EPS} (the paper's)"
    if not len(states):
        return PAPER_EPS, "not used, because no drawing has a segment"
    return (
        half_core_radius(states, min_samples),
        f"chosen for each selection so that half of the steps are core steps (the paper's {PAPER_EPS} is for "
        f"{PAPER_SIZE} units)",
    )


def number_by_frequency(parts: Sequence[np.ndarray], visible: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Renumber clusters in descending order of the drawings, then of the segments, that show them.

    `parts` has the label of each step and `visible` whether its segment is visible, for each drawing.
    """
    count = max((int(labels.max(initial=NOISE)) for labels in parts), default=NOISE) + 1
    drawings, segments = np.zeros((2, count), dtype=np.int64)
    for labels, shown in zip(parts, visible, strict=True):
        sizes = np.bincount(labels[(labels >= 0) & shown], minlength=count)
        segments += sizes
        drawings += sizes > 0
    # The last element is for noise, because -1 as an index addresses it.
    place = np.full(count + 1, NOISE)
    place[np.lexsort((-segments, -drawings))] = np.arange(count)
    return [place[labels] for labels in parts]
