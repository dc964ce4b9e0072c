"""Read the three published forms of a Quick, Draw! class file into the same stroke-3 rows.

=========== ============================================= ====================================
form        a drawing is                                  partitions
=========== ============================================= ====================================
``.npz``    int16 rows (dx, dy, lift) in an object array  as published: train, valid, test
``.ndjson`` a line of JSON, strokes ``[[xs], [ys]]``      by the key, see :func:`key_partition`
``.bin``    the same strokes, packed in bytes             by the key
=========== ============================================= ====================================

The first offset of a drawing is (0, 0) in all forms. Drawings that the game did not recognize are kept.

Excluded drawings are counted by reason: ``too long``, ``fewer than two points``, ``not finite``, ``offsets
out of range`` (beyond ±1000), ``malformed``. A file is refused if more than 1 % of its drawings are
malformed.
"""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sketchembed.data.sources.object_arrays import opening_bytes, read_object_arrays
from sketchembed.data.store import OFFSET_LIMIT, PARTITIONS
from sketchembed.data.store_writer import ClassDrawings
from sketchembed.errors import DataError

MALFORMED_LIMIT = 0.01  # largest share of malformed drawings in a file
LINE_LIMIT = 4 << 20  # longest line in bytes that is read; published lines have a few thousand
PACKED_HEADER = struct.Struct("<Q2sbIH")  # key, country, recognized, time in s, number of strokes

_FLUSH = 4096  # drawings that are converted to rows at once
_SIMPLIFIED = "a simplified .ndjson file: one JSON drawing a line, strokes of two equally long lists"
_PACKED = "whole drawings in the packed binary format"


def key_partition(key: int) -> int:
    """Return the partition of a drawing that was published without one: 0 train, 1 valid, 2 test.

    It is computed from the CRC-32 of the eight little-endian bytes of the `key_id`, modulo 30. Of 30
    drawings, 28 are for training and one each for validation and testing, as in the published partitions.
    It depends on the key alone, so it is the same in both forms and for any part of a file.

    Raises:
        OverflowError: if the key is not in 0 to 2^64 - 1.
    """
    return (2, 1)[remainder] if (remainder := zlib.crc32(key.to_bytes(8, "little")) % 30) < 2 else 0


def read_npz(path: str | Path, name: str, max_length: int, per_class: int | None = None) -> ClassDrawings:
    """Read a sketch-rnn `.npz` file; see :func:`read_class`.

    Each partition keeps its first drawings, and a share of `per_class` in proportion to its size.
    """
    arrays = read_object_arrays(path, PARTITIONS)
    rejected: Counter[str] = Counter()
    fit: list[np.ndarray] = []
    parts: list[int] = []
    for part, partition in enumerate(PARTITIONS):
        for rows in arrays[partition]:
            if rows.ndim != 2 or rows.shape[1] != 3:
                rejected["malformed"] += 1
            elif not (reason := _misfit(len(rows), max_length)):
                fit.append(rows)
                parts.append(part)
            else:
                rejected[reason] += 1
    kept = _keep(np.concatenate(fit), [len(rows) for rows in fit], parts, rejected) if fit else []
    total = sum(len(drawings) for drawings in arrays.values())
    if rejected["malformed"] > MALFORMED_LIMIT * total:
        raise DataError(
            f"{path} has {rejected['malformed']} malformed drawings of {total}",
            expected="arrays of rows (dx, dy, lift) with lift 0 or 1",
            fix="Check that this is the sketch-rnn form of the class, and download it again",
        )
    if per_class is not None and len(kept) > per_class:
        counts = np.bincount([part for part, _ in kept], minlength=3)
        place = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in counts])
        kept = [kept[number] for number in np.sort(np.argsort(place, kind="stable")[:per_class])]
    return ClassDrawings(name, kept, dict(+rejected))


