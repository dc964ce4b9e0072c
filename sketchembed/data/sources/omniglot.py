"""Omniglot: the published files, and a store of the pen strokes.

*Source*: Lake et al. 2015; paper section 5 and appendix H.2. A stroke file lists points ``x,y,t`` between
``START`` and ``BREAK`` lines, in pixels of a square of 105 with y negative downwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from sketchembed.data.sources.splits import read_names
from sketchembed.data.store import DrawingStore, open_if_current
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError
from sketchembed.files.progress_bar import track
from sketchembed.files.reading import read_file, zip_files
from sketchembed.sketch import Sketch

SUFFIXES = {"strokes": ".txt", "images": ".png"}
LIMITS = {"strokes": 1 << 18, "images": 1 << 20}  # in bytes; published files have thousands and hundreds
FAR = 1e6  # largest coordinate in pixels; published drawings stay within the square
EPSILON = 2.0  # tolerance of the simplification, in pixels (paper appendix H.2)
SPLIT = ("train", "val", "test")  # parts of the Vinyals split, in the order of a store's partitions
ROTATIONS = (0, 90, 180, 270)
LAKE_PARTS = ("background", "evaluation")  # parts of the published files (Lake et al. 2015)
CHARACTERS = 1623
AGAIN = "Download the files again"


def vinyals_split() -> dict[str, list[str]]:
    """Return the characters (``Alphabet/character01``) of the parts ``train``, ``val`` and ``test``."""
    return {part: read_names(f"omniglot_vinyals_{part}") for part in SPLIT}


def published_files(folder: Path, kind: Literal["strokes", "images"]) -> Iterator[tuple[str, str, bytes]]:
    """Yield character (``Alphabet/character01``), name (``0001_01``) and content of every published file.

    Args:
        folder: folder with ``KIND_background`` and ``KIND_evaluation``, as zip files or folders.
        kind: strokes or images.

    Raises:
        DataError: if the files are missing, or a zip is damaged.
    """
    suffix, most = SUFFIXES[kind], LIMITS[kind]
    for part in LAKE_PARTS:
        archive, unpacked = folder / f"{kind}_{part}.zip", folder / f"{kind}_{part}"
        if archive.is_file():
            wanted = re.compile(rf"(?:.*/)?[^/]+/[^/]+/[^/]+\{suffix}", re.DOTALL).fullmatch
            for entry, content in zip_files(
                archive, wanted, expected=f"the published zip of {kind}", most=most
            ):
                alphabet, character, name = entry.split("/")[-3:]
                yield f"{alphabet}/{character}", Path(name).stem, content
        elif unpacked.is_dir():
            for path in sorted(unpacked.glob(f"*/*/*{suffix}")):
                character = f"{path.parts[-3]}/{path.parts[-2]}"
                name, expected = f"{character}/{path.name}", f"one of the {kind}"
                yield character, path.stem, read_file(path, name, expected=expected, fix=AGAIN, most=most)
        else:
            raise DataError(
                f"there is no {archive.name} and no folder {unpacked.name} in {folder}",
                expected=f"the {kind} of Omniglot (github.com/brendenlake/omniglot, python/)",
                fix=f"Put {kind}_background.zip and {kind}_evaluation.zip there, or set SKETCHEMBED_DATA",
            )


def published_strokes(folder: Path) -> Iterator[tuple[str, str, Sketch]]:
    """Yield character, name and simplified drawing of every stroke file.

    Raises:
        DataError: if files are missing or damaged.
    """
    files = published_files(folder, "strokes")
    for character, name, content in track(files, "Reading Omniglot strokes", 20 * CHARACTERS):
        sketch = parse_strokes(content.decode("utf-8", errors="replace"), f"{character}/{name}.txt")
        yield character, name, simplify(sketch)


def parse_strokes(text: str, name: str = "the text") -> Sketch:
    """Read one drawing.

    Args:
        text: content of the file.
        name: name of the file, for messages.

    Returns:
        The drawing in pixels, y down, not yet simplified.

    Raises:
        DataError: if a line is not ``START``, ``BREAK`` or ``x,y,t``, or there is no point.
    """
    strokes: list[list[tuple[float, float]]] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line in ("START", ""):
            continue
        if line == "BREAK":
            strokes.append([])
            continue
        try:
            x, y, _ = (float(value) for value in line.split(","))
        except ValueError:
            raise DataError(
                f"{name} has '{line[:40]}' in line {number}",
                expected="START, BREAK or three numbers x,y,t",
                fix=AGAIN,
            ) from None
        strokes[-1].append((x, -y))
    sketch = Sketch.from_strokes(np.array(stroke) for stroke in strokes if stroke)
    if not len(sketch) or not (np.abs(sketch.points) <= FAR).all():  # also true for NaN
        what = f"{len(sketch)} points, some of them far outside the square" if len(sketch) else "no point"
        raise DataError(f"{name} holds {what}", expected="the points of a drawing", fix=AGAIN)
    return sketch


def simplify(sketch: Sketch) -> Sketch:
    """Simplify each stroke of a drawing in pixels; a stroke of one point becomes a short visible line.

    *Source*: paper appendix H.2; the released code draws such a dot as half a pixel there and back.
    """
    simple = sketch.simplified(EPSILON)
    return Sketch.from_strokes(
        np.array([stroke[0], stroke[0] + 0.5, stroke[0]]) if len(stroke) == 1 else stroke
        for stroke in simple.strokes
    )


def rotate(sketch: Sketch, angle: int) -> Sketch:
    """Rotate a drawing counter-clockwise about the centre of the square, by a multiple of 90 degrees."""
    points = sketch.points - 52.0
    for _ in range(angle // 90 % 4):
        points = np.stack([points[:, 1], -points[:, 0]], axis=1)
    return Sketch(points + 52.0, sketch.lifted)


def prepare_omniglot(
    folder: Path, destination: Path, *, max_length: int = 64, rotations: bool = True
) -> DrawingStore:
    """Prepare a store of all stroke drawings, or open it if it exists.

    Its partitions are the parts of the Vinyals split.

    Args:
        folder: folder of the published files.
        destination: folder of the store.
        max_length: T, the maximum number of points of a drawing.
        rotations: make four classes of each character, rotated by 0, 90, 180 and 270 degrees.

    Raises:
        DataError: if files are missing or damaged.
    """
    about = {"rotations": rotations, "epsilon": EPSILON, "max_length": max_length}
    if (existing := open_if_current(destination, about)) is not None:
        return existing
    part_of = {name: number for number, part in enumerate(SPLIT) for name in vinyals_split()[part]}
    drawings: dict[str, list[Sketch]] = {}
    for character, _, sketch in published_strokes(folder):
        if character in part_of:
            drawings.setdefault(character, []).append(sketch)

    def classes() -> Iterator[ClassDrawings]:
        for character, sketches in drawings.items():
            kept = [sketch for sketch in sketches if 2 <= len(sketch) <= max_length]
            rejected = {"too long": len(sketches) - len(kept)} if len(kept) < len(sketches) else {}
            for angle in ROTATIONS if rotations else (0,):
                rows = [(part_of[character], rotate(sketch, angle).to_stroke3()) for sketch in kept]
                yield ClassDrawings(f"{character}/rot{angle:03d}" if rotations else character, rows, rejected)

    return write_store(
        destination, classes(), source="omniglot", max_length=max_length, dtype="<f4", about=about
    )
