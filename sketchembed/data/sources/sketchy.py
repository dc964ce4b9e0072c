"""Sketchy: photos and the sketches that people drew of them, as a store of pairs.

*Source*: Sangkloy et al. 2016; paper section 4 and appendix H.3.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from sketchembed.data.sources.overlap import Rule, is_allowed
from sketchembed.data.sources.sketchy_files import Box, PublishedFiles, Read, find_files
from sketchembed.data.sources.splits import photo_partition
from sketchembed.data.store import FORMAT_VERSION, DrawingStore, exclusion_summary, open_if_current
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError
from sketchembed.files.array_cache import fingerprint
from sketchembed.files.images import open_image, photo_pixels
from sketchembed.files.reading import check_file_size
from sketchembed.sketch import Sketch
from sketchembed.sketch.svg import SVG_LIMIT, read_strokes

EPSILON = 5.0  # tolerance of the simplification, in pixels of the sketch's canvas (appendix H.3)
SHORT = 0.1  # shorter strokes, relative to the longest one, are removed (released code)
SMALL = 0.03  # strokes with a smaller box, relative to the sketch's, are removed (our value)
READER_VERSION = 1  # increase it if the same files give another store; stores are then prepared again
Resampling = Literal["bilinear", "bicubic"]


def prepare_sketchy(
    folder: Path,
    destination: Path,
    *,
    max_length: int = 100,
    size: int = 84,
    rule: Rule = "class",
    resampling: Resampling = "bilinear",
) -> DrawingStore:
    """Prepare the store of pairs, or open it if it was made of the same files.

    Args:
        folder: folder of the published files.
        destination: folder of the store.
        max_length: sketches with more points are excluded and counted (section 4: 100).
        size: side of the photos in pixels.
        rule: which photos are excluded, see :mod:`~sketchembed.data.sources.overlap`.
        resampling: how the photos are resized.

    Raises:
        DataError: if files are missing or damaged, or the store cannot be written.
    """
    found = find_files(folder)
    about = {
        "fingerprint": fingerprint(
            [
                *(FORMAT_VERSION, READER_VERSION, max_length, size, rule, EPSILON, SHORT, SMALL),
                [sorted(part) for group in (found.sketches, found.photos) for part in group.values()],
                sorted(map(sorted, found.invalid.values())),
                sorted(map(sorted, found.checked.values())),
                sorted(found.boxes),
            ]
        ),
        "overlap": rule,
    }
    if resampling != "bilinear":  # stores of earlier versions do not have it
        about["resampling"] = resampling
    if (existing := open_if_current(destination, about)) is not None:
        return existing
    reader = _PairReader(found, max_length, size, rule, resampling)
    store = write_store(
        destination,
        map(reader.read_class, sorted(found.sketches)),
        source="sketchy",
        max_length=max_length,
        dtype="<f4",
        about=about,
        arrays=lambda: {"photos": np.stack(reader.photos), "photo_of": np.array(reader.photo_of, np.int32)},
        total=len(found.sketches),
    )
    line = f"sketchy: {len(store):,} sketches of {len(reader.photos):,} photos kept, "
    line += exclusion_summary(store)
    line += f"; the first unreadable file: {reader.errors[0]}" if reader.errors else ""
    print(line, file=sys.stderr)
    return store


def read_sketch(content: bytes, name: str) -> Sketch:
    """Read a sketch, remove strokes that are short or small compared with the others, and simplify it.

    *Source*: appendix H.3. Some files lack their closing tag, which is appended as in the released code.

    Args:
        content: content of the SVG file.
        name: name of the file, for messages.

    Returns:
        The sketch in the file's unit; empty if no line has a length.

    Raises:
        DataError: if it cannot be read as SVG, or is too large.
    """
    check_file_size(len(content), name, SVG_LIMIT)
    if not content.rstrip().endswith(b"</svg>"):
        content = content.rstrip() + b"</svg>"
    try:
        strokes = read_strokes(content)
    except DataError as error:
        expected, fix = "a sketch of lines and curves", "Remove the file"
        raise DataError(f"{name} cannot be read: {error}", expected=expected, fix=fix) from error
    lengths = np.array([np.hypot(*np.diff(stroke, axis=0).T).sum() for stroke in strokes])
    if not len(strokes) or lengths.max() == 0:
        return Sketch.from_strokes([])
    sides = np.array([np.ptp(stroke, axis=0).max() for stroke in strokes])
    whole = np.ptp(np.concatenate(strokes), axis=0).max()
    kept = (lengths >= SHORT * lengths.max()) & (sides >= SMALL * whole)
    long = Sketch.from_strokes(stroke for stroke, keep in zip(strokes, kept, strict=True) if keep)
    return long.simplified(EPSILON)


def cropped_photo(
    content: bytes, name: str, size: int, box: Box | None = None, resampling: Resampling = "bilinear"
) -> np.ndarray:
    """Read a photo as uint8 ``[3, size, size]``, centred on black, with its longer side scaled to `size`.

    *Source*: appendix H.3; black as in the released code.

    Args:
        content: content of the file.
        name: name of the file, for messages.
        size: side in pixels.
        box: box of the object, to which the photo is cropped. It is in pixels of the published photo. A photo
            rendered as a square is first scaled back to that size.
        resampling: how the photo is resized; bicubic in the released code.

    Raises:
        DataError: if it is not an image.
    """
    picture, filter = open_image(content, name), Image.Resampling[resampling.upper()]
    if box is not None:
        picture = picture.resize(box[0], filter).crop(box[1])
    return photo_pixels(picture, size, "contain", filter)


class _PairReader:
    """Reads the sketches of one class after the other, and collects their photos."""

    def __init__(
        self, found: PublishedFiles, max_length: int, size: int, rule: Rule, resampling: Resampling
    ) -> None:
        self.found, self.max_length, self.size, self.rule = found, max_length, size, rule
        self.resampling = resampling
        self.photos: list[np.ndarray] = []
        self.photo_of: list[int] = []
        self.errors: list[DataError] = []

    def read_class(self, label: str) -> ClassDrawings:
        rejected: Counter[str] = Counter()
        kept: list[tuple[int, np.ndarray]] = []
        numbers: dict[str, int | None] = {}
        for name, read in sorted(self.found.sketches[label].items()):
            photo = name.rpartition("-")[0]
            reason, sketch = self._exclusion(label, name, photo), None
            if not reason:
                reason, sketch = self._read_sketch(read, f"{label}/{name}.svg")
            if sketch is not None:
                if photo not in numbers:
                    numbers[photo] = self._add_photo(label, photo)
                number = numbers[photo]
                if number is not None:
                    kept.append((photo_partition(photo), sketch.to_stroke3()))
                    self.photo_of.append(number)
                    continue
                reason = "unreadable"
            rejected[reason] += 1
        return ClassDrawings(label, kept, dict(rejected))

    def _exclusion(self, label: str, name: str, photo: str) -> str:
        """Return why a sketch is excluded without being read, or an empty text."""
        checked, invalid = self.found.checked.get(label), self.found.invalid.get(label, set())
        if name in invalid or (checked is not None and name not in checked):
            return "invalid"
        if not is_allowed(self.rule, label, photo):
            return "overlap"
        return "" if photo in self.found.photos[label] else "without photo"

    def _read_sketch(self, read: Read, name: str) -> tuple[str, Sketch | None]:
        """Return a sketch, or None and the reason why it is excluded."""
        try:
            sketch = read_sketch(read(), name)
        except DataError as error:
            self.errors.append(error)
            return "unreadable", None
        if len(sketch) < 2:
            return "empty", None
        return ("", sketch) if len(sketch) <= self.max_length else ("too long", None)

    def _add_photo(self, label: str, name: str) -> int | None:
        """Read a photo and return its index, or None if it is unreadable."""
        try:
            content, box = self.found.photos[label][name](), self.found.boxes.get(name)
            self.photos.append(cropped_photo(content, f"{label}/{name}", self.size, box, self.resampling))
        except DataError as error:
            self.errors.append(error)
            return None
        return len(self.photos) - 1
