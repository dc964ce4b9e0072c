"""Pen that draws lines, curves, loops and polygons with the variation of a human hand.

A class of doodles (:mod:`sketchembed.data.doodles.shapes`) defines its parts in a box of about 100 × 100
units, with y down. The pen adds the variation: where a loop starts, its direction, gaps, missed corners and
joined strokes. One pen draws one drawing, so its habits are the same for all strokes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Number = float | int  # the runtime type checks of the tests do not accept an int for a float

Point = tuple[Number, Number]
T = TypeVar("T")

_SPLINE = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2.0
_WEIGHTS = np.power.outer(np.linspace(0.0, 1.0, 6, endpoint=False), np.arange(4)) @ _SPLINE
"""Weights of four consecutive knots at six points of a Catmull-Rom spline."""


class Pen:
    """Pen that collects the strokes of one drawing.

    Args:
        rng: source of all variation.

    Attributes:
        strokes: strokes so far, each float64 ``[n, 2]``, in units of the box.
        tilt: clockwise rotation of the whole drawing, in degrees.
        stretch: ratio of width to height, applied to the whole drawing.
        flip: whether to mirror the whole drawing left to right.
        slop: carelessness, from 0.4 (neat) to 1.6; scales all errors of the hand.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.strokes: list[np.ndarray] = []
        self.slop = 0.4 + 1.2 * self.between(0, 1) ** 1.5
        self.clockwise = self.chance(0.3)
        self.round_dots = self.chance(0.5)
        self.joins = self.between(0.0, 0.8)
        self.tilt = self.near(0, 3.5 * self.slop)
        self.stretch = math.exp(self.near(0, 0.12))
        self.flip = False

    # ---- random choices ------------------------------------------------------------------------

    def between(self, low: Number, high: Number) -> float:
        """Return a uniform random number in [low, high)."""
        return low + (high - low) * self.rng.random()

    def near(self, value: Number, spread: Number) -> float:
        """Return `value` with a bell-shaped error: standard deviation `spread`, maximum three times that."""
        return value + 2 * spread * (self.rng.random() + self.rng.random() + self.rng.random() - 1.5)

    def chance(self, probability: Number) -> bool:
        """Return True with a probability."""
        return self.rng.random() < probability

    def count(self, low: int, high: int) -> int:
        """Return a random integer from `low` to `high`, both included."""
        return low + int(self.rng.random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options at random."""
        return options[self.count(0, len(options) - 1)]

    # ---- open strokes --------------------------------------------------------------------------

    def path(self, *points: Point) -> None:
        """Draw straight lines from point to point in one stroke, with small errors."""
        self._add(self._bow(self._misplace(points, 20)))

    def line(self, x0: Number, y0: Number, x1: Number, y1: Number) -> None:
        """Draw a line between two points."""
        self.path((x0, y0), (x1, y1))

    def curve(self, *points: Point) -> None:
        """Draw a smooth stroke through the points (a Catmull-Rom spline)."""
        knots = self._misplace(points, 10)
        knots = np.concatenate([knots[:1], knots, knots[-1:]])
        windows = np.stack([knots[:-3], knots[1:-2], knots[2:-1], knots[3:]], axis=1)
        self._add(np.concatenate([(_WEIGHTS @ windows).reshape(-1, 2), knots[-1:]]))

    def arc(self, x: Number, y: Number, rx: Number, ry: Number, start: Number, end: Number) -> None:
        """Draw a part of an ellipse with centre (x, y), half width rx and half height ry.

        The angles are in degrees: 0 is to the right, 90 is down.
        """
        start, end = self.near(start, 5 * self.slop), self.near(end, 5 * self.slop)
        angle = np.radians(np.linspace(start, end, 20))
        scale = self.near(1, 0.03 * self.slop)
        spots = np.column_stack([x + scale * rx * np.cos(angle), y + ry / scale * np.sin(angle)])
        self._add(spots + self._slip(max(rx, ry)))

    # ---- closed strokes ------------------------------------------------------------------------

    def loop(self, x: Number, y: Number, rx: Number, ry: Number | None = None) -> None:
        """Draw a circle of radius rx, or an ellipse. It begins at a random place and is not quite closed."""
        ry = rx if ry is None else ry
        start = self.between(-math.pi, math.pi) if self.chance(0.25) else self.near(-math.pi / 2, 0.5)
        ramp = np.linspace(0.0, 1.0, 34 if max(rx, ry) > 14 else 16)
        angle = start + self._direction() * (2 * math.pi + self._overshoot()) * ramp
        drift, bulge = self.near(0, 0.05 * self.slop), self.near(0, 0.035 * self.slop)
        radius = 1 + drift * (ramp - 0.5) + bulge * np.cos(2 * angle + self.between(0, 6))
        radius += self.near(0, 0.02 * self.slop) * np.cos(3 * angle + self.between(0, 6))
        spots = np.column_stack([x + rx * radius * np.cos(angle), y + ry * radius * np.sin(angle)])
        self._add(spots + self._slip(max(rx, ry)), closed=True)

    def bumps(self, x: Number, y: Number, rx: Number, ry: Number, lobes: int, depth: Number) -> None:
        """Draw a scalloped loop, such as a cloud; notches have a `depth` as a fraction of the radius."""
        ramp = np.linspace(0.0, 1.0, 9 * lobes + 1)
        phase = lobes * (ramp + np.interp(ramp, np.linspace(0, 1, 5), self.rng.normal(0, 0.15 / lobes, 5)))
        angle = self.between(0, 2 * math.pi) + 2 * math.pi * ramp
        sizes = 1 + self.rng.normal(0, 0.08 * self.slop, lobes + 1)[phase.astype(int).clip(0, lobes)]
        radius = sizes * (1 - depth * (1 - np.abs(np.sin(math.pi * phase))))
        self._add(np.column_stack([x + rx * radius * np.cos(angle), y + ry * radius * np.sin(angle)]))

    def polygon(self, *corners: Point) -> None:
        """Draw a closed polygon, which begins at a random corner and is not quite closed."""
        spots = self._misplace(corners, 10, error=0.016)
        start = 0 if self.chance(0.6) else self.count(0, len(spots) - 1)
        spots = np.roll(spots, -start, axis=0)[:: self._direction()]
        gap = self._overshoot() / 10
        end = spots[0] + abs(gap) * ((spots[1] if gap > 0 else spots[-1]) - spots[0])
        spots = np.concatenate([spots, [end + self._slip(0.6 * _extent(spots))]])
        self._add(self._bow(spots), closed=True)

    def box(self, x0: Number, y0: Number, x1: Number, y1: Number) -> None:
        """Draw a rectangle between two opposite corners."""
        self.polygon((x0, y0), (x0, y1), (x1, y1), (x1, y0))

    def dot(self, x: Number, y: Number, size: Number = 2.0) -> None:
        """Draw a small loop or a dash, depending on the habit of the pen; `size` is half its height."""
        if self.round_dots:
            self.loop(x, y, size * self.between(0.8, 1.3), size * self.between(0.8, 1.3))
        else:
            self.line(x, y - size, x, y + size)

    # ---- errors of the hand --------------------------------------------------------------------

    def _add(self, spots: np.ndarray, closed: bool = False) -> None:
        """Add a stroke; sometimes reverse it if it is open, or join it to the stroke before."""
        if not closed and self.chance(0.25):
            spots = spots[::-1]
        if self.strokes and self.chance(self.joins) and np.abs(self.strokes[-1][-1] - spots[0]).max() < 5:
            self.strokes[-1] = np.concatenate([self.strokes[-1], spots])
        else:
            self.strokes.append(spots)

    def _direction(self) -> int:
        """Return the direction of a closed stroke: usually the habit of the pen."""
        return 1 if self.clockwise != self.chance(0.1) else -1

    def _overshoot(self) -> float:
        """Return the angle by which a loop passes its start, in radians; negative if it is not closed."""
        return self.near(0.08, 0.14 * self.slop)

    def _misplace(self, points: Sequence[Point], base: Number, error: Number = 0.011) -> np.ndarray:
        """Return the points with errors that are larger for a larger shape."""
        spots = np.array(points, dtype=np.float64)
        spots += self.rng.standard_normal(spots.shape) * self.slop * error * (base + _extent(spots))
        return spots

    def _bow(self, corners: np.ndarray) -> np.ndarray:
        """Bend each side a little by adding two points."""
        steps = np.diff(corners, axis=0)
        bow = self.rng.standard_normal((len(steps), 1)) * (0.018 * self.slop)
        bulge = bow * np.column_stack([-steps[:, 1], steps[:, 0]])
        sides = np.stack(
            [corners[:-1], corners[:-1] + 0.3 * steps + bulge, corners[1:] - 0.3 * steps + bulge], axis=1
        )
        bent: np.ndarray = np.concatenate([sides.reshape(-1, 2), corners[-1:]])
        return bent

    def _slip(self, extent: Number) -> np.ndarray:
        """Return a random displacement of a part."""
        slip: np.ndarray = self.rng.standard_normal(2) * (0.02 * self.slop * (10 + extent))
        return slip


def ring(x: Number, y: Number, radius: Number, corners: int, first: Number = 0) -> list[Point]:
    """Return the corners of a regular polygon; `first` is the angle of the first corner, in degrees."""
    angles = [math.radians(first + 360 * number / corners) for number in range(corners)]
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


def _extent(spots: np.ndarray) -> float:
    """Return the longer side of the bounding box of some points."""
    return float(np.ptp(spots, axis=0).max())
