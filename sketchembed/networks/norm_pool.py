"""Batch norm, ReLU and max pooling in one pass over the maps of a CNN in training, on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn

from sketchembed.networks.batch_norm import BatchNorm2d
from sketchembed.raster.native import call_native, has_native

SOURCE = Path(__file__).with_suffix(".cpp")


def run_layers(layers: nn.Sequential, maps: Float[Tensor, "batch channels h w"]) -> Tensor:
    """Run layers in order; batch norm, ReLU and 2 × 2 max pooling together where that is possible."""
    remaining = list(layers)
    while remaining:
        norm, relu, pool = [*remaining, None, None][:3]
        if isinstance(norm, BatchNorm2d) and isinstance(relu, nn.ReLU) and _can_fuse(norm, maps):
            pooled = isinstance(pool, nn.MaxPool2d) and pool.kernel_size == 2 and not pool.ceil_mode
            maps = norm_relu_pool(norm, maps, pooled)
            del remaining[: 2 + pooled]
        else:
            maps = remaining.pop(0)(maps)
    return maps


def norm_relu_pool(norm: BatchNorm2d, maps: Float[Tensor, "batch channels h w"], pool: bool) -> Tensor:
    """Return batch norm and ReLU of maps, with the statistics of the batch, and their 2 × 2 max pooling."""
    out, mean, variance, count = _NormReluPool.apply(  # type: ignore[no-untyped-call]
        maps, norm.weight, norm.bias, norm.eps, pool, norm.shared
    )
    norm.track(mean, variance, count)
    return cast(Tensor, out)


def _can_fuse(norm: BatchNorm2d, maps: Tensor) -> bool:
    return (
        norm.training
        and maps.numel() > 0
        and norm.running_mean is not None
        and maps.device == norm.weight.device
        and maps.is_contiguous(memory_format=torch.channels_last)
        and has_native(SOURCE, norm.weight, maps.dtype)
    )


class _NormReluPool(torch.autograd.Function):
    """The four functions of norm_pool.cpp, with statistics that the processes share if `shared`."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, eps: float, pool: bool, shared: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        images, channels, height, width = maps.shape
        parts = torch.get_num_threads()
        sums = maps.new_empty(parts, 2, channels, dtype=torch.float64)
        positions = images * height * width
        scratch = weight.new_empty(parts, 2, channels)
        call_native(SOURCE, "sums", weight, maps.dtype, [positions, channels, parts], [maps, sums, scratch])
        total, squares = sums.sum(0)
        first = maps[0, :, 0, 0].double()
        found = torch.stack([torch.full_like(total, positions), total, squares, first])
        count, mean, variance = _combined(found, shared)
        mean, variance = mean.to(weight.dtype), variance.to(weight.dtype)
        scale = weight * torch.rsqrt(variance + eps)
        size = (height // 2, width // 2) if pool else (height, width)
        out = torch.empty(images, channels, *size, dtype=maps.dtype, memory_format=torch.channels_last)
        at_maximum = torch.empty_like(out) if pool else None
        places = torch.empty_like(out, dtype=torch.uint8) if pool else None
        numbers = [images, height, width, channels, parts, pool]
        call_native(
            SOURCE, "forward", weight, maps.dtype, numbers, [maps, mean, scale, bias, out, at_maximum, places]
        )
        ctx.numbers, ctx.eps, ctx.shared = numbers, eps, shared
        ctx.save_for_backward(maps, weight, bias, mean, variance, count, scale, at_maximum, places)
        statistics = mean, variance, count.to(weight.dtype)
        ctx.mark_non_differentiable(*statistics)
        return out, *statistics

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        maps, weight, bias, mean, variance, count, scale, at_maximum, places = ctx.saved_tensors
        *_, channels, parts, pool = ctx.numbers
        grad = grads[0].to(maps.dtype).contiguous(memory_format=torch.channels_last)
        sums = maps.new_empty(parts, 2, channels, dtype=torch.float64)
        scratch = weight.new_empty(parts, 2, channels)
        positions = grad.numel() // channels
        values = maps if at_maximum is None else at_maximum
        tensors = [grad, values, places, mean, scale, bias, sums, scratch]
        call_native(SOURCE, "backward_sums", weight, maps.dtype, [positions, channels, parts, pool], tensors)
        own = sums.sum(0)
        # Mean and variance depend on the rows of all processes, so this part of the gradient does too.
        everything = own.clone()
        if ctx.shared:
            distributed.all_reduce(everything)
        rate = torch.rsqrt(variance + ctx.eps)
        level, slope = (everything / count).to(weight.dtype)
        slope = slope * rate * rate
        out = torch.empty_like(maps)
        tensors = [grad, maps, places, mean, scale, bias, level, slope, out]
        call_native(SOURCE, "backward", weight, maps.dtype, ctx.numbers, tensors)
        grad_bias, along = own.to(weight.dtype)
        return out, along * rate, grad_bias, None, None, None


def _combined(own: Float[Tensor, "4 channels"], shared: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return count, mean and variance from the counts, sums, sums of squares and offsets of all processes."""
    gathered = [own]
    if shared:
        gathered = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(gathered, own.contiguous())
    counts, sums, squares, firsts = torch.stack(gathered, dim=1)
    means = firsts + sums / counts
    variances = (squares / counts - (sums / counts) ** 2).clamp_min(0)
    count = counts.sum(0)
    mean = (counts * means).sum(0) / count
    # Chan et al. 1979: the variances within the processes plus the variance of their means.
    return count, mean, (counts * (variances + (means - mean) ** 2)).sum(0) / count
