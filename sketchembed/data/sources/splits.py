"""Splits of data sets, most of them lists of names that come with the package."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

from sketchembed.errors import DataError

HELD_OUT_EVERY = 10  # one photo in ten is for validation, and another one for testing


def read_names(name: str) -> list[str]:
    """Return the lines of the list ``lists/NAME.txt``, without comments, which begin with #."""
    text = resources.files("sketchembed.data.sources").joinpath(f"lists/{name}.txt").read_text("utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


@cache
def read_fields(name: str) -> dict[str, str]:
    """Return the list ``lists/NAME.txt`` as a dictionary from the first word of each line to the rest."""
    return dict(line.split(maxsplit=1) for line in read_names(name))


def check_disjoint(lists: Mapping[str, Sequence[str]]) -> None:
    """Raise a DataError if a class is listed twice, in two parts of a split or in one."""
    owner: dict[str, str] = {}
    for part, names in lists.items():
        for name in names:
            if name in owner:
                where = f"in both {owner[name]} and {part}" if owner[name] != part else f"twice in {part}"
                raise DataError(
                    f"the split's lists have '{name}' {where}",
                    expected="parts that share no class",
                    fix="Correct the lists",
                )
            owner[name] = part


def photo_partition(name: str) -> int:
    """Return the partition of a photo: 0 train (eight in ten), 1 valid, 2 test.

    It depends on the name alone, so a photo keeps its partition when others are added or excluded.
    """
    place = int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big") % HELD_OUT_EVERY
    return place if place in (1, 2) else 0
