"""Batch norm that does not depend on how many processes share the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.nn import functional

BLOCK = 1 << 18
"""Values that are summed up at a time on a CPU: as many as its cache holds."""
PLACES = (0, 1, 2)
"""Dimensions of a block that a channel's statistics are taken over: images, rows, columns."""


class BatchNorm2d(nn.BatchNorm2d):
    """PyTorch's batch norm, which in training can take its statistics from the batch of all processes.

    :class:`torch.nn.SyncBatchNorm` does that too, but not on a CPU. State and names are those of
    :class:`torch.nn.BatchNorm2d`, which this one is except

    - where `shared` is set, and
    - in float32 on a CPU, where PyTorch adds up a channel of channels-last maps value by value: of a batch of
      drawings the mean and variance are then wrong from the fourth digit on, and so is what is learnt.

    Attributes:
        shared: whether the processes share one batch. To be set only where all of them compute each training
            batch together, since they wait for each other here.
    """

    shared: bool = False

    def forward(self, input: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Return the maps with each channel's mean and variance taken out, then scaled and moved."""
        exact = input.dtype == torch.float32 and input.device.type == "cpu"
        if not self.training or not (self.shared or exact) or self.running_mean is None:
            return super().forward(input)
        assert self.running_var is not None
        assert self.momentum is not None
        assert self.num_batches_tracked is not None
        out, mean, variance, count = _Normalise.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, self.eps, self.shared
        )
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            # The running variance is the unbiased estimate, as PyTorch's.
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        return out  # type: ignore[no-any-return]


class _Normalise(torch.autograd.Function):
    """Normalisation by statistics that are put together from blocks and, if shared, from processes."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, eps: float, shared: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found = []
        for (block,) in _blocks(maps):
            values = _wide(block)
            mean = values.mean(PLACES)
            apart = values - mean
            count = torch.full_like(mean, block[..., 0].numel())
            found.append(torch.stack([count, mean, (apart * apart).mean(PLACES)]))
        counts, means, variances = _of_all(torch.stack(found, dim=1).double(), shared)
        # Chan et al. 1979: variances within the blocks, and of the blocks' means. Nothing large cancels.
        count = counts.sum(0)
        mean = (counts * means).sum(0) / count
        variance = (counts * (variances + (means - mean) ** 2)).sum(0) / count
        mean, variance = mean.to(weight.dtype), variance.to(weight.dtype)
        ctx.eps, ctx.shared = eps, shared
        ctx.save_for_backward(maps, weight, mean, variance, count)
        out = functional.batch_norm(maps, mean, variance, weight, bias, training=False, eps=eps)
        statistics = mean, variance, count.to(weight.dtype)
        ctx.mark_non_differentiable(*statistics)
        return out, *statistics

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        maps, weight, mean, variance, count = ctx.saved_tensors
        rate = torch.rsqrt(variance + ctx.eps)
        found = []
        for block, given in _blocks(maps, grads[0]):
            grad = _wide(given)
            found.append(torch.stack([grad.sum(PLACES), (grad * (block - mean)).sum(PLACES) * rate]))
        own = torch.stack(found).double().sum(0)
        # What a value does through mean and variance, it does to the rows of all processes.
        total = own.clone()
        if ctx.shared:
            distributed.all_reduce(total)
        by_mean, by_variance = (total / count).to(weight.dtype)
        grad_maps = torch.empty_like(maps)
        for block, given, out in _blocks(maps, grads[0], grad_maps):
            effect = (block - mean).mul_(by_variance * rate).add_(by_mean)
            out.copy_((given - effect).mul_(weight * rate))
        grad_bias, grad_weight = own.to(weight.dtype)
        return grad_maps, grad_weight, grad_bias, None, None


def _blocks(*maps: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield views of the same images of each, ``[images, h, w, channels]``, block by block."""
    images, channels, height, width = maps[0].shape
    size = max(1, BLOCK // (channels * height * width)) if maps[0].device.type == "cpu" else images
    yield from zip(*(torch.split(each.permute(0, 2, 3, 1), size) for each in maps), strict=True)


def _wide(block: Tensor) -> Tensor:
    return block if block.dtype == torch.float64 else block.float()


def _of_all(own: Tensor, shared: bool) -> Tensor:
    """Return the blocks of all processes, ``[3, blocks, channels]``; each has as many."""
    if not shared:
        return own
    every = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, own.contiguous())
    return torch.cat(every, dim=1)
