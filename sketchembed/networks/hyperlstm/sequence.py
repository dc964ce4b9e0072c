"""The HyperLSTM over whole sequences, several times as fast as the cell.

The result is that of :class:`~sketchembed.networks.hyperlstm.cell.HyperLSTMCell`, applied step by step. The
backward pass is written by hand, the gradient of each weight is one product after the loop, and rows are
packed, so that sequences that have ended are not computed. Under autocast, products are in bfloat16, and
norms, gates and states in float32 (float64 in float64). Symbols are those of cell.py.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sketchembed.networks.hyperlstm import hyperlstm_native, pointwise
from sketchembed.networks.hyperlstm.cell import GATES, MAPS, HyperLSTMCell, HyperState
from sketchembed.networks.hyperlstm.pointwise import SequenceInputs, Step, Weights, weights_of
from sketchembed.networks.precision import at_least_float32
from sketchembed.raster.kernels import triton_module


def run_sequence(
    cell: HyperLSTMCell,
    strokes: Float[Tensor, "rows inputs"],
    z: Float[Tensor, "batch latent"],
    state: HyperState,
    counts: list[int],
) -> tuple[Float[Tensor, "rows hidden"], HyperState]:
    """Run the cell over packed sequences; return h of all steps and the last state of each sequence.

    The input of a step is a row of `strokes` and the sequence's row of `z`. `z` and `state`, which is that
    before the first step, are in the order of the packing. `counts` are the numbers of sequences in the
    steps.
    """
    kind = strokes.device.type
    low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else strokes.dtype
    of_strokes, of_z = strokes.shape[1], z.shape[1]
    layers = [
        torch.split(layer.weight, [of_strokes, of_z], 1) for layer in (cell.hyper_input, cell.main_input)
    ]
    # z is the same at every step, so its product is computed once per sequence.
    terms = [at_least_float32(functional.linear(z, weights[1])) for weights in layers]
    inputs = SequenceInputs(strokes, *terms, *(weights[0] for weights in layers))
    state = HyperState(*(value.contiguous() for value in state))
    native = hyperlstm_native if hyperlstm_native.is_compiled(inputs, state, low) else pointwise
    kernels = triton_module("sketchembed.networks.hyperlstm.hyperlstm_triton", strokes) or native
    with torch.autocast(kind, enabled=False):
        released, *weights = weights_of(cell)
        h, *last = _Sequence.apply(  # type: ignore[no-untyped-call]
            kernels, released, counts, low, *inputs, *state, *weights
        )
    return h, HyperState(*last)


def _padded(like: Tensor, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Create a packed operand of products, followed by rows of zeros up to a multiple of 512.

    16-bit kernels on a CPU are compiled for each size.
    """
    out = like.new_empty(rows + -rows % 512, columns, dtype=dtype)
    out[rows:].zero_()
    return out


def _steps(packed: dict[str, Tensor], counts: list[int]) -> list[Step]:
    """Return the rows of each step of packed arrays."""
    rows = sum(counts)
    parts = {name: torch.split(value[:rows], counts) for name, value in packed.items()}
    return [{name: values[step] for name, values in parts.items()} for step in range(len(counts))]


def _saves_maps(w: Weights, counts: list[int]) -> bool:
    """Return whether the twelve maps of all steps are saved for the backward pass, and their gradients.

    Otherwise the backward pass computes them again, step by step. With many sequences on a CPU that is
    faster, because memory is slower.
    """
    return w.expand.is_cuda or counts[0] < w.expand.shape[1]


