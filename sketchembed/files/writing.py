"""Write files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sketchembed.errors import ConfigError
from sketchembed.files.locks import try_lock

LEFTOVER_AGE = 60.0  # age in seconds from which an unlocked unfinished file or folder counts as abandoned


def check_output(folder: Path) -> None:
    """Raise a ConfigError unless files can be written to a folder, which is not created.

    A long computation calls it first, because its result would be lost.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    why = None if nearest.is_dir() else f"{nearest} is not a folder"
    if why is None and not os.access(nearest, os.W_OK | os.X_OK):
        why = f"{nearest} is read-only"
    if why:
        raise ConfigError(
            f"{folder} cannot be written to ({why})",
            expected="a folder with write permission",
            fix="Name another folder",
        )


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` only once it is complete and on the disk.

    The data are written to ``.NAME.PROCESS.part`` in the same folder and synced. The file is then renamed and
    the folder synced, so after a kill, a full disk or a power failure the previous file is still there.
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
    """Sync a folder's entries to the disk, which syncing its files does not do."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove unfinished files and folders whose writer was killed: unlocked, and older than a minute.

    Writers hold the lock of such a file with :func:`sketchembed.files.locks.locked`.
    """
    for work in folder.glob(pattern):
        with contextlib.suppress(OSError):  # removed by another process meanwhile
            if time.time() - work.stat().st_mtime < LEFTOVER_AGE:
                continue
            handle = os.open(work, os.O_RDONLY)
            try:
                if try_lock(handle, unsupported=False):
                    shutil.rmtree(work) if work.is_dir() else work.unlink()
            finally:
                os.close(handle)
