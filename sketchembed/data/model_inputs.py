"""`sketchembed draw`: image files in, drawings out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.data.thinning import box_of, one_pixel_lines
from sketchembed.errors import DataError
from sketchembed.files.images import SUFFIXES, open_image, photo_pixels

INK_SPREAD = 0.15
"""Darkness, as a part of the range, from which a pixel counts as ink when the drawing is cropped."""
LEAST_SPREAD = 0.02
"""Difference of the lightest and the darkest grey, of the range, below which a picture is blank."""


def read_drawing(path: Path, size: int) -> Float[Tensor, "1 size size"]:
    """Read a picture of a drawing as the model's input: dark lines on white, cropped and centred.

    Transparent parts are paper. A picture that is mostly dark is taken for light lines on black and
    inverted. The box of the ink is scaled to the canvas less its margin, as the training inputs are
    (paper appendix H.1), and its lines are redrawn one pixel wide, so neither size, place nor thickness
    matters.

    Args:
        path: of the image, in any mode.
        size: side of the input in pixels.

    Returns:
        values in [0, 1], paper 1.

    Raises:
        DataError: if the file is no image, or blank.
    """
    picture = open_image(path, str(path))
    grey = np.asarray(picture.convert("L"))
    del picture  # its pixels, before others take their place
    # Of each of the 256 greys: a picture may have 34 million pixels.
    ink = 1 - np.arange(256, dtype=np.float32) / 255
    if np.median(grey) < 127.5:
        ink = 1 - ink
    low, high = sorted(float(ink[level]) for level in (grey.min(), grey.max()))
    spread = high - low
    box = box_of((ink - low > INK_SPREAD * max(spread, 1e-6))[grey])
    if spread < LEAST_SPREAD or box is None:
        raise DataError(
            f"{path} is blank", expected="lines that differ from their background", fix="Choose another image"
        )
    ink = (ink - low) / spread
    return torch.from_numpy(1 - one_pixel_lines(ink[grey[box]], size)).unsqueeze(0)


def read_photo(path: Path, size: int) -> Float[Tensor, "3 size size"]:
    """Read a photo of any size and aspect as the model's input: whole, centred on black.

    *Source*: as Sketchy's photos are given to the model in training, see
    :func:`~sketchembed.files.images.photo_pixels` (``contain``).

    Args:
        path: of the image, in any mode.
        size: side of the input in pixels.

    Returns:
        red, green and blue in [0, 1].

    Raises:
        DataError: if the file is no image.
    """
    pixels = photo_pixels(open_image(path, str(path)), size, "contain")
    return torch.from_numpy(pixels).float() / 255


def image_files(source: Path) -> list[Path]:
    """Return the images that `source` means: itself, or those in it.

    Raises:
        DataError: if there is none.
    """
    # os.path's answers are False for a link to itself or a name too long, where pathlib's may raise.
    if os.path.isfile(source):
        return [source]
    found = sorted(path for path in source.glob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(
            f"there is no image at {source}",
            expected=f"an image, or a folder of images: {', '.join(sorted(SUFFIXES))}",
            fix="Check the path",
        )
    return found
