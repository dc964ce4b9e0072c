"""Write files and folders whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

LEFTOVER_AGE = 60.0
"""Seconds after which what lies beside its place unlocked has lost its writer."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, which appears at its place when all is written and on the disk.

    It is written as ``.NAME.PROCESS.part`` beside its place, synced, renamed, and the folder is synced: a
    kill, a full disk or a power failure leaves the file before it as it was.

    Args:
        path: of the file; its folder is made.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with work.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(work, path)
        sync_folder(path.parent)
    finally:
        work.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk, which a file's own sync does not do."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def claimed(work: Path) -> Iterator[None]:
    """Lock an unfinished file or folder, by which :func:`remove_leftovers` sees that it is in use."""
    handle = os.open(work, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove what writers that were killed have left: what is older than a minute and held by nobody.

    Args:
        folder: where to look.
        pattern: of the unfinished files' or folders' names, held with :func:`claimed` while they are written.
    """
    for work in folder.glob(pattern):
        with contextlib.suppress(OSError):  # held, gone, or on a file system without locks
            if time.time() - work.stat().st_mtime < LEFTOVER_AGE:
                continue
            handle = os.open(work, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(work) if work.is_dir() else work.unlink()
            finally:
                os.close(handle)
