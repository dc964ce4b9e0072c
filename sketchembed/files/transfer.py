"""Downloads that resume, are verified, and land whole or not at all.

While a file is under way it is called ``<name>.part``, beside it ``<name>.part.tag`` with the server's
validator. A later call goes on where the part ends, and starts over if the file has changed meanwhile.
Only a file of the right length (and MD5 digest, where the server tells it) gets its name.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from sketchembed.errors import DataError
from sketchembed.files.connection import CHUNK, NetworkError, Transient, open_url, read_chunk, refuse_page

ATTEMPTS = 5
"""How often a transfer that breaks off is taken up again; a host that does not answer is tried twice."""

Counter = Callable[[bytes], int | None]
"""Is given a file chunk by chunk; once there is enough, returns how many bytes of this chunk belong to it."""


def fetch(
    url: str,
    destination: str | Path,
    *,
    progress: bool = True,
    timeout: float = 30.0,
    title: str | None = None,
) -> Path:
    """Download a whole file, going on from what an earlier call left.

    Args:
        url: http or https.
        destination: where to; a file that is there is replaced once the new one is whole.
        progress: show a bar where there is a terminal.
        timeout: seconds without a byte after which the transfer counts as broken.
        title: of the bar; the file's name if not given.

    Raises:
        NetworkError: if the server cannot be reached, breaks off, or a web page comes instead of the file.
        DataError: if there is no such file, its digest is wrong twice, or it cannot be written.
    """
    return _download(url, Path(destination), None, progress, timeout, title)


def fetch_prefix(
    url: str,
    destination: str | Path,
    counter: Callable[[], Counter],
    *,
    progress: bool = True,
    timeout: float = 30.0,
    title: str | None = None,
) -> Path:
    """Download the first part of a file, up to where a counter has enough, or all if it never has.

    Args:
        url: http or https.
        destination: where to.
        counter: makes a fresh counter, such as ``partial(LineCounter, 1000)``.
        progress: show a bar where there is a terminal.
        timeout: seconds without a byte after which the transfer counts as broken.
        title: of the bar; the file's name if not given.

    Raises:
        NetworkError: as for :func:`fetch`.
        DataError: as for :func:`fetch`.
    """
    return _download(url, Path(destination), counter, progress, timeout, title)


def _download(
    url: str,
    destination: Path,
    counter: Callable[[], Counter] | None,
    progress: bool,
    timeout: float,
    title: str | None,
) -> Path:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    shown = progress and sys.stderr.isatty()
    with (
        _part_file(destination) as part,
        Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as bar,
    ):
        report = partial(bar.update, bar.add_task(title or destination.name, total=None))
        transfer = _Transfer(
            url, part, counter, timeout, lambda done, total: report(completed=done, total=total)
        )
        for attempt in range(ATTEMPTS):
            try:
                transfer.run()
                break
            except Transient as error:
                if attempt + 1 == ATTEMPTS or (attempt and not error.reached):
                    raise NetworkError(
                        f"{url} could not be fetched ({error})",
                        expected="a network that reaches the server",
                        fix="Check the network and run it again; it goes on where it stopped",
                    ) from error
                time.sleep(0.2 * 2**attempt)
        part.land(destination)
    return destination


class _Part:
    """The file under way, locked against other processes, and the validator of what it holds."""

    def __init__(self, path: Path, file: io.BufferedRandom) -> None:
        self.path, self.file = path, file
        self.tag_path = path.with_name(path.name + ".tag")
        try:
            self.tag = self.tag_path.read_text("utf-8") if self.tag_path.exists() else ""
        except ValueError:
            self.tag = ""  # damaged: what is there cannot be gone on with
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
        """Read what is there."""
        self.file.seek(0)
        yield from iter(partial(self.file.read, CHUNK), b"")

    def land(self, destination: Path) -> None:
        """Give the file its name, so that it is there whole even after a power cut."""
        self.file.truncate(self.size)
        self.file.flush()
        os.fsync(self.file.fileno())
        os.replace(self.path, destination)
        self.tag_path.unlink(missing_ok=True)
        folder = os.open(destination.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def _part_file(destination: Path) -> Iterator[_Part]:
    path = destination.with_name(destination.name + ".part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            _lock(path, file)
            part = _Part(path, file)
            try:
                yield part
            finally:
                if path.exists() and not part.size:  # nothing came: leave nothing
                    path.unlink()
                    part.tag_path.unlink(missing_ok=True)
    except OSError as error:
        expected, fix = "a folder that can be written to", "Choose another folder"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            expected, fix = "room on the disk", "Free some room and run it again; it goes on where it stopped"
        what = f"{destination} cannot be written ({error.strerror or error})"
        raise DataError(what, expected=expected, fix=fix) from error


def _lock(path: Path, file: io.BufferedRandom) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system: two processes must not fetch one file at a time
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        mine = False
    if not mine:
        raise DataError(
            f"{path} is being written by another process",
            expected="one download of a file at a time",
            fix="Wait until the other one is done, and run it again",
        )


class _Transfer:
    """The transfer of one file, over as many attempts as it takes."""

    def __init__(
        self,
        url: str,
        part: _Part,
        counter: Callable[[], Counter] | None,
        timeout: float,
        report: Callable[[int, int | None], None],
    ) -> None:
        self.url, self.part, self.make_counter, self.timeout = url, part, counter, timeout
        self.report = report
        self.counter: Counter | None = None
        self.wrong_digests = 0
        self.enough = self._recount()

    def _recount(self) -> bool:
        """Have a fresh counter count what is there; cut it if that is enough already."""
        self.counter = self.make_counter() if self.make_counter else None
        position = 0
        for chunk in self.part.chunks() if self.counter else ():
            if self.counter and (end := self.counter(chunk)) is not None:
                self.part.size = position + end
                return True
            position += len(chunk)
        self.part.file.seek(self.part.size)
        return False

    def run(self) -> None:
        """Receive what is missing.

        Raises:
            Transient: if the connection breaks off; another run goes on.
        """
        if self.enough:
            return
        headers = {}
        if self.part.size and self.part.tag:
            headers = {"Range": f"bytes={self.part.size}-", "If-Range": self.part.tag}
        try:
            response = open_url(self.url, headers, self.timeout)
        except Transient as error:
            if error.restart:
                self._restart("")
            raise
        with response:
            total = self._begin(response)
            while chunk := read_chunk(response):
                if not self.part.size:
                    refuse_page(self.url, "", chunk)
                end = self.counter(chunk) if self.counter else None
                self.part.write(chunk if end is None else chunk[:end])
                self.report(self.part.size, total)
                if end is not None:
                    self.enough = True
                    return
            if total is not None and self.part.size != total:
                raise Transient(f"it broke off after {self.part.size} of {total} bytes")
            self._verify(response)

    def _restart(self, tag: str) -> None:
        self.part.restart(tag)
        self._recount()

    def _begin(self, response: Any) -> int | None:
        """Set the part up for what the server sends; return the whole file's length, if told."""
        headers = response.headers
        if response.status == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
            if self.part.size and match and int(match[1]) == self.part.size:
                return int(match[2])
        if response.status != 200:
            self._restart("")
            raise Transient(f"HTTP {response.status} came with another part than asked for")
        etag = headers.get("ETag", "")
        # A weak tag does not promise the same bytes, so the date is the better validator.
        self._restart(etag if etag.startswith('"') else headers.get("Last-Modified", ""))
        length = headers.get("Content-Length", "")
        return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else None

    def _verify(self, response: Any) -> None:
        """Compare with Google storage's digest, which is of the file as it is stored there."""
        hashes = ",".join(response.headers.get_all("x-goog-hash", []))
        match = re.search(r"md5=([\w+/]{22}==)", hashes)
        if not match or response.headers.get("x-goog-stored-content-encoding", "identity") != "identity":
            return
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in self.part.chunks():
            digest.update(chunk)
        if digest.digest() == base64.b64decode(match[1]):
            return
        self._restart("")
        self.wrong_digests += 1
        if self.wrong_digests == 2:
            raise DataError(
                f"{self.url} arrives with another MD5 digest than the server tells, twice",
                expected=f"the digest {match[1]}",
                fix="Something between here and the server changes the file; try another network",
            )
        raise Transient("the digest was wrong")
