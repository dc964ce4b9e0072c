"""Where the data sets are, and where prepared data are kept."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def data_folder(folder: str | Path | None = None) -> Path:
    """Return the folder of the data sets: `folder`, else ``SKETCHEMBED_DATA``, else ``data``."""
    return Path(folder or os.environ.get("SKETCHEMBED_DATA") or "data")


def prepared_folder(folder: Path) -> Path:
    """Return where prepared stores go: beside the source files, or in ``data`` where those are read-only.

    The permission bits decide, since the superuser may write anywhere.
    """
    writable = not folder.exists() or bool(
        folder.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    )
    return (folder if writable else Path("data")) / "prepared"
