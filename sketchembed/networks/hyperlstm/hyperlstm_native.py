"""The element-wise operations of a HyperLSTM step in C++, for a CPU: four passes over the rows of a step.

They compute the functions of :mod:`~sketchembed.networks.hyperlstm.pointwise`. The input terms of the gates
are computed on the fly, and the gradients of the norms, of the bias and of the inputs are added up at once,
in one sum for each thread.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sketchembed.networks.hyperlstm.cell import GATES, HyperState
from sketchembed.networks.hyperlstm.pointwise import (
    NormGradients,
    SequenceInputs,
    Step,
    Weights,
)
from sketchembed.raster.native import call_native, has_native

SOURCE = Path(__file__).with_name("pointwise.cpp")
SUMS_OF_MAIN = 14  # gains and shifts of the four gates, their biases, and gain and shift of the cell
SUMS_OF_HYPER = 10  # the same without the biases


def is_compiled(inputs: SequenceInputs, state: HyperState, low: torch.dtype) -> bool:
    """Return whether there are functions for the device and type of the tensors, and for the type `low`.

    There is none for the gradient of the strokes, which training does not need.
    """
    strokes = inputs.strokes
    alike = all((each.dtype, each.device) == (strokes.dtype, strokes.device) for each in (*inputs, *state))
    return alike and has_native(SOURCE, strokes, low) and not strokes.requires_grad


def input_terms(inputs: SequenceInputs, counts: list[int], low: torch.dtype) -> list[Step]:
    """Return the strokes of each step, and the weights that give their terms."""
    whole = {
        "hyper_z": inputs.hyper_z.contiguous(),
        "main_z": inputs.main_z.contiguous(),
        "hyper_weights": inputs.hyper_weights.t().contiguous(),
        "main_weights": inputs.main_weights.t().contiguous(),
    }
    return [{"strokes": part, **whole} for part in torch.split(inputs.strokes.contiguous(), counts)]


def saved_sizes(rows: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the sizes of the packed arrays that only these functions save for the backward pass: none."""
    return {}


def packed_sizes(rows: int, hidden: int, hyper: int) -> dict[str, tuple[int, ...]]:
    """Return the sizes of the packed arrays of gradients that only these functions write: none."""
    return {}


def sum_sizes(batch: int, inputs: int, hidden: int, hyper: int) -> dict[str, tuple[int, ...]]:
    """Return the sizes of the arrays to which the backward functions of all steps add."""
    parts = torch.get_num_threads()
    return {
        "main_sums": (parts, (SUMS_OF_MAIN + GATES * inputs) * hidden),
        "hyper_sums": (parts, (SUMS_OF_HYPER + GATES * inputs) * hyper),
        "main_z": (batch, GATES * hidden),
        "hyper_z": (batch, GATES * hyper),
    }


def hyper_forward(w: Weights, now: Step, x: Step, product: Tensor, recurrent: Tensor, d: Tensor) -> None:
    """See :func:`~sketchembed.networks.hyperlstm.pointwise.hyper_forward`."""
    _run(
        "hyper_forward", d.shape, w.released, x, [product.stride(0)], product,
        x["strokes"], x["hyper_weights"], x["hyper_z"], product, recurrent, w.hyper_gain, w.hyper_shift,
        w.code_gain, w.code_shift, d, now["hyper_pre"], now["hyper_gates"], now["d"], now["tanh_d"], now["g"],
        now["hyper_mean"], now["hyper_rstd"], now["d_mean"], now["d_rstd"],
    )  # fmt: skip


def main_forward(w: Weights, now: Step, x: Step, product: Tensor, c: Tensor) -> None:
    """See :func:`~sketchembed.networks.hyperlstm.pointwise.main_forward`."""
    maps = now["maps"]
    _run(
        "main_forward", c.shape, w.released, x, [product.stride(0), maps.stride(0)], product,
        x["strokes"], x["main_weights"], x["main_z"], product, maps, w.bias, w.main_gain, w.main_shift,
        w.cell_gain, w.cell_shift, c, now["c"], now["tanh_c"], now["h"],
        now["main_mean"], now["main_rstd"], now["c_mean"], now["c_rstd"],
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
    maps, d_maps, d_product = now["maps"], grad["maps"], grad["product"][:, -GATES * c.shape[1] :]
    strides = [product.stride(0), maps.stride(0), d_maps.stride(0), d_product.stride(0)]
    _run(
        "main_backward", c.shape, w.released, x, strides, product,
        x["strokes"], x["main_weights"], x["main_z"], product, maps, w.bias, w.main_gain, w.main_shift,
        w.cell_gain, out, dh, now["c"], now["tanh_c"], c, now["c_mean"], now["c_rstd"], now["main_mean"],
        now["main_rstd"], dc, grad["main_z"], d_maps, d_product, grad["main_sums"],
    )  # fmt: skip


def hyper_backward(
    w: Weights, now: Step, grad: Step, x: Step, dg: Tensor, d_code: Tensor, d: Tensor, dd: Tensor
) -> None:
    """See :func:`~sketchembed.networks.hyperlstm.pointwise.hyper_backward`."""
    product = grad["product"]
    _run(
        "hyper_backward", d.shape, w.released, x, [product.stride(0)], product,
        x["strokes"], dg, d_code, now["hyper_gates"], now["d"], now["tanh_d"], d, now["d_mean"],
        now["d_rstd"], w.code_gain, now["hyper_pre"], now["hyper_mean"], now["hyper_rstd"], w.hyper_gain,
        dd, grad["hyper_z"], product, grad["hyper_sums"],
    )  # fmt: skip


def input_gradients(inputs: SequenceInputs, counts: list[int], grads: Step) -> tuple[Tensor | None, ...]:
    """See :func:`~sketchembed.networks.hyperlstm.pointwise.input_gradients`."""
    weights = []
    for name, count in (("hyper", SUMS_OF_HYPER), ("main", SUMS_OF_MAIN)):
        columns = grads[f"{name}_z"].shape[1]
        sums = grads[f"{name}_sums"][:, count * columns // GATES :].sum(0)
        weights.append(sums.view(-1, columns).t())
    return None, grads["hyper_z"], grads["main_z"], *weights


def gradients_of_norms(w: Weights, saved: Step, grads: Step) -> NormGradients:
    """See :func:`~sketchembed.networks.hyperlstm.pointwise.gradients_of_norms`."""
    hidden, hyper = len(w.cell_gain), len(w.code_gain)
    main = grads["main_sums"].sum(0)[: SUMS_OF_MAIN * hidden].view(SUMS_OF_MAIN, hidden)
    of_hyper = grads["hyper_sums"].sum(0)[: SUMS_OF_HYPER * hyper].view(SUMS_OF_HYPER, hyper)
    gain, shift, bias = main[: 3 * GATES].chunk(3)
    hyper_gain, hyper_shift = of_hyper[: 2 * GATES].chunk(2)
    return NormGradients(
        hyper_gain, hyper_shift, of_hyper[-2], of_hyper[-1], bias, gain, shift, main[-2], main[-1]
    )


def _run(
    name: str,
    shape: torch.Size,
    variant: bool,
    x: Step,
    strides: list[int],
    low: Tensor,
    *tensors: Tensor,
) -> None:
    """Call a function for the rows of a step; `low` is a tensor of the type of the operands of products."""
    rows, size = shape
    numbers = [rows, size, min(torch.get_num_threads(), rows), variant, x["strokes"].shape[1], *strides]
    call_native(SOURCE, name, x["strokes"], low.dtype, numbers, tensors)
