"""Curves of SVG paths as points: Bézier curves and elliptical arcs (SVG 2, section 9.3 and appendix B.2)."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

LEAST = 8
"""Pieces of a curve, however short it is."""
MOST = 10_000
"""Pieces of a curve, however long it says it is: a file must not fill the memory."""

LEAST_RADIUS = 1e-9
"""Of an arc, as a part of half the way that it leads; below it the ellipse is a line."""

Point = tuple[float, float]


def bezier(points: list[Point], spacing: float) -> Float[np.ndarray, "n 2"]:
    """Return places along a Bézier curve, even in its parameter, without its first point.

    Args:
        points: where it starts, its control points, and where it ends: 3 of a quadratic curve, 4 of a
            cubic one.
        spacing: about how far the places are apart, in the curve's unit.
    """
    control = np.array(points, dtype=np.float64)
    if not np.isfinite(control).all():
        return control  # for the caller to refuse
    length = float(np.linalg.norm(np.diff(control, axis=0), axis=1).sum())
    t = _parameter(length, spacing)[:, None]
    # De Casteljau: between the control points, then between what is between them.
    between = control[None].repeat(len(t), axis=0)
    while between.shape[1] > 1:
        between = between[:, :-1] * (1 - t[..., None]) + between[:, 1:] * t[..., None]
    return np.asarray(between[:, 0])


def arc(
    start: Point, radii: Point, rotation: float, large: bool, sweep: bool, end: Point, spacing: float
) -> Float[np.ndarray, "n 2"]:
    """Return places along an elliptical arc, even in its angle, without its first point.

    *Source*: SVG 2, appendix B.2.4 and B.2.5: from its ends to its centre; radii too small are enlarged,
    and an arc without a radius is a straight line.

    Args:
        start: where it starts.
        radii: of the ellipse; their signs count nothing.
        rotation: of the ellipse's x axis, in degrees.
        large: whether it is the longer of the two arcs.
        sweep: whether its angle grows.
        end: where it ends.
        spacing: about how far the places are apart.
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
    if min(rx, ry) < LEAST_RADIUS * max(abs(x), abs(y)):
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
    places = on_axes @ axes + ends.mean(axis=0)
    places[-1] = ends[1]
    return np.asarray(places)


def _parameter(length: float, spacing: float) -> np.ndarray:
    return np.linspace(0, 1, int(min(max(length / spacing, LEAST), MOST)) + 2)[1:]
