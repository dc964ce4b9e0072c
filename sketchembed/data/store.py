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

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sketchembed.errors import DataError
from sketchembed.files.reading import digest, read_file
from sketchembed.files.serialization import dataclass_from_dict, parse_json

FORMAT_VERSION = 1
PARTITIONS = ("train", "valid", "test")
OFFSET_LIMIT = 1000.0
DTYPES = ("<i2", "<f4")
"""Of the rows."""
MANIFEST_LIMIT = 32 << 20
"""The largest manifest that is read, in bytes; that of Omniglot's 6,492 classes has one million."""
_BLOCK = 1 << 20


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
            facts = dataclass_from_dict(
                _Facts, {name: self.manifest.get(name) for name in _Facts.__annotations__}
            )
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


def _sum_rejected(classes: list[dict[str, Any]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for entry in classes:
        for reason, count in entry["rejected"].items():
            total[reason] = total.get(reason, 0) + count
    return total
