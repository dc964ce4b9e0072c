"""Plain versions of fast code, which tests compare for equality and benchmarks for time.

They follow the equations: one step of the cell after another, and every pixel against every segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sketchembed.networks import conv4
from sketchembed.networks.decoder import HyperLSTMDecoder
from sketchembed.networks.hyperlstm.cell import HyperState
from sketchembed.networks.hyperlstm.packing import Packing
from sketchembed.raster import rasterize


def run_steps(
    decoder: HyperLSTMDecoder, strokes: Tensor, z: Tensor, state: HyperState, packing: Packing
) -> tuple[Tensor, HyperState]:
    """Run the decoder's cell step by step over whole sequences, padding included.

    Args:
        decoder: provides the cell.
        strokes: ``[batch, time, inputs]``.
        z: ``[batch, latent]``, concatenated with every step's input.
        state: before the first step.
        packing: packs the returned outputs.

    Returns:
        The packed outputs and the state after the last step.
    """
    outputs = []
    for step in strokes.unbind(1):
        state = decoder.cell(torch.cat([step, z], dim=-1), state)
        outputs.append(state.h)
    return packing.pack(torch.stack(outputs, dim=1)), state


def distance_by_brute_force(
    start: Float[Tensor, "batch n 2"],
    end: Float[Tensor, "batch n 2"],
    drawn: Bool[Tensor, "batch n"],
    size: int,
    pixel_offset: float | int,
    reach: float | int = torch.inf,
    length_floor: float | int = 0.0,
) -> Float[Tensor, "batch {size} {size}"]:
    """Return each pixel's squared distance to the nearest drawn segment, by brute force.

    The arguments are those of :func:`~sketchembed.raster.rasterize.squared_distance`; `reach` is ignored.
    """
    place = torch.arange(size, dtype=start.dtype, device=start.device) + pixel_offset
    centre = torch.stack(torch.meshgrid(place, place, indexing="xy"), dim=-1)  # [rows, columns, 2]
    tail, chord = start[:, :, None, None], (end - start)[:, :, None, None]
    offset = centre - tail  # [batch, n, rows, columns, 2]
    squared = chord.square().sum(-1)
    fraction = (offset * chord).sum(-1) / squared.clamp_min(1e-12)
    along = fraction.clamp(0, 1)
    distance = (offset - along.unsqueeze(-1) * chord).square().sum(-1)
    if length_floor:
        across = offset[..., 0] * chord[..., 1] - offset[..., 1] * chord[..., 0]
        beside = (fraction == along) & (squared > 0)
        distance = torch.where(beside, across.square() / (squared + length_floor), distance)
    return distance.masked_fill(~drawn[:, :, None, None], torch.inf).amin(1)


@contextmanager
def plain_versions() -> Iterator[None]:
    """Make every decoder, encoder and rasterizer use the plain versions."""
    with (
        mock.patch.object(conv4, "run_layers", lambda layers, maps: layers(maps)),
        mock.patch.object(HyperLSTMDecoder, "run", run_steps),
        mock.patch.object(rasterize, "squared_distance", distance_by_brute_force),
    ):
        yield
