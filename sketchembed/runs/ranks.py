"""Work divided among processes, and put together again so that their number does not show."""

from __future__ import annotations

import atexit
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch import Tensor

from sketchembed.errors import ConfigError
from sketchembed.runs.watchdog import bind, let_go

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """A process among others.

    Blocks of work are dealt out in turn. A block is the same whatever the number of processes, so its
    result is too, to the last bit; a process without a block waits for the others' sums.

    Attributes:
        fabric: Lightning's launcher of processes; None for one process on the CPU.
    """

    fabric: Fabric | None = None

    @classmethod
    def launch(cls, devices: str = "1", accelerator: str = "auto") -> Ranks:
        """Start the other processes, which run the same command.

        Args:
            devices: how many processes, each with a device of its own; ``auto`` for every GPU.
            accelerator: Lightning's ``auto``, ``cpu`` or ``cuda``.

        Raises:
            ConfigError: if `devices` is neither.
        """
        if devices != "auto" and not (devices.isdigit() and int(devices) > 0):
            raise ConfigError(
                f"devices is '{devices}'", expected="auto, or a number of 1 or more", fix="Correct it"
            )
        count: int | str = "auto" if devices == "auto" and torch.cuda.is_available() else 1
        count = int(devices) if devices.isdigit() else count
        return cls.of(
            Fabric(accelerator=accelerator, devices=count, strategy="auto" if count == 1 else "ddp")
        )

    @classmethod
    def of(cls, fabric: Fabric) -> Ranks:
        """Start the other processes of a launcher, or meet those that have been started already."""
        ranks = cls(fabric)
        if isinstance(fabric.strategy.launcher, _SubprocessScriptLauncher):
            bind(lambda: ranks.started)
        fabric.launch()
        launcher = fabric.strategy.launcher
        if isinstance(launcher, _SubprocessScriptLauncher):
            # Lightning's own observer kills this process without a word; it is left with nothing to observe.
            observed, launcher.procs = launcher.procs, [*launcher.procs]
            observed.clear()
        if fabric.world_size > 1:
            # Lightning leaves only NCCL's group; what is left to the interpreter's end can abort there.
            atexit.register(_leave_group)
        return ranks

    @property
    def started(self) -> list[subprocess.Popen]:
        """The processes that this one has started."""
        launcher = self.fabric.strategy.launcher if self.fabric else None
        return launcher.procs if isinstance(launcher, _SubprocessScriptLauncher) else []

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.fabric.device if self.fabric else torch.device("cpu")

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process writes and prints."""
        return self.fabric is None or self.fabric.global_rank == 0

    @property
    def world_size(self) -> int:
        """How many there are."""
        return self.fabric.world_size if self.fabric else 1

    def broadcast(self, value: Value) -> Value:
        """Return the first process's value, on all."""
        return self.fabric.broadcast(value) if self.fabric else value

    def on_rank_zero(self, function: Callable[[], Value]) -> Value:
        """Return what the function gives on the first process, on all; if it fails, the others just end.

        Args:
            function: called on the first process alone.
        """
        if self.world_size == 1:
            return function()
        outcome: tuple[Value] | None = None
        try:
            if self.is_rank_zero:
                outcome = (function(),)
        finally:
            if outcome is None:
                let_go()
            outcome = self.broadcast(outcome)
        if outcome is None:
            raise SystemExit(2)
        return outcome[0]

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.fabric:
            self.fabric.barrier()

    def blocks(self, count: int, size: int) -> Sequence[range]:
        """Return this process's blocks of ``range(count)``."""
        every = [range(first, min(first + size, count)) for first in range(0, count, size)]
        return every if self.fabric is None else every[self.fabric.global_rank :: self.fabric.world_size]

    def gather(self, out: Tensor, size: int, function: Callable[[range], Tensor]) -> Tensor:
        """Fill the rows of `out` block by block, on all processes together.

        Args:
            out: zeros, on the CPU; filled in place and returned.
            size: rows in a block.
            function: from a block's rows to their values.
        """
        for block in self.blocks(len(out), size):
            out[block.start : block.stop] = function(block).to(out.device, out.dtype)
        if self.world_size > 1:
            # Each row is zero on all processes but one.
            moved = out.to(self.device)
            torch.distributed.all_reduce(moved)
            out.copy_(moved)
        return out


def _leave_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
