"""The element-wise operations of a HyperLSTM step between its matrix products, forward and backward.

:mod:`~sketchembed.networks.hyperlstm.hyperlstm_native` has the same functions in C++ for a CPU, and
:mod:`~sketchembed.networks.hyperlstm.hyperlstm_triton` for CUDA. In the forward functions, `x` has the input
terms of the gates, `product` the term of h and `recurrent` the term of the previous hyper output. The latter
two may be in 16 bits, and so may the maps and the gradients of products.

tanh x = 2 σ(2x) - 1, and on a CPU σ is several times as fast as tanh. The factor 2 inside σ is part of the
gain and shift of the preceding norm (:func:`weights_of`), and so is the bias of the forget gate.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sketchembed.networks.hyperlstm.cell import FORGET_BIAS, GATES, KERAS_EPS, HyperLSTMCell

_norm = torch.ops.aten.native_layer_norm.default
_norm_backward = torch.ops.aten.native_layer_norm_backward.default
_ONLY_INPUT = [True, False, False]

Step = dict[str, Tensor]
"""Values of one step by name, saved for the backward pass, or gradients: the rows of each packed array."""


class Weights(NamedTuple):
    """The variant of a cell, and its weights in the form that the loop uses."""

    released: bool
    recurrent: Float[Tensor, "columns hidden"]
    hyper_recurrent: Float[Tensor, "four_hyper hyper"]
    hyper_gain: Float[Tensor, "4 hyper"]
    hyper_shift: Float[Tensor, "4 hyper"]
    code_gain: Float[Tensor, " hyper"]
    code_shift: Float[Tensor, " hyper"]
    embed: Float[Tensor, "small hyper"]
    embed_bias: Float[Tensor, " small"]
    expand: Float[Tensor, "12 embedding hidden"]
    bias: Float[Tensor, "4 hidden"]
    main_gain: Float[Tensor, "4 hidden"]
    main_shift: Float[Tensor, "4 hidden"]
    cell_gain: Float[Tensor, " hidden"]
    cell_shift: Float[Tensor, " hidden"]


class SequenceInputs(NamedTuple):
    """The inputs of all steps: packed strokes with their weights, and the terms of z.

    The input term of the gates is the stroke times its weights, plus the term of z, which is the same in all
    steps of a sequence.
    """

    strokes: Float[Tensor, "rows inputs"]
    hyper_z: Float[Tensor, "batch four_hyper"]
    main_z: Float[Tensor, "batch four_hidden"]
    hyper_weights: Float[Tensor, "four_hyper inputs"]
    main_weights: Float[Tensor, "four_hidden inputs"]


class NormGradients(NamedTuple):
    """The gradients of the gains and shifts of all norms, and of the bias of the gates."""

    hyper_gain: Float[Tensor, "4 hyper"]
    hyper_shift: Float[Tensor, "4 hyper"]
    code_gain: Float[Tensor, " hyper"]
    code_shift: Float[Tensor, " hyper"]
    bias: Float[Tensor, "4 hidden"]
    main_gain: Float[Tensor, "4 hidden"]
    main_shift: Float[Tensor, "4 hidden"]
    cell_gain: Float[Tensor, " hidden"]
    cell_shift: Float[Tensor, " hidden"]


def weights_of(cell: HyperLSTMCell) -> Weights:
    """Return the rearranged weights of a cell; differentiable."""
    factor = cell.main_bias.new_ones(GATES, 1)
    factor[1].fill_(2.0)
    forget = cell.main_bias.new_zeros(GATES, 1)
    forget[2].fill_(FORGET_BIAS)
    code_norm = cell.hyper_cell_norm
    code_gain, code_shift = (
        (cell.hyper_norm.weight[0], cell.hyper_norm.bias[0])
        if code_norm is None
        else (code_norm.weight, code_norm.bias)
    )
    return Weights(
        cell.variant == "released",
        torch.cat([cell.hyper_from_main.weight, cell.main_recurrent.weight]),
        cell.hyper_recurrent.weight,
        cell.hyper_norm.weight * factor,
        cell.hyper_norm.bias * factor + forget,
        2 * code_gain,
        2 * code_shift,
        cell.embed.weight,
        torch.cat([cell.embed_bias, cell.embed_bias.new_zeros(GATES * cell.embedding)]),
        cell.expand,
        cell.gate_bias.view(GATES, -1),
        cast(Tensor, cell.main_norm.weight).view(GATES, -1) * factor,
        cast(Tensor, cell.main_norm.bias).view(GATES, -1) * factor + forget,
        2 * cell.cell_norm.weight,
        2 * cell.cell_norm.bias,
    )


def input_terms(inputs: SequenceInputs, counts: list[int], low: torch.dtype) -> list[Step]:
    """Return the input terms of the gates in each step, with products of the type `low`."""
    strokes, parts = inputs.strokes.to(low), []
    for of_z, weights in ((inputs.hyper_z, inputs.hyper_weights), (inputs.main_z, inputs.main_weights)):
        terms = torch.cat([of_z[:n] for n in counts])
        terms += functional.linear(strokes, weights.to(low))
        parts.append(torch.split(terms.view(len(terms), GATES, -1), counts))
    return [{"hyper": hyper.flatten(1), "main": main} for hyper, main in zip(*parts, strict=True)]


def hyper_forward(w: Weights, now: Step, x: Step, product: Tensor, recurrent: Tensor, d: Tensor) -> None:
    """Compute one step of the hypernetwork; `d` is its previous cell state.

    Writes hyper_pre, hyper_gates, d, tanh_d, g and the statistics of the norms to `now`.
    """
    n, hyper = d.shape
    pre = (
        torch.add(x["hyper"], product, out=now["hyper_pre"].view(n, -1)).add_(recurrent).view(n, GATES, hyper)
    )
    normal = _normalise(pre, [hyper], None, None, now, "hyper")
    gates = torch.sigmoid(torch.addcmul(w.hyper_shift, normal, w.hyper_gain), out=now["hyper_gates"])
    i, j, f, o = gates.unbind(1)
    d = torch.addcmul(_tanh_of(j).mul_(i), d, f, out=now["d"])
    normal = _normalise(d, [hyper], w.code_gain, w.code_shift, now, "d")
    tanh = _tanh_of(normal.sigmoid_(), out=now["tanh_d"])
    (torch.add if w.released else torch.mul)(tanh, o, out=now["g"])


def main_forward(w: Weights, now: Step, x: Step, product: Tensor, c: Tensor) -> None:
    """Compute one step of the main LSTM, with its gates scaled by the maps; `c` is its previous cell state.

    Reads maps from `now`. Writes pre, gates, c, tanh_c, h and the statistics of the norms to it.
    """
    n, hidden = c.shape
    maps = now["maps"].transpose(0, 1)
    pre = torch.addcmul(w.bias, maps[:, :GATES], x["main"], out=now["pre"])
    pre.addcmul_(maps[:, GATES : 2 * GATES], product.view(n, GATES, hidden)).add_(maps[:, 2 * GATES :])
    if w.released:
        shape, gain, shift = [GATES * hidden], w.main_gain.view(-1), w.main_shift.view(-1)
        normal = _normalise(pre.view(n, -1), shape, gain, shift, now, "main")
    else:
        normal = _normalise(pre, [hidden], None, None, now, "main")
        normal = torch.addcmul(w.main_shift, normal, w.main_gain)
    gates = torch.sigmoid(normal.view(n, GATES, hidden), out=now["gates"])
    i, j, f, o = gates.unbind(1)
    c = torch.addcmul(_tanh_of(j).mul_(i), c, f, out=now["c"])
    normal = _normalise(c, [hidden], w.cell_gain, w.cell_shift, now, "c")
    torch.mul(_tanh_of(normal.sigmoid_(), out=now["tanh_c"]), o, out=now["h"])


def main_backward(
    w: Weights,
    now: Step,
    grad: Step,
    x: Step,
    product: Tensor,
    out: Tensor,
    dh: Tensor,
    c: Tensor,
    dc: Tensor,
) -> None:
    """Compute the gradients of :func:`main_forward`.

    Writes the gradients c_norm, main_norm, pre, main_x, maps, and the main part of product to `grad`. `out`
    is the gradient of h as an output, and `dh` that of h as the state of the next step. `dc` is the gradient
    of the new cell state; it is overwritten by that of the previous one, `c`.
    """
    n, hidden = c.shape
    gates, tanh = now["gates"], now["tanh_c"]
    i, j, f, o = gates.unbind(1)
    d_gates = torch.empty_like(gates)
    d_h = out + dh
    torch.mul(d_h, tanh, out=d_gates[:, 3])
    _tanh_grad(d_h.mul_(o), tanh, out=grad["c_norm"])
    d_c = _norm_grad(grad["c_norm"], now["c"], [hidden], w.cell_gain, w.cell_shift, now, "c").add_(dc)
    torch.mul(d_c, _tanh_of(j), out=d_gates[:, 0])
    torch.mul(d_c, i, out=d_gates[:, 1]).mul_(2)
    torch.mul(d_c, c, out=d_gates[:, 2])
    torch.mul(d_c, f, out=dc)
    d_gates = torch.ops.aten.sigmoid_backward.grad_input(d_gates, gates, grad_input=grad["main_norm"])
    if w.released:
        shape, gain, shift = [GATES * hidden], w.main_gain.view(-1), w.main_shift.view(-1)
        d_pre = _norm_grad(d_gates.view(n, -1), now["pre"].view(n, -1), shape, gain, shift, now, "main")
    else:
        d_pre = _norm_grad(d_gates * w.main_gain, now["pre"], [hidden], None, None, now, "main")
    d_pre = grad["pre"].copy_(d_pre.view(n, GATES, hidden))
    maps = now["maps"].transpose(0, 1)
    torch.mul(d_pre, maps[:, :GATES], out=grad["main_x"])
    d_maps, main_h = grad["maps"].transpose(0, 1), product.view(n, GATES, hidden)
    torch.mul(d_pre, x["main"], out=d_maps[:, :GATES])
    torch.mul(d_pre, main_h, out=d_maps[:, GATES : 2 * GATES])
    d_maps[:, 2 * GATES :] = d_pre
    recurrent = grad["product"][:, -GATES * hidden :].view(n, GATES, hidden)
    torch.mul(maps[:, GATES : 2 * GATES], d_pre, out=recurrent)


def hyper_backward(
    w: Weights, now: Step, grad: Step, x: Step, dg: Tensor, d_code: Tensor, d: Tensor, dd: Tensor
) -> None:
    """Compute the gradients of :func:`hyper_forward`.

    Writes the gradients d_norm, hyper_norm, hyper_x, and the hyper part of product to `grad`. `dg` is the
    gradient of the hyper output as the state of the next step, and `d_code` that of the input of the maps.
    `dd` is the gradient of the new cell state; it is overwritten by that of the previous one, `d`.
    """
    n, hyper = d.shape
    gates, tanh = now["hyper_gates"], now["tanh_d"]
    i, j, f, o = gates.unbind(1)
    d_gates = torch.empty_like(gates)
    if w.released:
        dg = dg.to(d.dtype)
        d_gates[:, 3] = dg
        _tanh_grad(dg, tanh, out=grad["d_norm"])
        dd = dd.add_(d_code)
    else:
        dg = dg + d_code
        torch.mul(dg, tanh, out=d_gates[:, 3])
        _tanh_grad(dg * o, tanh, out=grad["d_norm"])
    d_d = _norm_grad(grad["d_norm"], now["d"], [hyper], w.code_gain, w.code_shift, now, "d").add_(dd)
    torch.mul(d_d, _tanh_of(j), out=d_gates[:, 0])
    torch.mul(d_d, i, out=d_gates[:, 1]).mul_(2)
    torch.mul(d_d, d, out=d_gates[:, 2])
    torch.mul(d_d, f, out=dd)
    d_gates = torch.ops.aten.sigmoid_backward.grad_input(d_gates, gates, grad_input=grad["hyper_norm"])
    d_pre = _norm_grad(d_gates * w.hyper_gain, now["hyper_pre"], [hyper], None, None, now, "hyper")
    grad["hyper_x"].copy_(d_pre.view(n, -1))
    grad["product"][:, : GATES * hyper] = grad["hyper_x"]


def saved_sizes(rows: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the sizes of the packed arrays that only these functions save for the backward pass."""
    return {"pre": (rows, GATES, hidden), "gates": (rows, GATES, hidden)}


