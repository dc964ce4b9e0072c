"""The hyper-network's activations along drawings, and clusters of them.

*Source*: paper appendix K; the released code keeps the hyper cell state and clusters it by DBSCAN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.errors import CheckpointError
from sketchembed.networks.hyperlstm.cell import HyperState
from sketchembed.networks.sketchembednet import SketchEmbedNet
from sketchembed.sketch import Sketch

NOISE = -1
"""The label of steps in no cluster."""


@dataclass(frozen=True, eq=False)
class Trace:
    """A drawing and what the hyper-network was at while it drew.

    Attributes:
        sketch: n points.
        codes: float32 ``[n - 1, hyper]``, the activations at the step that drew each segment, the moves of
            the lifted pen included.
    """

    sketch: Sketch
    codes: np.ndarray

    @property
    def visible(self) -> np.ndarray:
        """Which segments are on paper, bool ``[n - 1]``."""
        return ~self.sketch.lifted[:-1]


def trace(net: SketchEmbedNet, z: Float[Tensor, "batch latent"]) -> list[Trace]:
    """Draw embeddings greedily and keep the hyper cell state of every step.

    Args:
        net: a model with a HyperLSTM.
        z: embeddings, on its device.

    Raises:
        CheckpointError: if its decoder has no hyper-network.
    """
    if net.config.decoder != "hyperlstm":
        raise CheckpointError(
            f"the model's decoder is an {net.config.decoder}",
            expected="a HyperLSTM, whose hyper-network's activations are clustered",
            fix="Choose another checkpoint",
        )
    traces = []
    for part in torch.split(z, 512):
        states: list[Tensor] = []
        rows = net.generate(part, temperature=0.0, watch=partial(_keep, states))
        # The move from the centre to the first point is no segment of the drawing.
        codes = torch.stack(states[net.config.start == "centre" :], dim=1).float().cpu().numpy()
        for row, its in zip(rows.float().cpu().numpy(), codes, strict=True):
            sketch = Sketch.from_stroke5(row).scaled(net.offset_scale)
            traces.append(Trace(sketch, its[: max(len(sketch) - 1, 0)]))
    return traces


def _keep(states: list[Tensor], state: HyperState) -> None:
    states.append(state.d)


def cluster(codes: Float[np.ndarray, "steps hyper"], eps: float, min_samples: int) -> np.ndarray:
    """Return the DBSCAN cluster of each step, int64 ``[steps]``; -1 is noise.

    Args:
        codes: activations.
        eps: radius.
        min_samples: steps within it that make a step a core, itself included.
    """
    from sklearn.cluster import DBSCAN

    if not len(codes):
        return np.zeros(0, dtype=np.int64)
    labels = DBSCAN(eps=eps, min_samples=min_samples).fit_predict(codes)
    return np.asarray(labels, dtype=np.int64)


def half_cores(codes: Float[np.ndarray, "steps hyper"], min_samples: int) -> float:
    """Return the radius within which half of the steps have `min_samples` steps, themselves included."""
    from sklearn.neighbors import NearestNeighbors

    count = min(min_samples, len(codes))
    distances, _ = NearestNeighbors(n_neighbors=count).fit(codes).kneighbors(codes)
    return float(np.median(distances[:, -1]))


def by_use(parts: Sequence[np.ndarray], visible: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the labels numbered by how many drawings show a cluster, and how much of it; noise stays -1.

    Args:
        parts: of each drawing the label of each step, int64 ``[steps]``.
        visible: of each drawing whether a step's segment is on paper, bool ``[steps]``.
    """
    count = max((int(labels.max(initial=NOISE)) for labels in parts), default=NOISE) + 1
    drawings, segments = np.zeros((2, count), dtype=np.int64)
    for labels, on_paper in zip(parts, visible, strict=True):
        sizes = np.bincount(labels[(labels >= 0) & on_paper], minlength=count)
        segments += sizes
        drawings += sizes > 0
    # The last place is for noise, which stands for -1 in indexing too.
    place = np.full(count + 1, NOISE)
    place[np.lexsort((-segments, -drawings))] = np.arange(count)
    return [place[labels] for labels in parts]
