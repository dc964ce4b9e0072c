"""Drawings prepared once: flat memory-mapped arrays with a manifest.

A store is a folder::

    manifest.json    format version, source, classes with their counts, digests
    points.bin       all stroke-3 rows, one drawing after the other, little-endian int16 or float32
    starts.npy       int64 [drawings + 1]: where each drawing's rows begin
    labels.npy       int32 [drawings]: index into the manifest's classes; for evaluation, never for training
    partitions.npy   uint8 [drawings]: 0 train, 1 valid, 2 test
    NAME.npy         further arrays, such as the photos that the drawings are of

It is written beside its place and renamed when whole, so a store that exists is complete.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sketchembed.errors import DataError
from sketchembed.files.reading import digest, read_file
from sketchembed.files.serialization import build, parse_json
from sketchembed.files.writing import claimed, remove_leftovers

FORMAT_VERSION = 1
PARTITIONS = ("train", "valid", "test")
OFFSET_LIMIT = 1000.0
DTYPES = ("<i2", "<f4")
"""Of the rows."""
MANIFEST_LIMIT = 32 << 20
"""The largest manifest that is read, in bytes; that of Omniglot's 6,492 classes has one million."""
_BLOCK = 1 << 20


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


@dataclass
class ClassEntry:
    """What the manifest says of a class.

    Attributes:
        name: of the class.
        counts: drawings in each partition.
        rejected: how many were left out, by reason.
        moments: number, sum and sum of squares of the training drawings' offsets, from which the
            normalising scale of any set of classes follows without reading a point.
    """

    name: str
    counts: list[int]
    rejected: dict[str, int] = field(default_factory=dict)
    moments: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])


@dataclass
class _Facts:
    """What of a manifest the files are read by."""

    classes: list[ClassEntry]
    source: str
    dtype: str
    rows: int
    drawings: int
    digests: dict[str, str]
    arrays: list[str] | None = None


class DrawingStore:
    """A store opened for reading.

    Attributes:
        arrays: further arrays by name, such as the photos that the drawings are of.

    Args:
        path: the store's folder.

    Raises:
        DataError: if the folder is no store, of another format, or not whole.
    """

    def __init__(self, path: str | Path) -> None:
        """Open the files; what is read is the manifest, and where drawings begin and what they are of."""
        self.path = Path(path)
        try:
            self.manifest = self._read_manifest()
        except (OSError, ValueError, TypeError, DataError) as error:
            raise self._broken(f"has no readable manifest.json ({error})") from error
        if self.manifest.get("format_version") != FORMAT_VERSION:
            raise self._broken(f"has format version {str(self.manifest.get('format_version'))[:40]}")
        try:
            facts = build(_Facts, {name: self.manifest.get(name) for name in _Facts.__annotations__})
            self.classes = facts.classes
            self._open(facts)
        except (OSError, ValueError, OverflowError) as error:
            raise self._broken(f"is not whole ({error})") from error

    def _read_manifest(self) -> dict[str, Any]:
        path = self.path / "manifest.json"
        content = read_file(path, "it", expected="a manifest", fix="Prepare it again", most=MANIFEST_LIMIT)
        return dict(parse_json(content))

    def _open(self, facts: _Facts) -> None:
        points, rows, count = self.path / "points.bin", facts.rows, facts.drawings
        size = points.stat().st_size
        if facts.dtype not in DTYPES or not 0 < count <= rows or not points.is_file():
            raise ValueError(f"{count} drawings of {rows} rows of type {facts.dtype[:20]}")
        if size != rows * 3 * np.dtype(facts.dtype).itemsize:
            raise ValueError(f"points.bin has {size} bytes, not {rows * 3 * np.dtype(facts.dtype).itemsize}")
        if "points.bin" not in facts.digests or not all(
            _are_moments(entry.moments, rows) for entry in facts.classes
        ):
            raise ValueError("its manifest lacks a digest, or the moments of a class")
        self.points = np.memmap(points, dtype=facts.dtype, mode="r", shape=(rows, 3))
        self.starts = self._array("starts", np.int64, (count + 1,))
        self.labels = self._array("labels", np.int32, (count,))
        self.partitions = self._array("partitions", np.uint8, (count,))
        _check_ranges(self.starts, self.labels, self.partitions, rows, len(self.classes))
        further = facts.arrays or []
        if not all(re.fullmatch(r"[a-z_]{1,40}", name) for name in further):
            raise ValueError(f"there is no array {further!r:.60}")
        self.arrays = {name: self._array(name) for name in further}

    def _array(
        self, name: str, dtype: type | None = None, shape: tuple[int, ...] | None = None
    ) -> np.ndarray:
        """Map a file of numbers, and of this type and shape if they are given."""
        path = self.path / f"{name}.npy"
        if not path.is_file():
            raise ValueError(f"there is no {path.name}")
        try:
            found = np.lib.format.open_memmap(path, mode="r")
        except Exception as error:  # what a damaged header is read as raises nearly anything
            raise ValueError(f"{path.name} is damaged: {str(error)[:80]}") from error
        if (
            found.dtype.kind not in "iufb"
            or (dtype and found.dtype != dtype)
            or (shape and found.shape != shape)
        ):
            raise ValueError(f"{path.name} holds {found.dtype} {list(found.shape)}")
        return found

    def __reduce__(self) -> tuple[type[DrawingStore], tuple[Path]]:
        """Pickle the path alone: a worker process opens the files again and copies none."""
        return type(self), (self.path,)

    def _broken(self, what: str) -> DataError:
        return DataError(
            f"{self.path} {what}",
            expected=f"a store of prepared drawings, format version {FORMAT_VERSION}",
            fix="Delete the folder; it is prepared again from the source files",
        )

    def __len__(self) -> int:
        """Return the number of drawings."""
        return len(self.labels)

    def __getitem__(self, index: int | np.integer) -> np.ndarray:
        """Return one drawing's stroke-3 rows, ``[n, 3]``, in the source's unit."""
        return np.array(self.points[self.starts[index] : self.starts[index + 1]])

    @property
    def source(self) -> str:
        """Where the drawings come from, such as ``quickdraw`` or ``sketchy``."""
        return str(self.manifest["source"])

    @property
    def class_names(self) -> list[str]:
        """The classes, in the order of the labels."""
        return [entry.name for entry in self.classes]

    @property
    def lengths(self) -> np.ndarray:
        """The number of points of each drawing, int64."""
        return np.diff(self.starts)

    def select(self, classes: Sequence[str] | None = None, partition: str | None = None) -> np.ndarray:
        """Return the indices of the drawings of some classes and a partition, ascending.

        Args:
            classes: names; all if not given.
            partition: ``train``, ``valid`` or ``test``; all if not given.
        """
        chosen = np.ones(len(self), dtype=bool)
        if classes is not None:
            known = {name: number for number, name in enumerate(self.class_names)}
            chosen &= np.isin(self.labels, [known[name] for name in classes if name in known])
        if partition is not None:
            chosen &= self.partitions == PARTITIONS.index(partition)
        return np.flatnonzero(chosen)

    def offset_scale(self, classes: Sequence[str] | None = None) -> float:
        """Return the standard deviation of the training drawings' offsets, x and y jointly.

        *Source*: Ha and Eck 2018; dividing by it gives offsets of unit variance.

        Args:
            classes: over which; all if not given.
        """
        wanted = set(self.class_names if classes is None else classes)
        moments = np.sum([entry.moments for entry in self.classes if entry.name in wanted], axis=0)
        count, total, squares = (float(value) for value in np.broadcast_to(moments, (3,)))
        variance = squares / count - (total / count) ** 2 if count > 0 else 0.0
        if not 0 < variance < OFFSET_LIMIT**2 * 2:
            raise self._broken("has no training drawings with any spread among the chosen classes")
        return math.sqrt(variance)

    def verify(self) -> None:
        """Compare every file with its digest.

        Raises:
            DataError: naming the first that differs.
        """
        digests: dict[str, str] = self.manifest["digests"]
        files = ["points.bin", *(f"{name}.npy" for name in ("starts", "labels", "partitions", *self.arrays))]
        for name in files:
            if digest(self.path / name) != digests.get(name):
                raise self._broken(f"has a {name} that differs from its digest")