def packed_sizes(rows: int, hidden: int, hyper: int) -> dict[str, tuple[int, ...]]:
    """Return the sizes of the packed arrays of gradients that only these backward functions write."""
    return {
        "hyper_norm": (rows, GATES, hyper), "d_norm": (rows, hyper), "pre": (rows, GATES, hidden),
        "main_norm": (rows, GATES, hidden), "c_norm": (rows, hidden),
        "hyper_x": (rows, GATES * hyper), "main_x": (rows, GATES, hidden),
    }  # fmt: skip


def sum_sizes(batch: int, inputs: int, hidden: int, hyper: int) -> dict[str, tuple[int, ...]]:
    """Return the sizes of the arrays to which the backward functions of all steps add: there are none."""
    return {}


def input_gradients(inputs: SequenceInputs, counts: list[int], grads: Step) -> tuple[Tensor | None, ...]:
    """Return the gradients of `inputs`, None for strokes that need none; `grads` are packed."""
    low = grads["product"].dtype
    strokes = inputs.strokes.to(low)
    by_strokes, by_z, by_weights = [], [], []
    for name, weights in (("hyper_x", inputs.hyper_weights), ("main_x", inputs.main_weights)):
        grad = grads[name].flatten(1)
        of_z = torch.zeros_like(grad[: counts[0]])
        for part in torch.split(grad, counts):
            of_z[: len(part)] += part
        if inputs.strokes.requires_grad:
            by_strokes.append((grad.to(low) @ weights.to(low)).to(grad.dtype))
        by_z.append(of_z)
        by_weights.append((grad.to(low).t() @ strokes).to(grad.dtype))
    return sum(by_strokes[1:], by_strokes[0]) if by_strokes else None, *by_z, *by_weights


