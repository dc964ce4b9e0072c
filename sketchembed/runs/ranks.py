"""Processes that compute together, with results that do not depend on their number."""

from __future__ import annotations

import atexit
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch import Tensor

from sketchembed.errors import ConfigError
from sketchembed.files.progress_bar import track
from sketchembed.runs.watchdog import stop_watching, watch_ranks

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """The ranks of a job, seen from one of them.

    Work is divided into blocks, which are dealt to the ranks in turn. The blocks do not depend on the number
    of ranks, so every result is the same to the last bit.
    """

    fabric: Fabric | None = None  # Lightning's launcher; None for a single process on the CPU

    @classmethod
    def launch(cls, devices: str = "1", accelerator: str = "auto") -> Ranks:
        """Start the other ranks, which run the same command line.

        Args:
            devices: number of ranks, each with its own device; ``auto`` for all GPUs.
            accelerator: ``auto``, ``cpu`` or ``cuda``.
        """
        count: int | str = 1
        if devices != "auto":
            if not (devices.isdigit() and int(devices) > 0):
                expected = "auto, or a number of 1 or more"
                raise ConfigError(f"devices is '{devices}'", expected=expected, fix="Correct it")
            count = int(devices)
        elif torch.cuda.is_available():
            count = "auto"
        strategy = "auto" if count == 1 else "ddp"
        return cls.of(make_fabric(accelerator=accelerator, devices=count, strategy=strategy))

    @classmethod
    def of(cls, fabric: Fabric) -> Ranks:
        """Start the other ranks with a launcher, or connect to those that were started already."""
        ranks = cls(fabric)
        if isinstance(fabric.strategy.launcher, _SubprocessScriptLauncher):
            watch_ranks(lambda: ranks.started)
        fabric.launch()
        launcher = fabric.strategy.launcher
        if isinstance(launcher, _SubprocessScriptLauncher):
            # Lightning's own watcher kills this process without a message. It gets an empty list to watch.
            watched, launcher.procs = launcher.procs, [*launcher.procs]
            watched.clear()
        if fabric.world_size > 1:
            # A process group that is not destroyed can abort at exit; Lightning destroys NCCL's only.
            atexit.register(_destroy_process_group)
        return ranks

    @property
    def started(self) -> list[subprocess.Popen]:
        """The processes that this one has started."""
        launcher = self.fabric.strategy.launcher if self.fabric else None
        return launcher.procs if isinstance(launcher, _SubprocessScriptLauncher) else []

    @property
    def device(self) -> torch.device:
        """The device of this rank."""
        return self.fabric.device if self.fabric else torch.device("cpu")

    @property
    def is_rank_zero(self) -> bool:
        """Whether this rank writes and prints."""
        return self.fabric is None or self.fabric.global_rank == 0

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.fabric.world_size if self.fabric else 1

    def broadcast(self, value: Value) -> Value:
        """Return the value of rank zero on all ranks."""
        return self.fabric.broadcast(value) if self.fabric else value

    def on_rank_zero(self, function: Callable[[], Value]) -> Value:
        """Return a function's value on rank zero, on all ranks; if it fails, the other ranks exit."""
        if self.world_size == 1:
            return function()
        outcome: tuple[Value] | None = None
        try:
            if self.is_rank_zero:
                outcome = (function(),)
        finally:
            if outcome is None:
                stop_watching()
            outcome = self.broadcast(outcome)
        if outcome is None:
            raise SystemExit(2)
        return outcome[0]

    def wait(self) -> None:
        """Wait until every rank has made this call."""
        if self.fabric:
            self.fabric.barrier()

    def blocks(self, count: int, size: int) -> Sequence[range]:
        """Return this rank's blocks of ``range(count)``, each of at most `size` numbers."""
        every = [range(first, min(first + size, count)) for first in range(0, count, size)]
        return every if self.fabric is None else every[self.fabric.global_rank :: self.fabric.world_size]

    def gather(self, out: Tensor, size: int, function: Callable[[range], Tensor], title: str) -> Tensor:
        """Fill the zeros of a CPU tensor in place, block by block of `size` rows on all ranks; return it.

        `title` says what is computed, for the progress.
        """
        for block in track(self.blocks(len(out), size), title):
            out[block.start : block.stop] = function(block).to(out.device, out.dtype)
        if self.world_size > 1:
            # The sum is exact: each row is zero on all ranks but one.
            moved = out.to(self.device)
            torch.distributed.all_reduce(moved)
            out.copy_(moved)
        return out


def make_fabric(**options: Any) -> Fabric:
    """Return Lightning's launcher; devices that do not exist are a ConfigError."""
    try:
        return Fabric(**options)
    except Exception as error:  # Lightning raises several types
        asked = ", ".join(f"{name} {value}" for name, value in options.items() if name != "strategy")
        raise ConfigError(
            f"there is no device for {asked} ({' '.join(str(error).split()).partition('. ')[0][:120]})",
            expected="devices of this machine",
            fix="Use --device cpu, or see `nvidia-smi` for the GPUs",
        ) from error


def _destroy_process_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
