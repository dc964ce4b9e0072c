"""Splits as versioned lists of names that come with the package."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from importlib import resources

from sketchembed.errors import DataError


def read_names(name: str) -> list[str]:
    """Return the names of the list ``lists/NAME.txt``, one a line; lines that begin with # are comments."""
    text = resources.files("sketchembed.data.sources").joinpath(f"lists/{name}.txt").read_text("utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def read_fields(name: str) -> dict[str, str]:
    """Return the list ``lists/NAME.txt`` whose lines are a name without blanks and what belongs to it."""
    return dict((line.split(maxsplit=1)) for line in read_names(name))


def check_disjoint(lists: Mapping[str, Sequence[str]]) -> None:
    """Check that no class is in two parts of a split, nor twice in one.

    Args:
        lists: the names of each part.

    Raises:
        DataError: naming one that is.
    """
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


HELD_OUT_EVERY = 10
"""One photo in so many is looked at, and one more is kept for tests."""


def partition_of(photo: str) -> int:
    """Return the partition of a photo, a function of its name alone: 0 train (eight in ten), 1 valid, 2 test.

    So a photo stays where it is when others are added or left out.
    """
    place = int.from_bytes(hashlib.sha256(os.fsencode(photo)).digest()[:8], "big") % HELD_OUT_EVERY
    return place if place in (1, 2) else 0
