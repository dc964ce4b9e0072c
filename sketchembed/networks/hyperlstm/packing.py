"""Packed sequences: sequences of different lengths in one tensor without padding, step after step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROUNDING = 16  # rounds up the number of sequences per step, because kernels are compiled per size


@dataclass(frozen=True)
class Packing:
    """The sequence and the step of each row of a packed batch.

    The first steps of all sequences come first, then the second steps, and so on, always with the longest
    sequence first.
    """

    batch: int  # number of sequences
    time: int  # number of steps of the padded batch
    order: Int[Tensor, " batch"]  # indices of the sequences, the longest first
    counts: list[int]  # number of sequences in each step, at least 1, not increasing
    sequence: Int[Tensor, " rows"]
    step: Int[Tensor, " rows"]
    real: Int[Tensor, " real_rows"] | None  # rows inside their sequences; None without `lengths`

    @classmethod
    def of(
        cls, lengths: Int[Tensor, " batch"] | None, batch: int, time: int, device: torch.device
    ) -> Packing:
        """Return the packing of a batch that is padded to `time` steps.

        The `lengths` of the sequences are 1 to `time`; `time` for all if not given.
        """
        if lengths is None:
            # Made on the device: a CUDA graph cannot copy from the host.
            order = torch.arange(batch, device=device)
            step = torch.arange(time, device=device).unsqueeze(1).expand(time, batch).reshape(-1)
            return cls(batch, time, order, [batch] * time, order.repeat(time), step, None)
        order = lengths.argsort(descending=True, stable=True)
        active = (lengths.cpu()[:, None] > torch.arange(time)).sum(0).tolist()
        counts = [min(batch, -(-count // ROUNDING) * ROUNDING) for count in active if count]
        place = torch.cat([torch.arange(count) for count in counts]).to(device)
        step = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)).to(device)
        sequence = order[place]
        real = (step < lengths[sequence]).nonzero().squeeze(1)
        return cls(batch, time, order, counts, sequence, step, real)

    def sort(self, values: Float[Tensor, "batch size"]) -> Float[Tensor, "batch size"]:
        """Sort per-sequence values by the length of the sequences, the longest first."""
        return values.contiguous() if self.real is None else values[self.order]

    def unsort(self, values: Float[Tensor, "batch size"]) -> Float[Tensor, "batch size"]:
        """Undo :meth:`sort`."""
        return values if self.real is None else values[self.order.argsort()]

    def pack(self, padded: Float[Tensor, "batch time size"]) -> Float[Tensor, "rows size"]:
        """Return the packed rows of a padded batch."""
        if self.real is None:
            return padded.transpose(0, 1).flatten(0, 1)
        return padded[self.sequence, self.step]

    def unpack(
        self, rows: Float[Tensor, "rows size"], fill: Tensor | float = 0.0
    ) -> Float[Tensor, "batch time size"]:
        """Return the padded batch of packed rows, with `fill` as the padding."""
        if self.real is None:
            return rows.view(self.time, self.batch, -1).transpose(0, 1)
        padded = rows.new_empty(self.batch, self.time, rows.shape[-1])
        padded[:] = fill
        return padded.index_put((self.sequence[self.real], self.step[self.real]), rows[self.real])
