import base64
import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from sketchembed.reporting.sheet import contact_sheet_png, contact_sheet_svg

SVG = "{http://www.w3.org/2000/svg}"
DIAGONAL = [[0, 0, 255, 255]]


def items(count, strokes, seen=lambda number: number % 2 == 0):
    return [
        {
            "class": f"<{number}>",
            "seen": seen(number),
            "input": DIAGONAL,
            "samples": [{"temperature": 0.0, "strokes": strokes}, {"temperature": 0.5, "strokes": []}],
        }
        for number in range(count)
    ]


def texts(root):
    return [element.text for element in root.iter(f"{SVG}text")]


def test_sheet_shows_every_stroke_and_name():
    root = ElementTree.fromstring(contact_sheet_svg(items(5, [[10, 10, 50, 60.5], [9, 9]])))
    paths = [path.get("d") for path in root.iter(f"{SVG}path")]
    assert sorted(paths) == sorted(5 * ["M0,0L255,255", "M10,10L50,60.5", "M9,9L9,9"])
    assert {f"<{number}>" for number in range(5)} <= set(texts(root))
    assert texts(root).count("empty") == 5
    # Every column of blocks has headings, in both groups.
    heads = [text for text in texts(root) if text in ("input", "τ = 0", "τ = 0.5")]
    assert heads[:3] == ["input", "τ = 0", "τ = 0.5"]
    assert len(heads) % 6 == 0


def test_groups_follow_their_headings():
    shown = texts(ElementTree.fromstring(contact_sheet_svg(items(4, DIAGONAL))))
    order = [text for text in shown if text.startswith("<") or "lasses" in text]
    assert order == ["Seen classes", "<0>", "<2>", "Unseen classes (never trained on)", "<1>", "<3>"]
    only = texts(ElementTree.fromstring(contact_sheet_svg(items(2, DIAGONAL, lambda number: True))))
    assert not any("Unseen" in text for text in only)


def test_photo_is_left_of_its_sketch():
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(out, "PNG")
    link = "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
    given = [item | {"photo": link} for item in items(2, [[9, 9, 50, 50]], lambda number: True)]
    root = ElementTree.fromstring(contact_sheet_svg(given))
    heads = [text for text in texts(root) if text in ("photo", "sketch", "input", "τ = 0")]
    assert heads == ["photo", "sketch", "τ = 0"]
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet_png(given))).convert("RGB"))
    red = np.argwhere((sheet == [255, 0, 0]).all(axis=-1))
    sketch = np.argwhere(sheet.max(axis=-1) < 60)
    assert len(red) > 2 * 140**2
    assert red[:, 1].max() < sketch[(sketch[:, 0] >= red[:, 0].min())][:, 1].max()


@pytest.mark.parametrize("count", [2, 9, 24, 60])
def test_sheet_is_nearly_square_and_holds_all_drawings(count):
    root = ElementTree.fromstring(contact_sheet_svg(items(count, DIAGONAL)))
    width, height = int(root.get("width")), int(root.get("height"))
    assert 1 / 2 < width / height < 2
    for frame in root.iter(f"{SVG}rect"):
        x, y = float(frame.get("x", 0)), float(frame.get("y", 0))
        assert x + float(frame.get("width")) <= width
        assert y + float(frame.get("height")) <= height
    frames = [(frame.get("x"), frame.get("y")) for frame in root.iter(f"{SVG}rect")]
    assert len(set(frames)) == len(frames) == 3 * count + 1


def test_invalid_drawings_and_names_are_cleaned():
    sample = items(1, [[float("nan"), 1, 2, 3], [5], []])
    sample[0]["class"] = "a\x00b\n</svg>"
    root = ElementTree.fromstring(contact_sheet_svg(sample))
    assert "a b </svg>" in texts(root)
    assert [path.get("d") for path in root.iter(f"{SVG}path")] == ["M0,0L255,255", "M2,3L2,3"]


def test_png_shows_ink_where_the_drawing_is():
    sample = items(1, DIAGONAL)
    png = contact_sheet_png(sample)
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    root = ElementTree.fromstring(contact_sheet_svg(sample))
    assert picture.shape == (2 * int(root.get("height")), 2 * int(root.get("width")))
    for number, frame in enumerate(list(root.iter(f"{SVG}rect"))[1:]):
        x, y, side = (round(2 * float(frame.get(key))) for key in ("x", "y", "width"))
        inside = picture[y + 4 : y + side - 4, x + 4 : x + side - 4]
        diagonal = np.diagonal(inside) < 60
        assert diagonal.all() if number < 2 else not diagonal.any()
        assert not (inside[: side // 3, -side // 3 :] < 60).any()


def test_no_items_give_an_empty_sheet():
    assert contact_sheet_png([]).startswith(b"\x89PNG")
