"""The published files of Sketchy, as folders or tar files.

Sketches are ``sketches/CLASS/PHOTO-NUMBER.svg``. Photos are ``photo/CLASS/PHOTO.jpg`` or, as rendered for the
data set, ``photo/tx_000000000000/CLASS/PHOTO.jpg``. ``checked.txt`` and ``invalid.txt`` in a class's folder
of sketches list the checked and the unusable sketches. ``stats.csv`` has the box of the object in each photo.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from sketchembed.errors import DataError
from sketchembed.files.reading import check_file_size, read_file, tar_files

CENTRED = "tx_000100000000"  # photos rendered with the object in the centre, used if there are no others
LIST_LIMIT = 32 << 20  # largest list in bytes; `stats.csv` has 12 million
MAX_SIDE = 4096  # largest side in pixels that `stats.csv` may state; published photos have at most 500

Read = Callable[[], bytes]  # reads one file
Box = tuple[tuple[int, int], tuple[int, int, int, int]]
"""Width and height of the published photo, and the object's box in it: left, top, right, bottom."""


@dataclass
class PublishedFiles:
    """The files of the data set, found but not read yet.

    Attributes:
        sketches: readers of the sketches, by class and name.
        photos: readers of the photos, by class and name.
        checked: names of the checked sketches, by class. In a class without a list all sketches are checked.
        invalid: names of the unusable sketches, by class.
        boxes: boxes of the objects, by photo.
    """

    sketches: dict[str, dict[str, Read]] = field(default_factory=lambda: defaultdict(dict))
    photos: dict[str, dict[str, Read]] = field(default_factory=lambda: defaultdict(dict))
    checked: dict[str, set[str]] = field(default_factory=dict)
    invalid: dict[str, set[str]] = field(default_factory=dict)
    boxes: dict[str, Box] = field(default_factory=dict)


def find_files(folder: Path) -> PublishedFiles:
    """Find the published files in a folder and in its tar files.

    Raises:
        DataError: if there are no sketches or no photos, or a tar or list is damaged.
    """
    found = PublishedFiles()
    centred: dict[str, dict[str, Read]] = defaultdict(dict)
    for path, read in _all_files(folder):
        label, suffix = path.parent.name.replace(" ", "_"), path.suffix.lower()
        if suffix == ".svg":
            found.sketches[label][path.stem] = read
        elif suffix in (".jpg", ".jpeg", ".png") and "photo" in path.parts:
            photos = centred if CENTRED in path.parts else found.photos
            photos[label][path.stem] = read
        elif path.name in ("checked.txt", "invalid.txt", "stats.csv"):
            check_file_size(len(content := read()), str(path), LIST_LIMIT)
            if path.name == "stats.csv":
                found.boxes |= read_boxes(content, str(path))
            else:
                lists = found.checked if path.name == "checked.txt" else found.invalid
                lists[label] = {line.strip() for line in io.StringIO(content.decode("utf-8", "replace"))}
    found.photos = found.photos or centred
    if not found.sketches or not found.photos:
        has = "photos but no sketches" if found.photos else "sketches but no photos"
        raise DataError(
            f"{folder} holds {has if found.photos or found.sketches else 'no files of Sketchy'}",
            expected="sketches/CLASS/*.svg and photo/CLASS/*.jpg, as folders or in tar files",
            fix="Get both from sketchy.eye.gatech.edu and put them there, or set SKETCHEMBED_DATA",
        )
    return found


def read_boxes(content: bytes, name: str) -> dict[str, Box]:
    """Read columns 3 (photo), 13 and 14 (size) and 15 to 18 (box) of ``stats.csv``.

    Raises:
        DataError: if a line has other columns, or a box outside of its photo.
    """
    boxes: dict[str, Box] = {}
    rows = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""))
    try:
        next(rows, None)
        for number, row in enumerate(rows, 2):
            if len(row) > 2 and row[2] in boxes:
                continue  # there is a line for each sketch, with the same box
            try:
                width, height, left, top, wide, high = (int(value) for value in row[12:18])
            except ValueError:
                width = height = left = top = wide = high = 0
            right, bottom = min(left + wide, width), min(top + high, height)
            left, top = max(left, 0), max(top, 0)
            if left >= right or top >= bottom or max(width, height) > MAX_SIDE:
                raise _no_box(name, f"'{','.join(row)[:60]}' in line {number}")
            boxes[row[2]] = ((width, height), (left, top, right, bottom))
    except csv.Error as error:
        raise _no_box(name, f"a line that is not csv ({error})") from error
    return boxes


def _no_box(name: str, what: str) -> DataError:
    return DataError(
        f"{name} has {what}",
        expected=f"in columns 13 to 18 width and height of a photo, at most {MAX_SIDE}, and a box in it",
        fix="Download the file again, or remove it: photos are then not cropped",
    )


def _all_files(folder: Path) -> Iterator[tuple[PurePosixPath, Read]]:
    """Yield the path and the reader of every file in a folder and in its tar files."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if path.suffix == ".tar" and path.is_file():
            yield from ((PurePosixPath(name), read) for name, read in tar_files(path))
        elif path.is_file():
            fix = "Check its permissions, or remove it"
            read = partial(read_file, path, str(path), expected="a file of Sketchy", fix=fix)
            yield PurePosixPath(path.relative_to(folder)), read
