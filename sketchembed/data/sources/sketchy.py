"""Sketchy: photos and the sketches that people drew of them, from the published files to a store of pairs.

*Source*: Sangkloy et al. 2016; paper section 4 and appendix H.3. Sketches are SVG files in
``sketches/CLASS/PHOTO-NUMBER.svg``, photos are ``photo/CLASS/PHOTO.jpg`` or, as rendered for the data set,
``photo/tx_000000000000/CLASS/PHOTO.jpg``; ``checked.txt`` and ``invalid.txt`` beside a class's sketches say
which are sound, and ``stats.csv`` where in its photo the object is. All of it may be folders or tar files.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from sketchembed.data.sources.overlap import Rule, keeps
from sketchembed.data.sources.splits import partition_of
from sketchembed.data.store import FORMAT_VERSION, DrawingStore, exclusion_summary, open_if_current
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError
from sketchembed.files.images import open_image, photo_pixels
from sketchembed.files.reading import TAR_ERRORS, check_file_size, open_tar, read_file
from sketchembed.sketch import Sketch
from sketchembed.sketch.svg import SVG_LIMIT, read_strokes

EPSILON = 5.0
"""Tolerance of the simplification, in the sketches' unit, a pixel of their canvas (appendix H.3)."""
SHORT = 0.1
"""A stroke shorter than this part of the longest one is left out (code; appendix H.3 gives no number)."""
SMALL = 0.03
"""So is a stroke whose box is smaller than this part of the sketch's (appendix H.3 gives no number)."""
READER_VERSION = 1
"""Of what is made of the files; a store of another one is made anew."""
WHOLE, CENTRED = "tx_000000000000", "tx_000100000000"
"""Folders of the rendered photos: scaled to the square, and the object centred in it."""
LIST_LIMIT = 32 << 20
"""The largest list that is read, in bytes; ``stats.csv`` has 12 million."""
MAX_SIDE = 4096
"""Of a photo by ``stats.csv``, in pixels, which it is scaled to; the published ones have at most 500."""

Read = Callable[[], bytes]
Box = tuple[tuple[int, int], tuple[int, int, int, int]]
"""Width and height of the published photo, and the object's box in it: left, top, right, bottom."""


@dataclass
class Published:
    """The files of the data set, found and not yet read.

    Attributes:
        sketches: by class and name.
        photos: by class and name.
        checked: names of the sketches that were looked at, by class; a class without the list has all.
        invalid: names of those that were found wanting, by class.
        boxes: of the objects, by photo.
    """

    sketches: dict[str, dict[str, Read]] = field(default_factory=lambda: defaultdict(dict))
    photos: dict[str, dict[str, Read]] = field(default_factory=lambda: defaultdict(dict))
    checked: dict[str, set[str]] = field(default_factory=dict)
    invalid: dict[str, set[str]] = field(default_factory=dict)
    boxes: dict[str, Box] = field(default_factory=dict)


def find(folder: Path) -> Published:
    """Find the published files in a folder and in the tar files that lie in it.

    Args:
        folder: of the data set.

    Raises:
        DataError: if there are no sketches or no photos, or a tar or list is damaged.
    """
    found = Published()
    centred: dict[str, dict[str, Read]] = defaultdict(dict)
    for path, read in _files(folder):
        label, suffix = path.parent.name.replace(" ", "_"), path.suffix.lower()
        if suffix == ".svg":
            found.sketches[label][path.stem] = read
        elif suffix in (".jpg", ".jpeg", ".png") and "photo" in path.parts:
            photos = centred if CENTRED in path.parts else found.photos
            photos[label][path.stem] = read
        elif path.name in ("checked.txt", "invalid.txt"):
            lists = found.checked if path.name == "checked.txt" else found.invalid
            check_file_size(len(content := read()), str(path), LIST_LIMIT)
            lists[label] = {line.strip() for line in io.StringIO(content.decode("utf-8", "replace"))}
        elif path.name == "stats.csv":
            check_file_size(len(content := read()), str(path), LIST_LIMIT)
            found.boxes |= read_boxes(content, str(path))
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
    """Read ``stats.csv``, of which columns 3, 13 and 14, and 15 to 18 count.

    Args:
        content: of the file.
        name: of the file, for messages.

    Returns:
        of each photo its size and the object's box.

    Raises:
        DataError: if a line has other columns, or a box that lies outside its photo.
    """
    boxes: dict[str, Box] = {}
    rows = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""))
    try:
        next(rows, None)
        for number, row in enumerate(rows, 2):
            if len(row) > 2 and row[2] in boxes:
                continue  # one line a sketch, the same box in each
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
        raise _no_box(name, f"a line that is no line of a csv ({error})") from error
    return boxes


