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

from sketchembed.networks.hyperlstm import pointwise
from sketchembed.networks.hyperlstm.cell import GATES, MAPS, HyperLSTMCell, HyperState
from sketchembed.networks.hyperlstm.pointwise import Step, Weights, weights_of
from sketchembed.raster.kernels import triton_module


def run_sequence(
    cell: HyperLSTMCell,
    hyper_x: Float[Tensor, "rows four_hyper"],
    main_x: Float[Tensor, "rows four_hidden"],
    state: HyperState,
    counts: list[int],
) -> tuple[Float[Tensor, "rows hidden"], HyperState]:
    """Run the cell over packed sequences; return h of all steps and the last state of each sequence.

    `hyper_x` and `main_x` are packed input terms, see :meth:`HyperLSTMCell.project`. `state` is the state
    before the first step in the order of the packing. `counts` are the numbers of sequences in the steps.
    """
    dtype = torch.get_autocast_dtype(hyper_x.device.type)
    low = dtype if torch.is_autocast_enabled(hyper_x.device.type) else hyper_x.dtype
    kernels = triton_module("sketchembed.networks.hyperlstm.hyperlstm_triton", hyper_x) or pointwise
    with torch.autocast(hyper_x.device.type, enabled=False):
        released, *weights = weights_of(cell)
        h, *last = _Sequence.apply(  # type: ignore[no-untyped-call]
            kernels, released, counts, low, hyper_x, main_x, *state, *weights
        )
    return h, HyperState(*last)


def _padded(rows: Tensor) -> Tensor:
    """Append rows of zeros up to a multiple of 512, as 16-bit kernels on a CPU are compiled for each size."""
    missing = -len(rows) % 512
    return functional.pad(rows, (0, 0, 0, missing)) if missing else rows


def _steps(packed: dict[str, Tensor], counts: list[int]) -> list[Step]:
    """Return the rows of each step of packed arrays. Those of the maps are ``[12, n, hidden]``."""
    parts = {name: torch.split(value, counts) for name, value in packed.items()}
    if "maps" in parts:
        parts["maps"] = tuple(part.view(MAPS, len(part), -1) for part in parts["maps"])
    return [{name: values[step] for name, values in parts.items()} for step in range(len(counts))]


