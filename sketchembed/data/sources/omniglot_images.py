"""Omniglot as images for episodes: rasters of the strokes, or the published images.

*Source*: paper section 5 and appendix H. Both kinds have the form of the training inputs: lines of one pixel,
scaled to the canvas without its margin.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.progress import track

from sketchembed.data.image_set import ImageSet, image_arrays, is_image_set
from sketchembed.data.sources.omniglot import (
    AGAIN,
    CHARACTERS,
    LAKE_PARTS,
    published_files,
    published_strokes,
    vinyals_split,
)
from sketchembed.data.sources.splits import check_disjoint, read_names
from sketchembed.errors import DataError, check_known
from sketchembed.files.array_cache import cached, file_fingerprint
from sketchembed.networks.model_inputs import read_drawing
from sketchembed.raster import rasterize
from sketchembed.sketch import Sketch

Kind = Literal["strokes", "images"]
SPLITS = ("vinyals", "lake", "lake-pooled")
FORMAT = 2  # version of the prepared file
RASTER_BATCH = 1024


def load_omniglot(folder: Path, prepared: Path, kind: Kind = "strokes", size: int = 28) -> ImageSet:
    """Return all characters upright, with their alphabets as groups.

    The first call reads the published files and caches the images in one file in `prepared`.

    Args:
        folder: folder with ``images_background``, ``images_evaluation`` and, for strokes,
            ``strokes_background`` and ``strokes_evaluation``, as zip files or folders.
        prepared: folder for the cached file.
        kind: ``strokes`` rasterizes the pen strokes (simplified with ε = 2) like training inputs, and uses
            the published image of a drawing without strokes; ``images`` uses the published images.
        size: side of the images in pixels.

    Raises:
        DataError: if files are missing or damaged.
    """
    check_known("Omniglot source", kind, ("strokes", "images"))
    parts = [f"{what}_{part}" for what in dict.fromkeys(("images", kind)) for part in LAKE_PARTS]
    sources = [folder / name for part in parts for name in (part, f"{part}.zip")]
    found = cached(
        prepared / f"omniglot-{kind}-{size}px.npz",
        f"{FORMAT} {file_fingerprint(sources)}",
        lambda: _make_images(folder, kind, size),
        lambda arrays: _is_valid(arrays, size),
    )
    class_names = found["class_names"].tolist()
    about = {"data": "Omniglot", "source": kind, "drawings": len(found["labels"])}
    about["image_stands_in"] = int(found["stand_in"].sum())
    return ImageSet.from_arrays(found, [name.split("/")[0] for name in class_names], about)


def select_part(images: ImageSet, split: str, part: str) -> ImageSet:
    """Return the classes of one part of a split.

    Args:
        images: of :func:`load_omniglot`.
        split: ``vinyals``, whose classes are four rotations of each character; ``lake``, upright, for
            episodes within an alphabet; or ``lake-pooled``, the same classes for episodes over all alphabets.
        part: ``train``, ``val`` or ``test``. Lake's split has no ``val``; its ``train`` is the background set
            and its ``test`` the evaluation set.

    Raises:
        ConfigError: if there is no such split or part.
        DataError: if a class of the list has no image.
    """
    check_known("Omniglot split", split, SPLITS)
    vinyals = split == "vinyals"
    parts = vinyals_split() if vinyals else {"train": ["background"], "test": ["evaluation"]}
    check_known(f"part of the {split} split", part, parts)
    if vinyals:
        check_disjoint(parts)
        chosen = images.select(parts[part]).with_rotations()
    else:
        alphabets = read_names(f"omniglot_lake_{parts[part][0]}")
        chosen = images.select(_of_alphabets(images, alphabets))
    chosen.about.update(split=split, part=part, classes=len(chosen.class_names), images=len(chosen))
    return chosen


def _of_alphabets(images: ImageSet, alphabets: list[str]) -> list[str]:
    """Return the classes of these alphabets, which must all have images."""
    missing = [alphabet for alphabet in alphabets if alphabet not in set(images.groups or ())]
    if missing:
        raise DataError(
            f"there are no images of the alphabet '{missing[0]}' "
            f"({len(missing)} of {len(alphabets)} alphabets are missing)",
            expected="every alphabet of the list",
            fix=AGAIN,
        )
    return [name for name in images.class_names if name.split("/")[0] in alphabets]


def _is_valid(arrays: dict[str, np.ndarray], size: int) -> bool:
    stand_in = arrays["stand_in"]
    return (
        is_image_set(arrays, 1, size) and stand_in.dtype == bool and stand_in.shape == arrays["labels"].shape
    )


def _make_images(folder: Path, kind: Kind, size: int) -> dict[str, np.ndarray]:
    strokes: dict[tuple[str, str], Sketch] = {}
    if kind == "strokes":
        strokes = {(character, name): sketch for character, name, sketch in published_strokes(folder)}
    characters: dict[str, int] = {}
    labels, names, images, sketches = [], [], [], []
    files: Iterable[tuple[str, str, bytes]] = track(
        published_files(folder, "images"), "Omniglot images", total=20 * CHARACTERS, transient=True
    )
    for character, name, content in files:
        labels.append(characters.setdefault(character, len(characters)))
        names.append(name)
        sketch = strokes.get((character, name))
        sketches.append(sketch)
        if sketch:
            images.append(np.zeros((size, size), dtype=np.uint8))
        else:
            drawing = read_drawing(content, size, f"{character}/{name}.png", fix=AGAIN)
            images.append(_as_bytes(drawing[0].numpy()))
    if not images:
        raise DataError(
            f"the image archives in {folder} hold no .png", expected="Omniglot's images", fix=AGAIN
        )
    out = np.stack(images)[:, None]
    _rasterize(sketches, out, size)
    stand_in = np.array([kind == "strokes" and sketch is None for sketch in sketches])
    return image_arrays(out, labels, names, list(characters)) | {"stand_in": stand_in}


def _rasterize(sketches: list[Sketch | None], out: np.ndarray, size: int) -> None:
    """Rasterize the sketches into their places, in the order of their length so that little is padded."""
    drawn = [(at, sketch) for at, sketch in enumerate(sketches) if sketch is not None]
    drawn.sort(key=lambda pair: len(pair[1]))
    for first in range(0, len(drawn), RASTER_BATCH):
        places, batch = zip(*drawn[first : first + RASTER_BATCH], strict=True)
        length = max(len(sketch) for sketch in batch)
        rows = torch.from_numpy(np.stack([sketch.to_stroke5(length) for sketch in batch]))
        out[list(places), 0] = _as_bytes(1 - rasterize.draw_pen(rows, size).numpy())


def _as_bytes(image: np.ndarray) -> np.ndarray:
    return np.round(image * 255).clip(0, 255).astype(np.uint8)
