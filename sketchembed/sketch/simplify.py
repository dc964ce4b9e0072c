"""Simplification of polylines by the Ramer-Douglas-Peucker algorithm."""

from __future__ import annotations

from typing import Literal

import numpy as np

Distance = Literal["line", "segment"]


def rdp(points: np.ndarray, epsilon: float | int, distance: Distance = "line") -> np.ndarray:
    """Simplify a polyline by the Ramer-Douglas-Peucker algorithm, which keeps both ends.

    *Source*: Douglas and Peucker 1973; paper appendix H.2 (ε = 2 for Omniglot) and H.3 (5 for Sketchy).

    Args:
        points: ``[n, 2]``.
        epsilon: maximum distance of a removed point from the chord, in the unit of the points.
        distance: ``"line"`` measures to the infinite line through the chord, as the released code does;
            ``"segment"`` measures to the chord itself, as most other libraries do.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) < 3:
        return points
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    pending = [(0, len(points) - 1)]
    while pending:
        first, last = pending.pop()
        if last - first < 2:
            continue
        gaps = _chord_distance(points[first + 1 : last], points[first], points[last], distance)
        farthest = int(gaps.argmax())
        if gaps[farthest] > epsilon:
            middle = first + 1 + farthest
            keep[middle] = True
            pending += [(first, middle), (middle, last)]
    return points[keep]


def _chord_distance(points: np.ndarray, start: np.ndarray, end: np.ndarray, kind: Distance) -> np.ndarray:
    chord, offsets = end - start, points - start
    squared = float(chord @ chord)
    if squared == 0.0:
        return _length(offsets)
    if kind == "line":
        across: np.ndarray = np.abs(chord[0] * offsets[:, 1] - chord[1] * offsets[:, 0]) / np.sqrt(squared)
        return across
    nearest = np.clip(offsets @ chord / squared, 0.0, 1.0)[:, None] * chord
    return _length(offsets - nearest)


def _length(vectors: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.hypot(vectors[:, 0], vectors[:, 1])
    return lengths
