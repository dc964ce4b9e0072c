"""Which kernels compute: Triton's on CUDA where it is installed, else PyTorch's own operations."""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

INTERPRETED = False
"""Whether Triton's interpreter runs the kernels on a CPU too, slowly, to test them without a GPU. It needs
TRITON_INTERPRET=1 in the environment before Triton is first imported."""


def triton_module(name: str, like: Tensor) -> ModuleType | None:
    """Return the module with Triton kernels for a tensor, or None where PyTorch's operations do the work.

    Args:
        name: of the module.
        like: a tensor of the device and type that would be computed on.
    """
    return None if why_not_triton(like.device, like.dtype) else import_module(name)


def why_not_triton(device: torch.device, dtype: torch.dtype = torch.float32) -> str:
    """Return why Triton's kernels don't apply; nothing where they do.

    Args:
        device: where to compute.
        dtype: of what is not in 16 bits: states, norms, gates.
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
