"""What a process that computes for long asks of its machine."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator

import torch

PIPE_VARIABLE = "SKETCHEMBED_PARENT_PIPE"
"""Number of an open file, a pipe, that ends when the process ends that has started this one."""


def tune_process() -> None:
    """Flush denormal numbers to zero, and keep freed memory for the next use.

    Squares of far-away distances and tiny moments of Adam end as denormal numbers, on which a CPU can be
    many times slower. And by default the C library hands each step's large blocks back to the system,
    which clears and maps every page again in the next one: keeping them made a training step a third
    faster. Libraries other than glibc are left alone.
    """
    torch.set_flush_denormal(True)
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Leave out what Lightning says of devices and tips, which is noise beside a run's own lines."""
    for noisy in ("pytorch_lightning", "lightning_fabric", "lightning"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        # What is logged at the end of a validation is of all processes already.
        warnings.filterwarnings("ignore", message=".*recommended to use .self.log.*sync_dist=True.*")
        # A run that goes on has checkpoints already.
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        # The same words are on the command line already, which is how other processes are started.
        warnings.filterwarnings("ignore", message=".*args parameter is intended to run from within Python.*")
        yield


def allow_tf32() -> None:
    """Let CUDA multiply float32 matrices in TF32: several times as fast, 10 bits of the factors' fractions.

    For training; evaluations keep float32 as it is.
    """
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True


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
