"""The HyperLSTM: a small LSTM, the hypernetwork, rescales the weights of a large one at every step.

*Source*: Ha, Dai and Le 2017 (the cell), Ha and Eck 2018 (its use for drawing); paper section 3. The two
variants differ in five places (docs/deviations.md):

=======================  =============================  ==========================================
place                    ``ha2017``                     ``released`` (used for the paper's numbers)
=======================  =============================  ==========================================
hyper output g           tanh(LN(d)) · σ(o)             tanh(LN(d)) + σ(o)
input of the maps        g                              d
hyper layer norms        one per gate and one for d     one shared by all
main layer norm          one per gate                   one over all four gates
additive map β           starts at 0                    starts at 1
=======================  =============================  ==========================================

This step-by-step cell is the reference of the fast version in sequence.py. x is the input, h and c are the
main output and cell state, g and d those of the hypernetwork. Gates are in the order i, j, f, o.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sketchembed.networks.precision import at_least_float32

Variant = Literal["ha2017", "released"]
GATES = 4
# Per gate: a scale of the input term, a scale of the recurrent term, and an additive term.
MAPS = 3 * GATES
FORGET_BIAS = 1.0
KERAS_EPS = 1e-3


class HyperState(NamedTuple):
    """The state of the cell, in float32 even under autocast."""

    h: Float[Tensor, "batch hidden"]  # main output
    g: Float[Tensor, "batch hyper"]  # hyper output
    c: Float[Tensor, "batch hidden"]  # main cell state
    d: Float[Tensor, "batch hyper"]  # hyper cell state, the activations of the paper's appendix K


class GateNorm(nn.Module):
    """Layer norm of four concatenated gates, each with its own statistics.

    Args:
        size: size of one gate.
        shared: whether all gates share one gain and one bias.
    """

    def __init__(self, size: int, shared: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1 if shared else GATES, size))
        self.bias = nn.Parameter(torch.zeros(1 if shared else GATES, size))

    def forward(self, gates: Float[Tensor, "batch four_size"]) -> Float[Tensor, "batch four_size"]:
        """Return the normalised gates."""
        parts = gates.reshape(*gates.shape[:-1], GATES, -1)
        normal = functional.layer_norm(parts, parts.shape[-1:], eps=KERAS_EPS)
        return (normal * self.weight + self.bias).flatten(-2)


class HyperLSTMCell(nn.Module):
    """One step of the HyperLSTM.

    Args:
        inputs: size of x.
        hidden: size of h; 1024 in the paper.
        hyper: size of g; 512 in the released code.
        embedding: size of the embeddings between the hypernetwork and the scales; 64 in the paper.
        variant: see the table above.
        gate_biases: number of parameters whose sum is the bias of the main gates. The released code has 2:
            one of the gates, and one of the additive map. Adam moves their sum twice as fast as 1.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        hyper: int,
        embedding: int,
        variant: Variant = "released",
        gate_biases: Literal[1, 2] = 1,
    ) -> None:
        super().__init__()
        released = variant == "released"
        self.variant = variant
        self.hidden, self.hyper, self.embedding = hidden, hyper, embedding
        self.hyper_input = nn.Linear(inputs, GATES * hyper, bias=False)
        self.hyper_from_main = nn.Linear(hidden, GATES * hyper, bias=False)
        self.hyper_recurrent = nn.Linear(hyper, GATES * hyper, bias=False)
        self.hyper_norm = GateNorm(hyper, shared=released)
        # The released variant normalises d with the gain and bias of the gates.
        self.hyper_cell_norm = None if released else nn.LayerNorm(hyper, eps=KERAS_EPS)
        self.main_input = nn.Linear(inputs, GATES * hidden, bias=False)
        self.main_recurrent = nn.Linear(hidden, GATES * hidden, bias=False)
        self.main_bias = nn.Parameter(torch.zeros(GATES * hidden))
        self.add_bias = nn.Parameter(torch.zeros(GATES * hidden)) if gate_biases == 2 else None
        # The twelve maps hyper -> embedding -> hidden, side by side. The additive ones have no bias.
        self.embed = nn.Linear(hyper, MAPS * embedding, bias=False)
        self.embed_bias = nn.Parameter(torch.ones(2 * GATES * embedding))
        self.expand = nn.Parameter(torch.empty(MAPS, embedding, hidden))
        self.main_norm: nn.Module = (
            nn.LayerNorm(GATES * hidden, eps=KERAS_EPS) if released else GateNorm(hidden, shared=False)
        )
        self.cell_norm = nn.LayerNorm(hidden, eps=KERAS_EPS)
        self._initialise()

    def _initialise(self) -> None:
        for layer in (self.hyper_input, self.hyper_from_main, self.main_input):
            nn.init.xavier_normal_(layer.weight)
        for layer in (self.hyper_recurrent, self.main_recurrent):
            nn.init.orthogonal_(layer.weight)
        scales, adds = 2 * GATES * self.embedding, GATES * self.embedding
        with torch.no_grad():
            # Every scale starts at 0.1: weights 0 and bias 1, expanded by 0.1 / embedding.
            self.embed.weight[:scales].zero_()
            self.embed.weight[scales : scales + adds].normal_(std=0.01)
            self.expand[: 2 * GATES].fill_(0.1 / self.embedding)
            self.expand[2 * GATES :].fill_(1.0 if self.variant == "released" else 0.0)

    def forward(self, x: Float[Tensor, "batch inputs"], state: HyperState) -> HyperState:
        """Return the next state."""
        hyper_x, main_x = self.hyper_input(x), self.main_input(x)
        hyper_gates = (
            at_least_float32(hyper_x) + self.hyper_from_main(state.h) + self.hyper_recurrent(state.g)
        )
        i, j, f, o = self.hyper_norm(hyper_gates).chunk(GATES, dim=-1)
        d = state.d * torch.sigmoid(f + FORGET_BIAS) + torch.sigmoid(i) * torch.tanh(j)
        if self.hyper_cell_norm is None:
            weight, bias = self.hyper_norm.weight[0], self.hyper_norm.bias[0]
            g = torch.tanh(functional.layer_norm(d, d.shape[-1:], weight, bias, KERAS_EPS)) + torch.sigmoid(o)
            code = d
        else:
            g = torch.tanh(self.hyper_cell_norm(d)) * torch.sigmoid(o)
            code = g

        scale_x, scale_h, add = self.modulation(code)
        main_x, main_h = at_least_float32(main_x), at_least_float32(self.main_recurrent(state.h))
        gates = scale_x * main_x + scale_h * main_h + add + self.gate_bias
        i, j, f, o = self.main_norm(gates).chunk(GATES, dim=-1)
        c = state.c * torch.sigmoid(f + FORGET_BIAS) + torch.sigmoid(i) * torch.tanh(j)
        h = torch.tanh(self.cell_norm(c)) * torch.sigmoid(o)
        return HyperState(h, g, c, d)

    @property
    def gate_bias(self) -> Float[Tensor, " four_hidden"]:
        """The bias of the main gates."""
        return self.main_bias if self.add_bias is None else self.main_bias + self.add_bias

    def modulation(self, code: Float[Tensor, "batch hyper"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scales of both terms and the additive term, each ``[batch, 4 hidden]``."""
        bias = torch.cat([self.embed_bias, self.embed_bias.new_zeros(GATES * self.embedding)])
        small = (self.embed(code) + bias).unflatten(-1, (MAPS, self.embedding))
        maps = torch.bmm(small.transpose(0, 1), self.expand)  # [12, batch, hidden]
        x, h, add = at_least_float32(maps).transpose(0, 1).flatten(1).chunk(3, dim=-1)
        return x, h, add
