"""The HyperLSTM over whole sequences: the same cell, several times as fast.

What :class:`~sketchembed.networks.hyperlstm.HyperLSTMCell` says step by step is done here with one
recurrent product a step for h, a hand-written backward pass without the autograd graph of each step, and
the gradients of all weights in one product each after the loop. Drawings that have ended take no further
part: rows are *packed*, all drawings' first steps, then the second steps of those that have one, and so on,
the longest drawing first.

Products are in bfloat16 under autocast; norms, gates and states are in float32 (float64 in float64).
Symbols as in hyperlstm.py: h and c the main output and cell state, g and d those of the hyper-network.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sketchembed.networks.hyperlstm import FORGET_BIAS, GATES, KERAS_EPS, MAPS, HyperLSTMCell, HyperState

_norm = torch.ops.aten.native_layer_norm.default
_norm_backward = torch.ops.aten.native_layer_norm_backward.default


def run_sequence(
    cell: HyperLSTMCell,
    hyper_x: Float[Tensor, "rows four_hyper"],
    main_x: Float[Tensor, "rows four_hidden"],
    state: HyperState,
    counts: list[int],
) -> tuple[Float[Tensor, "rows hidden"], HyperState]:
    """Run the cell over packed sequences.

    Args:
        cell: whose weights and variant are used.
        hyper_x: what the inputs contribute to the hyper gates (:meth:`HyperLSTMCell.project`), packed.
        main_x: the same for the main gates.
        state: before the first step, ``[batch, ...]``, in the order of the packing.
        counts: drawings that take part in each step, not increasing; their sum is the number of rows.

    Returns:
        h of every step, packed, and the state of each drawing after its last step.
    """
    dtype = torch.get_autocast_dtype(hyper_x.device.type)
    low = dtype if torch.is_autocast_enabled(hyper_x.device.type) else hyper_x.dtype
    with torch.autocast(hyper_x.device.type, enabled=False):
        h, *last = _Sequence.apply(  # type: ignore[no-untyped-call]
            cell.variant, counts, low, hyper_x, main_x, *state, *_weights(cell)
        )
    return h, HyperState(*last)


def _weights(cell: HyperLSTMCell) -> list[Tensor]:
    """Return the cell's weights in the form that the loop wants; autograd undoes it.

    tanh x = 2 σ(2x) - 1, and a CPU's σ is several times as fast as its tanh; the factor 2 goes into the gain
    and shift of what precedes it, as does the forget gate's bias.
    """
    factor = cell.main_bias.new_tensor([1.0, 2.0, 1.0, 1.0])[:, None]
    forget = cell.main_bias.new_tensor([0.0, 0.0, FORGET_BIAS, 0.0])[:, None]
    code_norm = cell.hyper_cell_norm
    code_gain, code_shift = (
        (cell.hyper_norm.weight[0], cell.hyper_norm.bias[0])
        if code_norm is None
        else (code_norm.weight, code_norm.bias)
    )
    return [
        torch.cat([cell.hyper_from_main.weight, cell.main_recurrent.weight]),
        cell.hyper_recurrent.weight,
        cell.hyper_norm.weight * factor,
        cell.hyper_norm.bias * factor + forget,
        2 * code_gain,
        2 * code_shift,
        cell.embed.weight,
        torch.cat([cell.embed_bias, cell.embed_bias.new_zeros(GATES * cell.embedding)]),
        cell.expand,
        cell.main_bias.view(GATES, -1),
        cast(Tensor, cell.main_norm.weight).view(GATES, -1) * factor,
        cast(Tensor, cell.main_norm.bias).view(GATES, -1) * factor + forget,
        2 * cell.cell_norm.weight,
        2 * cell.cell_norm.bias,
    ]


def _padded(rows: Tensor) -> Tensor:
    """Append rows of zeros up to a multiple of 512.

    The number of packed rows differs from batch to batch, and a CPU's 16-bit kernels are compiled anew for
    every size that they meet.
    """
    missing = -len(rows) % 512
    return functional.pad(rows, (0, 0, 0, missing)) if missing else rows


class _Sequence(torch.autograd.Function):
    """The loop over the steps, and its way back."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        variant: str,
        counts: list[int],
        low: torch.dtype,
        hyper_x: Tensor,
        main_x: Tensor,
        *rest: Tensor,
    ) -> tuple[Tensor, ...]:
        h, g, c, d = start = rest[:4]
        (recurrent, hyper_recurrent, hyper_gain, hyper_shift, code_gain, code_shift, embed, embed_bias,
         expand, bias, main_gain, main_shift, cell_gain, cell_shift) = rest[4:]  # fmt: skip
        released = variant == "released"
        rows, hidden, hyper = len(hyper_x), h.shape[1], g.shape[1]
        main_shape = [GATES * hidden] if released else [hidden]
        sizes = {
            "hyper_pre": (rows, GATES, hyper), "hyper_gates": (rows, GATES, hyper), "d": (rows, hyper),
            "tanh_d": (rows, hyper), "g": (rows, hyper), "small": (rows, len(embed)),
            "maps": (rows, MAPS, hidden), "main_h": (rows, GATES, hidden), "pre": (rows, GATES, hidden),
            "gates": (rows, GATES, hidden), "c": (rows, hidden), "tanh_c": (rows, hidden),
            "h": (rows, hidden),
        }  # fmt: skip
        saved = {name: hyper_x.new_empty(size) for name, size in sizes.items()}
        steps = {name: torch.split(value, counts) for name, value in saved.items()}
        x_hyper, x_main = torch.split(hyper_x, counts), torch.split(main_x.view(rows, GATES, hidden), counts)
        w_h = recurrent.to(low)
        stats: list[tuple[Tensor, ...]] = []
        finals = [torch.empty_like(value) for value in start]
        for step, n in enumerate(counts):
            now = {name: values[step] for name, values in steps.items()}
            h, g, c, d = h[:n], g[:n], c[:n], d[:n]
            product = functional.linear(h.to(low), w_h)

            pre = torch.add(x_hyper[step], product[:, : GATES * hyper], out=now["hyper_pre"].view(n, -1))
            pre = pre.addmm_(g, hyper_recurrent.t()).view(n, GATES, hyper)
            normal, hyper_mean, hyper_rstd = _norm(pre, [hyper], None, None, KERAS_EPS)
            gates = torch.sigmoid(torch.addcmul(hyper_shift, normal, hyper_gain), out=now["hyper_gates"])
            i, j, f, o = gates.unbind(1)
            d = torch.addcmul(_tanh_of(j).mul_(i), d, f, out=now["d"])
            normal, d_mean, d_rstd = _norm(d, [hyper], code_gain, code_shift, KERAS_EPS)
            tanh = _tanh_of(normal.sigmoid_(), out=now["tanh_d"])
            g = torch.add(tanh, o, out=now["g"]) if released else torch.mul(tanh, o, out=now["g"])

            small = torch.addmm(embed_bias, d if released else g, embed.t(), out=now["small"])
            maps = now["maps"]
            maps.copy_(torch.bmm(small.view(n, MAPS, -1).transpose(0, 1), expand).transpose(0, 1))
            main_h = now["main_h"]
            main_h.view(n, -1).copy_(product[:, GATES * hyper :])
            pre = torch.addcmul(bias, maps[:, :GATES], x_main[step], out=now["pre"])
            pre.addcmul_(maps[:, GATES : 2 * GATES], main_h).add_(maps[:, 2 * GATES :])
            if released:
                normal, main_mean, main_rstd = _norm(
                    pre.view(n, -1), main_shape, main_gain.view(-1), main_shift.view(-1), KERAS_EPS
                )
            else:
                normal, main_mean, main_rstd = _norm(pre, main_shape, None, None, KERAS_EPS)
                normal = torch.addcmul(main_shift, normal, main_gain)
            gates = torch.sigmoid(normal.view(n, GATES, hidden), out=now["gates"])
            i, j, f, o = gates.unbind(1)
            c = torch.addcmul(_tanh_of(j).mul_(i), c, f, out=now["c"])
            normal, c_mean, c_rstd = _norm(c, [hidden], cell_gain, cell_shift, KERAS_EPS)
            tanh = _tanh_of(normal.sigmoid_(), out=now["tanh_c"])
            h = torch.mul(tanh, o, out=now["h"])

            stats.append((hyper_mean, hyper_rstd, d_mean, d_rstd, main_mean, main_rstd, c_mean, c_rstd))
            ongoing = counts[step + 1] if step + 1 < len(counts) else 0
            for final, value in zip(finals, (h, g, c, d), strict=True):
                final[ongoing:n] = value[ongoing:]
        ctx.released, ctx.counts, ctx.low, ctx.stats, ctx.main_shape = (
            released,
            counts,
            low,
            stats,
            main_shape,
        )
        ctx.saved, ctx.w_h = saved, w_h
        ctx.save_for_backward(main_x, *rest)
        ctx.mark_non_differentiable(*finals)
        # Another tensor of the same memory: the output itself would hold its own graph, and never go.
        return saved["h"].detach(), *finals

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        main_x, *rest = ctx.saved_tensors
        h0, g0, c0, d0 = rest[:4]
        (_, hyper_recurrent, hyper_gain, _, code_gain, code_shift, embed, _, expand, _, main_gain, main_shift,
         cell_gain, cell_shift) = rest[4:]  # fmt: skip
        counts, low, released = ctx.counts, ctx.low, ctx.released
        rows, hidden, hyper = len(grad_out), h0.shape[1], g0.shape[1]
        steps = {name: torch.split(value, counts) for name, value in ctx.saved.items()}
        x_main, out_steps = (
            torch.split(main_x.view(rows, GATES, hidden), counts),
            torch.split(grad_out, counts),
        )
        # Gradients of what enters each product and norm, packed; those of the weights follow from them.
        sizes = {
            "product": (rows, GATES * (hyper + hidden)), "hyper_norm": (rows, GATES, hyper),
            "d_norm": (rows, hyper), "small": (rows, len(embed)),
            "main_x": (rows, GATES, hidden), "pre": (rows, GATES, hidden),
            "main_norm": (rows, GATES, hidden), "c_norm": (rows, hidden),
        }  # fmt: skip
        packed = {
            name: grad_out.new_empty(size, dtype=low if name == "product" else None)
            for name, size in sizes.items()
        }
        grads = {name: torch.split(value, counts) for name, value in packed.items()}
        hyper_x = grad_out.new_empty(rows, GATES * hyper)
        hyper_x_steps = torch.split(hyper_x, counts)
        dh, dg, dc, dd = (torch.zeros_like(value) for value in (h0, g0, c0, d0))
        only_input = [True, False, False]
        expand_t = expand.transpose(1, 2)
        for step in range(len(counts) - 1, -1, -1):
            n = counts[step]
            now = {name: values[step] for name, values in steps.items()}
            grad = {name: values[step] for name, values in grads.items()}
            c_before, d_before = (
                (steps["c"][step - 1][:n], steps["d"][step - 1][:n]) if step else (c0[:n], d0[:n])
            )
            hyper_mean, hyper_rstd, d_mean, d_rstd, main_mean, main_rstd, c_mean, c_rstd = ctx.stats[step]

            out = out_steps[step] + dh[:n]
            gates, tanh = now["gates"], now["tanh_c"]
            i, j, f, o = gates.unbind(1)
            d_gates = torch.empty_like(gates)
            torch.mul(out, tanh, out=d_gates[:, 3])
            _tanh_grad(out.mul_(o), tanh, out=grad["c_norm"])
            d_c = _norm_backward(
                grad["c_norm"], now["c"], [hidden], c_mean, c_rstd, cell_gain, cell_shift, only_input
            )[0].add_(dc[:n])
            torch.mul(d_c, _tanh_of(j), out=d_gates[:, 0])
            torch.mul(d_c, i, out=d_gates[:, 1]).mul_(2)
            torch.mul(d_c, c_before, out=d_gates[:, 2])
            torch.mul(d_c, f, out=dc[:n])
            d_gates = torch.ops.aten.sigmoid_backward.grad_input(d_gates, gates, grad_input=grad["main_norm"])
            if released:
                gain, shift = main_gain.view(-1), main_shift.view(-1)
                d_pre = _norm_backward(
                    d_gates.view(n, -1),
                    now["pre"].view(n, -1),
                    ctx.main_shape,
                    main_mean,
                    main_rstd,
                    gain,
                    shift,
                    only_input,
                )[0]
            else:
                d_pre = _norm_backward(
                    d_gates * main_gain,
                    now["pre"],
                    ctx.main_shape,
                    main_mean,
                    main_rstd,
                    None,
                    None,
                    only_input,
                )[0]
            d_pre = grad["pre"].copy_(d_pre.view(n, GATES, hidden))

            maps = now["maps"]
            torch.mul(d_pre, maps[:, :GATES], out=grad["main_x"])
            d_maps = d_pre.new_empty(n, MAPS, hidden)
            torch.mul(d_pre, x_main[step], out=d_maps[:, :GATES])
            torch.mul(d_pre, now["main_h"], out=d_maps[:, GATES : 2 * GATES])
            d_maps[:, 2 * GATES :] = d_pre
            grad["product"][:, GATES * hyper :].copy_(maps[:, GATES : 2 * GATES].mul(d_pre).view(n, -1))
            grad["small"].view(n, MAPS, -1).copy_(torch.bmm(d_maps.transpose(0, 1), expand_t).transpose(0, 1))
            d_code = grad["small"] @ embed

            gates, tanh, d_g = now["hyper_gates"], now["tanh_d"], dg[:n]
            i, j, f, o = gates.unbind(1)
            d_gates = torch.empty_like(gates)
            if released:
                d_gates[:, 3] = d_g
                _tanh_grad(d_g, tanh, out=grad["d_norm"])
            else:
                d_g = d_g + d_code
                torch.mul(d_g, tanh, out=d_gates[:, 3])
                _tanh_grad(d_g * o, tanh, out=grad["d_norm"])
            d_d = _norm_backward(
                grad["d_norm"], now["d"], [hyper], d_mean, d_rstd, code_gain, code_shift, only_input
            )[0].add_(dd[:n])
            if released:
                d_d += d_code
            torch.mul(d_d, _tanh_of(j), out=d_gates[:, 0])
            torch.mul(d_d, i, out=d_gates[:, 1]).mul_(2)
            torch.mul(d_d, d_before, out=d_gates[:, 2])
            torch.mul(d_d, f, out=dd[:n])
            d_gates = torch.ops.aten.sigmoid_backward.grad_input(
                d_gates, gates, grad_input=grad["hyper_norm"]
            )
            d_hyper = _norm_backward(
                d_gates * hyper_gain,
                now["hyper_pre"],
                [hyper],
                hyper_mean,
                hyper_rstd,
                None,
                None,
                only_input,
            )[0].view(n, -1)
            hyper_x_steps[step].copy_(d_hyper)
            grad["product"][:, : GATES * hyper] = d_hyper
            torch.mm(d_hyper, hyper_recurrent, out=dg[:n])
            dh[:n] = grad["product"] @ ctx.w_h

        weights = _weight_gradients(ctx, main_x, h0, g0, hyper_x, packed)
        return None, None, None, hyper_x, packed["main_x"].view(rows, -1), dh, dg, dc, dd, *weights


