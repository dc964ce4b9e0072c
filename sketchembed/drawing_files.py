"""`sketchembed draw`: image files in, drawings out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from sketchembed.checkpoints import load
from sketchembed.errors import DataError
from sketchembed.thinning import one_pixel_lines

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
INK_SPREAD = 0.15
"""Darkness, as a part of the range, from which a pixel counts as ink when the drawing is cropped."""


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
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} cannot be read as an image ({type(error).__name__})",
            expected=f"a whole image file: {', '.join(sorted(SUFFIXES))}",
            fix="Check the file",
        ) from error
    paper = Image.new("RGBA", picture.size, "white")
    grey = np.asarray(Image.alpha_composite(paper, picture).convert("L"), dtype=np.float32) / 255
    if np.median(grey) < 0.5:
        grey = 1 - grey
    ink = 1 - grey
    spread = float(ink.max() - ink.min())
    rows, columns = np.nonzero(ink - ink.min() > INK_SPREAD * max(spread, 1e-6))
    if spread < 0.02 or not len(rows):
        raise DataError(
            f"{path} is blank", expected="lines that differ from their background", fix="Choose another image"
        )
    ink = ((ink - ink.min()) / spread)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return torch.from_numpy(1 - one_pixel_lines(ink, size)).unsqueeze(0)


def image_files(source: Path) -> list[Path]:
    """Return the images that `source` means: itself, or those in it.

    Raises:
        DataError: if there is none.
    """
    if source.is_file():
        return [source]
    found = (
        sorted(path for path in source.glob("*") if path.suffix.lower() in SUFFIXES)
        if source.is_dir()
        else []
    )
    if not found:
        raise DataError(
            f"there is no image at {source}",
            expected=f"an image, or a folder of images: {', '.join(sorted(SUFFIXES))}",
            fix="Check the path",
        )
    return found


def draw_files(
    source: Path, checkpoint: Path, out: Path, temperature: float, samples: int, size: int, seed: int
) -> Iterator[Path]:
    """Draw images and yield each file as it is written: ``NAME.svg`` and ``NAME.png``, numbered if several.

    Args:
        source: an image, or a folder of images.
        checkpoint: see :func:`sketchembed.load`.
        out: folder to write to.
        temperature: of the sampling; 0 is greedy.
        samples: drawings of each image.
        size: side of the drawings in pixels.
        seed: of the sampling.

    Raises:
        DataError: if an image cannot be read, or the model is for photos.
    """
    files = image_files(source)
    net = load(checkpoint)
    images = torch.stack([read_drawing(path, net.config.image_size) for path in files])
    images = images.expand(-1, net.config.channels, -1, -1)
    out.mkdir(parents=True, exist_ok=True)
    for number in range(samples):
        for path, sketch in zip(files, net.draw(images, temperature, seed + number), strict=True):
            stem = path.stem if samples == 1 else f"{path.stem}-{number + 1}"
            (out / f"{stem}.svg").write_text(sketch.to_svg(size))
            yield out / f"{stem}.svg"
            sketch.to_png(out / f"{stem}.png", size)
            yield out / f"{stem}.png"
