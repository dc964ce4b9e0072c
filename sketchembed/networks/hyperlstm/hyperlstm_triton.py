"""The element-wise operations of a HyperLSTM step as four Triton kernels, with one program per sequence.

They compute the functions of :mod:`~sketchembed.networks.hyperlstm.pointwise` in float32. The gates, their
norms and the cell of one sequence stay in registers between two matrix products.
"""

from __future__ import annotations

from typing import Any, no_type_check

import triton
import triton.language as tl
from torch import Tensor

from sketchembed.networks.hyperlstm.cell import KERAS_EPS
from sketchembed.networks.hyperlstm.pointwise import (
    Step,
    Weights,
    gradients_of_norms,
    input_gradients,
    input_terms,
    packed_sizes,
    saved_sizes,
    sum_sizes,
)

__all__ = [
    "gradients_of_norms",
    "hyper_backward",
    "hyper_forward",
    "input_gradients",
    "input_terms",
    "main_backward",
    "main_forward",
    "packed_sizes",
    "saved_sizes",
    "sum_sizes",
]

# ruff: noqa: ANN001, ANN202 - the arguments of Triton kernels are pointers and constants without types
# mypy: disable-error-code="no-untyped-def, untyped-decorator"


@triton.jit
@no_type_check
def _select(gate: tl.constexpr, i, j, f, o):
    return i if gate == 0 else (j if gate == 1 else (f if gate == 2 else o))


@triton.jit
@no_type_check
def _replace(gate: tl.constexpr, value, i, j, f, o):
    i = value if gate == 0 else i
    j = value if gate == 1 else j
    f = value if gate == 2 else f
    o = value if gate == 3 else o
    return i, j, f, o


@triton.jit
@no_type_check
def _statistics(values, mask, size, eps):
    mean = tl.sum(tl.where(mask, values, 0.0)) / size
    centred = tl.where(mask, values - mean, 0.0)
    return mean, 1 / tl.sqrt(tl.sum(centred * centred) / size + eps)


@triton.jit
@no_type_check
def _norm_gradient(grad, normal, rstd, mask, size):
    """Return the gradient of the input of a norm from that of its normalised output."""
    along = tl.sum(tl.where(mask, grad * normal, 0.0)) / size
    level = tl.sum(tl.where(mask, grad, 0.0)) / size
    return rstd * (grad - level - normal * along)


@triton.jit
@no_type_check
def _cell(i, j, f, o, before, gain_ptr, shift_ptr, cols, mask, size, eps, ADD: tl.constexpr):
    """Return the cell state, the statistics of its norm, the tanh of the norm, and the output."""
    cell = (2 * j - 1) * i + before * f
    mean, rstd = _statistics(cell, mask, size, eps)
    gain, shift = tl.load(gain_ptr + cols, mask, 0.0), tl.load(shift_ptr + cols, mask, 0.0)
    tanh = 2 * tl.sigmoid((cell - mean) * rstd * gain + shift) - 1
    out = tanh + o if ADD else tanh * o
    return cell, mean, rstd, tanh, out