def _are_moments(moments: list[float], rows: int) -> bool:
    """Return whether these can be the moments of the offsets of so many rows."""
    if len(moments) != 3 or not all(abs(value) <= 2 * rows * OFFSET_LIMIT**2 for value in moments):
        return False
    return moments[0] >= 0 and moments[0].is_integer()


def _check_ranges(
    starts: np.ndarray, labels: np.ndarray, partitions: np.ndarray, rows: int, classes: int
) -> None:
    """Check that drawings follow each other, and are of classes and partitions that there are.

    Raises:
        ValueError: if not.
    """
    if starts[0] != 0 or starts[-1] != rows:
        raise ValueError(f"its files do not all hold drawings of {rows} rows")
    for first in range(0, len(labels), _BLOCK):
        block = slice(first, first + _BLOCK)
        if (np.diff(starts[first : first + _BLOCK + 1]) < 1).any():
            raise ValueError("a drawing ends before it begins")
        if labels[block].min() < 0 or labels[block].max() >= classes:
            raise ValueError("a drawing is of a class that is not there")
        if partitions[block].max() >= len(PARTITIONS):
            raise ValueError("a drawing is in a partition that is not there")


def open_store(path: str | Path, fingerprint: str) -> DrawingStore | None:
    """Return the store at a place if its fingerprint is this one; otherwise it is to be written."""
    try:
        store = DrawingStore(path)
    except DataError:
        return None  # none there, or not whole
    return store if store.manifest.get("fingerprint") == fingerprint else None


def left_out(store: DrawingStore) -> str:
    """Say in a few words how many drawings were left out, and why, the most frequent reason first."""
    rejected = Counter(_sum_rejected([asdict(entry) for entry in store.classes]))
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in rejected.most_common())
    return f"{rejected.total():,} left out" + (f" ({reasons})" if reasons else "")


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
        with claimed(work):
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


def _sum_rejected(classes: list[dict[str, Any]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for entry in classes:
        for reason, count in entry["rejected"].items():
            total[reason] = total.get(reason, 0) + count
    return total
