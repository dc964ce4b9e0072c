"""Omniglot as images, for episodes: rasters of the strokes, or the published pictures.

*Source*: paper section 5 and appendix H. Both kinds look like the training inputs: lines of one pixel,
fitted to the canvas less its margin.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.progress import track

from sketchembed.data.image_set import ImageSet, sound
from sketchembed.data.model_inputs import read_drawing
from sketchembed.data.sources.omniglot import (
    CHARACTERS,
    LAKE_PARTS,
    published_files,
    read_all_strokes,
    vinyals_split,
)
from sketchembed.data.sources.splits import check_disjoint, read_names
from sketchembed.errors import ConfigError, DataError, nearest
from sketchembed.files.array_cache import cached, fingerprint
from sketchembed.raster import rasterize
from sketchembed.sketch import Sketch

Kind = Literal["strokes", "images"]
SPLITS = ("vinyals", "lake", "lake-pooled")
FORMAT = 2
"""Of the prepared file; one of another format is made anew."""
DRAWN_AT_ONCE = 1024


def load(folder: Path, prepared: Path, kind: Kind = "strokes", size: int = 28) -> ImageSet:
    """Return all characters upright, with their alphabets as groups.

    The first call reads the published files and leaves one file in `prepared`; the next ones read that.

    Args:
        folder: with ``images_background``, ``images_evaluation`` and, for strokes, their sisters; as zip
            files or folders.
        prepared: folder for the prepared file.
        kind: ``strokes`` draws the pen's strokes (simplified with ε = 2) as the training inputs are drawn,
            and takes the picture of a drawing that has none; ``images`` takes the pictures.
        size: side of the images in pixels.

    Raises:
        DataError: if files are missing or damaged.
    """
    if kind not in ("strokes", "images"):
        raise ConfigError(
            f"there is no Omniglot source '{kind}'", expected="strokes or images", fix="Choose one of them"
        )
    path = prepared / f"omniglot-{kind}-{size}px.npz"
    used = ("images", "strokes") if kind == "strokes" else ("images",)
    parts = [f"{what}_{part}" for what in used for part in LAKE_PARTS]
    key = f"{FORMAT} {fingerprint([folder / name for part in parts for name in (part, f'{part}.zip')])}"
    found = cached(path, key, lambda: _prepare(folder, kind, size), lambda arrays: _sound(arrays, size))
    stand_ins = int(found["stand_in"].sum())
    class_names = [str(name) for name in found["class_names"]]
    return ImageSet(
        found["images"],
        found["labels"].astype(np.int64),
        class_names,
        [str(name) for name in found["names"]],
        [name.split("/")[0] for name in class_names],
        {"data": "Omniglot", "source": kind, "drawings": len(found["labels"]), "image_stands_in": stand_ins},
    )


def split(images: ImageSet, name: str, part: str) -> ImageSet:
    """Return the classes of one part of a split.

    Args:
        images: of :func:`load`.
        name: ``vinyals``, with four rotations of each character as classes of their own; ``lake``, upright,
            for episodes within an alphabet; ``lake-pooled``, the same classes, pooled.
        part: ``train``, ``val`` or ``test``; of Lake's split, ``test`` is the evaluation set and ``train``
            the background set.

    Raises:
        ConfigError: if there is no such split or part.
        DataError: if a class of the list has no image.
    """
    if name not in SPLITS:
        raise ConfigError(
            f"there is no split '{name}' of Omniglot",
            expected=f"one of {', '.join(SPLITS)}",
            fix=f"The nearest: {nearest(name, SPLITS)}",
        )
    if name == "vinyals":
        lists = vinyals_split()
        check_disjoint(lists)
        if part not in lists:
            raise _no_part(name, part, lists)
        chosen = images.select(lists[part]).turned()
    else:
        parts = {"train": "background", "test": "evaluation"}
        if part not in parts:
            raise _no_part(name, part, parts)
        alphabets = read_names(f"omniglot_lake_{parts[part]}")
        missing = [alphabet for alphabet in alphabets if alphabet not in set(images.groups or ())]
        if missing:
            raise DataError(
                f"there are no images of the alphabet '{missing[0]}' ({len(missing)} of {len(alphabets)} "
                "alphabets are missing)",
                expected="every alphabet of the list",
                fix="Fetch the image files again",
            )
        chosen = images.select(
            [character for character in images.class_names if character.split("/")[0] in set(alphabets)]
        )
    chosen.about.update(split=name, part=part, classes=len(chosen.class_names), images=len(chosen))
    return chosen


def character_image(content: bytes, name: str, size: int) -> np.ndarray:
    """Read a published picture of a character as the model's input.

    Args:
        content: of the image file.
        name: of the file, for messages.
        size: side of the result in pixels.

    Returns:
        uint8 ``[size, size]``, dark on white.

    Raises:
        DataError: if it is no image, or blank.
    """
    drawing = read_drawing(content, size, name, fix="Fetch the archive again")
    return np.round(drawing[0].numpy() * 255).astype(np.uint8)


# ---- preparing -----------------------------------------------------------------------------------------


def _sound(arrays: dict[str, np.ndarray], size: int) -> bool:
    stand_in = arrays["stand_in"]
    return sound(arrays, 1, size) and stand_in.dtype == bool and stand_in.shape == arrays["labels"].shape


def _prepare(folder: Path, kind: Kind, size: int) -> dict[str, np.ndarray]:
    strokes: dict[tuple[str, str], Sketch] = {}
    if kind == "strokes":
        strokes = {(character, name): sketch for character, name, sketch in read_all_strokes(folder)}
    characters: dict[str, int] = {}
    labels, names, images, drawn = [], [], [], []
    for character, name, content in track(
        published_files(folder, "images"), "Omniglot images", total=20 * CHARACTERS, transient=True
    ):
        labels.append(characters.setdefault(character, len(characters)))
        names.append(name)
        sketch = strokes.get((character, name))
        drawn.append(sketch)
        images.append(
            np.zeros((size, size), dtype=np.uint8)
            if sketch
            else character_image(content, f"{character}/{name}.png", size)
        )
    if not images:
        raise DataError(
            f"the image archives in {folder} hold no .png",
            expected="Omniglot's images",
            fix="Fetch them again",
        )
    out = np.stack(images)[:, None]
    _draw(drawn, out, size)
    return {
        "images": out,
        "labels": np.array(labels, dtype=np.int32),
        "names": np.array(names),
        "class_names": np.array(list(characters)),
        "stand_in": np.array([kind == "strokes" and sketch is None for sketch in drawn]),
    }


def _draw(sketches: list[Sketch | None], out: np.ndarray, size: int) -> None:
    """Draw the sketches into their places, the short ones first so that little is padded."""
    order = sorted(
        (at for at, sketch in enumerate(sketches) if sketch is not None),
        key=lambda at: len(sketches[at] or ()),
    )
    for first in range(0, len(order), DRAWN_AT_ONCE):
        places = order[first : first + DRAWN_AT_ONCE]
        batch = [sketch for at in places if (sketch := sketches[at]) is not None]
        length = max(len(sketch) for sketch in batch)
        rows = torch.from_numpy(np.stack([sketch.to_stroke5(length) for sketch in batch]))
        out[places, 0] = _as_bytes(rasterize.draw_pen(rows, size).numpy())


def _as_bytes(ink: np.ndarray) -> np.ndarray:
    return np.round((1 - ink) * 255).clip(0, 255).astype(np.uint8)


def _no_part(name: str, part: str, parts: dict[str, Any]) -> ConfigError:
    return ConfigError(
        f"the {name} split has no part '{part}'", expected=f"one of {', '.join(parts)}", fix="Choose another"
    )
