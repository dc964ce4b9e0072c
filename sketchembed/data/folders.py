"""The folders of published data sets and of prepared data."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from platformdirs import user_cache_path

from sketchembed.errors import DataError
from sketchembed.files.array_cache import fingerprint


def data_folder(folder: str | Path | None = None) -> Path:
    """Return the folder of the data sets: `folder`, or else ``SKETCHEMBED_DATA``, or else ``data``."""
    return Path(folder or os.environ.get("SKETCHEMBED_DATA") or "data")


def prepared_folder(folder: Path) -> Path:
    """Return the folder of data prepared from the data sets in `folder`.

    It is the folder in ``SKETCHEMBED_PREPARED``, or else ``prepared`` in `folder`. If the latter is
    read-only, it is a folder in the user's cache instead, with links to everything that is prepared in
    `folder` already. Each folder of data sets has a cache of its own.

    Raises:
        DataError: if the folder does not exist and cannot be created.
    """
    published, given = folder / "prepared", os.environ.get("SKETCHEMBED_PREPARED")
    if not given and _is_writable(published):
        return published
    name = f"{folder.resolve().name}-{fingerprint([str(folder.resolve())])[:8]}"
    prepared = Path(given) if given else user_cache_path("sketchembed") / "prepared" / name
    try:
        if not prepared.is_dir():
            prepared.mkdir(parents=True, exist_ok=True)
            if not given:
                where = f"prepared data are stored in {prepared}; SKETCHEMBED_PREPARED names another folder"
                print(f"{folder} is read-only: {where}", file=sys.stderr)
        if not given:
            _link_entries(published, prepared)
    except OSError as error:
        raise DataError(
            f"the folder of prepared data, {prepared}, cannot be written ({error.strerror or error})",
            expected="a writable folder",
            fix="Set SKETCHEMBED_PREPARED to one",
        ) from error
    return prepared


def _is_writable(path: Path) -> bool:
    """Return whether a folder can be written, or created if it does not exist.

    Folders without write bits count as read-only for the superuser too, which could write to them.
    """
    path = next(path for path in (path, *path.absolute().parents) if path.exists())
    return bool(path.stat().st_mode & 0o222) and os.access(path, os.W_OK | os.X_OK)


def _link_entries(source: Path, destination: Path) -> None:
    """Link each entry of a folder in another one, except for entries that are there already."""
    for path in source.glob("[!.]*"):  # hidden ones are unfinished
        link = destination / path.name
        if not link.exists():
            link.unlink(missing_ok=True)  # a link to what was removed
            with contextlib.suppress(FileExistsError):  # another process was faster
                link.symlink_to(path.resolve())
