"""Set of images with classes in memory, the source of few-shot episodes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.errors import DataError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their classes.

    Attributes:
        images: uint8 ``[n, channels, size, size]``; 255 is white, drawings are dark on white.
        labels: int64 ``[n]``, indices into `class_names`.
        class_names: names of the classes.
        names: names of the images, unique within a class.
        groups: group of each class, such as its alphabet, or None.
        about: description for reports: source, split, counts.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: list[str]
    names: list[str]
    groups: list[str] | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], groups: list[str] | None, about: dict[str, Any]
    ) -> ImageSet:
        """Return the image set of the arrays ``images``, ``labels``, ``names`` and ``class_names``."""
        names, class_names = arrays["names"].tolist(), arrays["class_names"].tolist()
        labels = arrays["labels"].astype(np.int64)
        return cls(arrays["images"], labels, class_names, names, groups, about)

    @property
    def channels(self) -> int:
        """Number of channels of an image."""
        return int(self.images.shape[1])

    @property
    def size(self) -> int:
        """Side of an image, in pixels."""
        return int(self.images.shape[-1])

    def batch(self, rows: slice | np.ndarray) -> Float[Tensor, "batch channels size size"]:
        """Return images in [0, 1], the input of models."""
        return torch.from_numpy(np.ascontiguousarray(self.images[rows])).float().div_(255)

    def digest(self) -> str:
        """Return a digest of the names of the images, in order; it does not depend on their pixels."""
        text = "\n".join(
            f"{self.class_names[label]}/{name}" for label, name in zip(self.labels, self.names, strict=True)
        )
        return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]

    def select(self, classes: list[str]) -> ImageSet:
        """Return the images of some classes, in the order of `classes`.

        Raises:
            DataError: if a class is missing.
        """
        number = {name: index for index, name in enumerate(self.class_names)}
        missing = [name for name in classes if name not in number]
        if missing:
            raise DataError(
                f"there are no images of the class '{missing[0]}', which is in the list of the split "
                f"({len(missing)} of {len(classes)} classes are missing)",
                expected="images of all classes in the list",
                fix="Download the image files again, or correct the list",
            )
        order = np.argsort(self.labels, kind="stable")
        ends = np.searchsorted(self.labels[order], np.arange(len(self.class_names) + 1))
        rows = [order[ends[number[name]] : ends[number[name] + 1]] for name in classes]
        kept = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        return ImageSet(
            self.images[kept],
            np.repeat(np.arange(len(classes)), [len(part) for part in rows]),
            list(classes),
            [self.names[row] for row in kept],
            None if self.groups is None else [self.groups[number[name]] for name in classes],
            dict(self.about),
        )

    def with_rotations(self) -> ImageSet:
        """Return four classes for each class: rotated counter-clockwise by 0, 90, 180 and 270 degrees.

        *Source*: Vinyals et al. 2016. The names are ``CLASS/rot090`` and so on, as in the published split.
        """
        count, classes = len(self), len(self.class_names)
        images = np.empty((count, 4, *self.images.shape[1:]), dtype=np.uint8)
        for turn in range(4):
            images[:, turn] = np.rot90(self.images, turn, axes=(-2, -1))
        return ImageSet(
            images.reshape(count * 4, *self.images.shape[1:]),
            (self.labels[:, None] * 4 + np.arange(4)).reshape(-1),
            [f"{self.class_names[at // 4]}/rot{at % 4 * 90:03d}" for at in range(classes * 4)],
            [name for name in self.names for _ in range(4)],
            None if self.groups is None else [group for group in self.groups for _ in range(4)],
            self.about | {"rotations": 4},
        )


def image_arrays(
    images: np.ndarray, labels: list[int], names: list[str], class_names: list[str]
) -> dict[str, np.ndarray]:
    """Return the arrays of an image set that are stored in a file."""
    text = {"names": np.array(names), "class_names": np.array(class_names)}
    return {"images": images, "labels": np.array(labels, dtype=np.int32)} | text


def is_image_set(arrays: Mapping[str, np.ndarray], channels: int, size: int) -> bool:
    """Return whether the arrays of :func:`image_arrays`, read from a file, form a valid image set."""
    images, labels, names, classes = (arrays[name] for name in ("images", "labels", "names", "class_names"))
    return (
        images.dtype == np.uint8
        and images.shape == (len(labels), channels, size, size)
        and labels.dtype.kind == "i"
        and labels.shape == names.shape
        and labels.ndim == classes.ndim == 1
        and names.dtype.kind == classes.dtype.kind == "U"
        and len(labels) > 0
        and 0 <= int(labels.min()) <= int(labels.max()) < len(classes)
        and len(set(classes.tolist())) == len(classes)
    )
