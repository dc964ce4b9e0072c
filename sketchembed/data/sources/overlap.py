"""Photos for training that show a test class of mini-ImageNet, and are to be left out.

Sketchy's photos come from ImageNet, as mini-ImageNet's do. Two synsets overlap where one with everything
below it in WordNet 3.0 shares a member with the other and everything below that: a guitar may be an electric
guitar, and a lion cub is a lion. Which synsets of WordNet overlap a test class is a list that comes with the
package, so that any photo with an ImageNet name can be asked about.

*Source*: paper sections 4 and 5.2 (whole classes are left out); the released code (single photos are).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import PurePath
from typing import Literal

from sketchembed.data.sources.splits import read_fields

Rule = Literal["image", "class", "none"]
"""What is left out: photos of an overlapping synset, as in the released code; every photo of a class that has
one, as in the paper; or nothing."""


def overlaps(synset: str) -> bool:
    """Return whether a synset, such as ``n02129165``, overlaps a test class of mini-ImageNet."""
    return synset in _overlapping_synsets()


def synset_of(name: str) -> str | None:
    """Return the synset in the name of a photo, or None where there is none.

    Args:
        name: as ImageNet and Sketchy have it, ``n02691156_10151``, or mini-ImageNet's csv,
            ``n0153282900000005``; with or without folders and a suffix.
    """
    found = re.match(r"(n\d{8})(_\d|\d{8}(?!\d))", PurePath(name).name)
    return found[1] if found else None


@cache
def overlapping_classes() -> frozenset[str]:
    """Return the classes of Sketchy, by their folders, of which a synset overlaps."""
    synsets = read_fields("sketchy_synsets")
    return frozenset(name for name, own in synsets.items() if any(map(overlaps, own.split())))


def keeps(rule: Rule, class_name: str, photo_name: str) -> bool:
    """Return whether a photo may train a model that is tested on mini-ImageNet.

    Args:
        rule: what is left out.
        class_name: the photo's folder.
        photo_name: its file's name; one without a synset, such as a user's own, is judged by its class alone.
    """
    if rule == "none":
        return True
    # A class need not be one of Sketchy's: whatever its name, its photos are asked about.
    synset = synset_of(photo_name)
    if synset is not None and overlaps(synset):
        return False
    return rule == "image" or class_name not in overlapping_classes()


@cache
def _overlapping_synsets() -> frozenset[str]:
    return frozenset(read_fields("mini_imagenet_test_overlap"))
