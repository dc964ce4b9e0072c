"""Reading images. Expected pixels are computed from the numbers in the file by the rules of its format."""

import io
import re
import struct
import zipfile

import hostile_images
import numpy as np
import pytest
from hostile_images import chunk, png, saved
from PIL import Image

from sketchembed.errors import DataError
from sketchembed.files.images import open_image, photo_pixels
from sketchembed.files.reading import MAX_BYTES, read_file, read_member

WIDTH, HEIGHT = 7, 5


def opened(content, name="picture"):
    return np.asarray(open_image(content, name)).astype(int)


def on_white(colour, alpha):
    """Return the colour composited on white; alpha is 0 to 255."""
    part = alpha[..., None] / 255
    return np.round(colour * part + 255 * (1 - part))


@pytest.fixture
def numbers():
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)


LOSSLESS = [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})]


@pytest.mark.parametrize(("kind", "settings"), [*LOSSLESS, ("BMP", {})])
def test_colours_are_read_exactly(kind, settings, numbers):
    content = saved(Image.fromarray(numbers[..., :3]), kind, **settings)
    np.testing.assert_array_equal(opened(content), numbers[..., :3])


@pytest.mark.parametrize(("kind", "settings"), LOSSLESS)
def test_transparent_parts_are_composited_on_white(kind, settings, numbers):
    numbers[0, :3, 3] = 0, 255, 128
    settings = settings | ({"exact": True} if kind == "WEBP" else {})
    read = opened(saved(Image.fromarray(numbers), kind, **settings))
    assert np.abs(read - on_white(numbers[..., :3], numbers[..., 3])).max() <= 1
    np.testing.assert_array_equal(read[0, 0], 255)
    np.testing.assert_array_equal(read[0, 1], numbers[0, 1, :3])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_with_and_without_alpha(kind, numbers):
    grey, alpha = numbers[..., 0], numbers[..., 1]
    np.testing.assert_array_equal(opened(saved(Image.fromarray(grey), kind)), grey[..., None].repeat(3, -1))
    both = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    assert np.abs(opened(saved(both, kind)) - on_white(grey[..., None].repeat(3, -1), alpha)).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_bilevel_images(kind, numbers):
    ink = numbers[..., 0] > 127
    expected = np.where(ink, 255, 0)[..., None].repeat(3, -1)
    np.testing.assert_array_equal(opened(saved(Image.fromarray(ink), kind)), expected)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette_images(kind, numbers):
    colours, places = numbers.reshape(-1, 4)[:6, :3], numbers[..., 3] % 6
    picture = Image.fromarray(places, "P")
    picture.putpalette(colours.tobytes())
    np.testing.assert_array_equal(opened(saved(picture, kind)), colours[places])
    if kind in ("PNG", "GIF"):
        expected = np.where((places == 2)[..., None], 255, colours[places])
        np.testing.assert_array_equal(opened(saved(picture, kind, transparency=2)), expected)
    if kind == "PNG":
        alphas = np.array([0, 40, 255, 90, 128, 200])
        read = opened(saved(picture, kind, transparency=bytes(alphas.tolist())))
        assert np.abs(read - on_white(colours[places], alphas[places])).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_png_of_any_bit_depth_and_transparent_value(bits):
    """By PNG's specification, the largest sample value is white, and tRNS holds a sample value."""
    top = 2**bits - 1
    values = np.linspace(0, top, 8).astype(int)
    packed = int("".join(f"{value:0{bits}b}" for value in values), 2).to_bytes(bits, "big")
    expected = np.floor(values / top * 255) if bits < 16 else values >> 8
    read = opened(png((8, 1), bits, 0, [packed]))[0]
    np.testing.assert_array_equal(read, np.stack([expected] * 3, -1))
    read = opened(png((8, 1), bits, 0, [packed], chunk(b"tRNS", struct.pack(">H", values[0]))))[0]
    np.testing.assert_array_equal(read, np.stack([np.where(values == values[0], 255, expected)] * 3, -1))


