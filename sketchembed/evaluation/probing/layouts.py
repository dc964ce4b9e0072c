"""Where circles and squares lie in the pictures whose relations and variables are asked about.

*Source*: paper section 6; places and sizes are the released code's, see docs/deviations.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

CANVAS = 28
"""Side in pixels of the canvas that all places below are on."""
SHAPES = ("circle", "square")
"""The Quick, Draw! classes that are composed."""


class Placed(NamedTuple):
    """A shape at its place.

    Attributes:
        shape: one of :data:`SHAPES`.
        x: middle of its box, in pixels.
        y: the same, down.
        side: the larger side of its box, in pixels.
    """

    shape: str
    x: float | int
    y: float | int
    side: float | int


def _tiles(rows: Sequence[str]) -> tuple[Placed, ...]:
    """Lay out tiles of 14 pixels, in the middle of the canvas: ``o`` a circle, ``#`` a square.

    A shape has the margin in its tile that a drawing has on the canvas, so its side is 11.
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
"""Relations between the same objects, by name: for each of its classes, what lies where."""


@dataclass(frozen=True)
class Variable:
    """A number that a picture of circles has.

    Attributes:
        low: the smallest value; values are uniform from here.
        high: the largest value.
        unit: of the value.
        layout: from a value to what lies where.
    """

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


PAIRED = 9.0
"""Side of each of two circles in pixels: as large as leaves both on the canvas at the largest distance."""
VARIABLES: dict[str, Variable] = {
    "angle": Variable(-0.52, 0.52, "rad", _angle),
    "distance": Variable(0.0, 6.0, "px", _distance),
    "size": Variable(4.0, 22.0, "px", _size),
}
"""What of two circles, or of one, is to be found again: the angle at which the right one lies from the left
one, 14 pixels away, upwards; how much farther apart than 12 pixels their middles are; the side of one."""
