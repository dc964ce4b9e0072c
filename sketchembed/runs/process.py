"""Settings of a process for long computations."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import warnings
from collections.abc import Iterator

import torch

from sketchembed.errors import ConfigError


def tune_process() -> None:
    """Flush denormal numbers to zero, and make the C library keep freed memory.

    CPUs are many times slower with denormal numbers, which occur as squares of large distances and in Adam's
    moments. A step is a third faster if glibc does not return large freed blocks to the system each time.
    """
    torch.set_flush_denormal(True)
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's messages about devices, tips, and warnings that do not apply here."""
    for noisy in ("pytorch_lightning", "lightning_fabric", "lightning"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        # Validation metrics are reduced over the ranks before they are logged.
        warnings.filterwarnings("ignore", message=".*recommended to use .self.log.*sync_dist=True.*")
        # A resumed run has checkpoints already.
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        # `args` repeats the command line, with which the other ranks are started.
        warnings.filterwarnings("ignore", message=".*args parameter is intended to run from within Python.*")
        yield


def allow_tf32() -> None:
    """Let CUDA multiply float32 matrices in TF32, for training only: it is faster and rounds to 10 bits."""
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True


def find_device(name: str = "auto") -> torch.device:
    """Return a device by name; ``auto`` is the first CUDA device, or the CPU if there is none.

    Raises:
        ConfigError: if there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    try:
        device = torch.device({"gpu": "cuda"}.get(name, name))
        found = (device.index or 0) < counts.get(device.type, 0)
    except RuntimeError:
        found = False
    if not found:
        usable = [kind for kind, count in counts.items() if count]
        usable += [f"cuda:{number}" for number in range(1, counts["cuda"])]
        raise ConfigError(
            f"there is no device '{name}'",
            expected="one of " + ", ".join(["auto", *usable]),
            fix="Change --device, or leave it out",
        )
    return device


def has_fast_bfloat16(accelerator: str) -> bool:
    """Return whether the hardware of an accelerator multiplies bfloat16 natively."""
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
