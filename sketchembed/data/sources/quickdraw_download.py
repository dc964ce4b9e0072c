"""Downloads of Quick, Draw!: whole class files, or only the first drawings of each."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from sketchembed.data.sources.quickdraw import check_classes
from sketchembed.data.sources.quickdraw_formats import PACKED_HEADER
from sketchembed.errors import DataError
from sketchembed.files.download import Counter, download
from sketchembed.files.http import CHUNK, remote_size

BASE_URL = "https://storage.googleapis.com/quickdraw_dataset"
PACKED_LIMIT = 16 << 20  # largest packed drawing in bytes; published ones are far smaller

Form = Literal["npz", "ndjson", "bin"]

_FOLDERS = {"npz": "sketchrnn", "ndjson": "simplified", "bin": "binary"}
_REMOTE = {"npz": "sketchrnn", "ndjson": "full/simplified", "bin": "full/binary"}


def download_quickdraw(
    folder: str | Path,
    classes: Sequence[str],
    *,
    form: Form = "npz",
    per_class: int | None = None,
    base_url: str = BASE_URL,
    timeout: float = 30.0,
) -> dict[str, Path]:
    """Download missing class files of Quick, Draw! to ``<folder>/quickdraw``.

    Args:
        folder: folder of the data sets.
        classes: names of the classes.
        form: ``npz`` (sketch-rnn), ``ndjson`` (simplified) or ``bin`` (packed).
        per_class: download only the first `per_class` drawings of each class, including drawings that are
            excluded later. ``npz`` files are always downloaded whole.
        base_url: address of the published files or of a mirror.
        timeout: seconds without a byte after which a connection counts as broken.

    Returns:
        The file of each class.

    Raises:
        NetworkError: if the server cannot be reached.
        DataError: if a name is not a class, a file does not exist, or the disk is full.
    """
    check_classes(classes)
    if per_class is not None and per_class < 1:
        fix = "Choose a larger number, or omit the option"
        raise DataError(f"the number of drawings per class is {per_class}", expected="at least 1", fix=fix)
    if per_class is not None and form == "npz":
        print("npz files are downloaded whole; ndjson and bin files need not be", file=sys.stderr)
    found = {}
    for number, name in enumerate(classes, start=1):
        url = f"{base_url}/{_REMOTE[form]}/{quote(name)}.{form}"
        found[name] = path = Path(folder) / "quickdraw" / _FOLDERS[form] / f"{name}.{form}"
        counter: Callable[[], Counter] | None = None
        if per_class is not None and form != "npz":
            counter = partial(LineCounter if form == "ndjson" else PackedCounter, per_class)
        if path.exists():
            if counter and _has_enough(path, counter()):
                continue
            if not counter and (form == "npz" or path.stat().st_size == remote_size(url, timeout)):
                continue
        title = f"{name} ({number}/{len(classes)})"
        download(url, path, counter=counter, timeout=timeout, title=title)
    return found


class LineCounter:
    """Finds the end of the first `count` lines, each a drawing of the simplified form."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, chunk: bytes) -> int | None:
        """Return the end of the last wanted line if it is in this chunk, otherwise None."""
        found = chunk.count(b"\n")
        if found < self.left:
            self.left -= found
            return None
        end = 0
        for _ in range(self.left):
            end = chunk.index(b"\n", end) + 1
        return end


class PackedCounter:
    """Finds the end of the first `count` packed drawings."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.rest = b""

    def __call__(self, chunk: bytes) -> int | None:
        """Return the end of the last wanted drawing if it is in this chunk, otherwise None.

        Raises:
            DataError: if a drawing exceeds :data:`PACKED_LIMIT`.
        """
        data, before, end = self.rest + chunk, len(self.rest), 0
        while self.left and (after := _packed_end(data, end)) is not None:
            self.left -= 1
            end = after
        self.rest = data[end:]
        if len(self.rest) > PACKED_LIMIT:
            raise DataError(
                f"the download has a drawing of more than {PACKED_LIMIT} bytes",
                expected="drawings in the packed binary format",
                fix="Check the address, or download another form",
            )
        return end - before if not self.left else None


def _packed_end(data: bytes, start: int) -> int | None:
    """Return the end of the drawing that begins at `start`, or None if it is incomplete."""
    try:
        (strokes,) = struct.unpack_from("<H", data, start + PACKED_HEADER.size - 2)
        end = start + PACKED_HEADER.size
        for _ in range(strokes):
            (points,) = struct.unpack_from("<H", data, end)
            end += 2 + 2 * points
    except struct.error:
        return None
    return end if end <= len(data) else None


def _has_enough(path: Path, counter: Counter) -> bool:
    with path.open("rb") as file:
        return any(counter(chunk) is not None for chunk in iter(partial(file.read, CHUNK), b""))
