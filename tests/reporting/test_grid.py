import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from sketchembed.reporting.grid import Tile, fit_text, grid_svg
from sketchembed.sketch import Sketch, cairosvg

SVG = "{http://www.w3.org/2000/svg}"
SQUARE = Sketch.from_strokes([[(0, 0), (9, 0), (9, 9), (0, 9), (0, 0)]])
CROSS = Sketch.from_strokes([[(0, 0), (9, 9)], [(9, 0), (0, 9)]])


def rendered(svg):
    png = cairosvg().svg2png(bytestring=svg.encode())
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)


def dark_range(pixels):
    """Return the first and last column, and the first and last row, of dark pixels."""
    rows, columns = np.nonzero(pixels.sum(axis=2) < 500)
    return columns.min(), columns.max(), rows.min(), rows.max()


def test_drawing_fits_its_cell_and_keeps_its_proportions():
    pixels = rendered(grid_svg([[None, SQUARE], [SQUARE, None]], size=72))
    # Cells are 72 pixels wide and start at pixel 12. On every side, a ninth is margin.
    x0, x1, y0, y1 = dark_range(pixels[:84])
    assert [x0, x1] == pytest.approx([12 + 72 + 8, 12 + 144 - 8], abs=2)
    assert [y0, y1] == pytest.approx([20, 84 - 8], abs=2)
    x0, x1, y0, y1 = dark_range(pixels[84:])
    assert [x0, x1] == pytest.approx([20, 84 - 8], abs=2)
    flat = rendered(grid_svg([[Sketch.from_strokes([[(0, 0), (90, 0), (90, 30), (0, 0)]])]]))
    x0, x1, y0, y1 = dark_range(flat)
    assert (x1 - x0) / (y1 - y0) == pytest.approx(3, rel=0.15)


def test_strokes_are_coloured_or_omitted():
    pixels = rendered(grid_svg([[Tile(CROSS, colours=["#ff0000", None])]], framed=False))
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 60)
    rows, columns = np.nonzero(red)
    # The only stroke that is drawn runs down to the right.
    assert np.corrcoef(rows, columns)[0, 1] > 0.99
    assert len(re.findall("<path", grid_svg([[CROSS]]))) == 2
    with pytest.raises(ValueError, match="1 colours for 2 strokes"):
        grid_svg([[Tile(CROSS, colours=["red"])]])


def test_drawings_in_a_box_keep_their_positions():
    small = Sketch.from_strokes([[(0, 0), (3, 0), (3, 3)]])
    x0, x1, y0, y1 = dark_range(rendered(grid_svg([[Tile(small, box=(0, 0, 9, 9))]])))
    assert [x0, y0] == pytest.approx([20, 20], abs=2)
    assert [x1, y1] == pytest.approx([20 + 56 / 3, 20 + 56 / 3], abs=2)


def test_frame_marks_a_cell():
    pixels = rendered(grid_svg([[Tile(SQUARE, frame="#00a000"), SQUARE]], framed=False))
    green = np.nonzero((pixels[..., 1] > 120) & (pixels[..., 0] < 60))
    assert [green[1].min(), green[1].max()] == pytest.approx([13, 83], abs=2)


def test_images_keep_their_pixels():
    image = np.linspace(0, 1, 48, dtype=np.float32).reshape(3, 4, 4)
    svg = grid_svg([[image, image[:1], image[0]]])
    found = [base64.b64decode(part) for part in re.findall(r"base64,([^\"]+)", svg)]
    colour, grey, same = (np.asarray(Image.open(io.BytesIO(part))) for part in found)
    np.testing.assert_allclose(colour / 255, image.transpose(1, 2, 0), atol=0.5 / 255)
    np.testing.assert_allclose(grey / 255, image[0], atol=0.5 / 255)
    np.testing.assert_array_equal(same, grey)
    assert "pixelated" in svg


def test_names_heads_and_labels_stay_within_the_picture():
    svg = grid_svg(
        [[SQUARE, "−", CROSS, None, CROSS], [Tile(SQUARE, label="below\nit"), None, CROSS, None, CROSS]],
        heads=["a very long head over it", "", "both", "both", "both"],
        names=["first & last", "<2>\nlines"],
        feet=["", "", "", "", "the end of the lower right corner"],
        headings={1: "A heading"},
    )
    root = ElementTree.fromstring(svg)
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert words.count("both") == 1
    assert {"first & last", "<2>", "lines", "below", "it", "A heading", "−"} <= set(words)
    width = float(root.get("width"))
    for element in root.iter(f"{SVG}text"):
        x, half = float(element.get("x")), len(element.text) * 0.25 * float(element.get("font-size"))
        if element.get("text-anchor") == "middle":
            assert x - half >= 0
            assert x + half <= width


def test_heads_are_above_their_row_and_frames_can_be_dashed():
    tile = Tile(SQUARE, label=fit_text("a name that is much too long", 72), frame="#c00", dashed=True)
    svg = grid_svg([[SQUARE], [tile]], heads={0: ["first"], 1: ["second"]}, headings={1: "Group"})
    root = ElementTree.fromstring(svg)
    at = {element.text: float(element.get("y")) for element in root.iter(f"{SVG}text")}
    frames = [one for one in root.iter(f"{SVG}rect") if one.get("rx")]
    first, second = (float(frame.get("y")) for frame in frames)
    assert at["first"] < first < at["Group"] < at["second"] < second < at["a name that is…"]
    assert [frame.get("stroke-dasharray") for frame in frames] == [None, "4 3"]
    assert fit_text("short", 72) == "short"


def test_empty_drawing_is_labelled_empty():
    words = [element.text for element in ElementTree.fromstring(grid_svg([[Sketch.from_strokes([])]])).iter()]
    assert "empty" in words
