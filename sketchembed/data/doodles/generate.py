"""Doodles: drawings made by a program, for where there is neither Quick, Draw! nor a network.

Some 50 classes, composed of a few primitives, with the variation that hands have. They are no
substitute for people's drawings and never pass as such (a store of them has the source ``doodles``), but
they have Quick, Draw!'s form: strokes in a box of 255, simplified with ε = 2, whole coordinates, at
most 64 points. So whatever trains on one trains on the other.

A drawing depends on the seed, the class and its index alone: asking for more keeps the first ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sketchembed.data.doodles.pen import Pen, rotation
from sketchembed.data.doodles.shapes import SHAPES
from sketchembed.data.store import DrawingStore
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError, nearest
from sketchembed.sketch import Sketch, rdp

UNSEEN = ("bus", "dumbbell", "envelope", "hexagon", "lollipop", "moon", "sailboat", "traffic light")
"""The classes held out of training. Each is made of parts that training classes have too: a bus of the
car's wheels and the train's windows, a lollipop of a circle and a stick, an envelope of a square and a
triangle. What a model knows of them, it knows of their parts."""

VERSION = 1
"""Of the generator: raise it with any change to what is drawn, so that older stores are made again."""

BOX = 255
EPSILON = 2.0
MAX_POINTS = 64
_STEP = 6.0
_TRIES = 8
_WAVES = 5


def class_names() -> list[str]:
    """Return the names of all classes, in alphabetic order; Quick, Draw!'s own where it has the class."""
    return sorted(SHAPES)


def doodle(name: str, rng: np.random.Generator) -> Sketch:
    """Draw one doodle.

    Args:
        name: of its class.
        rng: where all variation comes from.

    Returns:
        A drawing of 2 to 64 points with whole coordinates in 0..255; the smallest x and y are 0, the
        largest of both is 255.

    Raises:
        DataError: if there is no such class.
    """
    if name not in SHAPES:
        raise DataError(
            f"there is no class of doodles named '{name}'",
            expected=f"a name such as {nearest(name, SHAPES)}",
            fix="`sketchembed.data.doodles.generate.class_names()` lists all of them",
        )
    for _ in range(_TRIES):  # as with Quick, Draw!, the drawings that are too long are left out
        pen = Pen(rng)
        SHAPES[name](pen)
        strokes = _by_hand(pen)
        sketch = _simplified(strokes, EPSILON)
        if 2 <= len(sketch) <= MAX_POINTS:
            return sketch
    epsilon = EPSILON
    while len(sketch) > MAX_POINTS:  # no luck so often is rare; a coarser drawing is one all the same
        epsilon *= 1.25
        sketch = _simplified(strokes, epsilon)
    return sketch


