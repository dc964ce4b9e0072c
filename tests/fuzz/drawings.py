"""Fuzz the readers of drawings (Quick, Draw!, Omniglot strokes, SVG) and of class expressions."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
from pathlib import Path
from random import Random

import numpy as np

from sketchembed.data.sources import omniglot, sketchy
from sketchembed.data.sources.quickdraw import class_names
from sketchembed.data.sources.quickdraw_formats import read_class
from sketchembed.data.store import OFFSET_LIMIT
from sketchembed.errors import DataError
from sketchembed.evaluation.generation import class_arithmetic
from sketchembed.sketch import Sketch
from sketchembed.sketch.svg import read_strokes

from .archives import zip_of
from .engine import Case, Reader
from .structured import change_pickle, change_text

DATA = Path(os.environ.get("SKETCHEMBED_DATA") or "/nowhere")


def rows(random: Random, count: int = 8) -> np.ndarray:
    drawing = [
        [random.randrange(-60, 60), random.randrange(-60, 60), int(random.random() < 0.3)]
        for _ in range(count)
    ]
    drawing[-1][2] = 1
    return np.array(drawing, dtype=np.int16)


def object_array(count: int, protocol: int, random: Random) -> bytes:
    """Return a .npy file with an array of drawings that are pickled with the given protocol."""
    whole = np.empty(count, dtype=object)
    for at in range(count):
        whole[at] = rows(random, 3 + at)
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|O", "fortran_order": False, "shape": (count,)})
    return out.getvalue() + pickle.dumps(whole, protocol=protocol)


# ---- Quick, Draw! ----------------------------------------------------------------------------------------


def npz_seeds() -> list[Case]:
    random = Random(0)
    cases = [
        {
            "cat.npz": zip_of(
                {f"{part}.npy": object_array(9, protocol, random) for part in ("train", "valid", "test")}
            )
        }
        for protocol in (2, 3, 4)
    ]
    real = DATA / "quickdraw" / "sketchrnn" / "squirrel.npz"
    return cases + ([{"cat.npz": real.read_bytes()}] if real.is_file() else [])


def read_drawings(suffix: str, max_length: int) -> object:
    def read(folder: Path) -> object:
        found = read_class(folder / f"cat{suffix}", "cat", max_length)
        for part, drawing in found.drawings:
            assert part in (0, 1, 2)
            assert drawing.dtype == np.int16
            assert drawing.ndim == 2
            assert 2 <= len(drawing) <= max_length
            assert np.abs(drawing[:, :2].astype(int)).max() <= OFFSET_LIMIT
            assert set(np.unique(drawing[:, 2])) <= {0, 1}
        return found

    return read


def absolute(random: Random) -> list[tuple[list[int], list[int]]]:
    return [
        ([random.randrange(256) for _ in range(points)], [random.randrange(256) for _ in range(points)])
        for points in (random.randrange(2, 9) for _ in range(random.randrange(1, 4)))
    ]


def ndjson_seeds() -> list[Case]:
    random = Random(1)
    lines = [
        json.dumps(
            {
                "word": "cat",
                "countrycode": "VE",
                "timestamp": "2017-03-02 23:25:10.07453 UTC",
                "recognized": True,
                "key_id": str(random.getrandbits(63)),
                "drawing": absolute(random),
            }
        ).encode()
        for _ in range(12)
    ]
    cases: list[Case] = [{"cat.ndjson": b"\n".join(lines) + b"\n"}]
    # With many lines, the reader skips a malformed line and reads the lines after it.
    cases.append({"cat.ndjson": (b"\n".join(lines) + b"\n") * 20})
    return cases


def bin_seeds() -> list[Case]:
    random = Random(2)
    out = b""
    for _ in range(12):
        strokes = absolute(random)
        out += struct.pack("<Q2sbIH", random.getrandbits(63), b"VE", 1, 1488497110, len(strokes))
        for xs, ys in strokes:
            out += struct.pack("<H", len(xs)) + bytes(xs) + bytes(ys)
    return [{"cat.bin": out}]


# ---- Omniglot --------------------------------------------------------------------------------------------

STROKES = b"START\n5,-30,0\n12,-41,30\n50,-60,90\n80,-20,120\nBREAK\n40,-40,300\nBREAK\n"
CHARACTER = "Futurama/character01/0001_01"


def stroke_seeds() -> list[Case]:
    files = {f"strokes_background/Futurama/character0{at}/000{at}_01.txt": STROKES * at for at in (1, 2, 3)}
    zips = {f"strokes_{part}.zip": zip_of(files) for part in omniglot.LAKE_PARTS}
    folders = {
        name.replace("background", part): content
        for part in omniglot.LAKE_PARTS
        for name, content in files.items()
    }
    return [zips, folders]


def read_omniglot(folder: Path) -> object:
    found = list(omniglot.published_strokes(folder))
    for _, _, sketch in found:
        assert len(sketch)
        assert np.isfinite(sketch.points).all()
    return found


# ---- SVG -------------------------------------------------------------------------------------------------

SVG = b"""<?xml version="1.0" encoding="UTF-8"?>
<svg viewBox="0 0 640 480" height="480" width="640" xmlns="http://www.w3.org/2000/svg"><g id="a">
<path d="M 10 20 L 30.5,40 l5 5 H 90 V 12 C 1 2 3 4 5 6 S 8 9 20 21 Q 4 5 60 70 T 90 91
 A 30 50 0 0 1 162.5 162 Z"
 fill="none" stroke="black"/><polyline points="1,2 30,4 50,60"/><polygon points="10 12 130 14 150 160"/>
