"""Time functions in turn, so that a busy machine slows all of them equally."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from sketchembed.runs.process import has_fast_bfloat16

WARM_UPS = 2
"""Untimed calls before the timed ones: they compile kernels and fill caches."""


@dataclass(frozen=True)
class Timing:
    """The time that a function takes.

    Attributes:
        median: median over the calls, in milliseconds.
        low: first quartile, in milliseconds.
        high: third quartile, in milliseconds.
        calls: number of timed calls.
    """

    median: float
    low: float
    high: float
    calls: int

    @classmethod
    def of(cls, milliseconds: list[float]) -> Timing:
        """Summarise the times of single calls, in milliseconds."""
        if len(milliseconds) == 1:
            return cls(milliseconds[0], milliseconds[0], milliseconds[0], 1)
        low, median, high = statistics.quantiles(milliseconds, n=4, method="inclusive")
        return cls(median, low, high, len(milliseconds))


def time_together(
    functions: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, Timing]:
    """Time functions in turn, round after round.

    Args:
        functions: functions by name.
        rounds: timed calls of each.
        device: computes the functions; on CUDA, events measure the time.
    """
    for function in functions.values():
        for _ in range(WARM_UPS):
            function()
    clock = _cuda_milliseconds if device.type == "cuda" else _milliseconds
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(clock(function))
    return {name: Timing.of(values) for name, values in times.items()}


def _milliseconds(function: Callable[[], object]) -> float:
    begun = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - begun)


def _cuda_milliseconds(function: Callable[[], object]) -> float:
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    first.record()
    function()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last))


def peak_memory(function: Callable[[], object], device: torch.device) -> int:
    """Return the peak memory of a call in bytes, beyond the memory held before it.

    Args:
        function: to call.
        device: whose memory is measured.
    """
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        function()
    assert recorded.profiler is not None
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def product_rates(device: torch.device, size: int = 2048, rounds: int = 5) -> dict[str, float]:
    """Return the rate at which the machine multiplies matrices, in GFLOP/s, by precision.

    Args:
        device: computes the products.
        size: of the square matrices; they hold random numbers, because zeros would be faster.
        rounds: timed products.
    """
    wide = torch.randn(2, size, size, device=device)
    pairs = {"float32": wide}
    if has_fast_bfloat16(device.type):  # emulated products take minutes
        pairs["bfloat16"] = wide.bfloat16()
    functions: dict[str, Callable[[], object]] = {
        name: partial(torch.matmul, *pair) for name, pair in pairs.items()
    }
    times = time_together(functions, rounds, device)
    return {name: 2 * size**3 / timing.median / 1e6 for name, timing in times.items()}
