"""The processes of one job: if one of them ends in the middle, all end, and the reason is said.

Lightning starts the others from the first process. A process that has died leaves those that compute with it
waiting, on some devices for half an hour; so the first one watches them, and they watch the first.
`torchrun` and SLURM start and watch all processes themselves. The runs of a sweep end with it, too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from torch import distributed

PARENT_VARIABLE = "SKETCHEMBED_PARENT"
"""Tells the processes that the first one starts which it is."""
PIPE_VARIABLE = "SKETCHEMBED_PARENT_PIPE"
"""Number of an open file, a pipe, that ends when the process ends that has started this one."""
POLL, GRACE = 0.5, 1.0
"""Seconds between two looks at the others, and from finding one dead to ending all."""
PATIENCE = 10.0
"""Seconds that a process which has lost the others waits to be ended by the one that knows why."""

_let_go = threading.Event()


def bind(started: Callable[[], Sequence[subprocess.Popen]]) -> None:
    """Watch the other processes from now on.

    Args:
        started: returns those that this process has started by now.
    """
    parent = os.getppid()
    if os.environ.get(PARENT_VARIABLE) == str(parent):
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    else:
        os.environ[PARENT_VARIABLE] = str(os.getpid())
        threading.Thread(target=_watch, args=(started,), daemon=True).start()


def end_with_parent() -> None:
    """End this process and its group when the process ends that has started it, however that is.

    Nothing happens where none asked for it by :data:`PIPE_VARIABLE`.
    """
    pipe = os.environ.pop(PIPE_VARIABLE, None)
    if pipe is None:
        return

    def watch() -> None:
        # Nobody writes: to read is to wait for the end.
        os.read(int(pipe), 1)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def let_go() -> None:
    """Watch the others no longer: they are about to end, as they should."""
    _let_go.set()


def stop(started: Sequence[subprocess.Popen]) -> None:
    """End those that this process has started."""
    let_go()
    for process in started:
        # Nothing milder ends a process that waits for the others.
        process.kill()


def await_reason(error: BaseException) -> None:
    """Wait a while if the error says only that another process is gone, whose own end says more.

    Args:
        error: that is about to end this process.
    """
    gone = isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "Connection"))
    if distributed.is_initialized() and (gone or isinstance(error, distributed.DistError)):
        time.sleep(PATIENCE)


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    os._exit(1)


def _watch(started: Callable[[], Sequence[subprocess.Popen]]) -> None:
    while not _let_go.wait(POLL):
        others = started()
        for number, process in enumerate(others, 1):
            if process.poll() in (None, 0):
                continue
            if _let_go.wait(GRACE):
                return
            how = _how_it_ended(process.returncode)
            print(
                f"sketchembed: process {number} (of 0 to {len(others)}) {how}; the others are stopped too",
                file=sys.stderr,
                flush=True,
            )
            stop(others)
            os._exit(1)


def _how_it_ended(code: int) -> str:
    return f"ended with status {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