def _maps(w: Weights, counts: list[int], dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    """Create an array of maps, or of their gradients, and return the part of each step, ``[12, n, hidden]``.

    If they are not saved, the steps share one part.
    """
    saved = _saves_maps(w, counts)
    maps = w.expand.new_empty(MAPS, sum(counts) if saved else counts[0], w.expand.shape[2], dtype=dtype)
    return maps, list(torch.split(maps, counts, dim=1)) if saved else [maps[:, :n] for n in counts]


class _Sequence(torch.autograd.Function):
    """The loop over the steps, forward and backward."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        kernels: ModuleType,
        released: bool,
        counts: list[int],
        low: torch.dtype,
        *given: Tensor,
    ) -> tuple[Tensor, ...]:
        inputs, start, w = _arguments(released, given)
        h, g, c, d = start
        rows, hidden, hyper = sum(counts), h.shape[1], g.shape[1]
        sizes = {
            "hyper_pre": (rows, GATES, hyper), "hyper_gates": (rows, GATES, hyper), "d": (rows, hyper),
            "tanh_d": (rows, hyper), "g": (rows, hyper), "c": (rows, hidden), "tanh_c": (rows, hidden),
            "h": (rows, hidden),
        }  # fmt: skip
        sizes |= _statistics(rows, released) | kernels.saved_sizes(rows, hidden)
        # Operands of products: states before each step, and the input of the maps.
        operands = {
            "h_before": hidden, "g_before": hyper, "code": hyper, "product": GATES * (hyper + hidden),
            "small": len(w.embed),
        }  # fmt: skip
        saved = {name: h.new_empty(size) for name, size in sizes.items()}
        saved |= {name: _padded(h, rows, size, low) for name, size in operands.items()}
        _, maps = _maps(w, counts, low)
        terms = kernels.input_terms(inputs, counts, low)
        w_h, w_g, expand = w.recurrent.to(low), w.hyper_recurrent.to(low), w.expand.to(low)
        embed, embed_bias = w.embed.to(low), w.embed_bias.to(low)
        finals = [torch.empty_like(value) for value in start]
        for step, (n, now) in enumerate(zip(counts, _steps(saved, counts), strict=True)):
            h, g, c, d = h[:n], g[:n], c[:n], d[:n]
            product = torch.mm(now["h_before"].copy_(h), w_h.t(), out=now["product"])
            recurrent = functional.linear(now["g_before"].copy_(g), w_g)
            kernels.hyper_forward(w, now, terms[step], product[:, : GATES * hyper], recurrent, d)
            d, g = now["d"], now["g"]
            code = now["code"].copy_(d if released else g)
            small = torch.addmm(embed_bias, code, embed.t(), out=now["small"])
            now["maps"] = torch.bmm(small.view(n, MAPS, -1).transpose(0, 1), expand, out=maps[step])
            kernels.main_forward(w, now, terms[step], product[:, GATES * hyper :], c)
            c, h = now["c"], now["h"]
            ongoing = counts[step + 1] if step + 1 < len(counts) else 0
            if ongoing < n:
                for final, value in zip(finals, (h, g, c, d), strict=True):
                    final[ongoing:n] = value[ongoing:]
        ctx.kernels, ctx.released, ctx.counts, ctx.low = kernels, released, counts, low
        ctx.saved, ctx.maps = saved, maps
        ctx.terms = terms
        ctx.save_for_backward(*given)
        ctx.mark_non_differentiable(*finals)
        # Detached: ctx.saved would otherwise hold the output, the output its graph, and the graph ctx.
        return saved["h"].detach(), *finals

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        inputs, start, w = _arguments(ctx.released, ctx.saved_tensors)
        h0, g0, c0, d0 = start
        counts, kernels = ctx.counts, ctx.kernels
        rows, hidden, hyper = len(grad_out), h0.shape[1], g0.shape[1]
        # Packed gradients of the operands of products and norms. Those of the weights follow from them.
        packed = {
            name: _padded(grad_out, rows, ctx.saved[name].shape[1], ctx.low) for name in ("product", "small")
        }
        packed |= {
            name: grad_out.new_empty(size) for name, size in kernels.packed_sizes(rows, hidden, hyper).items()
        }
        size = len(h0), inputs.hyper_weights.shape[1], hidden, hyper
        sums = {name: grad_out.new_zeros(size) for name, size in kernels.sum_sizes(*size).items()}
        saved_steps, grad_steps = _steps(ctx.saved, counts), _steps(packed, counts)
        out = torch.split(grad_out.contiguous(), counts)
        dh, dg = (torch.zeros_like(value, dtype=ctx.low) for value in (h0, g0))
        dc, dd = (torch.zeros_like(value) for value in (c0, d0))
        expand, embed = w.expand.to(ctx.low), w.embed.to(ctx.low)
        maps, (all_d_maps, d_maps) = ctx.maps, _maps(w, counts, ctx.low)
        saves_maps, d_expand = _saves_maps(w, counts), torch.zeros_like(w.expand)
        from_h, from_g = w.recurrent.to(ctx.low), w.hyper_recurrent.to(ctx.low)
        for step in range(len(counts) - 1, -1, -1):
            n, now, grad = counts[step], saved_steps[step], grad_steps[step] | sums
            last = saved_steps[step - 1] if step else {"c": c0, "d": d0}
            main_h = now["product"][:, GATES * hyper :]
            x, small = ctx.terms[step], now["small"].view(n, MAPS, -1).transpose(0, 1)
            now["maps"], grad["maps"] = maps[step], d_maps[step]
            if not saves_maps:
                torch.bmm(small, expand, out=now["maps"])
            kernels.main_backward(w, now, grad, x, main_h, out[step], dh[:n], last["c"][:n], dc[:n])
            if not saves_maps:
                d_expand += torch.bmm(small.transpose(1, 2), grad["maps"])
            d_small = torch.bmm(grad["maps"], expand.transpose(1, 2))
            grad["small"].view(n, MAPS, -1).copy_(d_small.transpose(0, 1))
            d_code = grad["small"] @ embed
            kernels.hyper_backward(w, now, grad, x, dg[:n], d_code, last["d"][:n], dd[:n])
            torch.mm(grad["product"][:, : GATES * hyper], from_g, out=dg[:n])
            torch.mm(grad["product"], from_h, out=dh[:n])

        if saves_maps:
            small = ctx.saved["small"][:rows].view(rows, MAPS, -1).permute(1, 2, 0)
            d_expand = torch.bmm(small, all_d_maps).to(d_expand.dtype)
        grads = packed | sums | {"expand": d_expand}
        weights = _weight_gradients(ctx, w, h0, g0, grads)
        of_inputs = kernels.input_gradients(inputs, counts, grads)
        states = dh.to(h0.dtype), dg.to(h0.dtype), dc, dd
        return *(None, None, None, None), *of_inputs, *states, *weights


def _arguments(released: bool, given: tuple[Tensor, ...]) -> tuple[SequenceInputs, HyperState, Weights]:
    """Return the tensors of :class:`_Sequence` in groups."""
    first, second = len(SequenceInputs._fields), len(SequenceInputs._fields) + len(HyperState._fields)
    return (
        SequenceInputs(*given[:first]),
        HyperState(*given[first:second]),
        Weights(released, *given[second:]),
    )


def _statistics(rows: int, released: bool) -> dict[str, tuple[int, ...]]:
    """Return the sizes of the means and reciprocal standard deviations of the norms."""
    main = (rows, 1) if released else (rows, GATES, 1)
    sizes = {"hyper": (rows, GATES, 1), "d": (rows, 1), "main": main, "c": (rows, 1)}
    return {f"{name}_{which}": size for name, size in sizes.items() for which in ("mean", "rstd")}


def _weight_gradients(ctx: Any, w: Weights, h0: Tensor, g0: Tensor, grads: dict[str, Tensor]) -> list[Tensor]:
    """Return the gradients of all weights, each by one product over all packed rows."""
    saved, dtype = ctx.saved, h0.dtype
    product, d_small = grads["product"], grads["small"]
    d_recurrent = product.t() @ saved["h_before"]
    d_hyper = product[:, : GATES * g0.shape[1]].t() @ saved["g_before"]
    d_embed = d_small.t() @ saved["code"]
    norms = ctx.kernels.gradients_of_norms(w, saved, grads)
    return [
        d_recurrent.to(dtype),
        d_hyper.to(dtype),
        norms.hyper_gain,
        norms.hyper_shift,
        norms.code_gain,
        norms.code_shift,
        d_embed.to(dtype),
        d_small.sum(0, dtype=dtype),
        grads["expand"],
        norms.bias,
        norms.main_gain,
        norms.main_shift,
        norms.cell_gain,
        norms.cell_shift,
    ]