def gradients_of_norms(w: Weights, saved: Step, grads: Step) -> NormGradients:
    """Return the gradients of the norms' weights and of the bias; `saved` and `grads` are packed."""
    main_norm, main_pre = grads["main_norm"], saved["pre"]
    if w.released:
        main_norm, main_pre = main_norm.flatten(1), main_pre.flatten(1)

    def norm(grad: Tensor, values: Tensor, name: str) -> tuple[Tensor, Tensor]:
        mean, rstd = saved[f"{name}_mean"], saved[f"{name}_rstd"]
        return (values - mean).mul_(rstd).mul_(grad).sum(0), grad.sum(0)

    main_gain, main_shift = (value.view_as(w.bias) for value in norm(main_norm, main_pre, "main"))
    of_hyper = norm(grads["hyper_norm"], saved["hyper_pre"], "hyper")
    code = norm(grads["d_norm"], saved["d"], "d")
    cell = norm(grads["c_norm"], saved["c"], "c")
    return NormGradients(*of_hyper, *code, grads["pre"].sum(0), main_gain, main_shift, *cell)


def _normalise(
    values: Tensor, shape: list[int], gain: Tensor | None, shift: Tensor | None, now: Step, name: str
) -> Tensor:
    normal, mean, rstd = _norm(values, shape, gain, shift, KERAS_EPS)
    now[f"{name}_mean"].copy_(mean)
    now[f"{name}_rstd"].copy_(rstd)
    return cast(Tensor, normal)


def _norm_grad(
    grad: Tensor,
    values: Tensor,
    shape: list[int],
    gain: Tensor | None,
    shift: Tensor | None,
    now: Step,
    name: str,
) -> Tensor:
    """Return the gradient of the input of a norm from that of its output."""
    mean, rstd = now[f"{name}_mean"], now[f"{name}_rstd"]
    return cast(Tensor, _norm_backward(grad, values, shape, mean, rstd, gain, shift, _ONLY_INPUT)[0])


def _tanh_of(sigmoid: Tensor, out: Tensor | None = None) -> Tensor:
    """Return tanh x from σ(2x)."""
    return torch.mul(sigmoid, 2, out=out).sub_(1)


def _tanh_grad(grad: Tensor, tanh: Tensor, out: Tensor) -> None:
    """Write the gradient of x from that of y = tanh(x / 2). The gains are doubled, see :func:`weights_of`."""
    torch.ops.aten.tanh_backward.grad_input(grad, tanh, grad_input=out)
    out.mul_(0.5)
