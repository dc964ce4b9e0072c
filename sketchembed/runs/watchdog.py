"""End all processes of a job when one of them ends unexpectedly, and print why.

Lightning's launcher starts the other ranks from rank zero. A rank that dies leaves the others waiting in a
collective operation, for half an hour with some backends. Rank zero therefore watches the others, and they
watch rank zero. `torchrun` and SLURM do this themselves. The runs of a sweep watch the sweep in the same way.
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
"""Environment variable with the process number of rank zero, for the ranks that it starts."""
PIPE_VARIABLE = "SKETCHEMBED_PARENT_PIPE"
"""Environment variable with the descriptor of a pipe that is closed when the parent process ends."""
POLL, GRACE = 0.5, 1.0
"""Seconds between two checks of the other ranks, and from the death of a rank to the end of all."""
PATIENCE = 10.0  # seconds that a rank which lost its connection waits to be ended by the rank that failed

_stopped = threading.Event()


def watch_ranks(started: Callable[[], Sequence[subprocess.Popen]]) -> None:
    """Watch the other ranks in a thread; `started` returns the ranks that this process has started."""
    parent = os.getppid()
    if os.environ.get(PARENT_VARIABLE) == str(parent):
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    else:
        os.environ[PARENT_VARIABLE] = str(os.getpid())
        threading.Thread(target=_watch_children, args=(started,), daemon=True).start()


def stop_watching() -> None:
    """Stop watching the other ranks, because they are about to end normally."""
    _stopped.set()


def kill_ranks(started: Sequence[subprocess.Popen]) -> None:
    """Kill the ranks that this process has started; milder signals do not end a rank in a collective."""
    stop_watching()
    for process in started:
        process.kill()


def await_cause(error: BaseException) -> None:
    """If an error says that the connection to a rank was lost, wait until that rank ends this process."""
    lost = isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "Connection"))
    if distributed.is_initialized() and (lost or isinstance(error, distributed.DistError)):
        time.sleep(PATIENCE)


def exit_with_parent() -> None:
    """Kill this process and its group when a parent that has set :data:`PIPE_VARIABLE` ends or is killed."""
    pipe = os.environ.pop(PIPE_VARIABLE, None)
    if pipe is None:
        return

    def watch() -> None:
        os.read(int(pipe), 1)  # nothing is written, so this returns when the pipe is closed
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    os._exit(1)


def _watch_children(started: Callable[[], Sequence[subprocess.Popen]]) -> None:
    while not _stopped.wait(POLL):
        others = started()
        for number, process in enumerate(others, 1):
            if process.poll() in (None, 0):
                continue
            if _stopped.wait(GRACE):
                return
            code = process.returncode
            how = f"ended with status {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
            line = f"process {number} (of 0 to {len(others)}) {how}; the others are stopped too"
            print(f"sketchembed: {line}", file=sys.stderr, flush=True)
            kill_ranks(others)
            os._exit(1)
