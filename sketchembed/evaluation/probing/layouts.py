"""Positions of circles and squares in the composed images of the probing tasks.

*Source*: paper section 6; positions and sizes are the released code's, see docs/deviations.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

CANVAS = 28  # side in pixels of the canvas of all positions below
SHAPES = ("circle", "square")  # Quick, Draw! classes of the shapes


class Placed(NamedTuple):
    """A shape of :data:`SHAPES` with the centre and the larger side of its bounding box.

    All are in pixels; y is downwards.
    """

    shape: str
    x: float | int
    y: float | int
    side: float | int


def _tiles(rows: Sequence[str]) -> tuple[Placed, ...]:
    """Return shapes on a centred grid of tiles of 14 pixels: ``o`` for a circle, ``#`` for a square.

    The side of a shape is 11, which leaves the margin that a drawing has on the canvas.
    """
    names = {"o": "circle", "#": "square"}
    left, top = ((CANVAS - 14 * count) / 2 for count in (len(rows[0]), len(rows)))
    return tuple(
        Placed(names[letter], left + 14 * column + 7, top + 14 * row + 7, 11)
        for row, letters in enumerate(rows)
        for column, letter in enumerate(letters)
    )


RELATIONS: dict[str, dict[str, tuple[Placed, ...]]] = {
    "placement": {
        "circles above": _tiles(["oo", "##"]),
        "circles rising": _tiles(["#o", "o#"]),
        "circles below": _tiles(["##", "oo"]),
        "circles falling": _tiles(["o#", "#o"]),
    },
    "nesting": {
        "square in circle": (Placed("circle", 14, 14, 26), Placed("square", 14, 14, 11)),
        "circle in square": (Placed("square", 14, 14, 26), Placed("circle", 14, 14, 11)),
    },
    "orientation": {
        "circle above": _tiles(["o", "#"]),
        "circle left": _tiles(["o#"]),
        "circle below": _tiles(["#", "o"]),
        "circle right": _tiles(["#o"]),
    },
    "count": {
        "one": _tiles(["o"]),
        "two": _tiles(["oo"]),
        "three": (Placed("circle", 7, 14, 11), Placed("circle", 21, 7, 11), Placed("circle", 21, 21, 11)),
        "four": _tiles(["oo", "oo"]),
    },
}
"""Layouts of the relations between shapes, by relation and class."""


@dataclass(frozen=True)
class Variable:
    """A continuous variable of an image of circles, sampled uniformly, and the layout for a value."""

    low: float
    high: float
    unit: str
    layout: Callable[[float], tuple[Placed, ...]]


def _angle(value: float) -> tuple[Placed, ...]:
    right = Placed("circle", 7 + 14 * np.cos(value), 14 - 14 * np.sin(value), PAIRED)
    return Placed("circle", 7, 14, PAIRED), right


def _distance(value: float) -> tuple[Placed, ...]:
    return Placed("circle", 5, 14, PAIRED), Placed("circle", 17 + value, 14, PAIRED)


def _size(value: float) -> tuple[Placed, ...]:
    return (Placed("circle", 14, 14, value),)


PAIRED = 9.0  # side of each of two circles in pixels, the largest with which both stay on the canvas
VARIABLES: dict[str, Variable] = {
    "angle": Variable(-0.52, 0.52, "rad", _angle),
    "distance": Variable(0.0, 6.0, "px", _distance),
    "size": Variable(4.0, 22.0, "px", _size),
}
"""The variables: the angle of the line between two circles at a distance of 14 pixels (upwards is positive),
the distance between the centres of two circles minus 12 pixels, and the side of one circle."""
