"""Batch norm whose result does not depend on the number of processes that share a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.nn import functional

from sketchembed.networks.precision import at_least_float32

BLOCK = 1 << 18  # values per partial sum on a CPU; a block of this size fits into the cache
REDUCED = (0, 1, 2)  # dimensions of a block that the statistics of a channel reduce: images, rows, columns


class BatchNorm2d(nn.BatchNorm2d):
    """PyTorch's batch norm, which in training can use the statistics of the batch of all processes.

    :class:`torch.nn.SyncBatchNorm` does not run on CPUs. This class differs from PyTorch's only if `shared`
    is set, and in float32 on a CPU. There PyTorch adds the values of channels-last maps one by one, and the
    mean and variance of a batch of drawings are wrong from the fourth digit on.

    Attributes:
        shared: whether the processes share one batch. All processes must then compute each training batch
            at the same time, because they wait for each other here.
    """

    shared: bool = False

    def forward(self, input: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Return the normalised feature maps."""
        exact = input.dtype == torch.float32 and input.device.type == "cpu"
        if not self.training or not (self.shared or exact) or self.running_mean is None:
            return super().forward(input)
        out, mean, variance, count = _Normalise.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, self.eps, self.shared
        )
        self.track(mean, variance, count)
        return out  # type: ignore[no-any-return]

    def track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Update the running averages with the statistics of a batch."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            # Like PyTorch, the running variance is the unbiased estimate.
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked.add_(1)


class _Normalise(torch.autograd.Function):
    """Normalise by statistics that are combined from blocks and, if shared, from processes."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, eps: float, shared: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found = []
        for (block,) in _blocks(maps):
            values = at_least_float32(block)
            mean = values.mean(REDUCED)
            centred = values - mean
            count = torch.full_like(mean, block[..., 0].numel())
            found.append(torch.stack([count, mean, (centred * centred).mean(REDUCED)]))
        counts, means, variances = _gather_blocks(torch.stack(found, dim=1).double(), shared)
        # Chan et al. 1979: the variances within the blocks plus the variance of their means. No large
        # numbers cancel.
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
        for block, grad_block in _blocks(maps, grads[0]):
            grad = at_least_float32(grad_block)
            found.append(torch.stack([grad.sum(REDUCED), (grad * (block - mean)).sum(REDUCED) * rate]))
        own = torch.stack(found).double().sum(0)
        # Mean and variance depend on the rows of all processes, so this part of the gradient does too.
        total = own.clone()
        if ctx.shared:
            distributed.all_reduce(total)
        by_mean, by_variance = (total / count).to(weight.dtype)
        grad_maps = torch.empty_like(maps)
        for block, grad_block, out in _blocks(maps, grads[0], grad_maps):
            effect = (block - mean).mul_(by_variance * rate).add_(by_mean)
            out.copy_((grad_block - effect).mul_(weight * rate))
        grad_bias, grad_weight = own.to(weight.dtype)
        return grad_maps, grad_weight, grad_bias, None, None


def _blocks(*maps: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield views of a block of images of each tensor, ``[images, h, w, channels]``, block by block."""
    images, channels, height, width = maps[0].shape
    size = max(1, BLOCK // (channels * height * width)) if maps[0].device.type == "cpu" else images
    yield from zip(*(torch.split(each.permute(0, 2, 3, 1), size) for each in maps), strict=True)


def _gather_blocks(own: Tensor, shared: bool) -> Tensor:
    """Return the blocks of all processes, ``[3, blocks, channels]``. All have the same number of blocks."""
    if not shared:
        return own
    gathered = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, own.contiguous())
    return torch.cat(gathered, dim=1)
