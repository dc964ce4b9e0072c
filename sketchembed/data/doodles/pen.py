"""The hand that draws the doodles: primitives, each drawn as a person would, never twice the same.

A class of doodles (:mod:`sketchembed.data.doodles.shapes`) says *what* is drawn, in a box of about
100 × 100 units, y down; the pen decides *how*: where a loop starts and which way round it goes, whether
it closes, how far a corner is missed, whether the pen stays on the paper between two parts. One pen draws
one drawing, so habits (direction, carelessness) hold for all its strokes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

Number = float | int
"""Spelt out, since the checks that tests run at each call take no int for a float."""

Point = tuple[Number, Number]
T = TypeVar("T")

_RAMPS = {count: np.linspace(0.0, 1.0, count) for count in range(2, 200)}
_POOL = 256
_SPLINE = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2.0
_POWERS = np.power.outer(np.linspace(0.0, 1.0, 6, endpoint=False), np.arange(4)) @ _SPLINE


class Pen:
    """A pen with its habits, collecting the strokes of one drawing.

    Args:
        rng: where all variation comes from.

    Attributes:
        strokes: so far, each float64 ``[n, 2]``, in units of the box.
        tilt: by how much the whole drawing leans, in degrees, clockwise.
        stretch: width over height, applied to the whole drawing.
        flip: whether the whole drawing is mirrored left to right.
        slop: carelessness, about 0.4 (neat) to 1.6; scales every error of the hand.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        """Choose the habits."""
        self.rng = rng
        self.strokes: list[np.ndarray] = []
        self._pool: list[float] = []
        self.slop = 0.4 + 1.2 * self.between(0, 1) ** 1.5
        self.clockwise = self.chance(0.3)
        self.round_dots = self.chance(0.5)
        self.joins = self.between(0.0, 0.8)
        self.tilt = self.near(0, 3.5 * self.slop)
        self.stretch = math.exp(self.near(0, 0.12))
        self.flip = False

    # ---- chance --------------------------------------------------------------------------------

    def between(self, low: Number, high: Number) -> float:
        """Return a number drawn evenly from [low, high)."""
        if not self._pool:  # numbers one by one from the generator cost ten times as much
            self._pool = self.rng.random(_POOL).tolist()
        return low + (high - low) * self._pool.pop()

    def near(self, value: Number, spread: Number) -> float:
        """Return `value` with a bell-shaped error of standard deviation `spread`, at most 3 of them."""
        return value + 2 * spread * (self.between(0, 1) + self.between(0, 1) + self.between(0, 1) - 1.5)

    def chance(self, probability: Number) -> bool:
        """Return true with a probability."""
        return self.between(0, 1) < probability

    def count(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, both included."""
        return low + int(self.between(0, 1) * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options, each as likely as any other; name one twice to favour it."""
        return options[int(self.between(0, 1) * len(options))]

    # ---- open strokes --------------------------------------------------------------------------

    def path(self, *points: Point, both_ways: bool = True) -> None:
        """Draw straight lines from point to point in one stroke, missing each a little.

        Args:
            points: the corners.
            both_ways: whether it may be drawn from its end.
        """
        corners = np.array(points, dtype=np.float64)
        corners += self.rng.standard_normal(corners.shape) * self.slop * 0.011 * (20 + _reach(corners))
        self._add(self._bowed(corners), both_ways)

    def line(self, x0: Number, y0: Number, x1: Number, y1: Number) -> None:
        """Draw a line from one point to another, or the other way round."""
        self.path((x0, y0), (x1, y1), both_ways=self.chance(0.3))

    def curve(self, *points: Point, both_ways: bool = True) -> None:
        """Draw a smooth stroke through the points (a Catmull-Rom spline)."""
        knots = np.array(points, dtype=np.float64)
        knots += self.rng.standard_normal(knots.shape) * self.slop * 0.011 * (10 + _reach(knots))
        self._add(_spline(np.concatenate([knots[:1], knots, knots[-1:]])), both_ways)

    def arc(self, x: Number, y: Number, rx: Number, ry: Number, start: Number, end: Number) -> None:
        """Draw a part of an ellipse.

        Args:
            x: of the centre.
            y: of the centre.
            rx: half the width.
            ry: half the height.
            start: angle in degrees; 0 is to the right, 90 below.
            end: likewise.
        """
        start, end = self.near(start, 5 * self.slop), self.near(end, 5 * self.slop)
        angle = np.radians(start + (end - start) * _RAMPS[20])
        scale = self.near(1, 0.03 * self.slop)
        spots = np.column_stack([x + scale * rx * np.cos(angle), y + ry / scale * np.sin(angle)])
        self._add(spots + self._slip(max(rx, ry)), self.chance(0.4))

    def zigzag(self, x0: Number, y0: Number, x1: Number, y1: Number, height: Number, turns: int) -> None:
        """Draw a zigzag along a line, `turns` strokes of the pen up or down, `height` from side to side."""
        steps = _RAMPS[turns + 1] + self.rng.standard_normal(turns + 1) * 0.09 / turns * self.slop
        reach = math.hypot(x1 - x0, y1 - y0)
        across = np.array([y0 - y1, x1 - x0]) / reach
        side = np.where(np.arange(turns + 1) % 2, 0.5, -0.5) * height
        side = side * (1 + self.rng.standard_normal(turns + 1) * 0.12 * self.slop)
        self._add(np.array([x0, y0]) + steps[:, None] * [x1 - x0, y1 - y0] + side[:, None] * across, True)

    def spiral(self, x: Number, y: Number, radius: Number, turns: Number) -> None:
        """Draw a spiral of a number of turns, from its centre outwards or inwards."""
        ramp = _RAMPS[int(18 * turns) + 6]
        angle = self.between(0, 2 * math.pi) + self._way() * 2 * math.pi * turns * ramp
        away = radius * ramp ** self.between(0.75, 1.1) * (1 + 0.05 * self.slop * np.sin(angle * 0.9))
        self._add(np.column_stack([x + away * np.cos(angle), y + away * np.sin(angle)]), self.chance(0.3))

    # ---- closed strokes ------------------------------------------------------------------------

    def loop(self, x: Number, y: Number, rx: Number, ry: Number | None = None, turn: Number = 0.0) -> None:
        """Draw a circle or an ellipse: begun anywhere, mostly on top, and not closed with care.

        Args:
            x: of the centre.
            y: of the centre.
            rx: half the width.
            ry: half the height; as `rx` if not given.
            turn: angle by which the ellipse is turned, in degrees, clockwise.
        """
        ry = rx if ry is None else ry
        start = self.between(-math.pi, math.pi) if self.chance(0.25) else self.near(-math.pi / 2, 0.5)
        ramp = _RAMPS[34 if max(rx, ry) > 14 else 16]
        angle = start + self._way() * (2 * math.pi + self._closing()) * ramp
        drift, bulge = self.near(0, 0.05 * self.slop), self.near(0, 0.035 * self.slop)
        radius = 1 + drift * (ramp - 0.5) + bulge * np.cos(2 * angle + self.between(0, 6))
        radius += self.near(0, 0.02 * self.slop) * np.cos(3 * angle + self.between(0, 6))
        spots = np.column_stack([rx * radius * np.cos(angle), ry * radius * np.sin(angle)])
        if turn:
            spots = spots @ rotation(turn)
        self._add(spots + np.array([x, y]) + self._slip(max(rx, ry)), False)

    def bumps(
        self, x: Number, y: Number, rx: Number, ry: Number, lobes: int, depth: Number, span: Number = 360.0
    ) -> None:
        """Draw a scalloped loop, as of a cloud, a tree's crown or a flower's petals, in one stroke.

        Args:
            x: of the centre.
            y: of the centre.
            rx: half the width, to the lobes' tops.
            ry: half the height.
            lobes: how many.
            depth: how deep the notches are, as a part of the radius.
            span: how much of the way round is drawn, in degrees; less leaves a gap at the bottom.
        """
        ramp = _RAMPS[min(9 * lobes + 1, 150)]
        phase = lobes * (ramp + np.interp(ramp, _RAMPS[5], self.rng.normal(0, 0.15 / lobes, 5)))
        angle = math.pi / 2 + math.radians(360 - span) / 2 + math.radians(span) * ramp
        angle = angle + (self.between(0, 6) if span == 360 else 0)
        sizes = 1 + self.rng.normal(0, 0.08 * self.slop, lobes + 1)[phase.astype(int).clip(0, lobes)]
        radius = sizes * (1 - depth * (1 - np.abs(np.sin(math.pi * phase))))
        spots = np.column_stack([x + rx * radius * np.cos(angle), y + ry * radius * np.sin(angle)])
        self._add(spots, True)

    def polygon(self, *corners: Point, split: Number = 0.12) -> None:
        """Draw a closed polygon: begun at a corner, corners missed or rounded, sometimes in two strokes.

        Args:
            corners: in order.
            split: probability that the pen is lifted once on the way.
        """
        spots = np.array(corners, dtype=np.float64)
        spots += self.rng.standard_normal(spots.shape) * self.slop * 0.016 * (10 + _reach(spots))
        start = 0 if self.chance(0.6) else self.count(0, len(spots) - 1)
        spots = np.roll(spots, -start, axis=0)[:: self._way()]
        gap = self._closing() / 10  # past the first corner, or short of it
        end = spots[0] + abs(gap) * ((spots[1] if gap > 0 else spots[-1]) - spots[0])
        spots = np.concatenate([spots, [end + self._slip(0.6 * _reach(spots))]])
        if self.chance(split):
            middle = self.count(1, len(spots) - 2)
            self._add(self._bowed(spots[: middle + 1]), True)
            self._add(self._bowed(spots[middle:] + self._slip(40)), True)
        else:
            spots = _rounded(spots, self.between(0.05, 0.11)) if self.chance(0.18) else self._bowed(spots)
            self._add(spots, False)

    def box(self, x0: Number, y0: Number, x1: Number, y1: Number) -> None:
        """Draw a rectangle between two opposite corners."""
        self.polygon((x0, y0), (x0, y1), (x1, y1), (x1, y0))

    def dot(self, x: Number, y: Number, size: Number = 2.0) -> None:
        """Draw a dot of about `size` units to each side: a small loop or a dash, by habit."""
        if self.round_dots:
            self.loop(x, y, size * self.between(0.8, 1.3), size * self.between(0.8, 1.3))
        else:
            lean = self.near(0, size / 4)
            self.line(x - lean, y - size, x + lean, y + size)

    # ---- the hand ------------------------------------------------------------------------------

    def _add(self, spots: np.ndarray, both_ways: bool) -> None:
        if both_ways and self.chance(0.35):
            spots = spots[::-1]
        if self.strokes and self.chance(self.joins) and np.abs(self.strokes[-1][-1] - spots[0]).max() < 5:
            self.strokes[-1] = np.concatenate([self.strokes[-1], spots])  # the pen stays on the paper
        else:
            self.strokes.append(spots)

    def _way(self) -> int:
        """The direction of a loop: the hand's habit, mostly."""
        return 1 if self.clockwise != self.chance(0.1) else -1

    def _closing(self) -> float:
        """By how much a loop overshoots its start, in radians; negative where it stops short of it."""
        return self.near(0.08, 0.14 * self.slop)

    def _bowed(self, corners: np.ndarray) -> np.ndarray:
        """Bend each side a little, to the one or the other side: two points more on each."""
        steps = np.diff(corners, axis=0)
        bow = self.rng.standard_normal((len(steps), 1)) * (0.018 * self.slop)
        bulge = bow * np.column_stack([-steps[:, 1], steps[:, 0]])
        sides = np.stack(
            [corners[:-1], corners[:-1] + 0.3 * steps + bulge, corners[1:] - 0.3 * steps + bulge], axis=1
        )
        bent: np.ndarray = np.concatenate([sides.reshape(-1, 2), corners[-1:]])
        return bent

    def _slip(self, reach: Number) -> np.ndarray:
        slip: np.ndarray = self.rng.standard_normal(2) * (0.02 * self.slop * (10 + reach))
        return slip


class Shapes(dict[str, Callable[[Pen], None]]):
    """A table of classes: from a name to the function that draws it."""

    def named(self, name: str) -> Callable[[Callable[[Pen], None]], Callable[[Pen], None]]:
        """Return a decorator that enters a function under `name`."""

        def enter(function: Callable[[Pen], None]) -> Callable[[Pen], None]:
            self[name] = function
            return function

        return enter


def ring(x: Number, y: Number, radius: Number, corners: int, first: Number) -> list[Point]:
    """Return the corners of a regular polygon; `first` is the angle of its first corner, in degrees."""
    angles = [math.radians(first + 360 * number / corners) for number in range(corners)]
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


def rotation(degrees: Number) -> np.ndarray:
    """Return the matrix that turns row vectors clockwise on a canvas whose y points down."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, sine], [-sine, cosine]])


def _reach(spots: np.ndarray) -> float:
    """The longer side of the box around some points: the larger a part, the larger its errors."""
    return float(np.ptp(spots, axis=0).max())


def _spline(knots: np.ndarray) -> np.ndarray:
    """The smooth curve through all knots but the first and the last, ``[n, 2]``."""
    windows = np.stack([knots[:-3], knots[1:-2], knots[2:-1], knots[3:]], axis=1)
    return np.concatenate([(_POWERS @ windows).reshape(-1, 2), knots[-2:-1]])


def _rounded(spots: np.ndarray, part: Number) -> np.ndarray:
    """Replace each inner corner by a small bend, which begins at a part of its sides."""
    before, corner, after = spots[:-2], spots[1:-1], spots[2:]
    enter, leave = corner + part * (before - corner), corner + part * (after - corner)
    bend = np.stack([enter, (enter + 2 * corner + leave) / 4, leave], axis=1)
    return np.concatenate([spots[:1], bend.reshape(-1, 2), spots[-1:]])
