"""Generate doodles: drawings of simple things, for machines that have neither data nor a network.

They do not replace drawings by people, and their stores have the source ``doodles``. Their format is that of
Quick, Draw!, so that they can be used in its place: strokes in a box of 255, simplified with ε = 2, with
integer coordinates and at most 64 points.

A drawing depends only on the seed, the class and its index, so a larger set contains every smaller one.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np

from sketchembed.data.doodles.pen import Pen
from sketchembed.data.doodles.shapes import SHAPES
from sketchembed.data.store import DrawingStore
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError, nearest
from sketchembed.sketch import Sketch, rdp

UNSEEN = ("bus", "envelope", "hexagon", "lollipop", "moon", "sailboat", "traffic light")
"""Held-out classes. Training classes have the same parts: a bus has the wheels of a car."""
VERSION = 2  # version of the generator; increase it if the drawings change, so that old stores are replaced

BOX = 255
EPSILON = 2.0
MAX_POINTS = 64
_STEP = 6.0
_TRIES = 8
_WAVES = 5


def class_names() -> list[str]:
    """Return the names of all classes in alphabetical order, as in Quick, Draw! if it has the class."""
    return sorted(SHAPES)


def doodle(name: str, rng: np.random.Generator) -> Sketch:
    """Draw one doodle of a class.

    Returns:
        Drawing of 2 to 64 points with integer coordinates. The smallest x and y are 0, and the largest
        coordinate is 255.

    Raises:
        DataError: if there is no such class.
    """
    if name not in SHAPES:
        raise DataError(
            f"there is no class of doodles named '{name}'",
            expected=f"a name such as {nearest(name, SHAPES)}",
            fix="Call `sketchembed.data.doodles.generate.class_names()` for a list of all names",
        )
    epsilon = EPSILON
    for number in range(100):
        if number < _TRIES:
            pen = Pen(rng)
            SHAPES[name](pen)
            strokes = _finish(pen)
        else:  # rare: simplify the last drawing more and more
            epsilon *= 1.25
        sketch = _simplify(strokes, epsilon)
        if 2 <= len(sketch) <= MAX_POINTS:
            break
    return sketch


def drawings(name: str, count: int, seed: int) -> ClassDrawings:
    """Draw the first `count` doodles of a class; one in 28 is for validation and one for testing.

    Raises:
        DataError: if there is no such class.
    """
    made = []
    for index in range(count):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), index])
        partition = {13: 1, 27: 2}.get(index % 28, 0)
        made.append((partition, doodle(name, rng).to_stroke3().astype(np.int16)))
    return ClassDrawings(name, made, {})


def prepare(
    destination: str | Path,
    *,
    per_class: int = 500,
    seed: int = 0,
    max_length: int = MAX_POINTS,
) -> DrawingStore:
    """Write a store of doodles of all classes, or open an existing store of the same doodles.

    Args:
        destination: folder of the store.
        per_class: number of drawings per class, before long drawings are excluded.
        seed: seed of all variation.
        max_length: maximum number of points of a drawing.

    Raises:
        DataError: if the folder contains other data, or cannot be written.
    """
    destination = Path(destination)
    about = {"doodles": {"version": VERSION, "per_class": per_class, "seed": seed, "classes": class_names()}}
    if destination.exists():
        store = DrawingStore(destination)
        if store.source != "doodles":
            raise DataError(
                f"{destination} is a store of the source '{store.source}'",
                expected="a folder for doodles",
                fix="Choose another folder; this one was not changed",
            )
        if store.manifest.get("doodles") == about["doodles"] and store.manifest["max_length"] == max_length:
            return store
    classes = (_exclude_long(drawings(name, per_class, seed), max_length) for name in class_names())
    total = len(class_names())
    return write_store(
        destination, classes, source="doodles", max_length=max_length, about=about, total=total
    )


def _exclude_long(made: ClassDrawings, max_length: int) -> ClassDrawings:
    kept = [pair for pair in made.drawings if len(pair[1]) <= max_length]
    excluded = len(made.drawings) - len(kept)
    return ClassDrawings(made.name, kept, {"too long": excluded} if excluded else {})


def _finish(pen: Pen) -> list[np.ndarray]:
    """Change the order of the strokes, transform the drawing, and add the tremor of the hand.

    The strokes ``[n_i, 2]`` fill a box of about 255, with a point every few units.
    """
    strokes = pen.strokes
    if len(strokes) > 2 and pen.chance(0.3):
        strokes.insert(pen.count(0, len(strokes) - 1), strokes.pop(pen.count(0, len(strokes) - 1)))
    width, angle = pen.stretch**0.5, math.radians(pen.tilt)
    shape = np.array([[-width if pen.flip else width, 0.0], [pen.near(0, 0.05 * pen.slop), 1 / width]])
    rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    matrix = shape @ rotation
    matrix *= BOX / np.ptp(np.concatenate(strokes) @ matrix, axis=0).max()
    waves, finished, travelled = pen.rng.random((3, _WAVES, 2)), [], 0.0
    for stroke in strokes:
        spots, distance = _resample(stroke @ matrix)
        finished.append(spots + _tremor(pen, waves, travelled + distance))
        travelled += distance[-1]
    return finished


def _resample(stroke: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add a point every few units; return the points and their distances along the stroke."""
    distance = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(stroke, axis=0).T))])
    places = np.union1d(distance, np.arange(0.0, distance[-1], _STEP))
    return np.column_stack([np.interp(places, distance, axis) for axis in stroke.T]), places


def _tremor(pen: Pen, waves: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Return the displacement of each point, ``[n, 2]``: slow waves along the stroke, and noise.

    As in handwriting, longer waves are wider. The shortest are about as long as a small part.
    """
    length = 45.0 * 7.0 ** waves[0]
    width = 0.011 * pen.slop * length * waves[1]
    phase = distance[:, None, None] * (2 * np.pi / length) + 2 * np.pi * waves[2]
    noise = pen.rng.standard_normal((len(distance), 2)) * (0.3 * pen.slop)
    displacement: np.ndarray = noise + (width * np.sin(phase)).sum(axis=1)
    return displacement


def _simplify(strokes: list[np.ndarray], epsilon: float) -> Sketch:
    """Simplify each stroke, then fit the drawing to its box and round the coordinates."""
    drawn = Sketch.from_strokes(rdp(stroke, epsilon) for stroke in strokes)
    low = drawn.points.min(axis=0)
    points = np.rint((drawn.points - low) * (BOX / np.ptp(drawn.points, axis=0).max()))
    # Remove points that rounding has moved onto the next point of the stroke.
    kept = np.append(np.any(np.diff(points, axis=0) != 0, axis=1), True) | drawn.lifted
    return Sketch(points[kept], drawn.lifted[kept])