@triton.jit
@no_type_check
def _hyper_forward(
    x, product, product_stride, recurrent, gain, shift, code_gain, code_shift, before,
    pre, gates, d, tanh_d, g, mean, rstd, d_mean, d_rstd, size, eps, ADD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    mask = cols < size
    i = tl.zeros((BLOCK,), tl.float32)
    j, f, o = i, i, i
    for gate in tl.static_range(4):
        place = row * 4 * size + gate * size + cols
        value = tl.load(x + place, mask, 0.0) + tl.load(recurrent + place, mask, 0.0).to(tl.float32)
        value += tl.load(product + row * product_stride + gate * size + cols, mask, 0.0).to(tl.float32)
        tl.store(pre + place, value, mask)
        level, scale = _statistics(value, mask, size, eps)
        tl.store(mean + row * 4 + gate, level)
        tl.store(rstd + row * 4 + gate, scale)
        weight = tl.load(gain + gate * size + cols, mask, 0.0)
        bias = tl.load(shift + gate * size + cols, mask, 0.0)
        open_ = tl.sigmoid((value - level) * scale * weight + bias)
        tl.store(gates + place, open_, mask)
        i, j, f, o = _replace(gate, open_, i, j, f, o)
    last = tl.load(before + row * size + cols, mask, 0.0)
    cell, level, scale, tanh, out = _cell(i, j, f, o, last, code_gain, code_shift, cols, mask, size, eps, ADD)
    tl.store(d_mean + row, level)
    tl.store(d_rstd + row, scale)
    tl.store(d + row * size + cols, cell, mask)
    tl.store(tanh_d + row * size + cols, tanh, mask)
    tl.store(g + row * size + cols, out, mask)


@triton.jit
@no_type_check
def _main_forward(
    x, product, product_stride, maps, map_stride, bias, gain, shift, cell_gain, cell_shift, before,
    pre, gates, c, tanh_c, h, mean, rstd, c_mean, c_rstd, size, eps, JOINT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    mask = cols < size
    i = tl.zeros((BLOCK,), tl.float32)
    j, f, o = i, i, i
    total = 0.0
    for gate in tl.static_range(4):
        place = row * 4 * size + gate * size + cols
        recurrent = tl.load(product + row * product_stride + gate * size + cols, mask, 0.0).to(tl.float32)
        at = maps + gate * map_stride + row * size + cols
        value = tl.load(at, mask, 0.0).to(tl.float32) * tl.load(x + place, mask, 0.0)
        value += tl.load(bias + gate * size + cols, mask, 0.0)
        value += tl.load(at + 4 * map_stride, mask, 0.0).to(tl.float32) * recurrent
        value += tl.load(at + 8 * map_stride, mask, 0.0).to(tl.float32)
        tl.store(pre + place, value, mask)
        total += tl.sum(tl.where(mask, value, 0.0))
        i, j, f, o = _replace(gate, value, i, j, f, o)
    if JOINT:
        level = total / (4 * size)
        squares = 0.0
        for gate in tl.static_range(4):
            value = _select(gate, i, j, f, o)
            centred = tl.where(mask, value - level, 0.0)
            squares += tl.sum(centred * centred)
        scale = 1 / tl.sqrt(squares / (4 * size) + eps)
        tl.store(mean + row, level)
        tl.store(rstd + row, scale)
    for gate in tl.static_range(4):
        value = _select(gate, i, j, f, o)
        if not JOINT:
            level, scale = _statistics(value, mask, size, eps)
            tl.store(mean + row * 4 + gate, level)
            tl.store(rstd + row * 4 + gate, scale)
        weight = tl.load(gain + gate * size + cols, mask, 0.0)
        open_ = tl.sigmoid((value - level) * scale * weight + tl.load(shift + gate * size + cols, mask, 0.0))
        tl.store(gates + row * 4 * size + gate * size + cols, open_, mask)
        i, j, f, o = _replace(gate, open_, i, j, f, o)
    last = tl.load(before + row * size + cols, mask, 0.0)
    cell, level_c, scale_c, tanh, out = _cell(
        i, j, f, o, last, cell_gain, cell_shift, cols, mask, size, eps, False
    )
    tl.store(c_mean + row, level_c)
    tl.store(c_rstd + row, scale_c)
    tl.store(c + row * size + cols, cell, mask)
    tl.store(tanh_c + row * size + cols, tanh, mask)
    tl.store(h + row * size + cols, out, mask)


@triton.jit
@no_type_check
def _cell_backward(
    out, later, gates, cell_ptr, tanh_ptr, before, mean, rstd, gain_ptr, norm_grad, d_later, row, cols, mask,
    size, ADD: tl.constexpr,
):  # fmt: skip
    """Return the gradients of the normalised inputs of the gates from those of output and cell state."""
    at = row * size + cols
    gate_at = row * 4 * size + cols
    i, j = tl.load(gates + gate_at, mask, 0.0), tl.load(gates + gate_at + size, mask, 0.0)
    f, o = tl.load(gates + gate_at + 2 * size, mask, 0.0), tl.load(gates + gate_at + 3 * size, mask, 0.0)
    tanh = tl.load(tanh_ptr + at, mask, 0.0)
    d_o = out if ADD else out * tanh
    squashed = (out if ADD else out * o) * (1 - tanh * tanh) * 0.5
    tl.store(norm_grad + at, squashed, mask)
    level, scale = tl.load(mean + row), tl.load(rstd + row)
    normal = (tl.load(cell_ptr + at, mask, 0.0) - level) * scale
    gain = tl.load(gain_ptr + cols, mask, 0.0)
    d_cell = _norm_gradient(squashed * gain, normal, scale, mask, size) + later
    last = tl.load(before + at, mask, 0.0)
    tl.store(d_later + at, d_cell * f, mask)
    d_i = d_cell * (2 * j - 1) * i * (1 - i)
    d_j = 2 * d_cell * i * j * (1 - j)
    d_f = d_cell * last * f * (1 - f)
    return d_i, d_j, d_f, d_o * o * (1 - o)


@triton.jit
@no_type_check
def _main_backward(
    grad_out, dh, gates, c, tanh_c, before, c_mean, c_rstd, cell_gain, pre, mean, rstd, gain, maps,
    map_stride, x, product, product_stride, c_norm, dc, main_norm, d_pre, d_x, d_maps, d_map_stride,
    d_product, d_product_stride, size, JOINT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    mask = cols < size
    at = row * size + cols
    out = tl.load(grad_out + at, mask, 0.0) + tl.load(dh + at, mask, 0.0).to(tl.float32)
    later = tl.load(dc + at, mask, 0.0)
    d_i, d_j, d_f, d_o = _cell_backward(
        out, later, gates, c, tanh_c, before, c_mean, c_rstd, cell_gain, c_norm, dc,
        row, cols, mask, size, False,
    )  # fmt: skip
    along = 0.0
    mid = 0.0
    for gate in tl.static_range(4):
        place = row * 4 * size + gate * size + cols
        grad = _select(gate, d_i, d_j, d_f, d_o)
        tl.store(main_norm + place, grad, mask)
        if JOINT:
            weighed = tl.where(mask, grad * tl.load(gain + gate * size + cols, mask, 0.0), 0.0)
            normal = (tl.load(pre + place, mask, 0.0) - tl.load(mean + row)) * tl.load(rstd + row)
            along += tl.sum(weighed * normal)
            mid += tl.sum(weighed)
    for gate in tl.static_range(4):
        place = row * 4 * size + gate * size + cols
        grad = _select(gate, d_i, d_j, d_f, d_o)
        weighed = grad * tl.load(gain + gate * size + cols, mask, 0.0)
        value = tl.load(pre + place, mask, 0.0)
        if JOINT:
            scale = tl.load(rstd + row)
            normal = (value - tl.load(mean + row)) * scale
            found = scale * (weighed - mid / (4 * size) - normal * along / (4 * size))
        else:
            scale = tl.load(rstd + row * 4 + gate)
            normal = (value - tl.load(mean + row * 4 + gate)) * scale
            found = _norm_gradient(weighed, normal, scale, mask, size)
        tl.store(d_pre + place, found, mask)
        map_at = maps + gate * map_stride + row * size + cols
        d_map_at = d_maps + gate * d_map_stride + row * size + cols
        kind = d_maps.dtype.element_ty
        recurrent = tl.load(product + row * product_stride + gate * size + cols, mask, 0.0).to(tl.float32)
        tl.store(d_x + place, found * tl.load(map_at, mask, 0.0).to(tl.float32), mask)
        tl.store(d_map_at, (found * tl.load(x + place, mask, 0.0)).to(kind), mask)
        tl.store(d_map_at + 4 * d_map_stride, (found * recurrent).to(kind), mask)
        tl.store(d_map_at + 8 * d_map_stride, found.to(kind), mask)
        scaled = found * tl.load(map_at + 4 * map_stride, mask, 0.0).to(tl.float32)
        tl.store(
            d_product + row * d_product_stride + gate * size + cols,
            scaled.to(d_product.dtype.element_ty),
            mask,
        )


@triton.jit
@no_type_check
def _hyper_backward(
    dg, d_code, gates, d, tanh_d, before, d_mean, d_rstd, code_gain, pre, mean, rstd, gain,
    d_norm, dd, hyper_norm, d_x, d_product, product_stride, size, ADD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    mask = cols < size
    at = row * size + cols
    out = tl.load(dg + at, mask, 0.0).to(tl.float32)
    later = tl.load(dd + at, mask, 0.0)
    code = tl.load(d_code + at, mask, 0.0).to(tl.float32)
    # The input of the maps is the cell state in the released variant (ADD), and otherwise the output.
    if ADD:
        later += code
    else:
        out += code
    d_i, d_j, d_f, d_o = _cell_backward(
        out, later, gates, d, tanh_d, before, d_mean, d_rstd, code_gain, d_norm, dd,
        row, cols, mask, size, ADD,
    )  # fmt: skip
    for gate in tl.static_range(4):
        place = row * 4 * size + gate * size + cols
        grad = _select(gate, d_i, d_j, d_f, d_o)
        tl.store(hyper_norm + place, grad, mask)
        scale = tl.load(rstd + row * 4 + gate)
        normal = (tl.load(pre + place, mask, 0.0) - tl.load(mean + row * 4 + gate)) * scale
        weight = tl.load(gain + gate * size + cols, mask, 0.0)
        found = _norm_gradient(grad * weight, normal, scale, mask, size)
        tl.store(d_x + place, found, mask)
        tl.store(
            d_product + row * product_stride + gate * size + cols, found.to(d_product.dtype.element_ty), mask
        )


def _launch(size: int) -> dict[str, Any]:
    block = triton.next_power_of_2(size)
    return {"BLOCK": block, "num_warps": 8 if block >= 1024 else 4}


def hyper_forward(w: Weights, now: Step, x: Step, product: Tensor, recurrent: Tensor, d: Tensor) -> None:
    """See :func:`~sketchembed.networks.hyperlstm.pointwise.hyper_forward`."""
    n, size = d.shape
    _hyper_forward[(n,)](
        x["hyper"], product, product.stride(0), recurrent, w.hyper_gain, w.hyper_shift,
        w.code_gain, w.code_shift, d,
        now["hyper_pre"], now["hyper_gates"], now["d"], now["tanh_d"], now["g"], now["hyper_mean"],
        now["hyper_rstd"], now["d_mean"], now["d_rstd"], size, KERAS_EPS, ADD=w.released, **_launch(size),
    )  # fmt: skip


def main_forward(w: Weights, now: Step, x: Step, product: Tensor, c: Tensor) -> None:
    """See :func:`~sketchembed.networks.hyperlstm.pointwise.main_forward`."""
    n, size = c.shape
    maps = now["maps"]
    _main_forward[(n,)](
        x["main"], product, product.stride(0), maps, maps.stride(0), w.bias, w.main_gain, w.main_shift,
        w.cell_gain, w.cell_shift, c, now["pre"], now["gates"], now["c"], now["tanh_c"], now["h"],
        now["main_mean"], now["main_rstd"], now["c_mean"], now["c_rstd"],
        size, KERAS_EPS, JOINT=w.released, **_launch(size),
    )  # fmt: skip


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
    """See :func:`~sketchembed.networks.hyperlstm.pointwise.main_backward`."""
    n, size = c.shape
    maps, d_maps, d_product = now["maps"], grad["maps"], grad["product"][:, -4 * size :]
    _main_backward[(n,)](
        out, dh, now["gates"], now["c"], now["tanh_c"], c, now["c_mean"], now["c_rstd"], w.cell_gain,
        now["pre"], now["main_mean"], now["main_rstd"], w.main_gain, maps, maps.stride(0), x["main"],
        product, product.stride(0), grad["c_norm"], dc, grad["main_norm"], grad["pre"], grad["main_x"],
        d_maps, d_maps.stride(0), d_product, d_product.stride(0), size, JOINT=w.released, **_launch(size),
    )  # fmt: skip


def hyper_backward(
    w: Weights, now: Step, grad: Step, x: Step, dg: Tensor, d_code: Tensor, d: Tensor, dd: Tensor
) -> None:
    """See :func:`~sketchembed.networks.hyperlstm.pointwise.hyper_backward`."""
    n, size = d.shape
    product = grad["product"]
    _hyper_backward[(n,)](
        dg, d_code, now["hyper_gates"], now["d"], now["tanh_d"], d, now["d_mean"], now["d_rstd"], w.code_gain,
        now["hyper_pre"], now["hyper_mean"], now["hyper_rstd"], w.hyper_gain,
        grad["d_norm"], dd, grad["hyper_norm"], grad["hyper_x"],
        product, product.stride(0), size, ADD=w.released, **_launch(size),
    )  # fmt: skip
