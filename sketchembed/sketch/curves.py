"""Sampling of SVG curves: Bézier curves and elliptical arcs (SVG 2, section 9.3 and appendix B.2)."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

MIN_POINTS = 8  # minimum number of inner points of a curve, however short it is
MAX_POINTS = 10_000  # maximum number of inner points of a curve, so that a file cannot exhaust the memory

MIN_RADIUS = 1e-9  # radius of an arc, relative to half its chord, below which it is a straight line

Point = tuple[float, float]


def bezier(points: list[Point], spacing: float) -> Float[np.ndarray, "n 2"]:
    """Sample a Bézier curve at uniform steps of its parameter, without its first point.

    `points` are the start point, one or two control points and the end point. `spacing` is the approximate
    distance between the samples.
    """
    control = np.array(points, dtype=np.float64)
    length = float(np.linalg.norm(np.diff(control, axis=0), axis=1).sum())
    t = _parameter(length, spacing)[:, None]
    # De Casteljau's algorithm.
    between = control[None].repeat(len(t), axis=0)
    while between.shape[1] > 1:
        between = between[:, :-1] * (1 - t[..., None]) + between[:, 1:] * t[..., None]
    return np.asarray(between[:, 0])


def arc(
    start: Point, radii: Point, rotation: float, large: bool, sweep: bool, end: Point, spacing: float
) -> Float[np.ndarray, "n 2"]:
    """Sample an elliptical arc at uniform steps of its angle, without its first point.

    *Source*: SVG 2, appendix B.2.4 and B.2.5. The rotation is in degrees. The arc is the longer of the two
    possible ones if `large`, and its angle increases if `sweep`. Signs of radii are ignored, radii that are
    too small are scaled up, and an arc with a zero radius is a straight line.
    """
    rx, ry = abs(radii[0]), abs(radii[1])
    if start == end:
        return np.zeros((0, 2))
    if not rx or not ry:
        return np.array([end])
    turn = math.radians(rotation)
    axes = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    ends = np.array([start, end], dtype=np.float64)
    x, y = axes @ (ends[0] - ends[1]) / 2
    if min(rx, ry) < MIN_RADIUS * max(abs(x), abs(y)):
        return np.array([end])
    over = (x / rx) ** 2 + (y / ry) ** 2
    if over > 1:
        rx, ry, over = rx * math.sqrt(over), ry * math.sqrt(over), 1.0
    side = math.sqrt(max(0.0, 1 / over - 1)) * (1 if large != sweep else -1)
    centre = side * np.array([rx * y / ry, -ry * x / rx])
    first = math.atan2((y - centre[1]) / ry, (x - centre[0]) / rx)
    last = math.atan2((-y - centre[1]) / ry, (-x - centre[0]) / rx)
    if sweep and last < first:
        last += 2 * math.pi
    elif not sweep and last > first:
        last -= 2 * math.pi
    angle = first + (last - first) * _parameter(abs(last - first) * max(rx, ry), spacing)
    on_axes = np.stack([rx * np.cos(angle), ry * np.sin(angle)], axis=-1) + centre
    points = on_axes @ axes + ends.mean(axis=0)
    points[-1] = ends[1]
    return np.asarray(points)


def _parameter(length: float, spacing: float) -> np.ndarray:
    """Return the curve parameter of each sample, evenly spaced in (0, 1]."""
    return np.linspace(0, 1, int(min(max(length / spacing, MIN_POINTS), MAX_POINTS)) + 2)[1:]
