"""Write stores of prepared drawings; see :mod:`sketchembed.data.store` for the format."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sketchembed.data.store import FORMAT_VERSION, OFFSET_LIMIT, ClassEntry, DrawingStore, count_rejected
from sketchembed.errors import DataError
from sketchembed.files.locks import locked
from sketchembed.files.progress_bar import track
from sketchembed.files.reading import digest
from sketchembed.files.writing import remove_leftovers


class ClassDrawings(NamedTuple):
    """Drawings of one class, as read from its source.

    Attributes:
        name: name of the class.
        drawings: pairs of a partition (0 train, 1 valid, 2 test) and stroke-3 rows ``[n, 3]``.
        rejected: number of excluded drawings, by reason.
    """

    name: str
    drawings: list[tuple[int, np.ndarray]]
    rejected: dict[str, int]


def write_store(
    path: str | Path,
    classes: Iterable[ClassDrawings],
    *,
    source: str,
    max_length: int,
    dtype: str = "<i2",
    about: dict[str, Any] | None = None,
    arrays: Callable[[], dict[str, np.ndarray]] | None = None,
    total: int | None = None,
) -> DrawingStore:
    """Write a store, completely or not at all.

    The files are written to a temporary folder beside `path`, which is renamed when it is complete.

    Args:
        path: folder of the store; an existing store is replaced.
        classes: drawings, class by class, so that only one class is in memory at a time.
        source: name of the data set.
        max_length: maximum number of points of the drawings that the reader kept.
        dtype: type of the rows: ``<i2`` or ``<f4``.
        about: additional entries of the manifest, such as a fingerprint of the source files.
        arrays: returns optional arrays by name; called after all classes have been read.
        total: number of classes, for the progress bar.

    Raises:
        DataError: if there are no drawings, if `path` exists and is not a store, or if writing fails.
    """
    path = Path(path)
    _check_replaceable(path)
    remove_leftovers(path.parent, f".{path.name}.????????")
    work = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        work.mkdir(parents=True)  # tempfile would deny other users access
        with locked(work):
            entries, manifest = _write_classes(work, classes, dtype, f"Preparing {source}", total)
            if not manifest["drawings"]:
                rejected = dict(count_rejected(entries))
                raise DataError(
                    f"no drawing was left for {path}",
                    expected=f"at least one drawing of 2 to {max_length} points "
                    f"(excluded: {rejected or 'none'})",
                    fix="Check the source files, or increase the maximum length",
                )
            if arrays is not None:
                manifest |= _write_arrays(work, arrays(), manifest["digests"])
            manifest |= {"format_version": FORMAT_VERSION, "source": source, "max_length": max_length}
            manifest |= about or {}
            (work / "manifest.json").write_text(json.dumps(manifest, indent=1))
            _put_in_place(work, path)
    except OSError as error:
        raise DataError(
            f"the store {path} could not be written ({error.strerror or error})",
            expected="free disk space and permission to write",
            fix="Free some disk space, or set SKETCHEMBED_PREPARED; the incomplete files were removed",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return DrawingStore(path)


def _check_replaceable(path: Path) -> None:
    """Check that a path is free, an empty folder or a store."""
    if path.exists() and not (path / "manifest.json").exists() and (path.is_file() or any(path.iterdir())):
        raise DataError(
            f"{path} exists and is not a store",
            expected="a path that does not exist, or a store to replace",
            fix="Choose another folder; this one was not changed",
        )


def _put_in_place(work: Path, path: Path) -> None:
    """Rename a complete folder to its final path, even if another process writes a store there meanwhile."""
    aside = work.with_name(f"{work.name}.old")
    for attempt in range(3):
        try:
            if path.is_symlink():  # to a store in a read-only folder
                path.unlink(missing_ok=True)
            elif path.exists():
                os.replace(path, aside)
            os.replace(work, path)
            return
        except OSError:  # another process wrote the same store between the two calls
            if attempt == 2:
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _write_classes(
    work: Path, classes: Iterable[ClassDrawings], dtype: str, title: str, total: int | None
) -> tuple[list[ClassEntry], dict[str, Any]]:
    """Write the files of all drawings; return the classes and the entries of the manifest."""
    entries: list[ClassEntry] = []
    lengths: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    partitions: list[np.ndarray] = []
    with (work / "points.bin").open("wb") as file:
        for number, (name, drawings, rejected) in enumerate(track(classes, title, total)):
            parts = np.array([part for part, _ in drawings], dtype=np.uint8)
            entry = ClassEntry(name, np.bincount(parts, minlength=3).tolist(), dict(rejected))
            sizes = np.array([len(rows) for _, rows in drawings], dtype=np.int64)
            if drawings:
                rows = np.concatenate([rows for _, rows in drawings])
                file.write(np.ascontiguousarray(rows, dtype=dtype).tobytes())
                offsets = rows[np.repeat(parts == 0, sizes), :2].astype(np.float64)
                offsets = np.clip(offsets, -OFFSET_LIMIT, OFFSET_LIMIT)
                entry.moments = [float(offsets.size), float(offsets.sum()), float((offsets**2).sum())]
            entries.append(entry)
            lengths.append(sizes)
            labels.append(np.full(len(drawings), number, dtype=np.int32))
            partitions.append(parts)
        file.flush()
        os.fsync(file.fileno())
    starts = np.concatenate([[0], np.cumsum(np.concatenate([*lengths, np.zeros(0, np.int64)]))])
    np.save(work / "starts.npy", starts.astype(np.int64))
    np.save(work / "labels.npy", np.concatenate([*labels, np.zeros(0, np.int32)]))
    np.save(work / "partitions.npy", np.concatenate([*partitions, np.zeros(0, np.uint8)]))
    files = ("points.bin", "starts.npy", "labels.npy", "partitions.npy")
    return entries, {
        "classes": [asdict(entry) for entry in entries],
        "drawings": sum(sum(entry.counts) for entry in entries),
        "rows": int(starts[-1]),
        "dtype": dtype,
        "digests": {name: digest(work / name) for name in files},
    }


def _write_arrays(work: Path, arrays: dict[str, np.ndarray], digests: dict[str, str]) -> dict[str, Any]:
    """Write the optional arrays; return their entries of the manifest."""
    for name, array in arrays.items():
        np.save(work / f"{name}.npy", array)
    written = {f"{name}.npy": digest(work / f"{name}.npy") for name in arrays}
    return {"arrays": list(arrays), "digests": digests | written}
