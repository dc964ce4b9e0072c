"""Quick, Draw! from its publisher: whole class files, or just the first drawings of each."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from rich.console import Console

from sketchembed.data.sources.quickdraw import check_classes
from sketchembed.data.sources.quickdraw_formats import PACKED_HEADER
from sketchembed.errors import DataError
from sketchembed.files.connection import CHUNK, NetworkError, remote_size
from sketchembed.files.transfer import Counter, fetch, fetch_prefix

__all__ = ["LineCounter", "NetworkError", "PackedCounter", "download_quickdraw", "fetch", "fetch_prefix"]

BASE_URL = "https://storage.googleapis.com/quickdraw_dataset"
PACKED_LIMIT = 16 << 20
"""More than any published drawing takes in the packed form, in bytes."""

Form = Literal["npz", "ndjson", "bin"]

_FOLDERS = {"npz": "sketchrnn", "ndjson": "simplified", "bin": "binary"}
_REMOTE = {"npz": "sketchrnn", "ndjson": "full/simplified", "bin": "full/binary"}


def download_quickdraw(
    folder: str | Path,
    classes: Sequence[str],
    *,
    form: Form = "npz",
    per_class: int | None = None,
    progress: bool = True,
    base_url: str = BASE_URL,
    timeout: float = 30.0,
) -> dict[str, Path]:
    """Download class files of Quick, Draw! to ``<folder>/quickdraw``, those that are not there yet.

    Args:
        folder: of the data sets.
        classes: names.
        form: ``npz`` (sketch-rnn), ``ndjson`` (simplified) or ``bin`` (packed).
        per_class: fetch no more than the first so many drawings of each class. That needs a stream:
            ``npz`` files come whole all the same, which is said. Drawings that are too long to be kept
            later are among them.
        progress: show a bar where there is a terminal.
        base_url: of the published files, or of a mirror.
        timeout: seconds without a byte after which a transfer counts as broken.

    Returns:
        The file of each class.

    Raises:
        NetworkError: if the server cannot be reached.
        DataError: if a name is no class, a file is not there, or the disk is full.
    """
    check_classes(classes)
    if per_class is not None and per_class < 1:
        fix = "Ask for more, or leave the limit away"
        raise DataError(f"{per_class} drawings a class are none", expected="at least 1", fix=fix)
    if per_class is not None and form == "npz" and progress:
        Console(stderr=True).print("Files of the npz form are fetched whole; ndjson and bin need not be")
    found = {}
    for number, name in enumerate(classes, start=1):
        url = f"{base_url}/{_REMOTE[form]}/{quote(name)}.{form}"
        found[name] = path = Path(folder) / "quickdraw" / _FOLDERS[form] / f"{name}.{form}"
        title = f"{name} ({number}/{len(classes)})"
        if form == "npz" or per_class is None:
            if not path.exists() or (form != "npz" and path.stat().st_size != remote_size(url, timeout)):
                fetch(url, path, progress=progress, timeout=timeout, title=title)
        else:
            counter = partial(LineCounter if form == "ndjson" else PackedCounter, per_class)
            if not path.exists() or not _holds_enough(path, counter()):
                fetch_prefix(url, path, counter, progress=progress, timeout=timeout, title=title)
    return found


class LineCounter:
    """Has enough after so many lines: drawings of the simplified form."""

    def __init__(self, count: int) -> None:
        """Wait for `count` lines."""
        self.left = count

    def __call__(self, chunk: bytes) -> int | None:
        """Return the end of the last line wanted, if it is in this chunk."""
        found = chunk.count(b"\n")
        if found < self.left:
            self.left -= found
            return None
        end = 0
        for _ in range(self.left):
            end = chunk.index(b"\n", end) + 1
        return end


class PackedCounter:
    """Has enough after so many packed drawings."""

    def __init__(self, count: int) -> None:
        """Wait for `count` drawings."""
        self.left = count
        self.rest = b""

    def __call__(self, chunk: bytes) -> int | None:
        """Return the end of the last drawing wanted, if it is in this chunk.

        Raises:
            DataError: if a single drawing goes on for longer than any can.
        """
        data, before, end = self.rest + chunk, len(self.rest), 0
        while self.left and (after := _packed_end(data, end)) is not None:
            self.left -= 1
            end = after
        self.rest = data[end:]
        if len(self.rest) > PACKED_LIMIT:
            raise DataError(
                f"what was received has a drawing of more than {PACKED_LIMIT} bytes",
                expected="drawings in the packed binary format",
                fix="Check the address, or download another form",
            )
        return end - before if not self.left else None


def _packed_end(data: bytes, start: int) -> int | None:
    """Return where the drawing that begins at `start` ends, or None if it is not all there."""
    try:
        (strokes,) = struct.unpack_from("<H", data, start + PACKED_HEADER.size - 2)
        end = start + PACKED_HEADER.size
        for _ in range(strokes):
            (points,) = struct.unpack_from("<H", data, end)
            end += 2 + 2 * points
    except struct.error:
        return None
    return end if end <= len(data) else None


def _holds_enough(path: Path, counter: Counter) -> bool:
    with path.open("rb") as file:
        return any(counter(chunk) is not None for chunk in iter(partial(file.read, CHUNK), b""))