class _Sequence(torch.autograd.Function):
    """The loop over the steps, forward and backward."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        kernels: ModuleType,
        released: bool,
        counts: list[int],
        low: torch.dtype,
        hyper_x: Tensor,
        main_x: Tensor,
        *rest: Tensor,
    ) -> tuple[Tensor, ...]:
        h, g, c, d = start = rest[:4]
        w = Weights(released, *rest[4:])
        rows, hidden, hyper = len(hyper_x), h.shape[1], g.shape[1]
        sizes = {
            "hyper_pre": (rows, GATES, hyper), "hyper_gates": (rows, GATES, hyper), "d": (rows, hyper),
            "tanh_d": (rows, hyper), "g": (rows, hyper), "small": (rows, len(w.embed)),
            "maps": (rows, MAPS, hidden), "main_h": (rows, GATES, hidden), "pre": (rows, GATES, hidden),
            "gates": (rows, GATES, hidden), "c": (rows, hidden), "tanh_c": (rows, hidden),
            "h": (rows, hidden),
        } | _statistics(rows, released)  # fmt: skip
        saved = {name: hyper_x.new_empty(size) for name, size in sizes.items()}
        x_hyper, x_main = torch.split(hyper_x, counts), torch.split(main_x.view(rows, GATES, hidden), counts)
        w_h, w_g, expand = w.recurrent.to(low), w.hyper_recurrent.to(low), w.expand.to(low)
        finals = [torch.empty_like(value) for value in start]
        for step, (n, now) in enumerate(zip(counts, _steps(saved, counts), strict=True)):
            h, g, c, d = h[:n], g[:n], c[:n], d[:n]
            product = functional.linear(h.to(low), w_h)
            recurrent = functional.linear(g.to(low), w_g)
            kernels.hyper_forward(w, now, x_hyper[step], product[:, : GATES * hyper], recurrent, d)
            d, g = now["d"], now["g"]
            small = torch.addmm(w.embed_bias, d if released else g, w.embed.t(), out=now["small"])
            now["maps"].copy_(torch.bmm(small.to(low).view(n, MAPS, -1).transpose(0, 1), expand))
            kernels.main_forward(w, now, x_main[step], product[:, GATES * hyper :], c)
            c, h = now["c"], now["h"]
            ongoing = counts[step + 1] if step + 1 < len(counts) else 0
            for final, value in zip(finals, (h, g, c, d), strict=True):
                final[ongoing:n] = value[ongoing:]
        ctx.kernels, ctx.released, ctx.counts, ctx.low = kernels, released, counts, low
        ctx.saved = saved
        ctx.save_for_backward(main_x, *rest)
        ctx.mark_non_differentiable(*finals)
        # Detached: ctx.saved would otherwise hold the output, the output its graph, and the graph ctx.
        return saved["h"].detach(), *finals

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        main_x, *rest = ctx.saved_tensors
        h0, g0, c0, d0 = rest[:4]
        w = Weights(ctx.released, *rest[4:])
        counts, kernels = ctx.counts, ctx.kernels
        rows, hidden, hyper = len(grad_out), h0.shape[1], g0.shape[1]
        # Packed gradients of the operands of products and norms. Those of the weights follow from them.
        sizes = {
            "product": (rows, GATES * (hyper + hidden)), "hyper_norm": (rows, GATES, hyper),
            "d_norm": (rows, hyper), "small": (rows, len(w.embed)), "hyper_x": (rows, GATES * hyper),
            "main_x": (rows, GATES, hidden), "pre": (rows, GATES, hidden),
            "main_norm": (rows, GATES, hidden), "c_norm": (rows, hidden),
        }  # fmt: skip
        packed = {
            name: grad_out.new_empty(size, dtype=ctx.low if name == "product" else None)
            for name, size in sizes.items()
        }
        saved_steps, grad_steps = _steps(ctx.saved, counts), _steps(packed, counts)
        x_main = torch.split(main_x.view(rows, GATES, hidden), counts)
        out = torch.split(grad_out.contiguous(), counts)
        dh, dg, dc, dd = (torch.zeros_like(value) for value in (h0, g0, c0, d0))
        expand_t = w.expand.to(ctx.low).transpose(1, 2)
        # Transposed once here instead of in every step.
        from_h, from_g = (part.to(ctx.low).t().contiguous() for part in (w.recurrent, w.hyper_recurrent))
        for step in range(len(counts) - 1, -1, -1):
            n, now, grad = counts[step], saved_steps[step], grad_steps[step]
            last = saved_steps[step - 1] if step else {"c": c0, "d": d0}
            d_maps = kernels.main_backward(
                w, now, grad, x_main[step], out[step], dh[:n], last["c"][:n], dc[:n]
            )
            grad["small"].view(n, MAPS, -1).copy_(torch.bmm(d_maps.to(ctx.low), expand_t).transpose(0, 1))
            d_code = grad["small"] @ w.embed
            kernels.hyper_backward(w, now, grad, dg[:n], d_code, last["d"][:n], dd[:n])
            dg[:n] = functional.linear(grad["product"][:, : GATES * hyper], from_g)
            dh[:n] = functional.linear(grad["product"], from_h)

        weights = _weight_gradients(ctx, main_x, h0, g0, packed)
        return (
            *(None, None, None, None),
            packed["hyper_x"],
            packed["main_x"].view(rows, -1),
            *(dh, dg, dc, dd),
            *weights,
        )


def _statistics(rows: int, released: bool) -> dict[str, tuple[int, ...]]:
    """Return the sizes of the means and reciprocal standard deviations of the norms."""
    main = (rows, 1) if released else (rows, GATES, 1)
    sizes = {"hyper": (rows, GATES, 1), "d": (rows, 1), "main": main, "c": (rows, 1)}
    return {f"{name}_{which}": size for name, size in sizes.items() for which in ("mean", "rstd")}


def _weight_gradients(
    ctx: Any, main_x: Tensor, h0: Tensor, g0: Tensor, grads: dict[str, Tensor]
) -> list[Tensor]:
    """Return the gradients of all weights, each by one product over all packed rows."""
    saved, low, counts = ctx.saved, ctx.low, ctx.counts
    rows, dtype, hidden = len(main_x), main_x.dtype, h0.shape[1]

    def before(name: str, first: Tensor) -> Tensor:
        """Return the packed values of the previous step, starting with the initial ones."""
        parts = torch.split(saved[name], counts)
        return torch.cat(
            [first[: counts[0]], *(part[:n] for part, n in zip(parts, counts[1:], strict=False))]
        )

    def norm(grad: Tensor, values: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """Return the gradients of the gain and shift of a norm."""
        mean, rstd = saved[f"{name}_mean"], saved[f"{name}_rstd"]
        return (values - mean).mul_(rstd).mul_(grad).sum(0), grad.sum(0)

    product = _padded(grads["product"])
    d_recurrent = product.t() @ _padded(before("h", h0).to(low))
    d_hyper = product[:, : GATES * g0.shape[1]].t() @ _padded(before("g", g0).to(low))
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
        d_hyper.to(dtype),
        *norm(grads["hyper_norm"], saved["hyper_pre"], "hyper"),
        *norm(grads["d_norm"], saved["d"], "d"),
        grads["small"].t() @ saved["d" if ctx.released else "g"],
        grads["small"].sum(0),
        torch.cat(d_expand),
        grads["pre"].sum(0),
        *(value.view(GATES, hidden) for value in norm(main_norm, main_pre, "main")),
        *norm(grads["c_norm"], saved["c"], "c"),
    ]
