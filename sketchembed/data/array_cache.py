"""Arrays that take long to make, kept in a file for the next time."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sketchembed.files import claimed, remove_leftovers, whole_file


def fingerprint(sources: Sequence[Path]) -> str:
    """Return a text that changes when one of the files is replaced by another of a different size or name."""
    seen = [
        f"{path.name} {path.stat().st_size if path.is_file() else ''}" for path in sources if path.exists()
    ]
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:16]


def cached(path: Path, key: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays in a file, made anew if it is missing, damaged or of another key.

    Args:
        path: of the ``.npz`` file; written beside and renamed, so it is whole or absent.
        key: what the arrays depend on.
        make: makes them; none may hold Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        if str(found.pop("key")) == key:
            return found
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        pass
    made = make()
    arrays: dict[str, Any] = {"key": np.array(key), **made}
    remove_leftovers(path.parent, f".{path.name}.*.part")
    with whole_file(path) as file, claimed(Path(file.name)):
        np.savez(file, **arrays)
    return made
