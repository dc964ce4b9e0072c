"""Sequences of different lengths without their padding: all first steps, then all second ones, and so on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROUNDING = 16
"""Sequences in a step are rounded up to a multiple of this, since kernels are compiled for each size."""


@dataclass(frozen=True)
class Packing:
    """Which row of a packed batch is which step of which sequence.

    Attributes:
        batch: number of sequences.
        time: number of steps of the padded batch.
        order: ``[batch]``, the sequences, the longest first.
        counts: sequences that take part in each step, not increasing; at least one step has one.
        sequence: ``[rows]``, the sequence of each row.
        step: ``[rows]``, the step of each row.
        real: the rows that are within their sequences, not there for the rounding alone; None for all.
    """

    batch: int
    time: int
    order: Int[Tensor, " batch"]
    counts: list[int]
    sequence: Int[Tensor, " rows"]
    step: Int[Tensor, " rows"]
    real: Int[Tensor, " real_rows"] | None

    @classmethod
    def of(
        cls, lengths: Int[Tensor, " batch"] | None, batch: int, time: int, device: torch.device
    ) -> Packing:
        """Plan the packing.

        Args:
            lengths: steps of each sequence, 1 to `time`; `time` for all if not given.
            batch: number of sequences.
            time: number of steps of the padded batch.
            device: of the sequences.
        """
        if lengths is None:
            # Nothing is copied from the host here: a CUDA graph could not hold it.
            order = torch.arange(batch, device=device)
            step = torch.arange(time, device=device).unsqueeze(1).expand(time, batch).reshape(-1)
            return cls(batch, time, order, [batch] * time, order.repeat(time), step, None)
        order = lengths.argsort(descending=True, stable=True)
        going = (lengths.cpu()[:, None] > torch.arange(time)).sum(0).tolist()
        counts = [min(batch, -(-count // ROUNDING) * ROUNDING) for count in going if count]
        place = torch.cat([torch.arange(count) for count in counts]).to(device)
        step = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)).to(device)
        sequence = order[place]
        real = (step < lengths[sequence]).nonzero().squeeze(1)
        return cls(batch, time, order, counts, sequence, step, real)

    def arrange(self, each: Float[Tensor, "batch size"]) -> Float[Tensor, "batch size"]:
        """Return what each sequence has in the order of the rows, contiguous."""
        return each.contiguous() if self.real is None else each[self.order]

    def restore(self, each: Float[Tensor, "batch size"]) -> Float[Tensor, "batch size"]:
        """Undo :meth:`arrange`."""
        return each if self.real is None else each[self.order.argsort()]

    def repeat(self, each: Float[Tensor, "batch size"]) -> Float[Tensor, "rows size"]:
        """Return for each row what its sequence has."""
        if self.real is None:
            return each.expand(self.time, -1, -1).flatten(0, 1)
        return each[self.sequence]

    def pack(self, padded: Float[Tensor, "batch time size"]) -> Float[Tensor, "rows size"]:
        """Return the rows that take part."""
        if self.real is None:
            return padded.transpose(0, 1).flatten(0, 1)
        return padded[self.sequence, self.step]

    def unpack(
        self, rows: Float[Tensor, "rows size"], fill: Tensor | float = 0.0
    ) -> Float[Tensor, "batch time size"]:
        """Return the padded batch, with `fill` where nothing took part."""
        if self.real is None:
            return rows.view(self.time, self.batch, -1).transpose(0, 1)
        padded = rows.new_empty(self.batch, self.time, rows.shape[-1])
        padded[:] = fill
        return padded.index_put((self.sequence[self.real], self.step[self.real]), rows[self.real])
