"""Choice between Triton kernels (on CUDA, if Triton is installed) and PyTorch operations."""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

INTERPRETED = False
"""Whether to run the kernels on a CPU in Triton's slow interpreter, for tests without a GPU. The environment
variable TRITON_INTERPRET=1 must be set before Triton is first imported."""


def triton_module(name: str, like: Tensor) -> ModuleType | None:
    """Return a module of Triton kernels, or None if they do not support the device or the type of `like`."""
    return None if why_not_triton(like.device, like.dtype) else import_module(name)


def why_not_triton(device: torch.device, dtype: torch.dtype = torch.float32) -> str:
    """Return the reason why Triton kernels cannot be used, or an empty string if they can.

    `dtype` is that of the tensors that are not in 16 bits, such as states, norms and gates.
    """
    if device.type != "cuda" and not INTERPRETED:
        return f"Triton has no kernels for {device.type}"
    if not _has_triton():
        return "Triton is not installed (`pip install triton`)"
    if dtype != torch.float32:
        return f"the kernels compute in float32, not in {str(dtype).removeprefix('torch.')}"
    return ""


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