<line x1="1" y1="2" x2="300" y2="4"/></g></svg>"""


def svg_seeds() -> list[Case]:
    return [{"a.svg": SVG}, {"a.svg": SVG.replace(b"</g></svg>", b"</g>")}]


def read_svg(folder: Path) -> object:
    path = folder / "a.svg"
    try:
        strokes = read_strokes(path)
    except DataError:
        sketch = sketchy.read_sketch(path.read_bytes() if path.is_file() else b"", "a.svg")
    else:
        assert all(np.isfinite(stroke).all() for stroke in strokes)
        sketch = Sketch.from_strokes(strokes).simplified(1.0)
        sketchy.read_sketch(path.read_bytes(), "a.svg")
    if len(sketch):
        assert np.isfinite(sketch.points).all()
        Sketch.from_svg(sketch.to_svg())
    return sketch


# ---- arithmetic ------------------------------------------------------------------------------------------

SUMS = (
    b"snowman - circle + 0.5 * square",
    b"2 * cat - dog + ice cream",
    "\u2212t-shirt + 3 \u00d7 alarm clock".encode(),
    b"-cat + .25*cat",
)
PIECES = (
    *"+-*/()'\"",
    " ",
    "cat",
    "ice cream",
    "t-shirt",
    "1e308",
    "1e-308",
    "0",
    ".",
    "1e",
    "a-" * 40,
    "((" * 40,
    "-" * 400,
    "\u201c",
    "\u0663",
)


def sums() -> list[Case]:
    return [{"sum.txt": text} for text in SUMS]


def change_sum(case: Case, random: Random) -> Case:
    text = case["sum.txt"].decode("utf-8", "replace")
    if random.random() < 0.3:
        return {"sum.txt": change_text(case["sum.txt"], random)}
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(text) + 1)
        piece = random.choice(PIECES) * random.choice((1, 1, 1, 30))
        text = text[:at] + piece + text[at + random.choice((0, 0, 1, 5)) :]
    return {"sum.txt": text.encode()}


def read_sum(folder: Path) -> object:
    path = folder / "sum.txt"
    text = path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""
    weights = class_arithmetic.parse(text, class_names())
    assert all(np.isfinite(weight) for weight in weights.values())
    again = class_arithmetic.parse(class_arithmetic.written(weights), class_names())
    assert set(again) == set(weights)
    return weights


def change_npz(case: Case, random: Random) -> Case:
    """Change mainly the pickles, which contain the drawings."""
    from .archives import change_zip

    if random.random() < 0.5:
        import zipfile

        with zipfile.ZipFile(io.BytesIO(case["cat.npz"])) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        name = random.choice(sorted(files))
        content = files[name]
        end = 10 + int.from_bytes(content[8:10], "little")
        files[name] = content[:end] + change_pickle(content[end:], random)
        return {"cat.npz": zip_of(files)}
    return {"cat.npz": change_zip(case["cat.npz"], random)}


READERS = (
    Reader("quickdraw-npz", npz_seeds, read_drawings(".npz", 64), change_npz),
    Reader("quickdraw-ndjson", ndjson_seeds, read_drawings(".ndjson", 64)),
    Reader("quickdraw-bin", bin_seeds, read_drawings(".bin", 64)),
    Reader("omniglot-strokes", stroke_seeds, read_omniglot),
    Reader("svg", svg_seeds, read_svg),
    Reader("expression", sums, read_sum, change_sum),
)
