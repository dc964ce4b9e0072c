"""The element-wise operations of a HyperLSTM step between its matrix products, forward and backward.

:mod:`~sketchembed.networks.hyperlstm.hyperlstm_triton` has the same four functions for CUDA. In the forward
functions, `x` is the input term of the gates, `product` the term of h and `recurrent` the term of the
previous hyper output. The latter two may be in 16 bits.

tanh x = 2 σ(2x) - 1, and on a CPU σ is several times as fast as tanh. The factor 2 inside σ is part of the
gain and shift of the preceding norm (:func:`weights_of`), and so is the bias of the forget gate.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

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


def hyper_forward(w: Weights, now: Step, x: Tensor, product: Tensor, recurrent: Tensor, d: Tensor) -> None:
    """Compute one step of the hypernetwork; `d` is its previous cell state.

    Writes hyper_pre, hyper_gates, d, tanh_d, g and the statistics of the norms to `now`.
    """
    n, hyper = d.shape
    pre = torch.add(x, product, out=now["hyper_pre"].view(n, -1)).add_(recurrent).view(n, GATES, hyper)
    normal = _normalise(pre, [hyper], None, None, now, "hyper")
    gates = torch.sigmoid(torch.addcmul(w.hyper_shift, normal, w.hyper_gain), out=now["hyper_gates"])
    i, j, f, o = gates.unbind(1)
    d = torch.addcmul(_tanh_of(j).mul_(i), d, f, out=now["d"])
    normal = _normalise(d, [hyper], w.code_gain, w.code_shift, now, "d")
    tanh = _tanh_of(normal.sigmoid_(), out=now["tanh_d"])
    (torch.add if w.released else torch.mul)(tanh, o, out=now["g"])


def main_forward(w: Weights, now: Step, x: Tensor, product: Tensor, c: Tensor) -> None:
    """Compute one step of the main LSTM, with its gates scaled by the maps; `c` is its previous cell state.

    Reads maps from `now`. Writes main_h, pre, gates, c, tanh_c, h and the statistics of the norms to it.
    """
    n, hidden = c.shape
    maps, main_h = now["maps"].transpose(0, 1), now["main_h"]
    main_h.view(n, -1).copy_(product)
    pre = torch.addcmul(w.bias, maps[:, :GATES], x, out=now["pre"])
    pre.addcmul_(maps[:, GATES : 2 * GATES], main_h).add_(maps[:, 2 * GATES :])
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
    w: Weights, now: Step, grad: Step, x: Tensor, out: Tensor, dh: Tensor, c: Tensor, dc: Tensor
) -> Tensor:
    """Return the gradient of the maps in :func:`main_forward`, ``[12, n, hidden]``.

    Writes the gradients c_norm, main_norm, pre, main_x, and the main part of product to `grad`. `out` is the
    gradient of h as an output, and `dh` that of h as the state of the next step. `dc` is the gradient of the
    new cell state; it is overwritten by that of the previous one, `c`.
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
    d_maps = torch.empty_like(now["maps"])
    by_map = d_pre.transpose(0, 1)
    torch.mul(by_map, x.transpose(0, 1), out=d_maps[:GATES])
    torch.mul(by_map, now["main_h"].transpose(0, 1), out=d_maps[GATES : 2 * GATES])
    d_maps[2 * GATES :] = by_map
    recurrent = grad["product"][:, -GATES * hidden :].view(n, GATES, hidden)
    torch.mul(maps[:, GATES : 2 * GATES], d_pre, out=recurrent)
    return d_maps


def hyper_backward(
    w: Weights, now: Step, grad: Step, dg: Tensor, d_code: Tensor, d: Tensor, dd: Tensor
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
