"""KanjiVG: the strokes of some 6,700 Japanese characters, as further drawings without labels.

This goes beyond the paper, which had 21 million drawings; it is for those who have thousands. The characters
come as the package ``kanjivg`` of the Python Package Index (KanjiVG, Ulrich Apel, CC BY-SA 3.0), an SVG file
each, whose paths are the strokes in the order in which they are written.
"""

from __future__ import annotations

import re
from collections import Counter
from importlib import metadata
from pathlib import Path

import numpy as np

from sketchembed.data.store_writer import ClassDrawings
from sketchembed.errors import DataError
from sketchembed.sketch import Sketch

PACKAGE = "kanjivg"
CLASS = "kanji"
"""One class holds all characters: there are no two drawings of the same."""
SIDE, PUBLISHED_EPSILON = 255.0, 2.0
"""A drawing's larger side, and the tolerance to which it is simplified, of Quick, Draw!'s published files."""
_PLAIN = re.compile(r"[0-9a-f]+\.svg")
"""A file of a character in its usual form; variants of it have a name behind the number."""


def files() -> list[Path]:
    """Return the files of the characters, in order, their variants left out.

    Raises:
        DataError: if the package is not installed, or holds none.
    """
    try:
        listed = metadata.distribution(PACKAGE).files or []
    except metadata.PackageNotFoundError:
        listed = []
    found = sorted(Path(str(entry.locate())) for entry in listed if _PLAIN.fullmatch(entry.name))
    if not found:
        raise DataError(
            f"the package {PACKAGE} is not installed, or holds no characters",
            expected="the strokes of KanjiVG, which `kanji: true` asks for",
            fix="Install it (pip install kanjivg), or set data.init_args.kanji to false",
        )
    return found


def version() -> str:
    """Return the version of the characters.

    Raises:
        DataError: if the package is not installed.
    """
    files()
    return metadata.version(PACKAGE)


def read(max_length: int, epsilon: float | int) -> ClassDrawings:
    """Read the characters as drawings like those of Quick, Draw!, all of which train.

    Args:
        max_length: longer drawings are left out, in points.
        epsilon: tolerance of the simplification, in 255ths of a drawing's larger side; 2 at least, since the
            curves come as points close to each other, and Quick, Draw!'s files were published so.

    Raises:
        DataError: if the package is not installed, or a file of it is damaged.
    """
    drawings, rejected = [], Counter[str]()
    for path in files():
        drawn = Sketch.from_svg(path)
        if len(drawn) < 2:
            rejected["no strokes"] += 1
            continue
        simple = drawn.fit(SIDE).simplified(max(epsilon, PUBLISHED_EPSILON))
        rows = Sketch(simple.points.round(), simple.lifted).to_stroke3()
        if len(rows) > max_length:
            rejected["too long"] += 1
            continue
        drawings.append((0, rows.astype(np.int16)))
    return ClassDrawings(CLASS, drawings, dict(rejected))