SIXTEEN = np.array([[0, 255, 256, 0x1234, 0xFF00, 0xFFFF]])


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_gives_the_high_byte(order):
    expected = (SIXTEEN >> 8)[..., None].repeat(3, -1)
    np.testing.assert_array_equal(opened(png((6, 1), 16, 0, [SIXTEEN.astype(">u2").tobytes()])), expected)
    tags = [(256, 6), (257, 1), (258, 16), (259, 1), (262, 1), (273, 200), (277, 1), (278, 1), (279, 12)]
    body = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(tags))
    content = (head + body).ljust(200, b"\0") + SIXTEEN.astype(f"{order}u2").tobytes()
    np.testing.assert_array_equal(opened(content), expected)


def test_16_bit_colour_gives_the_high_byte():
    numbers = np.random.default_rng(1).integers(0, 2**16, (1, 6, 4)).astype(">u2")
    plain, rgb = numbers.astype(int) >> 8, numbers[..., :3].tobytes()
    np.testing.assert_array_equal(opened(png((6, 1), 16, 2, [rgb])), plain[..., :3])
    paper = chunk(b"tRNS", numbers[0, 4, :3].tobytes())
    expected = np.where((np.arange(6) == 4)[:, None], 255, plain[..., :3])
    np.testing.assert_array_equal(opened(png((6, 1), 16, 2, [rgb], paper)), expected)
    read = opened(png((6, 1), 16, 6, [numbers.tobytes()]))
    assert np.abs(read - on_white(plain[..., :3], plain[..., 3])).max() <= 1


def naive_rgb(cmyk):
    cmyk = cmyk.astype(float)
    return (255 - cmyk[..., :3]) * (255 - cmyk[..., 3:]) / 255


def test_cmyk_and_inverted_adobe_cmyk(numbers):
    assert np.abs(opened(saved(Image.fromarray(numbers, "CMYK"), "TIFF")) - naive_rgb(numbers)).max() <= 1
    flat = np.zeros((16, 16, 4), np.uint8) + np.array([200, 30, 90, 20], np.uint8)
    adobe = saved(Image.fromarray(flat, "CMYK"), "JPEG", quality=100)
    # With Adobe's marker, the stored numbers are 255 minus the ink.
    marker = re.search(rb"\xff\xee..Adobe.{7}", adobe, re.S)
    assert np.abs(opened(adobe) - naive_rgb(flat)).max() <= 3
    plain = adobe.replace(marker[0], b"")
    assert np.abs(opened(plain) - naive_rgb(255 - flat)).max() <= 3


SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}
"""Sides of the scene that row 0 and column 0 of the file show, by orientation (TIFF 6.0; EXIF 2.3)."""


def stored(upright, orientation):
    row, column = SIDES[orientation]
    out = upright.swapaxes(0, 1) if row in ("left", "right") else upright
    out = out[::-1] if row in ("bottom", "right") else out
    return np.ascontiguousarray(out[:, ::-1] if column in ("bottom", "right") else out)


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize(("kind", "settings"), [*LOSSLESS, ("JPEG", {"quality": 100, "subsampling": 0})])
def test_exif_orientation_is_applied(kind, settings, orientation, numbers):
    # In a JPEG, each colour fills one block.
    upright = numbers[:2, :3, :3].repeat(8, 0).repeat(8, 1) if kind == "JPEG" else numbers[..., :3]
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = opened(saved(Image.fromarray(stored(upright, orientation)), kind, exif=exif, **settings))
    assert read.shape == upright.shape
    assert np.abs(read - upright).max() <= (3 if kind == "JPEG" else 0)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_invalid_exif_orientation_is_ignored(value, numbers):
    exif = Image.Exif()
    exif[0x0112] = value
    content = saved(Image.fromarray(numbers[..., :3]), "PNG", exif=exif)
    np.testing.assert_array_equal(opened(content), numbers[..., :3])


