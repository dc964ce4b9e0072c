"""Image files from any source, decoded safely, and images as arrays and data URIs.

The content of a file determines its format, not its name. The result is an image or a
:class:`~sketchembed.errors.DataError`. No external program is started, and limits that are checked before
decoding bound the memory. They depend on the format, which Pillow's MAX_IMAGE_PIXELS does not.
"""

from __future__ import annotations

import base64
import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from sketchembed.errors import DataError
from sketchembed.files.reading import check_file_size, read_file

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
"""Supported formats. For some of its other formats Pillow starts external programs."""
JPEG = ("JPEG", "MPO")
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}  # of image files
MAX_PIXELS = 2**25  # 34 million pixels, such as 8192 × 4096: decoding takes at most half a gigabyte
MAX_WEBP_PIXELS = MAX_PIXELS // 2  # Pillow holds four copies of a WEBP image while it decodes it
MAX_JPEG_PIXELS = 2 * MAX_PIXELS  # a JPEG with a single scan can be decoded at half its resolution
MAX_JPEG_BYTES = 2**26  # decoding a JPEG holds its coefficients in memory besides its pixels
MAX_SCANS = 64  # of a progressive JPEG; about ten are usual, and each takes a pass over all pixels
MAX_FRAMES = 64  # of an animation, of which the first frame is read; more are a film and no picture
EXPECTED = "a complete PNG, JPEG, BMP, GIF, WEBP or TIFF file"
FIX = "Check the file, or save it again as PNG"

ORIENTATION = 0x0112  # EXIF 2.3 and TIFF 6.0: tag of the orientation
TILE_SIZE = (322, 323)  # TIFF 6.0: tags of the width and height of a tile


def open_image(source: Path | bytes, name: str, *, expected: str = EXPECTED, fix: str = FIX) -> Image.Image:
    """Read an image as 8-bit RGB, upright and on a white background.

    The EXIF orientation is applied, transparent parts become white, the first frame of an animation is used,
    and 16-bit values are reduced to their high byte. CMYK is converted without a colour profile, and other
    colour profiles are ignored, as are damaged metadata unless Pillow rejects the file. The source is a file
    or its content; the other arguments are for error messages.

    Raises:
        DataError: if the file cannot be read, has none of :data:`FORMATS`, is damaged or incomplete, exceeds
            a limit of this module or :data:`~sketchembed.files.reading.MAX_BYTES`, or has 32-bit pixels.
    """
    content = read_file(source, name, expected=expected, fix=fix) if isinstance(source, Path) else source
    check_file_size(len(content), name)

    with _readable(name, expected, fix, content[:16]):
        if not content:
            raise _Unreadable("it is empty")
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            _limit_size(opened, content, name)
            if opened.format in JPEG and _scans(content) > MAX_SCANS:
                raise _Unreadable(f"a JPEG of more than {MAX_SCANS} scans")
            # Pillow would decode the frames of a GIF to count them; each frame of a film states its duration.
            if opened.format == "GIF":
                _limit_frames(content.count(b"\x21\xf9\x04"), name)
            elif opened.format in ("PNG", "WEBP"):
                _limit_frames(getattr(opened, "n_frames", 1), name)
            return _upright(opened)


def as_rgb(picture: Image.Image, name: str, *, expected: str = EXPECTED, fix: str = FIX) -> Image.Image:
    """Return a PIL image as :func:`open_image` returns a file; the other arguments are for error messages.

    Raises:
        DataError: if its file is damaged, it is a film or too large, or it has 32-bit pixels.
    """
    with _readable(name, expected, fix):
        if picture.width * picture.height > MAX_PIXELS:
            raise _too_large(name, f"{picture.width} x {picture.height}", MAX_PIXELS)
        if not picture.width * picture.height:
            raise _Unreadable("it is empty")
        _limit_frames(getattr(picture, "n_frames", 1), name)
        return _upright(picture)


def photo_pixels(
    picture: Image.Image,
    size: int,
    fit: Literal["cover", "contain"],
    resampling: Image.Resampling = Image.Resampling.BILINEAR,
) -> UInt8[np.ndarray, "3 size size"]:
    """Return an RGB photo as the square input of a network, resized with antialiasing.

    ImageOps.fit and ImageOps.pad round their boxes in another way, which would change the inputs of existing
    models. ``cover`` scales the short side to `size` and crops the centre, as for mini-ImageNet. ``contain``
    scales the long side and pads with black, as for Sketchy (paper section 4, "centered, padded and resized";
    black as in the released code).
    """
    if fit == "cover":
        if picture.size != (size, size):
            short = min(picture.size)
            left, top = (picture.width - short) // 2, (picture.height - short) // 2
            box = (left, top, left + short, top + short)
            picture = picture.resize((size, size), resampling, box=box)
    else:
        left, top, right, bottom = contain_box(picture.size, size)
        padded = Image.new("RGB", (size, size))
        padded.paste(picture.resize((right - left, bottom - top), resampling), (left, top))
        picture = padded
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def contain_box(picture: tuple[int, int], size: int) -> tuple[int, int, int, int]:
    """Return the box of a picture within its padded square of `size` pixels: left, top, right and bottom."""
    width, height = (max(1, round(side * size / max(picture))) for side in picture)
    left, top = (size - width) // 2, (size - height) // 2
    return left, top, left + width, top + height


