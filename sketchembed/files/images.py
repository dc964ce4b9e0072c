"""Image files from anywhere, opened safely in one place, and photos as a network's input.

A file is judged by its content, never by its name. Whatever it holds, the answer is a picture or one
:class:`~sketchembed.errors.DataError`: no program is called, nothing is waited for, and memory is bounded by
:data:`MAX_PIXELS` and :data:`sketchembed.files.reading.MAX_BYTES`, checked before pixels are decoded.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageChops, UnidentifiedImageError

from sketchembed.errors import DataError
from sketchembed.files.reading import check_file_size, read_file

FORMATS = {
    "PNG": (b"\x89PNG",),
    "JPEG": (b"\xff\xd8",),
    "BMP": (b"BM",),
    "GIF": (b"GIF8",),
    "WEBP": (b"RIFF",),
    "TIFF": (b"II", b"MM"),
}
"""What is opened, and how it begins. Pillow knows more, and for some it would start other programs."""
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
"""Of the files that are looked for in a folder."""
MAX_PIXELS = 2**25
"""34 million, as 8192 × 4096: at most half a gigabyte of memory while it is read."""
MAX_WEBP_PIXELS = MAX_PIXELS // 2
"""Pillow holds a WEBP four times over while it reads it."""
MAX_JPEG_PIXELS = 2 * MAX_PIXELS
"""67 million: a large JPEG, if it has one scan, is read at half its sides, as the format allows."""
MAX_JPEG_BYTES = 2**26
"""Of a JPEG, beside whose content its coefficients are held."""
MAX_SCANS = 64
"""Of a progressive JPEG, which has about ten; each costs a pass over all pixels, and can be a few bytes."""
EXPECTED = "a whole PNG, JPEG, BMP, GIF, WEBP or TIFF file"
FIX = "Check the file, or save it anew as PNG"

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What sets a picture upright, by its EXIF orientation."""
ORIENTATION = 0x0112
"""EXIF 2.3 and TIFF 6.0: the tag of the orientation."""
TILE_SIZE = (322, 323)
"""TIFF 6.0: the tags of a tile's width and height."""