def weights(length, start, reach, size):
    """Return weights of antialiased linear interpolation: triangles as wide as two of the coarser pixels."""
    scale = reach / size
    places = np.arange(length) + 0.5 - (start + (np.arange(size)[:, None] + 0.5) * scale)
    out = np.clip(1 - np.abs(places) / max(scale, 1), 0, None)
    return out / out.sum(1, keepdims=True)


def scaled(pixels, top, left, height, width, rows, columns):
    """Return a box of a picture, scaled. At the edge of the box, pixels outside it contribute too."""
    down = weights(pixels.shape[0], top, height, rows)
    across = weights(pixels.shape[1], left, width, columns)
    return np.einsum("rh,cw,hwk->krc", down, across, pixels, optimize=True)


@pytest.mark.parametrize(("width", "height"), [(300, 200), (90, 250), (84, 84), (40, 31), (500, 3)])
def test_photos_are_cropped_or_padded(width, height):
    random = np.random.default_rng(width)
    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    cover, contain = photo_pixels(picture, 84, "cover"), photo_pixels(picture, 84, "contain")
    assert cover.shape == contain.shape == (3, 84, 84)
    short, long = min(width, height), max(width, height)
    top, left = (height - short) // 2, (width - short) // 2
    assert np.abs(cover - scaled(pixels, top, left, short, short, 84, 84)).max() <= 1.01
    rows, columns = max(1, round(height * 84 / long)), max(1, round(width * 84 / long))
    y, x = (84 - rows) // 2, (84 - columns) // 2
    whole = scaled(pixels, 0, 0, height, width, rows, columns)
    assert np.abs(contain[:, y : y + rows, x : x + columns] - whole).max() <= 1.01
    contain[:, y : y + rows, x : x + columns] = 0
    assert contain.max() == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1)])
def test_photos_of_any_shape_become_square(size):
    picture = Image.new("RGB", size, (9, 200, 30))
    assert (photo_pixels(picture, 28, "cover") == np.array([9, 200, 30])[:, None, None]).all()
    padded = photo_pixels(picture, 28, "contain")
    seen = (padded == np.array([9, 200, 30])[:, None, None]).all(axis=0)
    assert seen.sum() == (28 * 28 if size == (1, 1) else 28)
    assert padded[:, ~seen].sum() == 0


def test_read_file_returns_all_bytes_or_raises(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"abc")
    asked = {"expected": "a text", "fix": "Write one"}
    assert read_file(tmp_path / "a.txt", "a", **asked) == b"abc"
    for path, says in (
        (tmp_path, "it is a folder"),
        (tmp_path / "none", "No such file"),
        (tmp_path / "a.txt" / "b", "Not a directory"),
        (tmp_path / ("x" * 300), "name too long"),
        (tmp_path / "zero\0byte", "null byte"),
    ):
        with pytest.raises(DataError, match=rf"it cannot be read \(.*{says}.*expected a text\. Write one"):
            read_file(path, "it", **asked)


def test_oversized_zip_member_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b.txt", bytes(MAX_BYTES + 1))
        archive.writestr("c.txt", b"abc")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert read_member(archive, "c.txt") == b"abc"
        with pytest.raises(DataError, match=r"a\.zip: b\.txt has 134,217,729 bytes; expected at most"):
            read_member(archive, "b.txt")
    # A member that claims to be small.
    content = (tmp_path / "a.zip").read_bytes()
    lying = content.replace(struct.pack("<I", MAX_BYTES + 1), struct.pack("<I", 9))
    with zipfile.ZipFile(io.BytesIO(lying)) as archive, pytest.raises(zipfile.BadZipFile, match="CRC"):
        read_member(archive, "b.txt")


def test_suffix_does_not_matter(tmp_path):
    hostile_images.house().save(tmp_path / "a.bmp")
    (tmp_path / "a.bmp").rename(tmp_path / "a.jpeg")
    read = np.asarray(open_image(tmp_path / "a.jpeg", "a"))
    np.testing.assert_array_equal(read, np.asarray(hostile_images.house()))