def read_ndjson(path: str | Path, name: str, max_length: int, per_class: int | None = None) -> ClassDrawings:
    """Read a simplified `.ndjson` file line by line; see :func:`read_class`. Malformed lines are skipped."""
    opening_bytes(path, _SIMPLIFIED)
    collector = _Collector("d", max_length, per_class)
    lines, malformed, first_bad = 0, 0, 0
    with Path(path).open("rb") as file:
        while not collector.full and (line := file.readline(LINE_LIMIT)):
            if line.isspace():
                continue
            lines += 1
            try:
                drawing = json.loads(line)
                part = key_partition(int(drawing["key_id"]))
                collector.add(part, [_pair(stroke) for stroke in drawing["drawing"]])
            except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
                malformed += 1
                first_bad = first_bad or lines
    if malformed > MALFORMED_LIMIT * lines:
        raise DataError(
            f"{path} has {malformed} malformed lines of {lines}, the first is line {first_bad}",
            expected=_SIMPLIFIED,
            fix="Delete it and download the simplified (not the raw) form again",
        )
    collector.rejected["malformed"] += malformed
    return collector.finish(name)


def read_bin(path: str | Path, name: str, max_length: int, per_class: int | None = None) -> ClassDrawings:
    """Read a packed `.bin` file drawing by drawing; see :func:`read_class`."""
    opening_bytes(path, _PACKED)
    collector = _Collector("B", max_length, per_class)
    number = 0
    with Path(path).open("rb", buffering=1 << 20) as file:

        def take(count: int) -> bytes:
            if len(data := file.read(count)) < count:
                what = f"{path} ends in the middle of drawing {number} (byte {file.tell()})"
                raise DataError(what, expected=_PACKED, fix="Delete it and download it again")
            return data

        while not collector.full and (header := file.read(PACKED_HEADER.size)):
            number += 1
            header += take(PACKED_HEADER.size - len(header))
            key, _, recognised, _, count = PACKED_HEADER.unpack(header)
            if recognised not in (0, 1):
                raise DataError(
                    f"{path} has no packed drawing at drawing {number} (byte {file.tell() - len(header)})",
                    expected=_PACKED,
                    fix="Delete it and download it again",
                )
            strokes, points = [], 0
            for _ in range(count):
                length = int.from_bytes(take(2), "little")
                xs, ys = take(length), take(length)
                points += length
                if points <= max_length:  # drawings that are too long are not collected
                    strokes.append((xs, ys))
            collector.add(key_partition(key), strokes, points)
    return collector.finish(name)


READERS: dict[str, Callable[[str | Path, str, int, int | None], ClassDrawings]] = {
    ".npz": read_npz,
    ".ndjson": read_ndjson,
    ".bin": read_bin,
}
"""The reader of each form, in the order of preference."""


def read_class(path: str | Path, name: str, max_length: int, per_class: int | None = None) -> ClassDrawings:
    """Read a class file in the form of its suffix.

    Args:
        path: path of the file.
        name: name of the class.
        max_length: drawings with more points are excluded.
        per_class: stop after this number of kept drawings; read all by default.

    Returns:
        The drawings, int16 ``[n, 3]`` in units of a canvas of 0 to 255, in the file's order.

    Raises:
        DataError: if the file does not have the form of its suffix, is incomplete, or is malformed.
    """
    reader = READERS.get(Path(path).suffix)
    if reader is None:
        raise DataError(
            f"{path} has an unknown form",
            expected=f"a name that ends in {', '.join(READERS)}",
            fix="Download one of the published forms",
        )
    return reader(path, name, max_length, per_class)


def _misfit(points: int, max_length: int) -> str:
    if points > max_length:
        return "too long"
    return "fewer than two points" if points < 2 else ""


def _pair(stroke: Any) -> tuple[list[Any], list[Any]]:
    xs, ys = stroke
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
        raise ValueError("not two equally long lists")
    return xs, ys


