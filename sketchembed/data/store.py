"""Read stores of prepared drawings: flat memory-mapped arrays with a manifest.

A store is a folder::

    manifest.json    format version, source, classes with their counts, digests
    points.bin       stroke-3 rows of all drawings, one after the other, little-endian int16 or float32
    starts.npy       int64 [drawings + 1]: first row of each drawing
    labels.npy       int32 [drawings]: index of the class in the manifest; for evaluation, never for training
    partitions.npy   uint8 [drawings]: 0 train, 1 valid, 2 test
    NAME.npy         optional arrays, such as the photos of the drawings

:mod:`sketchembed.data.store_writer` writes it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
MANIFEST_LIMIT = 32 << 20  # maximum size of a manifest, in bytes; for Omniglot's 6,492 classes it is 1 MB
_BLOCK = 1 << 20


@dataclass
class ClassEntry:
    """Entry of a class in the manifest.

    Attributes:
        name: name of the class.
        counts: number of drawings in each partition.
        rejected: number of excluded drawings, by reason.
        moments: count, sum and sum of squares of the offsets of the training drawings.
    """

    name: str
    counts: list[int]
    rejected: dict[str, int] = field(default_factory=dict)
    moments: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])


@dataclass
class _Layout:
    """Fields of the manifest that are needed to read the other files."""

    classes: list[ClassEntry]
    source: str
    dtype: str
    rows: int
    drawings: int
    digests: dict[str, str]
    arrays: list[str] | None = None


class DrawingStore:
    """Store of drawings, opened for reading.

    Attributes:
        arrays: optional arrays by name, such as the photos of the drawings.

    Raises:
        DataError: if the folder is not a store, has another format version, or is incomplete.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            path, fix = self.path / "manifest.json", "Prepare the data again"
            content = read_file(path, "it", expected="a manifest", fix=fix, most=MANIFEST_LIMIT)
            self.manifest: dict[str, Any] = dict(parse_json(content))
        except (OSError, ValueError, TypeError, DataError) as error:
            raise self._error(f"has no readable manifest.json ({error})") from error
        if self.manifest.get("format_version") != FORMAT_VERSION:
            raise self._error(f"has format version {str(self.manifest.get('format_version'))[:40]}")
        try:
            layout = dataclass_from_dict(
                _Layout, {name: self.manifest.get(name) for name in _Layout.__annotations__}
            )
            self.classes = layout.classes
            self._open(layout)
        except (OSError, ValueError, OverflowError) as error:
            raise self._error(f"is incomplete or damaged ({error})") from error

    def _open(self, layout: _Layout) -> None:
        points, rows, count = self.path / "points.bin", layout.rows, layout.drawings
        size = points.stat().st_size
        if layout.dtype not in DTYPES or not 0 < count <= rows or not points.is_file():
            raise ValueError(f"{count} drawings of {rows} rows of type {layout.dtype[:20]}")
        if size != rows * 3 * np.dtype(layout.dtype).itemsize:
            raise ValueError(f"points.bin has {size} bytes, not {rows * 3 * np.dtype(layout.dtype).itemsize}")
        if "points.bin" not in layout.digests or not all(
            _are_moments(entry.moments, rows) for entry in layout.classes
        ):
            raise ValueError("the manifest has no digest of points.bin, or invalid moments of a class")
        self.points = np.memmap(points, dtype=layout.dtype, mode="r", shape=(rows, 3))
        self.starts = self._array("starts", np.int64, (count + 1,))
        self.labels = self._array("labels", np.int32, (count,))
        self.partitions = self._array("partitions", np.uint8, (count,))
        _check_ranges(self.starts, self.labels, self.partitions, rows, len(self.classes))
        names = layout.arrays or []
        if not all(re.fullmatch(r"[a-z_]{1,40}", name) for name in names):
            raise ValueError(f"invalid names of arrays: {names!r:.60}")
        self.arrays = {name: self._array(name) for name in names}

    def _array(
        self, name: str, dtype: type | None = None, shape: tuple[int, ...] | None = None
    ) -> np.ndarray:
        """Map an array of numbers into memory, after checking its type and shape if they are given."""
        path = self.path / f"{name}.npy"
        if not path.is_file():
            raise ValueError(f"{path.name} is missing")
        try:
            found = np.lib.format.open_memmap(path, mode="r")
        except Exception as error:  # NumPy evaluates the header, so damage can raise nearly anything
            raise ValueError(f"{path.name} is damaged: {str(error)[:80]}") from error
        if (
            found.dtype.kind not in "iufb"
            or (dtype and found.dtype != dtype)
            or (shape and found.shape != shape)
        ):
            raise ValueError(f"{path.name} holds {found.dtype} {list(found.shape)}")
        return found

    def __reduce__(self) -> tuple[type[DrawingStore], tuple[Path]]:
        """Pickle the path only. A worker process opens the files instead of copying them."""
        return type(self), (self.path,)

    def _error(self, problem: str) -> DataError:
        return DataError(
            f"{self.path} {problem}",
            expected=f"a store of prepared drawings, format version {FORMAT_VERSION}",
            fix="Delete the folder; it is prepared again from the source files",
        )

    def __len__(self) -> int:
        """Return the number of drawings."""
        return len(self.labels)

    def __getitem__(self, index: int | np.integer) -> np.ndarray:
        """Return the stroke-3 rows of a drawing, ``[n, 3]``, in the unit of the source."""
        return np.array(self.points[self.starts[index] : self.starts[index + 1]])

    @property
    def source(self) -> str:
        """Name of the data set, such as ``quickdraw`` or ``sketchy``."""
        return str(self.manifest["source"])

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of the labels."""
        return [entry.name for entry in self.classes]

    @property
    def lengths(self) -> np.ndarray:
        """Number of points of each drawing, int64."""
        return np.diff(self.starts)

    def select(self, classes: Sequence[str] | None = None, partition: str | None = None) -> np.ndarray:
        """Return the indices of the drawings of some classes and a partition, ascending.

        Args:
            classes: names of the classes; default: all. Unknown names are ignored.
            partition: ``train``, ``valid`` or ``test``; default: all.
        """
        chosen = np.ones(len(self), dtype=bool)
        if classes is not None:
            known = {name: number for number, name in enumerate(self.class_names)}
            chosen &= np.isin(self.labels, [known[name] for name in classes if name in known])
        if partition is not None:
            chosen &= self.partitions == PARTITIONS.index(partition)
        return np.flatnonzero(chosen)

    def offset_scale(self, classes: Sequence[str] | None = None) -> float:
        """Return the standard deviation of the offsets of the training drawings, over x and y together.

        *Source*: Ha and Eck 2018; offsets divided by it have unit variance.

        Raises:
            DataError: if the classes have no training drawings, or all their offsets are equal.
        """
        wanted = set(self.class_names if classes is None else classes)
        moments = np.sum([entry.moments for entry in self.classes if entry.name in wanted], axis=0)
        count, total, squares = (float(value) for value in np.broadcast_to(moments, (3,)))
        variance = squares / count - (total / count) ** 2 if count > 0 else 0.0
        if not 0 < variance < OFFSET_LIMIT**2 * 2:
            raise self._error("has no training drawings of the chosen classes, or their offsets do not vary")
        return math.sqrt(variance)

    def verify(self) -> None:
        """Compare every file with its digest, and raise a DataError for the first that differs."""
        digests: dict[str, str] = self.manifest["digests"]
        files = ["points.bin", *(f"{name}.npy" for name in ("starts", "labels", "partitions", *self.arrays))]
        for name in files:
            if digest(self.path / name) != digests.get(name):
                raise self._error(f"has a file {name} that differs from its digest")


def _are_moments(moments: list[float], rows: int) -> bool:
    """Return whether the values are possible moments of the offsets of `rows` rows."""
    if len(moments) != 3 or not all(abs(value) <= 2 * rows * OFFSET_LIMIT**2 for value in moments):
        return False
    return moments[0] >= 0 and moments[0].is_integer()


def _check_ranges(
    starts: np.ndarray, labels: np.ndarray, partitions: np.ndarray, rows: int, classes: int
) -> None:
    """Check that the drawings are consecutive, and that their classes and partitions exist."""
    if starts[0] != 0 or starts[-1] != rows:
        raise ValueError(f"starts.npy does not cover the {rows} rows of points.bin")
    for first in range(0, len(labels), _BLOCK):
        block = slice(first, first + _BLOCK)
        if (np.diff(starts[first : first + _BLOCK + 1]) < 1).any():
            raise ValueError("a drawing has no rows")
        if labels[block].min() < 0 or labels[block].max() >= classes:
            raise ValueError("a label is not the index of a class")
        if partitions[block].max() >= len(PARTITIONS):
            raise ValueError("a partition is not 0, 1 or 2")


def open_if_current(path: str | Path, about: Mapping[str, Any]) -> DrawingStore | None:
    """Open a store if it exists, is complete and its manifest has these facts; otherwise return None."""
    try:
        store = DrawingStore(path)
    except DataError:
        return None
    current = all(store.manifest.get(key) == value for key, value in about.items())
    return store if current else None


def count_rejected(classes: Iterable[ClassEntry]) -> Counter[str]:
    """Return the total number of excluded drawings, by reason."""
    total: Counter[str] = Counter()
    for entry in classes:
        total.update(entry.rejected)
    return total


def exclusion_summary(store: DrawingStore) -> str:
    """Return a phrase with the number of excluded drawings and the reasons, the most frequent first."""
    rejected = count_rejected(store.classes)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in rejected.most_common())
    return f"{rejected.total():,} excluded" + (f" ({reasons})" if reasons else "")
