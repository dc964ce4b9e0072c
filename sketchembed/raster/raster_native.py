"""The squared distance of pixels to segments in C++, for a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from sketchembed.raster.native import call_native, has_native

SOURCE = Path(__file__).with_name("raster.cpp")


def is_compiled(like: Tensor) -> bool:
    """Return whether there are functions for the device and type of `like`."""
    return has_native(SOURCE, like, like.dtype)


def squared_distance(
    start: Tensor, end: Tensor, drawn: Tensor, size: int, pixel_offset: float | int, reach: float | int
) -> Tensor:
    """See :func:`~sketchembed.raster.rasterize.squared_distance`."""
    settings = torch.tensor([reach, pixel_offset], dtype=torch.float64)
    found = _SquaredDistance.apply(start, end, drawn, size, settings)  # type: ignore[no-untyped-call]
    return cast(Tensor, found)


class _SquaredDistance(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, start: Tensor, end: Tensor, drawn: Tensor, size: int, settings: Tensor
    ) -> Tensor:
        start, end, drawn = start.contiguous(), end.to(start).contiguous(), drawn.bool().contiguous()
        distance = start.new_empty(len(start), size, size)
        which = torch.empty_like(distance, dtype=torch.int32)
        _call("nearest", [*drawn.shape, size], settings, start, end, drawn, distance, which)
        ctx.save_for_backward(settings, start, end, which)
        return distance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        settings, start, end, which = ctx.saved_tensors
        d_start, d_end = torch.zeros_like(start), torch.zeros_like(end)
        numbers = [*start.shape[:2], which.shape[1]]
        _call("nearest_backward", numbers, settings, start, end, which, grads[0].contiguous(), d_start, d_end)
        return d_start, d_end, None, None, None


def _call(name: str, numbers: list[int], settings: Tensor, start: Tensor, *tensors: Tensor) -> None:
    numbers = [*numbers, torch.get_num_threads()]
    call_native(SOURCE, name, start, start.dtype, numbers, [settings, start, *tensors])
