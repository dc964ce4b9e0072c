"""Training photos that show a test class of mini-ImageNet, and must be excluded before a test on it.

Sketchy's photos come from ImageNet, as mini-ImageNet's do. Two synsets overlap if one of them, with all its
hyponyms in WordNet 3.0, shares a member with the other and its hyponyms: a guitar may be an electric guitar,
and a lion cub is a lion. The synsets that overlap a test class are listed in the package, so any photo with
an ImageNet name can be checked.

*Source*: paper sections 4 and 5.2 (whole classes are excluded); the released code (single photos are).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import PurePath
from typing import Literal

from sketchembed.data.sources.splits import read_fields

Rule = Literal["image", "class", "none"]
"""What to exclude: each photo of an overlapping synset (``image``, as in the released code), all photos of a
class with such a photo (``class``, as in the paper), or nothing."""


def overlaps(synset: str) -> bool:
    """Return whether a synset, such as ``n02129165``, overlaps a test class of mini-ImageNet."""
    return synset in read_fields("mini_imagenet_test_overlap")


def synset_of(name: str) -> str | None:
    """Return the synset in the name of a photo, or None.

    The name has the form of ImageNet and Sketchy, ``n02691156_10151``, or of mini-ImageNet's csv,
    ``n0153282900000005``. It may have folders and a suffix.
    """
    found = re.match(r"(n\d{8})(_\d|\d{8}(?!\d))", PurePath(name).name)
    return found[1] if found else None


@cache
def overlapping_classes() -> frozenset[str]:
    """Return the classes of Sketchy with a synset that overlaps."""
    synsets = read_fields("sketchy_synsets")
    return frozenset(name for name, own in synsets.items() if any(map(overlaps, own.split())))


def is_allowed(rule: Rule, class_name: str, photo_name: str) -> bool:
    """Return whether a photo may train a model that is tested on mini-ImageNet.

    Args:
        rule: which photos are excluded.
        class_name: folder of the photo; other names than Sketchy's classes are allowed.
        photo_name: file name of the photo. If it has no synset, only the class is checked.
    """
    if rule == "none":
        return True
    synset = synset_of(photo_name)
    if synset is not None and overlaps(synset):
        return False
    return rule == "image" or class_name not in overlapping_classes()
