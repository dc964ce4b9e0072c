"""The decoders: from z and the strokes so far to the distribution of the next stroke.

*Source*: paper section 3 and appendix B; Ha and Eck 2018. At every step the input is the stroke before
beside z, and the initial state is tanh of a linear map of z.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sketchembed.mixture import GaussianMixture
from sketchembed.networks.hyperlstm import HyperLSTMCell, HyperState, Variant, at_least_float32

PEN_STATES = 3
STROKE = 5


class StrokeDistribution(NamedTuple):
    """What the decoder says of every step.

    Attributes:
        pen_logits: ``[batch, time, 3]``, of (s1, s2, s3), before the softmax.
        mixture: of the offsets.
    """

    pen_logits: Float[Tensor, "batch time 3"]
    mixture: GaussianMixture


class StrokeDecoder(nn.Module):
    """What the decoders share: the initial state from z and the mixture density head.

    Args:
        latent: size of z.
        hidden: size of the recurrent output.
        state: size of the whole recurrent state.
        mixtures: M, the number of Gaussians.
    """

    def __init__(self, latent: int, hidden: int, state: int, mixtures: int) -> None:
        """Build and initialise the layers."""
        super().__init__()
        self.state_from_z = nn.Linear(latent, state)
        # The released code passes 0.001 where the mean is expected, and so has the default deviation.
        nn.init.normal_(self.state_from_z.weight, mean=0.001, std=0.05)
        nn.init.zeros_(self.state_from_z.bias)
        self.head = nn.Linear(hidden, PEN_STATES + 6 * mixtures)
        nn.init.xavier_normal_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def _state(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch state"]:
        """Return tanh(W z + b), the whole state in one."""
        return torch.tanh(at_least_float32(self.state_from_z(z)))

    def initial_state(self, z: Float[Tensor, "batch latent"]) -> Any:
        """Return the state before the first step."""
        raise NotImplementedError

    def unroll(
        self, strokes: Float[Tensor, "batch time 5"], z: Float[Tensor, "batch latent"], state: Any
    ) -> Any:
        """Return the outputs of all steps, ``[batch, time, hidden]``, and the last state."""
        raise NotImplementedError

    def forward(
        self, strokes: Float[Tensor, "batch time 5"], z: Float[Tensor, "batch latent"], state: Any = None
    ) -> tuple[StrokeDistribution, Any]:
        """Return the distribution of each next stroke, and the state after the last.

        Args:
            strokes: y_0 to y_{T-1}, stroke-5, in normalised units.
            z: the embedding.
            state: to go on from; the initial state of z if not given.
        """
        out, state = self.unroll(strokes, z, self.initial_state(z) if state is None else state)
        output = self.head(out)
        return StrokeDistribution(
            output[..., :PEN_STATES].float(), GaussianMixture.from_output(output[..., PEN_STATES:])
        ), state


class HyperLSTMDecoder(StrokeDecoder):
    """The paper's decoder.

    Args:
        latent: size of z.
        hidden: size of the main LSTM; the paper's 1024.
        hyper: size of the hyper-network; the released code's 512.
        embedding: size of the hyper-network's embeddings; the paper's 64.
        mixtures: M; the paper's 30.
        variant: of the cell.
    """

    def __init__(
        self,
        latent: int,
        hidden: int,
        hyper: int,
        embedding: int,
        mixtures: int,
        variant: Variant = "released",
    ) -> None:
        """Build and initialise the layers."""
        super().__init__(latent, hidden, 2 * (hidden + hyper), mixtures)
        self.cell = HyperLSTMCell(STROKE + latent, hidden, hyper, embedding, variant)

    def initial_state(self, z: Tensor) -> HyperState:
        """Return tanh(W z + b), split into h, g, c and d."""
        sizes = [self.cell.hidden, self.cell.hyper] * 2
        return HyperState(*torch.split(self._state(z), sizes, dim=-1))

    def unroll(self, strokes: Tensor, z: Tensor, state: HyperState) -> tuple[Tensor, HyperState]:
        """Step through the sequence."""
        hyper_x, main_x = (
            functional.linear(strokes, layer.weight[:, :STROKE])
            # z is the same at every step, so its share is computed once a drawing.
            + functional.linear(z, layer.weight[:, STROKE:]).unsqueeze(1)
            for layer in (self.cell.hyper_input, self.cell.main_input)
        )
        outputs = []
        for hyper, main in zip(hyper_x.unbind(1), main_x.unbind(1), strict=True):
            state = self.cell.step(hyper, main, state)
            outputs.append(state.h)
        return torch.stack(outputs, dim=1), state


class LSTMDecoder(StrokeDecoder):
    """A plain LSTM, for comparison and for machines where each step is dear.

    Args:
        latent: size of z.
        hidden: size of the LSTM.
        mixtures: M.
    """

    def __init__(self, latent: int, hidden: int, mixtures: int) -> None:
        """Build the layers; the LSTM starts as the library has it."""
        super().__init__(latent, hidden, 2 * hidden, mixtures)
        self.lstm = nn.LSTM(STROKE + latent, hidden, batch_first=True)

    def initial_state(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return tanh(W z + b), split into h and c, each ``[1, batch, hidden]``."""
        h, c = self._state(z).unsqueeze(0).chunk(2, dim=-1)
        return h.contiguous(), c.contiguous()

    def unroll(self, strokes: Tensor, z: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Any]:
        """Run the library's LSTM over the sequence."""
        inputs = torch.cat([strokes, z.unsqueeze(1).expand(-1, strokes.shape[1], -1)], dim=-1)
        out: tuple[Tensor, Any] = self.lstm(inputs, state)
        return out
