"""The decoders: from z and the previous strokes to the distribution of the next stroke.

*Source*: paper section 3 and appendix B; Ha and Eck 2018. The input of every step is the previous stroke
concatenated with z. The initial state is tanh of a linear map of z.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sketchembed.networks.hyperlstm.cell import HyperLSTMCell, HyperState, Variant
from sketchembed.networks.hyperlstm.packing import Packing
from sketchembed.networks.hyperlstm.sequence import run_sequence
from sketchembed.networks.mixture import GaussianMixture
from sketchembed.networks.precision import at_least_float32

PEN_STATES = 3
STROKE = 5
POSITION_SCALE = 0.25  # factor of pen positions, which gives them about the range of the offsets
END_LOGIT = 20.0  # logit of the end of the drawing in padding that is not computed


class StrokeDistribution(NamedTuple):
    """The distribution of the stroke at every step."""

    pen_logits: Float[Tensor, "batch time 3"]  # of (s1, s2, s3)
    mixture: GaussianMixture


class StrokeDecoder(nn.Module, ABC):
    """Base of the decoders, with the initial state and the mixture density head.

    The recurrent output has the size `hidden`, and the whole recurrent state the size `state`. With
    `position` the input also contains the position of the pen; in the paper it does not.
    """

    def __init__(self, latent: int, hidden: int, state: int, mixtures: int, position: bool) -> None:
        super().__init__()
        self.position = position
        self.inputs = STROKE + 2 * position
        self.state_from_z = nn.Linear(latent, state)
        # As in the released code, which passes 0.001 as the mean and keeps the default deviation.
        nn.init.normal_(self.state_from_z.weight, mean=0.001, std=0.05)
        nn.init.zeros_(self.state_from_z.bias)
        self.head = nn.Linear(hidden, PEN_STATES + 6 * mixtures)
        nn.init.xavier_normal_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def _state(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch state"]:
        """Return tanh(W z + b), all parts of the state side by side."""
        return torch.tanh(at_least_float32(self.state_from_z(z)))

    @abstractmethod
    def initial_state(self, z: Float[Tensor, "batch latent"]) -> Any:
        """Return the state before the first step."""

    @abstractmethod
    def run(
        self,
        strokes: Float[Tensor, "batch time inputs"],
        z: Float[Tensor, "batch latent"],
        state: Any,
        packing: Packing,
    ) -> tuple[Float[Tensor, "rows hidden"], Any]:
        """Return the packed outputs of all steps, and the last state."""

    def forward(
        self,
        strokes: Float[Tensor, "batch time 5"],
        z: Float[Tensor, "batch latent"],
        state: Any = None,
        lengths: Int[Tensor, " batch"] | None = None,
        position: Float[Tensor, "batch time 2"] | None = None,
    ) -> tuple[StrokeDistribution, Any]:
        """Return the distribution of each next stroke, and the last state.

        Args:
            strokes: y_0 to y_{T-1}, stroke-5, in normalised units.
            z: the embedding.
            state: state before the first step; the initial state of z if not given.
            lengths: number of steps to compute for each drawing; all T if not given. Steps after them predict
                the end of the drawing with certainty and have no gradient.
            position: position of the pen after each of `strokes`, relative to the first point, in normalised
                units; the sum of their offsets if not given. Only used if the decoder has `position` set.
        """
        if self.position:
            points = strokes[..., :2].cumsum(dim=1) if position is None else position
            strokes = torch.cat([strokes, points * POSITION_SCALE], dim=-1)
        batch, time = strokes.shape[:2]
        packing = Packing.of(lengths, batch, time, strokes.device)
        out, state = self.run(strokes, z, self.initial_state(z) if state is None else state, packing)
        output = self.head(out)
        end = output.new_zeros(output.shape[-1])
        end[2].fill_(END_LOGIT)
        output = packing.unpack(output, end)
        return StrokeDistribution(
            at_least_float32(output[..., :PEN_STATES]), GaussianMixture.from_output(output[..., PEN_STATES:])
        ), state


class HyperLSTMDecoder(StrokeDecoder):
    """The paper's decoder; for the arguments see :class:`HyperLSTMCell` and :class:`StrokeDecoder`."""

    def __init__(
        self,
        latent: int,
        hidden: int,
        hyper: int,
        embedding: int,
        mixtures: int,
        variant: Variant = "released",
        position: bool = False,
        gate_biases: Literal[1, 2] = 1,
    ) -> None:
        super().__init__(latent, hidden, 2 * (hidden + hyper), mixtures, position)
        self.cell = HyperLSTMCell(self.inputs + latent, hidden, hyper, embedding, variant, gate_biases)

    def initial_state(self, z: Tensor) -> HyperState:
        """Return tanh(W z + b), split into h, g, c and d."""
        sizes = [self.cell.hidden, self.cell.hyper] * 2
        return HyperState(*torch.split(self._state(z), sizes, dim=-1))

    def run(
        self, strokes: Tensor, z: Tensor, state: HyperState, packing: Packing
    ) -> tuple[Tensor, HyperState]:
        """Run the cell over the packed sequences."""
        if strokes.shape[1] == 1:
            inputs = torch.cat([packing.pack(strokes), z], dim=-1)
            state = self.cell(inputs, state)
            return state.h, state
        first = HyperState(*(packing.sort(value) for value in state))
        h, last = run_sequence(self.cell, packing.pack(strokes), packing.sort(z), first, packing.counts)
        return h, HyperState(*(packing.unsort(value) for value in last))


class LSTMDecoder(StrokeDecoder):
    """A plain LSTM, for comparison and for slow machines; for the arguments see :class:`StrokeDecoder`."""

    def __init__(self, latent: int, hidden: int, mixtures: int, position: bool = False) -> None:
        super().__init__(latent, hidden, 2 * hidden, mixtures, position)
        self.lstm = nn.LSTM(self.inputs + latent, hidden, batch_first=True)

    def initial_state(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return tanh(W z + b), split into h and c, each ``[1, batch, hidden]``."""
        h, c = self._state(z).unsqueeze(0).chunk(2, dim=-1)
        return h.contiguous(), c.contiguous()

    def run(
        self, strokes: Tensor, z: Tensor, state: tuple[Tensor, Tensor], packing: Packing
    ) -> tuple[Tensor, Any]:
        """Run PyTorch's LSTM over the padded sequences."""
        inputs = torch.cat([strokes, z.unsqueeze(1).expand(-1, strokes.shape[1], -1)], dim=-1)
        # In float32 also under autocast: some CPUs have no LSTM in 16 bits.
        with torch.autocast(inputs.device.type, enabled=False):
            out, state = self.lstm(inputs, state)
        return packing.pack(out), state