def _no_box(name: str, what: str) -> DataError:
    return DataError(
        f"{name} has {what}",
        expected=f"in columns 13 to 18 width and height of a photo, at most {MAX_SIDE}, and a box in it",
        fix="Fetch the file again, or take it away: photos are then not cropped",
    )


def read_sketch(content: bytes, name: str, epsilon: float = EPSILON) -> Sketch:
    """Read a sketch and simplify it; strokes that are short or small beside the others are left out.

    *Source*: appendix H.3; a file without its closing tag, of which there are some, is closed as in the
    released code.

    Args:
        content: of the SVG file: lines and curves.
        name: of the file, for messages.
        epsilon: tolerance of the simplification, in the file's unit.

    Returns:
        the sketch in the file's unit; empty if no line of it has any length.

    Raises:
        DataError: if it cannot be read as SVG, or is too large.
    """
    if len(content) > SVG_LIMIT:
        raise DataError(
            f"{name} has {len(content):,} bytes",
            expected=f"a sketch of at most {SVG_LIMIT:,}",
            fix="Take the file away",
        )
    if not content.rstrip().endswith(b"</svg>"):
        content = content.rstrip() + b"</svg>"
    try:
        strokes = read_strokes(content)
    except DataError as error:
        raise DataError(
            f"{name} cannot be read: {error}", expected="a sketch of lines and curves", fix="Take it away"
        ) from error
    lengths = np.array([np.hypot(*np.diff(stroke, axis=0).T).sum() for stroke in strokes])
    if not len(strokes) or lengths.max() == 0:
        return Sketch.from_strokes([])
    sides = np.array([np.ptp(stroke, axis=0).max() for stroke in strokes])
    whole = np.ptp(np.concatenate(strokes), axis=0).max()
    kept = (lengths >= SHORT * lengths.max()) & (sides >= SMALL * whole)
    return Sketch.from_strokes(stroke for stroke, keep in zip(strokes, kept, strict=True) if keep).simplified(
        epsilon
    )


def read_photo(content: bytes, name: str, size: int, box: Box | None = None) -> np.ndarray:
    """Read a photo, uint8 ``[3, size, size]``: centred on black, its longer side `size`.

    *Source*: appendix H.3; black as in the released code.

    Args:
        content: of the file.
        name: of the file, for messages.
        size: side in pixels.
        box: of the object, to which the photo is cropped; it counts in the photo's published size, which
            the rendered squares are scaled back to.

    Raises:
        DataError: if it is no image.
    """
    picture = open_image(content, name)
    if box is not None:
        picture = picture.resize(box[0], Image.Resampling.BILINEAR).crop(box[1])
    return photo_pixels(picture, size, "contain")


def prepare(
    folder: Path,
    destination: Path,
    *,
    max_length: int = 100,
    size: int = 84,
    rule: Rule = "class",
    progress: bool = True,
) -> DrawingStore:
    """Prepare the store of pairs, or open the one that is there if it was made of the same.

    Args:
        folder: of the published files.
        destination: folder of the store.
        max_length: sketches of more points are left out, and counted (section 4: 100).
        size: side of the photos in pixels.
        rule: which photos are left out because mini-ImageNet is tested on the like, see
            :mod:`~sketchembed.data.sources.overlap`.
        progress: show a bar where there is a terminal, and a line when done.

    Raises:
        DataError: if files are missing or damaged, or the store cannot be written.
    """
    found = find(folder)
    names = [sorted(part) for group in (found.sketches, found.photos) for part in group.values()]
    facts: list[object] = [FORMAT_VERSION, READER_VERSION, max_length, size, rule, EPSILON, SHORT, SMALL]
    facts.append(names)
    facts += [sorted(map(sorted, found.invalid.values())), sorted(map(sorted, found.checked.values()))]
    facts += [sorted(found.boxes)]
    fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    if (there := open_if_current(destination, fingerprint)) is not None:
        return there
    reader = _Reader(found, max_length, size, rule)
    store = write_store(
        destination,
        reader.classes(progress),
        source="sketchy",
        max_length=max_length,
        dtype="<f4",
        about={"fingerprint": fingerprint, "overlap": rule},
        arrays=reader.arrays,
    )
    if progress:
        Console(stderr=True).print(reader.summary(store), highlight=False, soft_wrap=True)
    return store


# ---- preparing -----------------------------------------------------------------------------------------


