"""Photos with their traced contours in the place of sketches, from photos alone to a store of pairs.

This goes beyond the paper: it lets any photos train the drawer, alone or before those that people sketched.
What a trace is, and is not, stands in :mod:`sketchembed.data.sources.contours`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from sketchembed.data.sources import contours, mini_imagenet
from sketchembed.data.sources.splits import partition_of, read_fields
from sketchembed.data.store import FORMAT_VERSION, DrawingStore, open_store
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError
from sketchembed.files.images import SUFFIXES, contain_box, open_image, photo_pixels

MINI_IMAGENET = "mini-imagenet"
"""Stands for the photos of mini-ImageNet's training part."""
TRACER_VERSION = 1
"""Of the traces; a store of another one is made anew."""
CHUNK = 64
"""Photos that a process traces at a time."""


class Photos(NamedTuple):
    """Photos to trace.

    Attributes:
        images: uint8 ``[n, 3, size, size]``.
        places: where in its image each photo lies (left, top, right, bottom): padding has an edge too.
        names: of each photo, unique.
        classes: of each photo, the same ones side by side; for looking at, never for training.
        unreadable: what was wrong with files that are no photos.
    """

    images: np.ndarray
    places: list[tuple[int, int, int, int]]
    names: list[str]
    classes: list[str]
    unreadable: list[DataError]


def prepare(
    photos: str,
    folder: Path,
    prepared: Path,
    *,
    max_points: int = contours.MAX_POINTS,
    max_length: int = 100,
    size: int = 84,
    progress: bool = True,
) -> DrawingStore:
    """Prepare the store of pairs, or open the one that is there if it was made of the same.

    Args:
        photos: a folder of photos, searched through and through, or ``mini-imagenet``.
        folder: of the data sets.
        prepared: folder for prepared stores.
        max_points: most points of a trace.
        max_length: T, see :class:`~sketchembed.data.datamodules.pair_datamodule.PairDataModule`.
        size: side of the photos in pixels.
        progress: show a bar where there is a terminal, and a line when done.

    Raises:
        DataError: if there are no photos, none has contours, or the store cannot be written.
    """
    max_points = min(max_points, max_length)
    source = folder / "mini_imagenet" if photos == MINI_IMAGENET else Path(photos)
    seen = sorted(source.glob("train*")) if photos == MINI_IMAGENET else _image_files(source)
    sizes = [[str(path), path.stat().st_size] for path in seen if path.is_file()]
    facts = [FORMAT_VERSION, TRACER_VERSION, max_points, size, sizes]
    fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    destination = prepared / f"traced-{source.name}-n{max_points}-{size}px"
    if (there := open_store(destination, fingerprint)) is not None:
        return there
    found = _mini_imagenet(source, prepared, size) if photos == MINI_IMAGENET else _of_folder(source, size)
    kept: list[int] = []
    store = write_store(
        destination,
        _classes(found, max_points, kept, progress),
        source=f"traced {source.name}",
        max_length=max_length,
        dtype="<f4",
        about={"fingerprint": fingerprint},
        arrays=lambda: {"photos": found.images, "photo_of": np.array(kept, dtype=np.int32)},
    )
    if progress:
        line = f"traced: {len(store):,} of {len(found.names):,} photos in {source} have contours"
        line += f", {len(found.unreadable):,} files are no photos; the first: " if found.unreadable else ""
        line += str(found.unreadable[0]) if found.unreadable else ""
        Console(stderr=True).print(line, highlight=False, soft_wrap=True)
    return store


def _classes(found: Photos, max_points: int, kept: list[int], progress: bool) -> Iterator[ClassDrawings]:
    """Trace class by class; the numbers of the photos that have contours are added to `kept`."""
    groups = [
        (name, list(group)) for name, group in groupby(range(len(found.names)), found.classes.__getitem__)
    ]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for name, numbers in track(
            groups,
            description="Tracing photos",
            console=Console(stderr=True),
            transient=True,
            disable=not progress,
        ):
            images = [_inside(found.images[number], found.places[number]) for number in numbers]
            traces = pool.map(contours.trace, images, [max_points] * len(images), chunksize=CHUNK)
            rejected: Counter[str] = Counter()
            drawings = []
            for number, trace in zip(numbers, traces, strict=True):
                if len(trace) < 2:
                    rejected["no contours"] += 1
                    continue
                drawings.append((partition_of(found.names[number]), trace.to_stroke3()))
                kept.append(number)
            yield ClassDrawings(name, drawings, dict(rejected))


def _inside(image: np.ndarray, place: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = place
    return image[:, top:bottom, left:right]


def _mini_imagenet(folder: Path, prepared: Path, size: int) -> Photos:
    data = mini_imagenet.load(folder, prepared, "train", size)
    words = read_fields("mini_imagenet_train")
    labels = [f"{words.get(name, name)}" for name in data.class_names]
    places = [(0, 0, size, size)] * len(data)
    return Photos(data.images, places, data.names, [labels[label] for label in data.labels], [])


def _of_folder(folder: Path, size: int) -> Photos:
    images, places, names, classes, unreadable = [], [], [], [], []
    for path in _image_files(folder):
        try:
            picture = open_image(path, str(path))
        except DataError as error:
            unreadable.append(error)
            continue
        images.append(photo_pixels(picture, size, "contain"))
        places.append(contain_box(picture.size, size))
        names.append(str(path.relative_to(folder)))
        classes.append(path.parent.name)
    if not images:
        raise DataError(
            f"there is no photo in {folder}" + (f"; {unreadable[0]}" if unreadable else ""),
            expected=f"image files ({', '.join(sorted(SUFFIXES))}) in it or in folders in it",
            fix="Check the path",
        )
    return Photos(np.stack(images), places, names, classes, unreadable)


def _image_files(folder: Path) -> list[Path]:
    """Return the image files in a folder and the folders in it, those of a folder side by side."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(found, key=lambda path: (path.parent, path.name))
