"""Photos with traced contours instead of sketches, as a store of pairs. Not in the paper."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sketchembed.data.sources import contours
from sketchembed.data.sources.mini_imagenet import load_mini_imagenet
from sketchembed.data.sources.splits import photo_partition, read_fields
from sketchembed.data.store import FORMAT_VERSION, DrawingStore, open_if_current
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError
from sketchembed.files.array_cache import fingerprint
from sketchembed.files.images import SUFFIXES, contain_box, open_image, photo_pixels

MINI_IMAGENET = "mini-imagenet"  # name for the photos of mini-ImageNet's training part
TRACER_VERSION = 1  # increase it if the same photos give other traces; stores are then prepared again
CHUNK = 64  # photos that a process traces at once


class Photos(NamedTuple):
    """Photos to trace.

    Attributes:
        images: uint8 ``[n, 3, size, size]``.
        places: box of each photo in its image (left, top, right, bottom), without the padding.
        names: unique names of the photos.
        classes: class of each photo, in groups; only for display.
        errors: errors of the files that are not photos.
    """

    images: np.ndarray
    places: list[tuple[int, int, int, int]]
    names: list[str]
    classes: list[str]
    errors: list[DataError]


def prepare_traced(
    photos: str,
    folder: Path,
    prepared: Path,
    *,
    max_points: int = contours.MAX_POINTS,
    max_length: int = 100,
    size: int = 84,
) -> DrawingStore:
    """Prepare the store of pairs, or open it if it was made of the same photos.

    Args:
        photos: a folder of photos, which is searched recursively, or ``mini-imagenet``.
        folder: folder of the data sets.
        prepared: folder of prepared stores.
        max_points: maximum number of points of a trace.
        max_length: T, see :class:`~sketchembed.data.datamodules.pair_datamodule.PairDataModule`.
        size: side of the photos in pixels.

    Raises:
        DataError: if there are no photos, none has contours, or the store cannot be written.
    """
    max_points = min(max_points, max_length)
    source = folder / "mini_imagenet" if photos == MINI_IMAGENET else Path(photos)
    seen = sorted(source.glob("train*")) if photos == MINI_IMAGENET else _image_files(source)
    sizes = [[str(path), path.stat().st_size] for path in seen if path.is_file()]
    facts = [FORMAT_VERSION, TRACER_VERSION, max_points, size, sizes]
    about = {"fingerprint": fingerprint(facts)}
    destination = prepared / f"traced-{source.name}-n{max_points}-{size}px"
    if (existing := open_if_current(destination, about)) is not None:
        return existing
    found = _mini_imagenet(source, prepared, size) if photos == MINI_IMAGENET else _folder(source, size)
    kept: list[int] = []
    store = write_store(
        destination,
        _classes(found, max_points, kept),
        source=f"traced {source.name}",
        max_length=max_length,
        dtype="<f4",
        about=about,
        arrays=lambda: {"photos": found.images, "photo_of": np.array(kept, dtype=np.int32)},
        total=len(set(found.classes)),
    )
    line = f"traced: {len(store):,} of {len(found.names):,} photos in {source} have contours"
    if found.errors:
        line += f", {len(found.errors):,} files are not photos; the first: {found.errors[0]}"
    print(line, file=sys.stderr)
    return store


def _classes(found: Photos, max_points: int, kept: list[int]) -> Iterator[ClassDrawings]:
    """Trace one class after the other, and append the indices of photos with contours to `kept`."""
    groups = groupby(range(len(found.names)), found.classes.__getitem__)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for name, group in groups:
            numbers = list(group)
            images = []
            for number in numbers:
                left, top, right, bottom = found.places[number]
                images.append(found.images[number][:, top:bottom, left:right])
            traces = pool.map(contours.trace, images, [max_points] * len(images), chunksize=CHUNK)
            rejected: Counter[str] = Counter()
            drawings = []
            for number, trace in zip(numbers, traces, strict=True):
                if len(trace) < 2:
                    rejected["no contours"] += 1
                    continue
                drawings.append((photo_partition(found.names[number]), trace.to_stroke3()))
                kept.append(number)
            yield ClassDrawings(name, drawings, dict(rejected))


def _mini_imagenet(folder: Path, prepared: Path, size: int) -> Photos:
    data = load_mini_imagenet(folder, prepared, "train", size)
    words = read_fields("mini_imagenet_train")
    labels = [words.get(name, name) for name in data.class_names]
    places = [(0, 0, size, size)] * len(data)
    return Photos(data.images, places, data.names, [labels[label] for label in data.labels], [])


def _folder(folder: Path, size: int) -> Photos:
    images, places, names, classes, errors = [], [], [], [], []
    for path in _image_files(folder):
        try:
            picture = open_image(path, str(path))
        except DataError as error:
            errors.append(error)
            continue
        images.append(photo_pixels(picture, size, "contain"))
        places.append(contain_box(picture.size, size))
        names.append(str(path.relative_to(folder)))
        classes.append(path.parent.name)
    if not images:
        raise DataError(
            f"there is no photo in {folder}" + (f"; {errors[0]}" if errors else ""),
            expected=f"image files ({', '.join(sorted(SUFFIXES))}) in it or in its folders",
            fix="Check the path",
        )
    return Photos(np.stack(images), places, names, classes, errors)


def _image_files(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, grouped by folder."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(found, key=lambda path: (path.parent, path.name))
