"""What a process that computes for long asks of its machine."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import warnings
from collections.abc import Iterator

import torch


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


def has_fast_bfloat16(accelerator: str) -> bool:
    """Return whether products of bfloat16 are done in hardware where the training will run."""
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