class _Reader:
    """Reads class by class, and keeps the photos as it goes."""

    def __init__(self, found: Published, max_length: int, size: int, rule: Rule) -> None:
        self.found, self.max_length, self.size, self.rule = found, max_length, size, rule
        self.photos: list[np.ndarray] = []
        self.photo_of: list[int] = []
        self.unreadable: list[DataError] = []

    def arrays(self) -> dict[str, np.ndarray]:
        return {"photos": np.stack(self.photos), "photo_of": np.array(self.photo_of, dtype=np.int32)}

    def classes(self, progress: bool) -> Iterator[ClassDrawings]:
        for label in track(
            sorted(self.found.sketches),
            description="Preparing Sketchy",
            console=Console(stderr=True),
            transient=True,
            disable=not progress,
        ):
            yield self._read(label)

    def _read(self, label: str) -> ClassDrawings:
        rejected: Counter[str] = Counter()
        kept: list[tuple[int, np.ndarray]] = []
        of_photo: dict[str, int | None] = {}
        checked, invalid = self.found.checked.get(label), self.found.invalid.get(label, set())
        for name, read in sorted(self.found.sketches[label].items()):
            photo = name.rpartition("-")[0]
            sketch: Sketch | None = None
            if name in invalid or (checked is not None and name not in checked):
                rejected["invalid"] += 1
            elif not keeps(self.rule, label, photo):
                rejected["overlap"] += 1
            elif photo not in self.found.photos[label]:
                rejected["without photo"] += 1
            else:
                sketch = self._sketch(read, f"{label}/{name}.svg", rejected)
            if sketch is None:
                continue
            if photo not in of_photo:
                of_photo[photo] = self._photo(label, photo)
            number = of_photo[photo]
            if number is None:
                rejected["unreadable"] += 1
                continue
            kept.append((partition_of(photo), sketch.to_stroke3()))
            self.photo_of.append(number)
        return ClassDrawings(label, kept, dict(rejected))

    def _sketch(self, read: Read, name: str, rejected: Counter[str]) -> Sketch | None:
        try:
            sketch = read_sketch(read(), name)
        except DataError as error:
            self.unreadable.append(error)
            rejected["unreadable"] += 1
            return None
        if len(sketch) < 2:
            rejected["empty"] += 1
        elif len(sketch) > self.max_length:
            rejected["too long"] += 1
        else:
            return sketch
        return None

    def _photo(self, label: str, name: str) -> int | None:
        try:
            content = self.found.photos[label][name]()
            self.photos.append(read_photo(content, f"{label}/{name}", self.size, self.found.boxes.get(name)))
        except DataError as error:
            self.unreadable.append(error)
            return None
        return len(self.photos) - 1

    def summary(self, store: DrawingStore) -> str:
        kept = f"sketchy: {len(store):,} sketches of {len(self.photos):,} photos kept"
        line = f"{kept}, {exclusion_summary(store)}"
        return line + (f"; the first that cannot be read: {self.unreadable[0]}" if self.unreadable else "")


def _files(folder: Path) -> Iterator[tuple[PurePosixPath, Read]]:
    """Yield the path and the reader of every file in a folder, and of every one in its tar files."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if path.suffix == ".tar" and path.is_file():
            yield from _members(path)
        elif path.is_file():
            yield PurePosixPath(path.relative_to(folder)), partial(_read_plain, path)


def _read_plain(path: Path) -> bytes:
    fix = "Check its permissions, or take it away"
    return read_file(path, str(path), expected="a file of Sketchy", fix=fix)


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, Read]]:
    def reader(file: tarfile.TarFile, entry: tarfile.TarInfo) -> Read:
        def read() -> bytes:
            check_file_size(entry.size, f"{archive}, {entry.name}")
            try:
                opened = file.extractfile(entry)
                content = opened.read() if opened else b""
            except TAR_ERRORS as error:
                raise _damaged(archive, str(error)) from error
            if len(content) != entry.size:
                raise _damaged(archive, f"{entry.name} is cut off")
            return content

        return read

    try:
        file, entries = open_tar(archive)
    except TAR_ERRORS as error:
        raise _damaged(archive, str(error)) from error
    if archive.stat().st_size < file.offset + tarfile.BLOCKSIZE:
        raise _damaged(archive, "it ends before the block of zeros that ends every tar")
    for entry in entries:
        yield PurePosixPath(entry.name), reader(file, entry)


def _damaged(archive: Path, why: str) -> DataError:
    return DataError(
        f"{archive} cannot be read ({why})", expected="a whole, uncompressed tar", fix="Fetch it again"
    )
