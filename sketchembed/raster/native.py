"""C++ functions that fuse element-wise operations on a CPU, compiled when they are first needed.

The compiled library is kept in the user's cache folder. Without a C++ compiler, PyTorch operations compute
the same values, more slowly. ``SKETCHEMBED_NATIVE=0`` turns the compiled functions off.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

COMPILERS = ("c++", "g++", "clang++")
HEADER = Path(__file__).with_name("native.hpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC")
SUFFIXES = {
    (torch.float32, torch.bfloat16): "f32_bf16",
    (torch.float32, torch.float32): "f32_f32",
    (torch.float64, torch.float64): "f64_f64",
}
"""The compiled combinations: type of states, norms and gates, and type of the operands of products."""


def has_native(source: Path, like: Tensor, low: torch.dtype) -> bool:
    """Return whether a C++ file has functions for the device and type of `like`, and for the type `low`."""
    compiled = like.device.type == "cpu" and (like.dtype, low) in SUFFIXES
    return compiled and native_library(source) is not None


def call_native(
    source: Path,
    name: str,
    like: Tensor,
    low: torch.dtype,
    numbers: Sequence[int],
    tensors: Sequence[Tensor | None],
) -> None:
    """Call a function of a C++ file with numbers, such as sizes and strides, and the addresses of tensors."""
    function = getattr(native_library(source), f"{name}_{SUFFIXES[like.dtype, low]}")
    addresses = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
    function((ctypes.c_void_p * len(addresses))(*addresses), (ctypes.c_long * len(numbers))(*numbers))


def why_not_native() -> str:
    """Return the reason why no functions are compiled, or an empty string if they are."""
    if os.environ.get("SKETCHEMBED_NATIVE") == "0":
        return "SKETCHEMBED_NATIVE is 0"
    return "" if _compiler() else f"there is no C++ compiler ({', '.join(COMPILERS)})"


def _compiler() -> str | None:
    return next((found for name in COMPILERS if (found := shutil.which(name))), None)


@cache
def native_library(source: Path) -> ctypes.CDLL | None:
    """Return the compiled functions of a C++ file, or None if they are turned off or cannot be compiled."""
    compiler = _compiler()
    if why_not_native() or compiler is None:
        return None
    try:
        return ctypes.CDLL(str(_compiled(source, compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        text = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        why = next((line for line in text.splitlines() if "error" in line), text).strip()
        _tell(f"{source.name} was not compiled, and slower PyTorch operations are used instead: {why}")
        return None


def _compiled(source: Path, compiler: str) -> Path:
    """Return the library of a C++ file, from the cache if file, compiler and processor are the same."""
    key = hashlib.sha256(repr(FLAGS).encode() + _version(compiler) + _processor().encode())
    for path in (HEADER, source):
        key.update(path.read_bytes())
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sketchembed" / "native"
    library = folder / f"{source.stem}-{key.hexdigest()[:16]}.so"
    if not library.exists():
        _tell(f"compiling {source.name} for this processor (once, a few seconds)")
        folder.mkdir(parents=True, exist_ok=True)
        # In a folder of its own, so that processes that compile at the same time do not disturb each other.
        with tempfile.TemporaryDirectory(dir=folder) as own:
            compiled, built = Path(own) / "compiled.o", Path(own) / library.name
            for command in (
                [*FLAGS, f"-I{HEADER.parent}", "-c", str(source), "-o", str(compiled)],
                # Without -fopenmp, so that the threads are those of the OpenMP library that PyTorch has
                # loaded. A second library would start its own, and both would compete for the cores.
                ["-shared", str(compiled), "-o", str(built)],
            ):
                subprocess.run([compiler, *command], capture_output=True, check=True, text=True, timeout=300)
            built.replace(library)
    return library


@cache
def _version(compiler: str) -> bytes:
    return subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=30).stdout


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _processor() -> str:
    """Return the processor's instruction sets, for which ``-march=native`` compiles."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
