"""Arrays that are expensive to compute, cached in files whose keys are digests of what the arrays depend on.

Ours because `joblib.Memory` stores pickles, which an untrusted file could use to run code, and its keys are
arguments of functions rather than the files that are read.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sketchembed.files.locks import locked
from sketchembed.files.writing import remove_leftovers, whole_file


def fingerprint(facts: Sequence[object]) -> str:
    """Return a digest of plain values, such as options, versions and file names."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def file_fingerprint(sources: Sequence[Path]) -> str:
    """Return a digest of the names and sizes of those files that exist."""
    seen = [
        f"{path.name} {path.stat().st_size if path.is_file() else ''}" for path in sources if path.exists()
    ]
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:16]


def cached(
    path: Path,
    key: str,
    make: Callable[[], dict[str, np.ndarray]],
    is_valid: Callable[[dict[str, np.ndarray]], bool],
) -> dict[str, np.ndarray]:
    """Return the arrays in a file, or compute and store them if it is missing, damaged or has another key.

    The file is an ``.npz`` that is written whole or not at all, without Python objects. `key` is a digest of
    what the arrays depend on. `make` computes them. `is_valid` checks the types, shapes and ranges of stored
    arrays.
    """
    try:
        found = _read(path)
        if str(found.pop("key")) == key and is_valid(found):
            return found
    except Exception:  # a damaged file can raise any type of error
        pass
    made = make()
    arrays: dict[str, Any] = {"key": np.array(key), **made}
    remove_leftovers(path.parent, f".{path.name}.*.part")
    with whole_file(path) as file, locked(Path(file.name)):
        np.savez(file, **arrays)
    return made


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read uncompressed arrays, which take no more memory than the file has bytes."""
    if not path.is_file():
        raise FileNotFoundError(path)
    found = {}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("arrays are compressed")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("arrays are larger than their file")
        for entry in entries:
            with archive.open(entry) as file:
                name = entry.filename.removesuffix(".npy")
                found[name] = np.lib.format.read_array(file, allow_pickle=False)
    return found
