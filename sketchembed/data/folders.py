"""The folders of published data sets and of prepared data."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def data_folder(folder: str | Path | None = None) -> Path:
    """Return the folder of the data sets: `folder`, or else ``SKETCHEMBED_DATA``, or else ``data``."""
    return Path(folder or os.environ.get("SKETCHEMBED_DATA") or "data")


def prepared_folder(folder: Path) -> Path:
    """Return the folder of prepared data: within `folder`, or within ``data`` if `folder` is read-only.

    The permission bits decide, because the superuser can write to any folder.
    """
    writable = not folder.exists() or bool(
        folder.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    )
    return (folder if writable else Path("data")) / "prepared"