def _keep(
    flat: np.ndarray, lengths: list[int], parts: list[int], rejected: Counter[str]
) -> list[tuple[int, np.ndarray]]:
    """Return the valid drawings as int16, and count the others in `rejected`.

    The rows of all drawings ``[sum(lengths), 3]`` are in `flat`, at least one each.
    """
    starts = np.concatenate([[0], np.cumsum(lengths)])
    bad = np.zeros(len(lengths), dtype=bool)
    tests = {
        "not finite": ~np.isfinite(flat),
        "offsets out of range": (flat[:, :2] > OFFSET_LIMIT) | (flat[:, :2] < -OFFSET_LIMIT),
        "malformed": (flat[:, 2:] != 0) & (flat[:, 2:] != 1),
    }
    for reason, rows in tests.items():
        if rows.any():
            hit = np.logical_or.reduceat(rows.any(axis=1), starts[:-1]) & ~bad
            rejected[reason] += int(hit.sum())
            bad |= hit
    if flat.dtype.kind == "f":
        flat = np.where(np.repeat(bad, lengths)[:, None], 0, np.rint(flat))
    rows16 = flat.astype("<i2", copy=False)
    ends = starts.tolist()
    return [
        (part, rows16[start:end])
        for part, start, end, out in zip(parts, ends[:-1], ends[1:], bad.tolist(), strict=True)
        if not out
    ]


class _Collector:
    """Collects drawings of absolute points (type ``B`` or ``d``), and converts many at once to rows."""

    def __init__(self, code: str, max_length: int, per_class: int | None) -> None:
        self.max_length = max_length
        self.left = per_class
        self.rejected: Counter[str] = Counter()
        self.kept: list[tuple[int, np.ndarray]] = []
        self.xs, self.ys = array(code), array(code)
        self.ends: list[int] = []
        self.lengths: list[int] = []
        self.parts: list[int] = []

    @property
    def full(self) -> bool:
        """Whether the wanted number of drawings is kept."""
        return self.left is not None and self.left <= 0

    def add(self, part: int, strokes: list[tuple[Any, Any]], points: int | None = None) -> None:
        """Add a drawing, or count the reason for its exclusion.

        A stroke is a pair of x and y coordinates. If `strokes` is incomplete, `points` is the total number.

        Raises:
            TypeError, OverflowError: if a coordinate is not a number. Nothing is added then.
        """
        start = len(self.xs)
        points = sum(len(xs) for xs, _ in strokes) if points is None else points
        if reason := _misfit(points, self.max_length):
            self.rejected[reason] += 1
            return
        ends = []
        try:
            for xs, ys in strokes:
                self.xs.extend(xs)
                self.ys.extend(ys)
                if xs:
                    ends.append(len(self.xs) - 1)
        except (TypeError, OverflowError):
            del self.xs[start:], self.ys[start:]
            raise
        self.ends += ends
        self.lengths.append(points)
        self.parts.append(part)
        if len(self.lengths) >= (_FLUSH if self.left is None else min(_FLUSH, self.left)):
            self._flush()

    def _flush(self) -> None:
        rows = np.zeros((len(self.xs), 3))
        with np.errstate(invalid="ignore"):  # _keep excludes infinite points
            rows[1:, 0] = np.diff(np.rint(np.frombuffer(self.xs, dtype=self.xs.typecode).astype(float)))
            rows[1:, 1] = np.diff(np.rint(np.frombuffer(self.ys, dtype=self.ys.typecode).astype(float)))
        rows[np.cumsum([0, *self.lengths[:-1]]), :2] = 0
        rows[self.ends, 2] = 1
        fresh = _keep(rows, self.lengths, self.parts, self.rejected)
        self.kept += fresh
        self.left = None if self.left is None else self.left - len(fresh)
        self.xs, self.ys = array(self.xs.typecode), array(self.ys.typecode)
        self.ends, self.lengths, self.parts = [], [], []

    def finish(self, name: str) -> ClassDrawings:
        """Return the collected drawings."""
        if self.lengths:
            self._flush()
        return ClassDrawings(name, self.kept, dict(+self.rejected))
