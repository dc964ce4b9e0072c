"""Arrays that take long to make, kept in a file for the next time."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sketchembed.files.locks import locked
from sketchembed.files.writing import remove_leftovers, whole_file


def fingerprint(sources: Sequence[Path]) -> str:
    """Return a text that changes when one of the files is replaced by another of a different size or name."""
    seen = [
        f"{path.name} {path.stat().st_size if path.is_file() else ''}" for path in sources if path.exists()
    ]
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:16]


def cached(
    path: Path,
    key: str,
    make: Callable[[], dict[str, np.ndarray]],
    sound: Callable[[dict[str, np.ndarray]], bool],
) -> dict[str, np.ndarray]:
    """Return the arrays in a file, made anew if it is missing, damaged or of another key.

    Args:
        path: of the ``.npz`` file; written beside and renamed, so it is whole or absent.
        key: what the arrays depend on.
        make: makes them; none may hold Python objects.
        sound: whether arrays that were read are of the types, shapes and ranges that `make` gives.
    """
    try:
        found = _read(path)
        if str(found.pop("key")) == key and sound(found):
            return found
    except Exception:  # a damaged file raises nearly anything, and whatever it is, the answer is the same
        pass
    made = make()
    arrays: dict[str, Any] = {"key": np.array(key), **made}
    remove_leftovers(path.parent, f".{path.name}.*.part")
    with whole_file(path) as file, locked(Path(file.name)):
        np.savez(file, **arrays)
    return made


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read arrays that are stored as they are, so that they take no more memory than the file has bytes."""
    if not path.is_file():
        raise FileNotFoundError(path)
    found = {}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("arrays are packed")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("arrays are larger than their file")
        for entry in entries:
            with archive.open(entry) as file:
                found[entry.filename.removesuffix(".npy")] = np.lib.format.read_array(
                    file, allow_pickle=False
                )
    return found