def _tanh_of(sigmoid: Tensor, out: Tensor | None = None) -> Tensor:
    """Return tanh x from σ(2x)."""
    return torch.mul(sigmoid, 2, out=out).sub_(1)


def _tanh_grad(grad: Tensor, tanh: Tensor, out: Tensor) -> None:
    """Write the gradient of x from that of y = tanh(x / 2), which is what the doubled gains leave."""
    torch.ops.aten.tanh_backward.grad_input(grad, tanh, grad_input=out)
    out.mul_(0.5)


def _weight_gradients(
    ctx: Any, main_x: Tensor, h0: Tensor, g0: Tensor, d_hyper_x: Tensor, grads: dict[str, Tensor]
) -> list[Tensor]:
    """Return the gradients of all weights, each from one product over all packed rows."""
    saved, low, counts = ctx.saved, ctx.low, ctx.counts
    rows, dtype = len(main_x), main_x.dtype
    hidden, _hyper = h0.shape[1], g0.shape[1]

    def before(name: str, first: Tensor) -> Tensor:
        """The packed values of the step before each row, the initial ones first."""
        parts = torch.split(saved[name], counts)
        return torch.cat(
            [first[: counts[0]], *(part[:n] for part, n in zip(parts, counts[1:], strict=False))]
        )

    def norm(grad: Tensor, values: Tensor, column: int) -> tuple[Tensor, Tensor]:
        """The gradients of a norm's gain and shift."""
        mean, rstd = (torch.cat([step[column + k] for step in ctx.stats]) for k in (0, 1))
        return (values - mean).mul_(rstd).mul_(grad).sum(0), grad.sum(0)

    d_recurrent = _padded(grads["product"]).t() @ _padded(before("h", h0).to(low))
    small = saved["small"].view(rows, MAPS, -1)
    d_expand = []
    for group, factor in enumerate((main_x.view(rows, GATES, hidden), saved["main_h"], None)):
        d_map = grads["pre"] if factor is None else grads["pre"] * factor
        part = small[:, GATES * group : GATES * (group + 1)]
        d_expand.append(torch.bmm(part.permute(1, 2, 0), d_map.transpose(0, 1)))
    main_norm, main_pre = grads["main_norm"], saved["pre"]
    if ctx.released:
        main_norm, main_pre = main_norm.view(rows, -1), main_pre.view(rows, -1)
    return [
        d_recurrent.to(dtype),
        d_hyper_x.t() @ before("g", g0),
        *norm(grads["hyper_norm"], saved["hyper_pre"], 0),
        *norm(grads["d_norm"], saved["d"], 2),
        grads["small"].t() @ saved["d" if ctx.released else "g"],
        grads["small"].sum(0),
        torch.cat(d_expand),
        grads["pre"].sum(0),
        *(value.view(GATES, hidden) for value in norm(main_norm, main_pre, 4)),
        *norm(grads["c_norm"], saved["c"], 6),
    ]