def png_uri(image: np.ndarray) -> str:
    """Return an image as a ``data:`` URI of a PNG file.

    Its values are in [0, 1], ``[h, w]`` or ``[channels, h, w]`` with 1 or 3 channels.
    """
    values = np.round(np.clip(np.nan_to_num(image.astype(np.float64)), 0, 1) * 255).astype(np.uint8)
    if values.ndim == 3:
        values = values[0] if len(values) == 1 else values.transpose(1, 2, 0)
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def uri_png(uri: str) -> bytes:
    """Return the PNG file in a URI of :func:`png_uri`."""
    return base64.b64decode(uri.partition(",")[2])


class _Unreadable(Exception):
    """Why an image cannot be read."""


@contextlib.contextmanager
def _readable(name: str, expected: str, fix: str, start: bytes = b"") -> Iterator[None]:
    """Raise what Pillow raises for a damaged image as a DataError; `start` are its first bytes."""

    def unreadable(why: str) -> DataError:
        return DataError(f"{name} cannot be read as an image ({why})", expected=expected, fix=fix)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except DataError:
        raise
    except _Unreadable as error:
        raise unreadable(str(error)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        counted = re.search(r"\d+", str(error))
        raise _too_large(name, counted[0] if counted else "too many", MAX_PIXELS) from error
    except UnidentifiedImageError as error:
        kind = next((kind for kind in FORMATS if _accepts(kind, start)), None)
        raise unreadable(f"a damaged {kind}" if kind else f"it begins with {start[:12]!r}") from error
    except Exception as error:  # Pillow raises many types for damaged files
        first = (str(error).splitlines() or [""])[0][:80]
        raise unreadable(f"{type(error).__name__}: {first}" if first else type(error).__name__) from error


def _accepts(kind: str, prefix: bytes) -> bool:
    accept = Image.OPEN[kind][1]
    return accept is not None and bool(accept(prefix))


def _limit_size(opened: Image.Image, content: bytes, name: str) -> None:
    """Check the numbers of bytes and pixels, and set a large JPEG to be decoded at half its resolution."""
    most = MAX_WEBP_PIXELS if opened.format == "WEBP" else MAX_PIXELS
    if opened.format in JPEG:
        check_file_size(len(content), name, MAX_JPEG_BYTES)
        if _scans(content) == 1:
            most = MAX_JPEG_PIXELS
    for width, height in (opened.size, _tile(opened)):
        if width * height > most:
            raise _too_large(name, f"{width} x {height}", most)
    if opened.format in JPEG and opened.width * opened.height > MAX_PIXELS:
        opened.draft(None, (opened.width // 2, opened.height // 2))


def _limit_frames(count: int, name: str) -> None:
    if count > MAX_FRAMES:
        raise DataError(
            f"{name} is an animation of {count} frames",
            expected="one picture",
            fix="Save a frame of it as PNG",
        )


def _too_large(name: str, pixels: str, most: int) -> DataError:
    return DataError(
        f"{name} has {pixels} pixels", expected=f"at most {most:,}", fix="Scale it down, or leave it out"
    )


def _tile(opened: Image.Image) -> tuple[int, int]:
    """Return the size of the tiles of a TIFF, each of which is decoded at once; zeros for other files."""
    width, height = (getattr(opened, "tag_v2", {}).get(tag, 0) for tag in TILE_SIZE)
    return int(width), int(height)


def _scans(content: bytes) -> int:
    """Return the number of scans of the first image of a JPEG."""
    count, at = 0, 2
    # A marker with a segment. Within a scan, 0xFF is followed by 0x00 or a restart number.
    marker = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
    while found := marker.search(content, at):
        kind, end = content[found.start() + 1], found.end()
        if kind == 0xD9:  # end of image
            break
        count += kind == 0xDA
        at = end + max(2, int.from_bytes(content[end : end + 2], "big"))
    return count


def _upright(opened: Image.Image) -> Image.Image:
    """Decode a file as RGB and apply its EXIF orientation.

    32-bit pixels raise an error, because their value for white is unknown.
    """
    if opened.mode in ("I", "F"):
        raise _Unreadable("its pixels are 32-bit numbers, whose value for white is unknown")
    transparency = _scaled_transparency(opened)
    opened.load()
    picture = _as_rgb(opened, transparency)
    picture.info.clear()  # exif_transpose also rewrites the metadata, which fails if they are damaged
    with contextlib.suppress(Exception):  # for damaged metadata
        # After load(): PNG metadata may follow the pixels, and Pillow orients a TIFF while it loads it.
        picture.getexif()[ORIENTATION] = opened.getexif()[ORIENTATION]
    ImageOps.exif_transpose(picture, in_place=True)
    return picture


def _scaled_transparency(opened: Image.Image) -> object:
    """Return the transparent colour of a PNG, in the range of the pixels that Pillow decodes."""
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
    if picture.mode == "CMYK" and picture.format in JPEG and "adobe" not in picture.info:
        # Pillow assumes that every CMYK JPEG is stored inverted, as Adobe's files are.
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
