"""Pictures of drawings and photos as inputs of a network: files, PIL images, arrays and tensors."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from sketchembed.errors import DataError
from sketchembed.files.images import EXPECTED, SUFFIXES, as_rgb, open_image, photo_pixels
from sketchembed.raster.segmentation import ink_of
from sketchembed.raster.thinning import one_pixel_lines

Images = Any
"""What networks accept as images: a path, a PIL image, an array, a tensor, or a list of these.

An array or tensor is ``[h, w]``, ``[h, w, colours]`` or ``[colours, h, w]`` with 1 (grey), 3 (RGB) or 4
(RGBA) colours, or ``[n, ...]`` of the last two for several pictures. Its values are uint8, bool, or floats in
[0, 1]. If it has the shape of the network's input, it is used as it is: dark lines on white for networks of
drawings. Anything else is read as a picture of any size, see :func:`read_drawing` and :func:`read_photo`.
"""

WANTED = "a path, a PIL image, an array or tensor (uint8, or floats in [0, 1]), or a list of these"
TOLERANCE = 0.01  # values so far outside [0, 1] are accepted: rounding errors, for example of resizing
COLOURS = (1, 3, 4)
FIX = "Check the file, or choose another image"


def read_image(image: Images, size: int = 28, channels: int = 1) -> Float[Tensor, "{channels} {size} {size}"]:
    """Return one picture as a network sees it, with values in [0, 1]; the defaults are those of drawings.

    Args:
        image: a path, PIL image, array or tensor, see :data:`Images`.
        size: side of the input in pixels, ``net.config.image_size``.
        channels: 1 for a drawing, 3 for a photo: ``net.config.channels``.

    Raises:
        DataError: if it is not a picture, or holds no drawing.
    """
    return _one(image, size, channels, "the image")


def as_batch(images: Images, size: int, channels: int) -> Float[Tensor, "batch {channels} {size} {size}"]:
    """Return images, see :data:`Images`, as a batch of inputs of a network; tensors remain on their device.

    Raises:
        DataError: if one of them is not a picture, or there is none.
    """
    if isinstance(images, np.ndarray) and images.ndim == 1 and images.dtype.kind in "OUT":
        images = images.tolist()
    if isinstance(images, np.ndarray | Tensor) and images.ndim == 4:
        if tuple(images.shape[1:]) == (channels, size, size) and len(images):
            return _checked(_as_tensor(images, "the batch"), "the batch")
        images = list(images)
    if not isinstance(images, list | tuple | Iterator):
        return _one(images, size, channels, "the image").unsqueeze(0)
    several = [_one(image, size, channels, f"image {at}") for at, image in enumerate(images)]
    if not several:
        raise _unlike("there are no images")
    return torch.stack([one.to(several[0]) for one in several])


def read_drawing(
    source: Path | bytes, size: int, name: str = "", *, fix: str = FIX
) -> Float[Tensor, "1 size size"]:
    """Read a picture of a drawing as the input of a model: dark lines on white, cropped and centred.

    Transparent parts are background, and a picture that is mostly dark is inverted. In a photographed
    drawing, the ink is separated from shaded paper and a dark border, see
    :func:`~sketchembed.raster.segmentation.ink_of`. The bounding box of the ink is scaled to the canvas less
    its margin, as in training (paper appendix H.1). The lines are redrawn one pixel wide. The size, position
    and line width of the drawing therefore do not matter.

    Args:
        source: an image file, or its content.
        size: side of the input in pixels.
        name: name of the file, for error messages; default: its path.
        fix: what the user should do, for error messages.

    Returns:
        Values in [0, 1], where the background is 1.

    Raises:
        DataError: if the file is not an image, is blank, or is a photo without a drawing.
    """
    name = name or str(source)
    grey = np.asarray(open_image(source, name, expected=EXPECTED, fix=fix).convert("L"))
    return _drawing(grey, size, name, fix)


def read_photo(path: Path, size: int) -> Float[Tensor, "3 size size"]:
    """Read a photo of any size as RGB in [0, 1], scaled to fit and centred on black as in training.

    Raises:
        DataError: if the file is not an image.
    """
    return _photo(open_image(path, str(path)), size)


def image_files(source: Path, recursive: bool = False) -> list[Path]:
    """Return `source` if it is a file, or the images in it, sorted, if it is a folder.

    Args:
        source: a file or a folder.
        recursive: also list the images in folders within it.

    Raises:
        DataError: if there is no image.
    """
    # os.path.isfile returns False for circular links and overlong names, for which pathlib may raise.
    if os.path.isfile(source):
        return [source]
    found = sorted(
        path for path in source.glob("**/*" if recursive else "*") if path.suffix.lower() in SUFFIXES
    )
    if not found:
        raise DataError(
            f"there is no image at {source}",
            expected=f"an image, or a folder of images: {', '.join(sorted(SUFFIXES))}",
            fix="Check the path",
        )
    return found


def _one(image: Images, size: int, channels: int, name: str) -> Tensor:
    """Return one picture as an input; `name` is for messages."""
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        return read_photo(path, size) if channels == 3 else read_drawing(path, size)
    if isinstance(image, np.ndarray | Tensor):
        values = _checked(_channels_first(image, name), name).float()
        if tuple(values.shape) == (channels, size, size):
            return values
        image = _as_picture(values)
    if not isinstance(image, Image.Image):
        raise _unlike(f"{name} is of type {type(image).__name__}")
    picture = as_rgb(image, name)
    if channels == 3:
        return _photo(picture, size)
    return _drawing(np.asarray(picture.convert("L")), size, name, FIX)


def _drawing(grey: UInt8[np.ndarray, "h w"], size: int, name: str, fix: str) -> Tensor:
    return torch.from_numpy(1 - one_pixel_lines(ink_of(grey, name, fix), size)).unsqueeze(0)


def _photo(picture: Image.Image, size: int) -> Tensor:
    return torch.from_numpy(photo_pixels(picture, size, "contain")).float() / 255


def _channels_first(image: np.ndarray | Tensor, name: str) -> Tensor:
    """Return an array or tensor of one picture as ``[colours, h, w]``.

    If both ends of a shape could be the colours, it is the last one for an array, the first for a tensor.
    """
    shape, values = list(image.shape), _as_tensor(image, name)
    if 0 not in shape:
        if len(shape) == 2:
            return values.unsqueeze(0)
        if len(shape) == 3 and shape[2] in COLOURS and (values is not image or shape[0] not in COLOURS):
            return values.movedim(2, 0)
        if len(shape) == 3 and shape[0] in COLOURS:
            return values
    raise DataError(
        f"{name} has the shape {shape}",
        expected="[height, width], [height, width, colours] or [colours, height, width]; 1, 3 or 4 colours",
        fix="Pass several images as a list",
    )


def _as_tensor(image: np.ndarray | Tensor, name: str) -> Tensor:
    """Return an array as a tensor of uint8, bool or float64; other types raise a DataError."""
    if isinstance(image, np.ndarray):
        if image.dtype not in (np.uint8, np.bool_) and image.dtype.kind != "f":
            raise _unlike(f"{name} has values of type {image.dtype}")
        # Copied, because an array may be read-only or have negative strides.
        return torch.from_numpy(np.array(image, dtype=float if image.dtype.kind == "f" else image.dtype))
    plain = image.layout == torch.strided and not image.is_meta
    if not plain or not (image.is_floating_point() or image.dtype in (torch.uint8, torch.bool)):
        raise _unlike(f"{name} is a tensor of type {image.dtype}, {image.layout}, on {image.device}")
    return image


def _checked(values: Tensor, name: str) -> Tensor:
    """Return values as floats in [0, 1]; floats are returned as they are.

    Raises:
        DataError: if they are not in [0, 1], or not finite.
    """
    if not values.is_floating_point():
        return values.float() / (255 if values.dtype == torch.uint8 else 1)
    low, high = (float(value) for value in torch.aminmax(values))
    if low >= -TOLERANCE and high <= 1 + TOLERANCE:  # False for NaN
        return values
    if not math.isfinite(low + high):
        found, fix = "values that are not finite", "Replace NaN and infinity"
    else:
        found, fix = f"values from {low:.4g} to {high:.4g}", "Scale them; of pixels up to 255, pass uint8"
    raise DataError(f"{name} has {found}", expected="uint8, or floats in [0, 1]", fix=fix)


def _as_picture(values: Tensor) -> Image.Image:
    """Return values in [0, 1], ``[colours, h, w]``, as a PIL image of 8 bits."""
    pixels = (values.detach().float().cpu().clamp(0, 1) * 255).round().byte().movedim(0, 2).numpy()
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))


def _unlike(found: str) -> DataError:
    return DataError(found, expected=WANTED, fix="Convert it first")