def open_image(source: Path | bytes, name: str, *, expected: str = EXPECTED, fix: str = FIX) -> Image.Image:
    """Read an image as it is meant to be seen: upright, in colours of 8 bits, on white paper.

    The orientation that a camera noted is applied. Transparent parts are white. Of an animation the first
    picture is taken, of 16-bit values the high byte. CMYK is converted without a profile, and colour
    profiles are not applied. Damage to a file's notes (EXIF, profile) is no matter unless Pillow refuses it.

    Args:
        source: the file, or its content.
        name: of the file, for messages.
        expected: what should have been there, for messages.
        fix: what to do if it is not, for messages.

    Returns:
        an image in mode ``RGB``.

    Raises:
        DataError: if it is no file or none of :data:`FORMATS`, is damaged or cut off, has more than
            :data:`MAX_PIXELS` pixels (a WEBP :data:`MAX_WEBP_PIXELS`, a JPEG of one
            scan :data:`MAX_JPEG_PIXELS`) or
            :data:`~sketchembed.files.reading.MAX_BYTES` bytes, or its pixels are 32-bit numbers, for which no
            file says what is white.
    """
    content = read_file(source, name, expected=expected, fix=fix) if isinstance(source, Path) else source
    check_file_size(len(content), name)

    def unreadable(why: str) -> DataError:
        return DataError(f"{name} cannot be read as an image ({why})", expected=expected, fix=fix)

    if not content:
        raise unreadable("it is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's doubts about notes in the file
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=list(FORMATS)) as opened:
                jpeg = opened.format in ("JPEG", "MPO")
                most = MAX_WEBP_PIXELS if opened.format == "WEBP" else MAX_PIXELS
                if jpeg:
                    check_file_size(len(content), name, MAX_JPEG_BYTES)
                    if _scans(content) == 1:
                        most = MAX_JPEG_PIXELS
                for width, height in (opened.size, _tile(opened)):
                    if width * height > most:
                        raise _too_large(name, f"{width} x {height}", most)
                if jpeg and opened.width * opened.height > MAX_PIXELS:
                    opened.draft(None, (opened.width // 2, opened.height // 2))
                if jpeg and _scans(content) > MAX_SCANS:
                    raise unreadable(f"a JPEG of more than {MAX_SCANS} scans")
                if opened.mode in ("I", "F"):
                    raise unreadable("its pixels are 32-bit numbers, of which none is known to be white")
                return _upright(opened)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        counted = re.search(r"\d+", str(error))
        raise _too_large(name, counted[0] if counted else "too many", MAX_PIXELS) from error
    except UnidentifiedImageError as error:
        kind = next((kind for kind, heads in FORMATS.items() if content.startswith(heads)), None)
        raise unreadable(f"a damaged {kind}" if kind else f"it begins with {content[:12]!r}") from error
    except Exception as error:  # Pillow raises many kinds for damaged files
        first = (str(error).splitlines() or [""])[0][:80]
        raise unreadable(f"{type(error).__name__}: {first}" if first else type(error).__name__) from error


def photo_pixels(
    picture: Image.Image, size: int, fit: Literal["cover", "contain"]
) -> UInt8[np.ndarray, "3 size size"]:
    """Return a photo as a network for photos is given it, scaled bilinearly with antialiasing.

    Args:
        picture: in mode ``RGB``, of any size.
        size: side of the result in pixels.
        fit: ``cover`` scales the short side to `size` and crops the middle, as mini-ImageNet is made;
            ``contain`` scales the long side, and centres the photo on black, as Sketchy's are (paper
            section 4, "centered, padded and resized"; the black is the released code's).
    """
    if fit == "cover":
        if picture.size != (size, size):
            short = min(picture.size)
            left, top = (picture.width - short) // 2, (picture.height - short) // 2
            box = (left, top, left + short, top + short)
            picture = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
    else:
        left, top, right, bottom = contained(picture.size, size)
        padded = Image.new("RGB", (size, size))
        padded.paste(picture.resize((right - left, bottom - top), Image.Resampling.BILINEAR), (left, top))
        picture = padded
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def contained(picture: tuple[int, int], size: int) -> tuple[int, int, int, int]:
    """Return where a picture lies that :func:`photo_pixels` contains: left, top, right and bottom in pixels.

    Args:
        picture: its width and height.
        size: side of the result in pixels.
    """
    width, height = (max(1, round(side * size / max(picture))) for side in picture)
    left, top = (size - width) // 2, (size - height) // 2
    return left, top, left + width, top + height


def _too_large(name: str, pixels: str, most: int) -> DataError:
    return DataError(
        f"{name} has {pixels} pixels",
        expected=f"at most {most:,}",
        fix="Scale it down, or leave it out",
    )


def _tile(opened: Image.Image) -> tuple[int, int]:
    """Return the size of the tiles that a TIFF is stored in, each of which is decoded whole, or zeros."""
    width, height = (getattr(opened, "tag_v2", {}).get(tag, 0) for tag in TILE_SIZE)
    return int(width), int(height)


def _scans(content: bytes) -> int:
    """Count the scans of a JPEG's first picture."""
    count, at = 0, 2
    # A marker that a segment follows; within a scan 0xFF is followed by 0x00 or a restart's number.
    marker = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
    while found := marker.search(content, at):
        kind, end = content[found.start() + 1], found.end()
        if kind == 0xD9:  # the picture's end
            break
        count += kind == 0xDA
        at = end + max(2, int.from_bytes(content[end : end + 2], "big"))
    return count


def _upright(opened: Image.Image) -> Image.Image:
    """Return the picture of a file as RGB, turned as its notes say."""
    transparency = _scaled_transparency(opened)
    opened.load()
    picture = _as_rgb(opened, transparency)
    orientation = None
    with contextlib.suppress(Exception):  # notes that cannot be read; the pixels can
        # After loading: a PNG's may stand at the end, and Pillow turns a TIFF while it loads.
        orientation = opened.getexif().get(ORIENTATION)
    return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture


def _scaled_transparency(opened: Image.Image) -> object:
    """Return which colour of a PNG is transparent, in the unit that Pillow gives the pixels in."""
    value = opened.info.get("transparency")
    tile = getattr(opened, "tile", None)
    raw = tile[0][3] if opened.format == "PNG" and tile else None
    if raw in ("L;2", "L;4") and isinstance(value, int):
        return value * {"L;2": 85, "L;4": 17}[raw]
    if raw == "RGB;16B" and isinstance(value, tuple):
        return tuple(part >> 8 for part in value)
    return value


def _as_rgb(picture: Image.Image, transparency: object) -> Image.Image:
    if picture.mode.startswith("I;16"):
        values = np.asarray(picture)
        grey = (values >> 8).astype(np.uint8)
        if isinstance(transparency, int):
            grey[values == transparency] = 255
        return Image.fromarray(grey).convert("RGB")
    if picture.mode == "CMYK" and picture.format in ("JPEG", "MPO") and "adobe" not in picture.info:
        # Adobe's are stored inverted, and Pillow takes every CMYK JPEG for one.
        picture = ImageChops.invert(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    if transparency is not None:
        picture.info["transparency"] = transparency
    if picture.mode == "La":
        picture = picture.convert("LA")
    picture = picture.convert("RGBA")
    paper = Image.new("RGB", picture.size, "white")
    paper.paste(picture, mask=picture.getchannel("A"))
    return paper
