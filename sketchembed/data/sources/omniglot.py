"""Omniglot's pen strokes, from the published text files to prepared drawings.

*Source*: Lake et al. 2015; paper section 5 and appendix H.2. A file lists the points of a drawing, ``x,y,t``
in pixels of a 105-pixel square with y negative downwards, between ``START`` and ``BREAK`` lines.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import track

from sketchembed.data.sources.splits import read_names
from sketchembed.data.store import DrawingStore
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError
from sketchembed.files.reading import ZIP_ERRORS, read_file, read_member
from sketchembed.sketch import Sketch

LIMITS = {"strokes": 1 << 18, "images": 1 << 20}
"""The largest file that is read, in bytes; a published one of strokes has thousands, an image hundreds."""
FAR = 1e6
"""In pixels; a published drawing stays within its square of 105."""
EPSILON = 2.0
"""Tolerance of the simplification, in pixels (paper appendix H.2)."""
SPLIT = ("train", "val", "test")
"""The parts of the Vinyals split, in the order of a store's partitions."""
ROTATIONS = (0, 90, 180, 270)
LAKE_PARTS = ("background", "evaluation")
"""The parts in which the files are published (Lake et al. 2015)."""
CHARACTERS = 1623


def vinyals_split() -> dict[str, list[str]]:
    """Return the characters (``Alphabet/character01``) of the parts ``train``, ``val`` and ``test``."""
    return {part: read_names(f"omniglot_vinyals_{part}") for part in SPLIT}


def parse_strokes(text: str, name: str = "the text") -> Sketch:
    """Read one drawing.

    Args:
        text: of the file.
        name: of the file, for messages.

    Returns:
        the drawing in pixels, y down, as published: not yet simplified.

    Raises:
        DataError: if a line is none of ``START``, ``BREAK`` and ``x,y,t``, or there is no point.
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
                fix="Fetch the stroke files again",
            ) from None
        strokes[-1].append((x, -y))
    sketch = Sketch.from_strokes(np.array(stroke) for stroke in strokes if stroke)
    # Written so that what is no number is far away too.
    if not len(sketch) or not (np.abs(sketch.points) <= FAR).all():
        raise DataError(
            f"{name} holds {len(sketch)} points, some of them far from the square"
            if len(sketch)
            else f"{name} holds no point",
            expected="the points of a drawing",
            fix="Fetch the stroke files again",
        )
    return sketch


def simplify(sketch: Sketch, epsilon: float = EPSILON) -> Sketch:
    """Simplify each stroke; a stroke of one point becomes a dot that can be seen.

    *Source*: paper appendix H.2; the released code draws a dot as half a pixel there and back.

    Args:
        sketch: in pixels.
        epsilon: tolerance in pixels.
    """
    simple = sketch.simplified(epsilon)
    return Sketch.from_strokes(
        np.array([stroke[0], stroke[0] + 0.5, stroke[0]]) if len(stroke) == 1 else stroke
        for stroke in simple.strokes
    )


def published_files(folder: Path, kind: Literal["strokes", "images"]) -> Iterator[tuple[str, str, bytes]]:
    """Yield ``(Alphabet/character01, 0001_01, content)`` of every published file of strokes or images.

    Args:
        folder: with ``KIND_background`` and ``KIND_evaluation``, as zip files or folders.
        kind: which.

    Raises:
        DataError: if they are not there, or a zip is damaged.
    """
    suffix = {"strokes": ".txt", "images": ".png"}[kind]
    for part in LAKE_PARTS:
        archive, unpacked = folder / f"{kind}_{part}.zip", folder / f"{kind}_{part}"
        if archive.is_file():
            try:
                with zipfile.ZipFile(archive) as file:
                    for entry in sorted(name for name in file.namelist() if name.endswith(suffix)):
                        alphabet, character, name = entry.split("/")[-3:]
                        yield (
                            f"{alphabet}/{character}",
                            Path(name).stem,
                            read_member(file, entry, LIMITS[kind]),
                        )
            except ZIP_ERRORS as error:
                raise DataError(
                    f"{archive} cannot be read ({error})",
                    expected=f"the published zip of {kind}",
                    fix="Delete it and fetch it again",
                ) from error
        elif unpacked.is_dir():
            for path in sorted(unpacked.glob(f"*/*/*{suffix}")):
                character = f"{path.parts[-3]}/{path.parts[-2]}"
                name = f"{character}/{path.name}"
                expected = f"one of the {kind}"
                content = read_file(path, name, expected=expected, fix="Fetch it again", most=LIMITS[kind])
                yield character, path.stem, content
        else:
            raise DataError(
                f"there is no {archive.name} and no folder {unpacked.name} in {folder}",
                expected=f"the {kind} of Omniglot (github.com/brendenlake/omniglot, python/)",
                fix=f"Put both {archive.name} and its sister there, or set SKETCHEMBED_DATA",
            )


def read_all_strokes(folder: Path, epsilon: float = EPSILON) -> Iterator[tuple[str, str, Sketch]]:
    """Yield ``(Alphabet/character01, 0001_01, drawing)``, each simplified, of every stroke file.

    Args:
        folder: of the published files.
        epsilon: tolerance of the simplification, in pixels.

    Raises:
        DataError: if files are missing or damaged.
    """
    for character, name, content in track(
        published_files(folder, "strokes"), "Omniglot strokes", total=20 * CHARACTERS, transient=True
    ):
        sketch = parse_strokes(content.decode("utf-8", errors="replace"), f"{character}/{name}.txt")
        yield character, name, simplify(sketch, epsilon)


def prepare(
    folder: Path, destination: Path, *, max_length: int = 64, rotations: bool = True, epsilon: float = EPSILON
) -> DrawingStore:
    """Prepare all stroke drawings, or open them if they are prepared already.

    The store's partitions are the Vinyals split: train, valid (its ``val``) and test.

    Args:
        folder: of the published files.
        destination: the store's folder.
        max_length: T, the longest drawing in points.
        rotations: four classes of each character, turned by 0, 90, 180 and 270 degrees, as in the split.
        epsilon: tolerance of the simplification, in pixels.

    Raises:
        DataError: if the files are missing or damaged.
    """
    about = {"rotations": rotations, "epsilon": epsilon, "max_length": max_length}
    with contextlib.suppress(DataError):  # none there, or not whole: it is written anew
        store = DrawingStore(destination)
        if all(store.manifest.get(key) == value for key, value in about.items()):
            return store
    part_of = {name: number for number, part in enumerate(SPLIT) for name in vinyals_split()[part]}
    drawings: dict[str, list[Sketch]] = {}
    for character, _, sketch in read_all_strokes(folder, epsilon):
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


def rotate(sketch: Sketch, angle: int) -> Sketch:
    """Turn a drawing counter-clockwise about the middle of Omniglot's square, by a multiple of 90 degrees."""
    points = sketch.points - 52.0
    for _ in range(angle // 90 % 4):
        points = np.stack([points[:, 1], -points[:, 0]], axis=1)
    return Sketch(points + 52.0, sketch.lifted)
