"""Hand-made image files: valid ones that Pillow cannot write, and malformed or malicious ones.

The program ``hostile_images.py LOADER FOLDER`` reads every file of a folder with one loader. It prints one
JSON line for each file, and a last one with the growth of memory in MiB.
"""

import contextlib
import io
import json
import os
import re
import shutil
import struct
import sys
import time
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from fuzz.engine import peak, reset_peak
from PIL import Image, ImageDraw

import sketchembed
from sketchembed.cli import main
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources import mini_imagenet, omniglot_images, sketchy, sketchy_files, traced
from sketchembed.data.sources.omniglot_runs import OneShotRuns
from sketchembed.errors import DataError
from sketchembed.files import images
from sketchembed.files.reading import MAX_BYTES
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.networks.model_inputs import read_drawing, read_photo

SIDE = 8192
"""Width of the largest images that are accepted, in pixels. The largest height depends on the format."""


def saved(picture, kind, **settings):
    out = io.BytesIO()
    picture.save(out, kind, **settings)
    return out.getvalue()


def chunk(kind, content, crc=None):
    crc = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(size, bits, colour, rows, *more, claimed=None):
    """Return a PNG of packed rows.

    Args:
        size: width and height.
        bits: bits per channel.
        colour: PNG's colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
        rows: bytes of each row, without filters.
        more: chunks before the pixels.
        claimed: width and height in the header, if not `size`.
    """
    header = struct.pack(">IIBBBBB", *(claimed or size), bits, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    parts = [chunk(b"IHDR", header), *more, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(entries, tail=b"", following=0):
    """Return a little-endian TIFF: one directory of (tag, type, count, value), then the bytes of `tail`."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", following) + tail


def grey_tiff(width, height, *more, following=0):
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1), *more]
    return tiff(sorted(tags), bytes(range(256)) * 2, following)


def house():
    """Return a dark drawing on a light background that every loader of drawings can read."""
    picture = Image.new("RGB", (60, 40), (250, 250, 240))
    ImageDraw.Draw(picture).line([(10, 30), (10, 15), (30, 5), (50, 15), (50, 30), (10, 30)], (20, 30, 90), 3)
    return picture


def progressive_bomb(scans):
    """Return a progressive JPEG of the largest size that repeats its last scan many times."""
    content = saved(Image.new("L", (SIDE, SIDE // 2), 255), "JPEG", progressive=True)
    last = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + last * scans + content[-2:]


def readable():
    """Return valid files by name: the house, or other images with visible content."""
    picture = house()
    exif = saved(picture, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 40)
    strip = Image.new("L", (1, 20000), 255)
    strip.paste(0, (0, 5000, 1, 6000))
    frames = [Image.new("RGB", picture.size, colour) for colour in ("red", "blue")]
    return {
        "animated.gif": saved(picture, "GIF", save_all=True, append_images=frames),
        "animated.png": saved(picture, "PNG", save_all=True, append_images=frames),
        "animated.webp": saved(picture, "WEBP", save_all=True, append_images=frames, lossless=True),
        "grey-alpha.png": saved(picture.convert("LA"), "PNG"),
        "palette-alphas.png": saved(picture.quantize(4), "PNG", transparency=bytes([255, 200, 255, 90])),
        "one-pixel.png": saved(Image.new("RGB", (1, 1), "red"), "PNG"),
        "tall.png": saved(strip, "PNG"),
        "wide.png": saved(strip.transpose(Image.Transpose.ROTATE_90), "PNG"),
        "truly-a-jpeg.png": saved(picture, "JPEG"),
        "truly-a-tiff.jpg": saved(picture, "TIFF"),
        "several-in-one.jpg": saved(picture, "MPO", save_all=True, append_images=frames),
        "damaged-exif.jpg": exif,
        "damaged-profile.png": saved(picture, "PNG", icc_profile=b"garbage" * 99),
        "damaged-profile.jpg": saved(picture, "JPEG", icc_profile=b"garbage" * 99),
        "directory-loop.tif": grey_tiff(16, 16, (273, 4, 1, 8), (279, 4, 1, 256), following=8),
    }


def largest():
    """Return the valid files, by name, that take the most memory to read."""
    ink = bytes([0, 0, 0, 255]) * SIDE
    return {
        "largest.png": png((SIDE, SIDE // 2), 8, 6, [bytes(4 * SIDE)] * (SIDE // 2 - 99) + [ink] * 99),
        "largest.jpg": saved(Image.new("CMYK", (SIDE, SIDE // 2), (9, 9, 9, 9)), "JPEG", progressive=True),
        "largest-plain.jpg": saved(Image.new("CMYK", (SIDE, SIDE), (9, 9, 9, 9)), "JPEG"),
        "largest.webp": saved(Image.new("RGBA", (SIDE, SIDE // 4)), "WEBP", lossless=True, method=0),
    }


def refused():
    """Return invalid files by name: none contains a complete image of an accepted size."""
    picture = house()
    jpeg, gif, webp = (saved(picture, kind) for kind in ("JPEG", "GIF", "WEBP"))
    whole = saved(picture, "PNG")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8))
    packed = zlib.compress(bytes(2**28), 9)
    row = [bytes(16)] * 16
    values = Image.fromarray(np.full((16, 16), np.nan, dtype=np.float32))
    bitmap = saved(picture, "BMP")
    tiles = [(322, 4, 1, 32768), (323, 4, 1, 65520), (324, 4, 1, 99), (325, 4, 1, 99)]
    idat = whole.index(b"IDAT")
    return {
        "empty.png": b"",
        "page.png": b"<!DOCTYPE html><html><body>404</body></html>",
        "vectors.png": b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0L9 9"/></svg>',
        "document.png": b"%PDF-1.7\n1 0 obj\n",
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\nshowpage\n",
        "metafile.png": b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<hhhhH", 0, 0, 99, 99, 96) + bytes(99),
        "photoshop.png": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 16, 16, 8, 3) + bytes(999),
        "fits.png": b"SIMPLE  =                    T" + b" " * 2850,
        "icon.png": saved(picture, "ICO"),
        "jpeg2000.jpg": saved(picture, "JPEG2000"),
        "ppm.png": saved(picture, "PPM"),
        "random.jpg": b"\xff\xd8\xff\xe0" + np.random.default_rng(1).bytes(4000),
        "cut.jpg": saved(noise, "JPEG")[:3000],
        "cut.gif": saved(noise.quantize(256), "GIF")[:6000],
        "cut.png": saved(noise, "PNG")[:9000],
        "cut.webp": saved(noise, "WEBP")[:3000],
        "cut.bmp": bitmap[: len(bitmap) // 2],
        "cut.tif": saved(noise, "TIFF", compression="tiff_lzw")[:9000],
        "header-only.jpg": jpeg[:20],
        "header-only.gif": gif[:13],
        "header-only.webp": webp[:30],
        "wrong-sum-header.png": whole[:29] + b"\0\0\0\0" + whole[33:],
        "wrong-pixels.png": whole[: idat + 9] + bytes(40) + whole[idat + 49 :],
        "no-pixels.png": png((0, 0), 8, 0, []),
        "long-chunk.png": whole[:33] + b"\xff\xff\xff\xfftEXt" + whole[33:],
        "claims-much.png": png((16, 16), 8, 0, row, claimed=(60000, 60000)),
        "claims-more.png": png((16, 16), 8, 0, row, claimed=(SIDE, SIDE // 2 + 1)),
        "claims-most.png": png((16, 16), 8, 0, row, claimed=(2**31 - 1, 2**31 - 1)),
        "claims-lawful.png": png((16, 16), 8, 0, row, claimed=(SIDE, SIDE // 2)),
        "beyond.png": png((SIDE, SIDE // 2 + 1), 1, 0, [bytes(SIDE // 8)] * (SIDE // 2 + 1)),
        "beyond.jpg": saved(Image.new("L", (SIDE, SIDE // 2 + 1)), "JPEG", progressive=True),
        "text-bomb.png": png((16, 16), 8, 0, row, chunk(b"zTXt", b"Comment\0\0" + packed)),
        "more-text-bomb.png": png((16, 16), 8, 0, row, chunk(b"iTXt", b"Comment\0\1\0\0\0" + packed)),
        "profile-bomb.png": png((16, 16), 8, 0, row, chunk(b"iCCP", b"ICC\0\0" + packed)),
        "claims-much.jpg": re.sub(b"(\xff\xc0.{3}).{4}", b"\\1\xff\xdc\xff\xdc", jpeg, count=1, flags=re.S),
        "claims-much.gif": gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        "large-frame.gif": re.sub(b",.{8}", b",\0\0\0\0\xff\xff\xff\xff", gif, count=1, flags=re.S),
        "claims-much.bmp": bitmap[:18] + struct.pack("<ii", 60000, 60000) + bitmap[26:],
        "no-height.bmp": bitmap[:18] + struct.pack("<ii", 16, -(2**31)) + bitmap[26:],
        "claims-much.webp": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\xff\xff\0" * 2 + webp[12:],
        "beyond.webp": saved(Image.new("L", (SIDE, SIDE // 4 + 1)), "WEBP", lossless=True, method=0),
        "claims-much.tif": grey_tiff(60000, 60000, (273, 4, 1, 8), (279, 4, 1, 256)),
        "large-tile.tif": grey_tiff(16, 16, (259, 3, 1, 5), *tiles),
        "many-tags.tif": b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\xff" * 64,
        "not-a-number.tif": saved(values, "TIFF"),
        "integers.tif": saved(Image.new("I", (16, 16), 70000), "TIFF"),
        "many-scans.jpg": progressive_bomb(5000),
    }


def make(folder):
    """Write all files to a folder, and add a subfolder, a pipe and symbolic links."""
    for name, content in {**readable(), **largest(), **refused()}.items():
        (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "nowhere.png").symlink_to("nothing.png")
    (folder / "endless.png").symlink_to("/dev/zero")
    head = b"\x89PNG\r\n\x1a\n"
    (folder / "many-bytes.png").write_bytes(head)
    os.truncate(folder / "many-bytes.png", MAX_BYTES + 1)


# ---- loaders -------------------------------------------------------------------------------------------


def published(work, place, path):
    """Link a file into its place in a data set."""
    target = work / place
    target.parent.mkdir(parents=True)
    target.symlink_to(path)


def mini_imagenet_loader(path, work):
    published(work, "test/n01/n01.jpg", path)
    return mini_imagenet.load_mini_imagenet(work, work / "prepared", "test").images


def omniglot_loader(path, work):
    (work / "images_background").mkdir(parents=True)
    published(work, "images_evaluation/Klingon/character01/0001_01.png", path)
    return omniglot_images.load_omniglot(work, work / "prepared", "images").images


def one_shot_loader(path, work):
    (work / "images_background").mkdir(parents=True)
    for place in ("images_evaluation/Klingon/character01/0001_01.png", "run01/training/class01.png"):
        (work / place).parent.mkdir(parents=True)
        house().save(work / place)
    published(work, "run01/test/item01.png", path)
    (work / "run01" / "class_labels.txt").write_text("run01/test/item01.png run01/training/class01.png\n")
    images = np.zeros((1, 1, 28, 28), np.uint8)
    data = ImageSet(images, np.array([0]), ["Klingon/character01"], ["0001_01"], ["Klingon"], {})
    return OneShotRuns(data, work, work / "prepared").batch([0])


def sketchy_loader(path, work):
    (work / "sketches" / "axe").mkdir(parents=True)
    (work / "sketches" / "axe" / "n01_1-1.svg").write_text('<svg><path d="M 0 0 L 9 9"/></svg>')
    published(work, "photo/axe/n01_1.jpg", path)
    return sketchy.cropped_photo(sketchy_files.find_files(work).photos["axe"]["n01_1"](), path.name, 84)


def traced_loader(path, work):
    published(work, "mine/photo.jpg", path)
    try:
        store = traced.prepare_traced(str(work / "mine"), work, work / "prepared")
    except DataError as error:
        if "no drawing was left" in str(error):  # correct: some of the files are blank
            return None
        raise
    return store.arrays["photos"]


class Refusal(Exception):
    """The error message that the command line prints before it exits."""


def draw_loader(channels, path, work):
    work.mkdir()
    sizes = {
        "width": 4,
        "latent": 6,
        "hidden": 10,
        "hyper": 6,
        "embedding": 2,
        "mixtures": 3,
        "max_length": 4,
    }
    net = SketchEmbedNet(ModelConfig(**sizes, channels=channels))
    weights = sketchembed.save(net, work / "net.safetensors")
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(["draw", str(path), str(weights), "--out", str(work / "out")])
        except SystemExit as stop:
            if stop.code != 2:
                raise
            raise Refusal(stderr.getvalue().strip().splitlines()[-1]) from None
    return (work / "out" / f"{path.stem}.svg").read_text()


LOADERS = {
    "image": lambda path, work: images.open_image(path, str(path)),
    "drawing": lambda path, work: read_drawing(path, 28),
    "photo": lambda path, work: read_photo(path, 84),
    "mini-imagenet": mini_imagenet_loader,
    "omniglot": omniglot_loader,
    "one-shot": one_shot_loader,
    "sketchy": sketchy_loader,
    "traced": traced_loader,
    "draw": partial(draw_loader, 1),
    "draw-photo": partial(draw_loader, 3),
}


def read_all(loader, folder):
    work = folder.parent / f"work-{loader}"
    LOADERS[loader](folder / "animated.png", work)  # triggers lazy imports
    shutil.rmtree(work, ignore_errors=True)
    reset_peak()  # so that an earlier loader does not hide the growth
    before = peak()
    for path in sorted(folder.iterdir()):
        start, outcome, text = time.process_time(), "read", ""
        try:
            LOADERS[loader](path, work)
        except (DataError, Refusal) as error:
            outcome, text = "refused", str(error)
        except Exception as error:
            outcome, text = "broke", repr(error)
        shutil.rmtree(work, ignore_errors=True)
        seconds = time.process_time() - start
        row = {"loader": loader, "name": path.name, "outcome": outcome, "text": text, "seconds": seconds}
        print(json.dumps(row), flush=True)
    print(json.dumps({"loader": loader, "grown": peak() - before}))


if __name__ == "__main__":
    for name in sys.argv[2:]:
        read_all(name, Path(sys.argv[1]))
