"""The log-density of the Gaussian mixture with its gradient in C++, for a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from sketchembed.raster.native import call_native, has_native

SOURCE = Path(__file__).with_name("mixture.cpp")


def is_compiled(logits: Tensor, *others: Tensor) -> bool:
    """Return whether there is a function for these tensors: all of one type, and of the same batch."""
    alike = all((each.dtype, each.device) == (logits.dtype, logits.device) for each in others)
    same_batch = all(each.shape[: logits.ndim - 1] == logits.shape[:-1] for each in others)
    return alike and same_batch and has_native(SOURCE, logits, logits.dtype)


def log_prob(logits: Tensor, mean: Tensor, log_std: Tensor, correlation: Tensor, offset: Tensor) -> Tensor:
    """See :meth:`~sketchembed.networks.mixture.GaussianMixture.log_prob`; without gradient of the offset."""
    found = _LogDensity.apply(logits, mean, log_std, correlation, offset)  # type: ignore[no-untyped-call]
    return cast(Tensor, found)


class _LogDensity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:  # type: ignore[override]
        *raw, offset = (part.contiguous() for part in given)
        logits = raw[0]
        out = logits.new_empty(logits.shape[:-1])
        needed = any(ctx.needs_input_grad)
        grads = [torch.empty_like(part) if needed else None for part in raw]
        numbers = [out.numel(), logits.shape[-1], torch.get_num_threads()]
        tensors = [*raw, offset, out, *grads]
        call_native(SOURCE, "log_density", logits, logits.dtype, numbers, tensors)
        if needed:
            ctx.save_for_backward(*grads)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (grad,) = grads
        found = (part * grad[(..., *[None] * (part.ndim - grad.ndim))] for part in ctx.saved_tensors)
        return *found, None
