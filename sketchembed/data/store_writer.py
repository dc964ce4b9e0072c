"""Write a store of drawings."""

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

from sketchembed.data.store import FORMAT_VERSION, OFFSET_LIMIT, ClassEntry, DrawingStore, _sum_rejected
from sketchembed.errors import DataError
from sketchembed.files.locks import locked
from sketchembed.files.reading import digest
from sketchembed.files.writing import remove_leftovers


class ClassDrawings(NamedTuple):
    """The drawings of one class, as a reader hands them over.

    Attributes:
        name: of the class.
        drawings: pairs of a partition (0 train, 1 valid, 2 test) and stroke-3 rows ``[n, 3]``.
        rejected: how many drawings were left out, by reason.
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
    progress: Callable[[str], None] | None = None,
) -> DrawingStore:
    """Write a store, whole or not at all.

    Args:
        path: folder to make; one that exists is replaced.
        classes: read one after the other, so that memory holds one class at a time.
        source: where the drawings come from.
        max_length: the longest drawing that the readers kept, in points.
        dtype: of the rows: ``<i2`` or ``<f4``.
        about: further facts for the manifest, such as the source files' fingerprint.
        arrays: called when all classes are read, for further arrays to keep by name.
        progress: called with the name of each class once it is written.

    Raises:
        DataError: if there is no drawing at all, the disk is full, or the folder holds anything else.
    """
    path = Path(path)
    if path.exists() and not (path / "manifest.json").exists() and (path.is_file() or any(path.iterdir())):
        raise DataError(
            f"{path} exists and is no store",
            expected="a store, which is replaced, or nothing",
            fix="Choose another folder; this one was left as it is",
        )
    remove_leftovers(path.parent, f".{path.name}.????????")
    work = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        work.mkdir(parents=True)  # not a temporary folder of tempfile's, which others could not read
        with locked(work):
            manifest = _write_files(work, classes, dtype, progress)
            if manifest["drawings"] and arrays is not None:
                manifest |= _write_arrays(work, arrays(), manifest["digests"])
            if not manifest["drawings"]:
                raise DataError(
                    f"no drawing was left for {path}",
                    expected="at least one drawing of 2 to "
                    f"{max_length} points (left out: {_sum_rejected(manifest['classes']) or 'none'})",
                    fix="Check the source files, or raise the longest length allowed",
                )
            manifest |= {"format_version": FORMAT_VERSION, "source": source, "max_length": max_length}
            manifest |= about or {}
            (work / "manifest.json").write_text(json.dumps(manifest, indent=1))
            _put_in_place(work, path)
    except OSError as error:
        raise DataError(
            f"the store {path} could not be written ({error.strerror or error})",
            expected="room on the disk and leave to write",
            fix="Free some room or choose another folder; nothing half-written was left",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return DrawingStore(path)


def _put_in_place(work: Path, path: Path) -> None:
    """Rename a finished folder to its place; one that is there, or gets there first, is moved away."""
    aside = work.with_name(f"{work.name}.old")
    for attempt in range(3):
        try:
            if path.exists():
                os.replace(path, aside)
            os.replace(work, path)
            return
        except OSError:  # another process was quicker, between the two lines
            if attempt == 2:
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _write_files(
    work: Path, classes: Iterable[ClassDrawings], dtype: str, progress: Callable[[str], None] | None
) -> dict[str, Any]:
    entries: list[ClassEntry] = []
    lengths: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    partitions: list[np.ndarray] = []
    with (work / "points.bin").open("wb") as file:
        for number, (name, drawings, rejected) in enumerate(classes):
            parts = np.array([part for part, _ in drawings], dtype=np.uint8)
            entry = ClassEntry(name, np.bincount(parts, minlength=3).tolist(), dict(rejected))
            sizes = np.array([len(rows) for _, rows in drawings], dtype=np.int64)
            if drawings:  # all at once: tens of thousands a class
                rows = np.concatenate([rows for _, rows in drawings])
                file.write(np.ascontiguousarray(rows, dtype=dtype).tobytes())
                offsets = rows[np.repeat(parts == 0, sizes), :2].astype(np.float64)
                offsets = np.clip(offsets, -OFFSET_LIMIT, OFFSET_LIMIT)
                entry.moments = [float(offsets.size), float(offsets.sum()), float((offsets**2).sum())]
            entries.append(entry)
            lengths.append(sizes)
            labels.append(np.full(len(drawings), number, dtype=np.int32))
            partitions.append(parts)
            if progress is not None:
                progress(name)
        file.flush()
        os.fsync(file.fileno())
    starts = np.concatenate([[0], np.cumsum(np.concatenate([*lengths, np.zeros(0, np.int64)]))])
    np.save(work / "starts.npy", starts.astype(np.int64))
    np.save(work / "labels.npy", np.concatenate([*labels, np.zeros(0, np.int32)]))
    np.save(work / "partitions.npy", np.concatenate([*partitions, np.zeros(0, np.uint8)]))
    files = ("points.bin", "starts.npy", "labels.npy", "partitions.npy")
    return {
        "classes": [asdict(entry) for entry in entries],
        "drawings": int(sum(sum(entry.counts) for entry in entries)),
        "rows": int(starts[-1]),
        "dtype": dtype,
        "digests": {name: digest(work / name) for name in files},
    }


def _write_arrays(work: Path, arrays: dict[str, np.ndarray], digests: dict[str, str]) -> dict[str, Any]:
    for name, array in arrays.items():
        np.save(work / f"{name}.npy", array)
    written = {f"{name}.npy": digest(work / f"{name}.npy") for name in arrays}
    return {"arrays": list(arrays), "digests": digests | written}
