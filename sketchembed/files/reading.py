"""Read untrusted files completely, or refuse them with one clear error.

Special files are never opened, and no archive can fill the memory. Tar headers are checked here because the
filters of `tarfile` apply to extraction only, after the headers have been read.
"""

from __future__ import annotations

import hashlib
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from sketchembed.errors import DataError

MAX_BYTES = 2**27  # largest file that is read, in bytes
MAX_ENTRIES = 1 << 18  # most entries of an archive; the largest data set has a third of that
MAX_NOTES = 1 << 20  # largest tar entry in bytes that only extends another header, such as a long name
MAX_TEXT = 1 << 20  # largest small text file, such as a run's facts, in bytes
_NOTES = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_DAMAGED = (EOFError, OSError, RuntimeError, ValueError, LookupError, ArithmeticError, struct.error)
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, *_DAMAGED)
"""Errors of a zip that is damaged, encrypted, or compressed by an unsupported method (RuntimeError)."""
_TAR_ERRORS = (tarfile.TarError, *_DAMAGED)
"""Errors of a tar that is damaged, or whose headers continue without end (RecursionError)."""


def read_file(path: Path, name: str, *, expected: str, fix: str, most: int = MAX_BYTES) -> bytes:
    """Read a file that may be anything, such as a folder, a pipe without a writer, or a link to itself.

    Messages contain the `name` of the file, what is `expected` of it, and a `fix`.

    Raises:
        DataError: if it is not a regular file, is not readable, or has more than `most` bytes.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            check_file_size(status.st_size, name, most)
            return path.read_bytes()
        why = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not a regular file"
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        why = getattr(error, "strerror", None) or str(error)
    raise DataError(f"{name} cannot be read ({why})", expected=expected, fix=fix)


def read_text(path: Path, most: int = MAX_TEXT) -> str:
    """Return a text, with undecodable bytes replaced; empty if it is missing, too large, or not a file."""
    try:
        if path.is_file() and path.stat().st_size <= most:
            return path.read_text("utf-8", errors="replace")
    except (OSError, ValueError):
        pass
    return ""


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file_size(size: int, name: str, most: int = MAX_BYTES) -> None:
    """Raise a DataError if a file, or an entry of an archive, has more than `most` bytes."""
    if size > most:
        raise DataError(
            f"{name} has {size:,} bytes", expected=f"at most {most:,}", fix="Save it smaller, or remove it"
        )


def read_member(archive: zipfile.ZipFile, entry: str, most: int = MAX_BYTES) -> bytes:
    """Read a file of a zip up to its stated size; a stated size of more than `most` bytes is a DataError."""
    size = archive.getinfo(entry).file_size
    check_file_size(size, f"{archive.filename}: {entry}", most)
    with archive.open(entry) as file:
        return file.read(size)  # read() without a size would unpack everything first


def zip_files(
    path: Path, wanted: Callable[[str], object], *, expected: str, most: int = MAX_BYTES
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of those files of a zip whose names are `wanted`, sorted by name.

    Raises:
        DataError: if the zip is damaged or a file has more than `most` bytes; `expected` describes the zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in sorted(filter(wanted, archive.namelist())):
                yield entry, read_member(archive, entry, most)
    except ZIP_ERRORS as error:
        what, fix = f"{path} cannot be read ({error})", "Delete it and download it again"
        raise DataError(what, expected=expected, fix=fix) from error


def tar_files(path: Path) -> list[tuple[str, Callable[[], bytes]]]:
    """Return the names of the regular files in an uncompressed tar, each with a function that reads the file.

    Links, devices and sparse files are skipped. A compressed tar is refused, because listing it would unpack
    all of it. The stated sizes are checked before `tarfile` allocates memory for them.

    Raises:
        DataError: if it is damaged; also by the functions, if a file is damaged or too large.
    """
    try:
        archive = tarfile.open(path, "r:", tarinfo=_Entry)  # noqa: SIM115 - its files are read later
        entries = archive.getmembers()
    except _TAR_ERRORS as error:
        raise _damaged(path, str(error)) from error
    if path.stat().st_size < archive.offset + tarfile.BLOCKSIZE:
        raise _damaged(path, "it ends before the block of zeros that ends every tar")
    files = (entry for entry in entries if entry.isfile() and not entry.issparse())
    return [(entry.name, partial(_read_entry, path, archive, entry)) for entry in files]


def _read_entry(path: Path, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    check_file_size(entry.size, f"{path}, {entry.name}")
    try:
        opened = archive.extractfile(entry)
        content = opened.read() if opened else b""
    except _TAR_ERRORS as error:
        raise _damaged(path, str(error)) from error
    if len(content) != entry.size:
        raise _damaged(path, f"{entry.name} is cut off")
    return content


def _damaged(path: Path, why: str) -> DataError:
    expected, fix = "a whole, uncompressed tar", "Download it again"
    return DataError(f"{path} cannot be read ({why})", expected=expected, fix=fix)


class _Entry(tarfile.TarInfo):
    """A header whose stated size is checked before memory is allocated for it."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type in _NOTES and self.size > MAX_NOTES):
            raise tarfile.ReadError(f"a header states a size of {self.size} bytes")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        if found.size < 0 or archive.offset <= self.offset:
            raise tarfile.ReadError("an entry leads back to its own position")
        if len(archive.members) >= MAX_ENTRIES:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"more than {MAX_ENTRIES:,} entries")
        return found
