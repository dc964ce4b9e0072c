import io
import xml.etree.ElementTree as ElementTree

import numpy as np
from PIL import Image

from sketchembed.reporting.sheet import contact_sheet_png, contact_sheet_svg

SVG = "{http://www.w3.org/2000/svg}"


def items(count, strokes):
    return [
        {
            "class": f"<{number}>",
            "seen": number % 2 == 0,
            "input": [[0, 0, 255, 255]],
            "samples": [{"temperature": 0.0, "strokes": strokes}, {"temperature": 0.5, "strokes": []}],
        }
        for number in range(count)
    ]


def test_every_drawing_and_name_is_on_the_sheet():
    root = ElementTree.fromstring(contact_sheet_svg(items(5, [[10, 10, 50, 60], [9, 9]])))
    assert len(root.findall(f"{SVG}path")) == 2 * 5
    texts = [element.text for element in root.findall(f"{SVG}text")]
    assert {f"<{number}>" for number in range(5)} <= set(texts)
    assert texts.count("nothing drawn") == 5


def test_png_shows_ink_where_the_drawing_is(tmp_path):
    png = contact_sheet_png(items(1, [[0, 0, 255, 255]]), tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes() == png
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    svg = ElementTree.fromstring(contact_sheet_svg(items(1, [[0, 0, 255, 255]])))
    assert picture.shape == (2 * int(svg.get("height")), 2 * int(svg.get("width")))
    assert (picture < 60).sum() > 400


def test_no_items_give_an_empty_sheet():
    assert ElementTree.fromstring(contact_sheet_svg([])).get("width")
