"""Files from anywhere, read whole or refused: nothing is waited for, and no archive fills the memory."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path

from sketchembed.errors import DataError

MAX_BYTES = 2**27
"""Of one file, 134 million."""
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)
"""What a damaged zip raises, or one that is encrypted or packed in a way that Python lacks (RuntimeError)."""


def read_file(path: Path, name: str, *, expected: str, fix: str) -> bytes:
    """Read a file that may be anything: a folder, a pipe that nobody writes to, a link to itself.

    Args:
        path: of the file.
        name: of the file, for messages.
        expected: what should have been there, for messages.
        fix: what to do if it is not, for messages.

    Raises:
        DataError: if it is no regular file, may not be read, or has more than :data:`MAX_BYTES` bytes.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            check_file_size(status.st_size, name)
            return path.read_bytes()
        why = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no regular file"
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        why = getattr(error, "strerror", None) or str(error)
    raise DataError(f"{name} cannot be read ({why})", expected=expected, fix=fix)


def read_member(archive: zipfile.ZipFile, entry: str) -> bytes:
    """Read a file of a zip, which may say that it is smaller than what it unpacks to.

    Args:
        archive: the zip.
        entry: the file's path in it.

    Raises:
        DataError: if it has more than :data:`MAX_BYTES` bytes.
    """
    size = archive.getinfo(entry).file_size
    check_file_size(size, f"{archive.filename}: {entry}")
    with archive.open(entry) as file:
        return file.read(size)  # read() without a size would unpack all that is there, then cut it off


def check_file_size(size: int, name: str) -> None:
    """Check the size of a file, or of what an archive says is in it.

    Args:
        size: in bytes.
        name: of the file, for messages.

    Raises:
        DataError: if it is more than :data:`MAX_BYTES`.
    """
    if size > MAX_BYTES:
        raise DataError(
            f"{name} has {size:,} bytes",
            expected=f"at most {MAX_BYTES:,}",
            fix="Save it smaller, or leave it out",
        )
