"""Downloads that resume after an interruption, are verified, and appear only when they are complete.

Until then a file is called ``<name>.part``, and ``<name>.part.tag`` holds the server's validator, with which
a later call resumes the download, or restarts it if the file has changed. Ours because `pooch` and
`torch.hub` do not resume, and cannot stop after the first part of a file.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sketchembed.errors import DataError
from sketchembed.files.http import (
    CHUNK,
    NetworkError,
    TransientError,
    content_length,
    open_url,
    read_chunk,
    refuse_page,
)
from sketchembed.files.locks import try_lock
from sketchembed.files.progress_bar import ProgressBar
from sketchembed.files.writing import sync_folder

ATTEMPTS = 5  # attempts to complete a broken transfer; a host that does not answer is tried twice

Counter = Callable[[bytes], int | None]
"""Takes a file chunk by chunk. Returns None until it is long enough, then the bytes of this chunk to keep."""


def download(
    url: str,
    destination: str | Path,
    *,
    counter: Callable[[], Counter] | None = None,
    timeout: float = 30.0,
    title: str | None = None,
) -> Path:
    """Download a file, or its first part, and resume an earlier call that was interrupted.

    Args:
        url: http or https.
        destination: path of the file. An existing file is replaced once the new one is complete.
        counter: makes a new counter that decides where the download ends, such as
            ``partial(LineCounter, 1000)``. The whole file is downloaded by default.
        timeout: seconds without a byte after which a connection counts as broken.
        title: name in the progress; the name of the file by default.

    Raises:
        NetworkError: if the server cannot be reached, or sends a web page instead of the file.
        DataError: if the file does not exist, its digest is wrong twice, or it cannot be written.
    """
    destination = Path(destination)
    title = f"Downloading {title or destination.name}"
    with _open_part(destination) as part, ProgressBar(title, in_bytes=True) as bar:
        for attempt in range(ATTEMPTS):
            try:
                _receive(url, part, counter, timeout, bar.update)
                break
            except TransientError as error:
                if error.restart:
                    part.restart("")
                if attempt + 1 == ATTEMPTS or (attempt and not error.reached):
                    raise NetworkError(
                        f"{url} could not be downloaded ({error})",
                        expected="a network that reaches the server",
                        fix="Check the network and run the command again; the download is resumed",
                    ) from error
                time.sleep(0.2 * 2**attempt)
        part.publish(destination)
    return destination


class _Part:
    """An unfinished file, and the server's validator of its content."""

    def __init__(self, path: Path, file: io.BufferedRandom) -> None:
        self.path, self.file = path, file
        self.tag_path = path.with_name(path.name + ".tag")
        self.wrong_digests = 0
        try:
            self.tag = self.tag_path.read_text("utf-8") if self.tag_path.exists() else ""
        except ValueError:
            self.tag = ""  # damaged, so the content cannot be resumed
        self.size = self.file.seek(0, os.SEEK_END)
        if not self.tag:
            self.restart("")

    def restart(self, tag: str) -> None:
        self.file.truncate(0)
        self.file.seek(0)
        self.size, self.tag = 0, tag
        self.tag_path.write_text(tag, "utf-8")

    def write(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self.size += len(chunk)

    def chunks(self) -> Iterator[bytes]:
        """Read the content from its start."""
        self.file.seek(0)
        yield from iter(partial(self.file.read, CHUNK), b"")

    def cut(self, counter: Counter) -> bool:
        """Let a counter read the content; if that is enough, shorten it and return True."""
        position = 0
        for chunk in self.chunks():
            if (end := counter(chunk)) is not None:
                self.size = position + end
                return True
            position += len(chunk)
        return False

    def publish(self, destination: Path) -> None:
        """Rename the file to its final name, once its content is on the disk."""
        self.file.truncate(self.size)
        self.file.flush()
        os.fsync(self.file.fileno())
        os.replace(self.path, destination)
        self.tag_path.unlink(missing_ok=True)
        sync_folder(destination.parent)


@contextmanager
def _open_part(destination: Path) -> Iterator[_Part]:
    """Open and lock the unfinished file; remove it afterwards if it is empty."""
    path = destination.with_name(destination.name + ".part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            # Another process may have published its file since it was opened.
            if not try_lock(file) or not path.exists() or not os.path.samefile(path, file.fileno()):
                raise DataError(
                    f"{path} is being written by another process",
                    expected="one download of a file at a time",
                    fix="Wait until the other process is done, and run the command again",
                )
            part = _Part(path, file)
            try:
                yield part
            finally:
                if path.exists() and not part.size:
                    path.unlink()
                    part.tag_path.unlink(missing_ok=True)
    except OSError as error:
        expected, fix = "a writable folder", "Choose another folder"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            expected, fix = "room on the disk", "Free some room and run the command again; it is resumed"
        what = f"{destination} cannot be written ({error.strerror or error})"
        raise DataError(what, expected=expected, fix=fix) from error


def _receive(
    url: str,
    part: _Part,
    make_counter: Callable[[], Counter] | None,
    timeout: float,
    report: Callable[..., None],
) -> None:
    """Receive the missing bytes of a file in one attempt."""
    counter = make_counter() if make_counter else None
    if counter and part.cut(counter):
        return
    resume = {"Range": f"bytes={part.size}-", "If-Range": part.tag} if part.size and part.tag else {}
    with open_url(url, resume, timeout) as response:
        total = _resumed_total(response, part.size)
        if total is None:
            if response.status != 200:
                raise TransientError(f"HTTP {response.status} came with another range", restart=True)
            part.restart(_validator(response.headers))
            counter = make_counter() if make_counter else None
            total = content_length(response)
        while chunk := read_chunk(response):
            if not part.size:
                refuse_page(url, "", chunk)
            end = counter(chunk) if counter else None
            part.write(chunk if end is None else chunk[:end])
            report(part.size, total)
            if end is not None:
                return
        if total is not None and part.size != total:
            raise TransientError(f"the connection broke after {part.size} of {total} bytes")
        _verify(url, part, response.headers)


def _resumed_total(response: Any, size: int) -> int | None:
    """Return the length of the whole file if the response continues after `size` bytes, otherwise None."""
    match = re.fullmatch(r"bytes (\d{1,19})-\d+/(\d{1,19})", response.headers.get("Content-Range", ""))
    continues = size and response.status == 206 and match and int(match[1]) == size
    return int(match[2]) if match and continues else None


def _validator(headers: Any) -> str:
    """Return the strong ETag or else the date. A weak ETag does not promise the same bytes."""
    etag = str(headers.get("ETag", ""))
    return etag if etag.startswith('"') else str(headers.get("Last-Modified", ""))


def _verify(url: str, part: _Part, headers: Any) -> None:
    """Compare the file with the MD5 digest that Google Cloud Storage states for the stored file."""
    match = re.search(r"md5=([\w+/]{22}==)", ",".join(headers.get_all("x-goog-hash", [])))
    if not match or headers.get("x-goog-stored-content-encoding", "identity") != "identity":
        return
    found = hashlib.md5(usedforsecurity=False)
    for chunk in part.chunks():
        found.update(chunk)
    if found.digest() == base64.b64decode(match[1]):
        return
    part.restart("")
    part.wrong_digests += 1
    if part.wrong_digests == 2:
        raise DataError(
            f"{url} differs from the MD5 digest that the server states, twice",
            expected=f"the digest {match[1]}",
            fix="Something between here and the server changes the file; try another network",
        )
    raise TransientError("the digest was wrong")
