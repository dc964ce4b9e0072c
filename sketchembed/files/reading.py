"""Files from anywhere, read whole or refused; files of our own, written whole or not at all.

Nothing is waited for, no archive fills the memory, and what a killed writer leaves is known and removed.
"""

from __future__ import annotations

import hashlib
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

from sketchembed.errors import DataError

MAX_BYTES = 2**27
"""Of one file, 134 million."""
MAX_ENTRIES = 1 << 18
"""Of a tar, which are all listed before the first is read; the largest data set has a third as many."""
_NOTES = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
MAX_NOTES = 1 << 20
"""Of a tar's header of headers, in bytes: long names, and what else a plain header has no room for."""
MAX_TEXT = 1 << 20
"""Of a small text, such as a run's facts, in bytes."""
_DAMAGED = (EOFError, OSError, RuntimeError, ValueError, LookupError, ArithmeticError, struct.error)
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, *_DAMAGED)
"""What a damaged zip raises, or one that is encrypted or packed in a way that Python lacks (RuntimeError)."""
TAR_ERRORS = (tarfile.TarError, *_DAMAGED)
"""What a damaged tar raises, or one whose headers follow each other without end (RecursionError)."""


def read_file(path: Path, name: str, *, expected: str, fix: str, most: int = MAX_BYTES) -> bytes:
    """Read a file that may be anything: a folder, a pipe that nobody writes to, a link to itself.

    Args:
        path: of the file.
        name: of the file, for messages.
        expected: what should have been there, for messages.
        fix: what to do if it is not, for messages.
        most: bytes that it may have.

    Raises:
        DataError: if it is no regular file, may not be read, or has more bytes.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            check_file_size(status.st_size, name, most)
            return path.read_bytes()
        why = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no regular file"
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        why = getattr(error, "strerror", None) or str(error)
    raise DataError(f"{name} cannot be read ({why})", expected=expected, fix=fix)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: Path, most: int = MAX_TEXT) -> str:
    """Return a text as far as it can be read; empty if it is not there, no regular file, or too large.

    Args:
        path: of the file.
        most: bytes that it may have.
    """
    try:
        if path.is_file() and path.stat().st_size <= most:
            return path.read_text("utf-8", errors="replace")
    except (OSError, ValueError):
        pass
    return ""


def read_member(archive: zipfile.ZipFile, entry: str, most: int = MAX_BYTES) -> bytes:
    """Read a file of a zip, which may say that it is smaller than what it unpacks to.

    Args:
        archive: the zip.
        entry: the file's path in it.
        most: bytes that it may have.

    Raises:
        DataError: if it has more.
    """
    size = archive.getinfo(entry).file_size
    check_file_size(size, f"{archive.filename}: {entry}", most)
    with archive.open(entry) as file:
        return file.read(size)  # read() without a size would unpack all that is there, then cut it off


def open_tar(path: Path) -> tuple[tarfile.TarFile, list[tarfile.TarInfo]]:
    """Open a tar, and list the plain files in it: no links, no devices, no holes.

    Only an uncompressed one: another would have to be unpacked to be listed, however much that is. Sizes that
    its headers claim are looked at first, as the module would ask for as much memory.

    Args:
        path: of the tar.

    Raises:
        TAR_ERRORS: if it is damaged.
    """
    archive = tarfile.open(path, "r:", tarinfo=_Entry)  # noqa: SIM115 - its members are read later
    try:
        entries = archive.getmembers()
    except BaseException:
        archive.close()
        raise
    return archive, [entry for entry in entries if entry.isfile() and not entry.issparse()]


class _Entry(tarfile.TarInfo):
    """An entry whose size is looked at before so many bytes are asked for."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type in _NOTES and self.size > MAX_NOTES):
            raise tarfile.ReadError(f"an entry of {self.size} bytes among its headers")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        if found.size < 0 or archive.offset <= self.offset:
            raise tarfile.ReadError("an entry that leads back to where it stands")
        if len(archive.members) >= MAX_ENTRIES:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"more than {MAX_ENTRIES:,} entries")
        return found


def check_file_size(size: int, name: str, most: int = MAX_BYTES) -> None:
    """Check the size of a file, or of what an archive says is in it.

    Args:
        size: in bytes.
        name: of the file, for messages.
        most: bytes that it may have.

    Raises:
        DataError: if it is more.
    """
    if size > most:
        raise DataError(
            f"{name} has {size:,} bytes",
            expected=f"at most {most:,}",
            fix="Save it smaller, or leave it out",
        )