def drawings(name: str, count: int, seed: int) -> ClassDrawings:
    """Draw the first doodles of a class.

    Of each 28 drawings one is for validation and one for testing, by index: from 28 drawings on there is
    one of each, and about 93 % train.

    Args:
        name: of the class.
        count: how many.
        seed: another seed, other drawings.

    Returns:
        The drawings as stroke-3 rows, int16 ``[n, 3]``, with their partitions.

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
    progress: Callable[[str], None] | None = None,
) -> DrawingStore:
    """Make a store of doodles of all classes, or open the one that is there and is the same.

    Args:
        destination: the store's folder.
        per_class: drawings a class, before those that are too long are left out.
        seed: another seed, other drawings.
        max_length: the longest drawing kept, in points.
        progress: called with the name of each class once it is written.

    Raises:
        DataError: if the folder holds something else than doodles, or cannot be written.
    """
    destination = Path(destination)
    about = {"doodles": {"version": VERSION, "per_class": per_class, "seed": seed, "classes": class_names()}}
    if destination.exists():
        store = DrawingStore(destination)
        if store.source != "doodles":
            raise DataError(
                f"{destination} holds drawings of the source '{store.source}'",
                expected="a folder for doodles",
                fix="Choose another folder; nothing was changed",
            )
        if store.manifest.get("doodles") == about["doodles"] and store.manifest["max_length"] == max_length:
            return store
    classes = (_short(drawings(name, per_class, seed), max_length) for name in class_names())
    return write_store(
        destination, classes, source="doodles", max_length=max_length, about=about, progress=progress
    )


def _short(made: ClassDrawings, max_length: int) -> ClassDrawings:
    """Leave out what is too long, and count it."""
    kept = [pair for pair in made.drawings if len(pair[1]) <= max_length]
    dropped = len(made.drawings) - len(kept)
    return ClassDrawings(made.name, kept, {"too long": dropped} if dropped else {})


# ---- from a pen's strokes to a drawing ---------------------------------------------------------


def _by_hand(pen: Pen) -> list[np.ndarray]:
    """Place the whole drawing as people do, and let the hand tremble.

    Returns:
        Strokes ``[n_i, 2]`` in a box of about 255, a point every few units.
    """
    strokes = pen.strokes
    if len(strokes) > 2 and pen.chance(0.3):  # a part forgotten at first, or drawn before its turn
        strokes.insert(pen.count(0, len(strokes) - 1), strokes.pop(pen.count(0, len(strokes) - 1)))
    width = pen.stretch**0.5
    matrix = np.array([[-width if pen.flip else width, 0.0], [pen.near(0, 0.05 * pen.slop), 1 / width]])
    spots = np.concatenate(strokes) @ matrix @ rotation(pen.tilt)
    spots *= BOX / np.ptp(spots, axis=0).max()
    last = np.cumsum([len(stroke) for stroke in strokes]) - 1
    fine, travelled, ends = _resampled(spots, last)
    return np.split(fine + _tremble(pen, travelled), ends)


def _resampled(spots: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put a point every few units on all strokes at once, keeping those that are there.

    Args:
        spots: all strokes' points, ``[n, 2]``.
        last: index of each stroke's last point.

    Returns:
        The points ``[m, 2]``, the way that the pen has travelled up to each, and where all strokes but the
        first begin.
    """
    steps = np.diff(spots, axis=0)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    parts = np.maximum(np.ceil(lengths / _STEP), 1).astype(np.int64)
    parts[last[:-1]] = 1  # the pen is in the air
    owner = np.repeat(np.arange(len(parts)), parts)
    share = (np.arange(len(owner)) - (np.cumsum(parts) - parts)[owner] + 1) / parts[owner]
    fine = np.concatenate([spots[:1], spots[owner] + share[:, None] * steps[owner]])
    travelled = np.concatenate([[0.0], np.cumsum((lengths / parts)[owner])])
    return fine, travelled, np.cumsum(parts)[last[:-1]]


def _tremble(pen: Pen, travelled: np.ndarray) -> np.ndarray:
    """Return how far the hand strays at each point, ``[n, 2]``: slow waves along its way, and a fine jitter.

    The longer a wave the wider it is, as in handwriting; the shortest are about as long as a small part.
    """
    waves = pen.rng.random((3, _WAVES, 2))
    length = 45.0 * 7.0 ** waves[0]
    width = 0.011 * pen.slop * length * waves[1]
    phases = travelled[:, None, None] * (2 * np.pi / length) + 2 * np.pi * waves[2]
    jitter = pen.rng.standard_normal((len(travelled), 2)) * (0.3 * pen.slop)
    strayed: np.ndarray = jitter + (width * np.sin(phases)).sum(axis=1)
    return strayed


def _simplified(strokes: list[np.ndarray], epsilon: float) -> Sketch:
    """Simplify each stroke, then fit the drawing to its box and round."""
    drawn = Sketch.from_strokes(rdp(stroke, epsilon) for stroke in strokes)
    low = drawn.points.min(axis=0)
    points = np.rint((drawn.points - low) * (BOX / np.ptp(drawn.points, axis=0).max()))
    # Rounded to the same place as the next point, a point says nothing, unless the pen is lifted there.
    stays = np.append(np.any(np.diff(points, axis=0) != 0, axis=1), True) | drawn.lifted
    return Sketch(points[stays], drawn.lifted[stays])
