"""Separate the ink of a drawing from its background: even backgrounds, and photographed paper.

An even background needs one threshold for the whole picture. A photograph has shading, grain, and often the
table around the sheet. Its ink is what is darker than the paper around it (Sauvola and Pietikäinen 2000 use
the local mean; here it is the local maximum, which wide lines do not change). scikit-image has such filters,
but inference would need it.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from sketchembed.errors import DataError

INK_THRESHOLD = 0.15  # darkness of ink when the drawing is cropped, relative to the range of the picture
MIN_CONTRAST = 0.02  # minimum range of the grey levels, in [0, 1]; a picture with less is blank
BLOCK = 16  # side in pixels of the blocks whose evenness is measured; those of a JPEG have 8 or 16
EVEN = 0.03  # largest distance from the background within an even block, relative to the range of the picture
LEAST_EVEN = 0.15  # smallest share of pixels so close to the background

# Constants of photographed paper; lengths in pixels of a picture whose longer side is SIDE.
SIDE = 448
WIDEST = 31  # lines are narrower than this
TABLE = 0.5  # the table around the sheet is darker than this, relative to the sheet
EDGE = 13  # width of the square by which the table is enlarged, because its edge is blurred
FAINTEST = 0.08  # least darkness of the darkest ink, relative to the paper
NOISE = 4.0  # ink is darker than the paper by so many standard deviations of its grain
SPECK = 10  # ink pixels in a square of 9 pixels, below which they are dirt
MOST_INK = 0.25  # largest share of ink in the sheet
MOST_GREY = 0.3  # largest number of grey pixels away from the ink, relative to the number of ink pixels


def ink_of(grey: UInt8[np.ndarray, "h w"], name: str, fix: str) -> Float[np.ndarray, "rows columns"]:
    """Return the ink of a drawing in [0, 1], cropped to the drawing.

    A picture that is mostly dark is inverted.

    Args:
        grey: the picture.
        name: its name, for error messages.
        fix: what the user should do, for error messages.

    Raises:
        DataError: if the picture is blank, or a photo without a drawing.
    """
    # A lookup table of the 256 grey levels, since a picture may have 34 million pixels.
    ink = 1 - np.arange(256, dtype=np.float32) / 255
    if np.median(grey) < 127.5:
        ink = 1 - ink
    low, high = sorted(float(ink[level]) for level in (grey.min(), grey.max()))
    contrast = high - low
    if contrast < MIN_CONTRAST:
        raise DataError(f"{name} is blank", expected="lines that differ from the background", fix=fix)
    drawn = ink - low > INK_THRESHOLD * contrast
    ink = (ink - low) / contrast
    if _is_photographed(grey, ink):
        return _cropped(photographed_ink(grey, name, fix)).astype(np.float32)
    cropped: np.ndarray = ink[_cropped(grey, drawn[grey])]
    return cropped


def photographed_ink(grey: UInt8[np.ndarray, "h w"], name: str, fix: str) -> Bool[np.ndarray, "rows columns"]:
    """Return where a photograph of a drawing has ink, at a resolution of at most :data:`SIDE` pixels.

    Args: see :func:`ink_of`.

    Raises:
        DataError: if there are no lines, or the picture is not a drawing.
    """
    light = _scaled(grey)
    height, width = light.shape[2:]
    middle = light[..., height // 4 : height - height // 4, width // 4 : width - width // 4]
    if middle.median() < 0.5:
        light = 1 - light
    smooth = _mean(light, 3)
    paper = _mean(-_largest(-_largest(smooth, WIDEST), WIDEST), WIDEST).clamp_min(1 / 255)
    sheet = ~_outside(_mean(light, 5) < TABLE * paper.median())
    dark = 1 - smooth / paper
    grain = dark[sheet].numpy()
    if not len(grain):
        raise _rejected(name, "has no sheet of paper", fix)
    level = float(np.median(grain))
    dark, grain = dark - level, grain - level
    noise = 1.4826 * float(np.median(np.abs(grain)))
    darkest = float(np.quantile(grain, 0.998))
    if darkest < max(FAINTEST, 1.5 * NOISE * noise):
        raise _rejected(name, "has no lines that stand out from the paper", fix)
    least = max(darkest / 2, NOISE * noise)
    ink = (dark > least) & sheet
    ink &= _mean(ink.float(), 9, counted=True) * 81 >= SPECK
    share = ink.sum() / sheet.sum()
    # In a drawing, only the blurred edges of lines are neither ink nor paper.
    grey_away = (dark > least / 3) & sheet & (_largest(ink.float(), 5) == 0)
    if not 0 < share <= MOST_INK or grey_away.sum() > MOST_GREY * ink.sum():
        raise _rejected(name, "is a photo in which no drawing was found", fix)
    return ink[0, 0].numpy()


def _is_photographed(grey: np.ndarray, ink: np.ndarray) -> bool:
    """Return whether the background of a picture is uneven; `ink` is the ink in [0, 1] of each grey level.

    Blocks without ink are compared with the most frequent level of the background.
    """
    rows, columns = (side // BLOCK for side in grey.shape)
    if not rows or not columns:
        return False
    blocks = grey[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    ends = ink[blocks.min(axis=(1, 3))], ink[blocks.max(axis=(1, 3))]
    least, most = np.minimum(*ends), np.maximum(*ends)
    counts = np.array(Image.fromarray(grey).histogram())
    background = ink[np.argmax(np.where(ink < 0.5, counts, 0))]
    if counts[np.abs(ink - background) <= EVEN].sum() < LEAST_EVEN * grey.size:
        return True
    free = most < 0.5
    even = np.maximum(most - background, background - least) <= EVEN
    if (free & even).sum() < free.sum() / 2:
        return True
    # A dark border: blocks full of ink along the edge of the picture.
    solid = least > 0.5
    frame = np.concatenate([solid[0], solid[-1], solid[:, 0], solid[:, -1]])
    return bool(frame.mean() > 0.3 and solid.mean() < 0.5)


def _outside(dark: Tensor) -> Tensor:
    """Return the dark pixels from which a straight dark path leads to an edge, and the edge, enlarged."""
    values = dark[0, 0].numpy()
    found = np.zeros_like(values)
    for axis in (0, 1):
        found |= np.logical_and.accumulate(values, axis=axis)
        found |= np.flip(np.logical_and.accumulate(np.flip(values, axis), axis=axis), axis)
    found[[0, -1]] = found[:, [0, -1]] = True  # also where the table is too narrow to be dark
    return _largest(torch.from_numpy(found).float()[None, None], EDGE) > 0


def _scaled(grey: np.ndarray) -> Float[Tensor, "1 1 h w"]:
    """Return a picture in [0, 1] with sides of at most SIDE pixels."""
    picture = Image.fromarray(grey)
    scale = min(1.0, SIDE / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    values = np.array(picture.resize((width, height), Image.Resampling.BOX), dtype=np.float32)
    return torch.from_numpy(values / 255)[None, None]


def _largest(values: Tensor, side: int) -> Tensor:
    """Return the maximum over a square around each pixel, computed along one axis after the other."""
    rows = max_pool2d(values, (side, 1), 1, (side // 2, 0))
    return max_pool2d(rows, (1, side), 1, (0, side // 2))


def _mean(values: Tensor, side: int, counted: bool = False) -> Tensor:
    """Return the mean over a square around each pixel; if `counted`, pixels outside the picture are zeros."""
    rows = avg_pool2d(values, (side, 1), 1, (side // 2, 0), count_include_pad=counted)
    return avg_pool2d(rows, (1, side), 1, (0, side // 2), count_include_pad=counted)


def _cropped(values: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Return the part of an array around the pixels that are True in `where`, by default in the array."""
    where = values if where is None else where
    rows, columns = (np.flatnonzero(where.any(axis=axis)) for axis in (1, 0))
    return values[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _rejected(name: str, why: str, fix: str) -> DataError:
    return DataError(f"{name} {why}", expected="dark lines on even paper, or light ones on dark", fix=fix)
