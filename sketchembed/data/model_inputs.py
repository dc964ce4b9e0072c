"""Image files as inputs of a model: pictures of drawings, and photos."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.data.thinning import one_pixel_lines
from sketchembed.errors import DataError
from sketchembed.files.images import EXPECTED, SUFFIXES, open_image, photo_pixels

INK_THRESHOLD = 0.15  # darkness of ink when the drawing is cropped, relative to the range of the picture
MIN_CONTRAST = 0.02  # minimum range of the grey levels, in [0, 1]; a picture with less is blank


def read_drawing(
    source: Path | bytes, size: int, name: str = "", *, fix: str = "Check the file, or choose another image"
) -> Float[Tensor, "1 size size"]:
    """Read a picture of a drawing as the input of a model: dark lines on white, cropped and centred.

    Transparent parts are background, and a picture that is mostly dark is inverted. The bounding box of the
    ink is scaled to the canvas less its margin, as in training (paper appendix H.1). The lines are redrawn
    one pixel wide. The size, position and line width of the drawing therefore do not matter.

    Args:
        source: an image file, or its content.
        size: side of the input in pixels.
        name: name of the file, for error messages; default: its path.
        fix: what the user should do, for error messages.

    Returns:
        Values in [0, 1], where the background is 1.

    Raises:
        DataError: if the file is not an image, or is blank.
    """
    name = name or str(source)
    picture = open_image(source, name, expected=EXPECTED, fix=fix)
    grey = np.asarray(picture.convert("L"))
    del picture  # frees the pixels before more are allocated
    # A lookup table of the 256 grey levels, since a picture may have 34 million pixels.
    ink = 1 - np.arange(256, dtype=np.float32) / 255
    if np.median(grey) < 127.5:
        ink = 1 - ink
    low, high = sorted(float(ink[level]) for level in (grey.min(), grey.max()))
    contrast = high - low
    if contrast < MIN_CONTRAST:
        raise DataError(f"{name} is blank", expected="lines that differ from the background", fix=fix)
    drawn = (ink - low > INK_THRESHOLD * contrast)[grey]
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
    del drawn
    grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ink = (ink - low) / contrast
    return torch.from_numpy(1 - one_pixel_lines(ink[grey], size)).unsqueeze(0)


def read_photo(path: Path, size: int) -> Float[Tensor, "3 size size"]:
    """Read a photo of any size as RGB in [0, 1], scaled to fit and centred on black as in training.

    Raises:
        DataError: if the file is not an image.
    """
    pixels = photo_pixels(open_image(path, str(path)), size, "contain")
    return torch.from_numpy(pixels).float() / 255


def image_files(source: Path) -> list[Path]:
    """Return `source` if it is a file, or the images in it if it is a folder.

    Raises:
        DataError: if there is no image.
    """
    # os.path.isfile returns False for circular links and overlong names, for which pathlib may raise.
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
