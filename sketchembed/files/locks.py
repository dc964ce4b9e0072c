"""Advisory locks on open files, which the system releases when their process ends, however it ends.

`filelock` is not used: its locks need a file of their own beside an unfinished file or folder, are closed in
child processes, and cannot be tested without being acquired.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def try_lock(file: int | IO[Any], *, unsupported: bool = True) -> bool:
    """Lock an open file or folder without waiting; return whether that succeeded.

    The lock belongs to the open file. It is released when the file is closed, here and in every child process
    that inherited it. On a file system without locks, `unsupported` is returned.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return unsupported
    return True


def is_locked(path: Path) -> bool:
    """Return whether a process of this machine holds the lock of a file; False if the file does not exist."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # missing, or on a file system without locks
        return False
    return False


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder, if it is free, inside a ``with`` block."""
    handle = os.open(path, os.O_RDONLY)
    try:
        try_lock(handle)
        yield
    finally:
        os.close(handle)
