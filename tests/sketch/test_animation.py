"""Check that animated drawings end with the complete drawing."""

import io
import re

import numpy as np
import pytest
from PIL import Image, ImageSequence

from sketchembed.sketch import Sketch
from sketchembed.sketch.animation import HELD

STROKES = [[[0, 0], [10, 0], [10, 10]], [[0, 10]], [[3, 3], [5, 8]]]
SKETCH = Sketch.from_strokes(STROKES)


def test_animated_svg_has_the_same_strokes_and_shows_them_without_animation():
    cairosvg = pytest.importorskip("cairosvg")
    still, moving = SKETCH.to_svg(64), SKETCH.to_svg(64, seconds=3)
    assert Sketch.from_svg(moving) == Sketch.from_svg(still)
    pixels = [
        np.asarray(Image.open(io.BytesIO(cairosvg.svg2png(bytestring=svg.encode()))).convert("L"), int)
        for svg in (still, moving)
    ]
    assert np.abs(pixels[0] - pixels[1]).max() <= 1


def test_strokes_are_drawn_one_after_the_other():
    svg = SKETCH.to_svg(64, seconds=3)
    times = re.findall(r'dashoffset" values="([\d.]+);\1;0;0" keyTimes="0;([\d.]+);([\d.]+);1" dur="3s"', svg)
    spans = [(float(first), float(last)) for _, first, last in times]
    assert spans == [(0, 0.375), (0.375, 0.5), (0.5, 0.75)]
    assert spans[-1][1] == 1 - HELD


def test_gif_grows_to_the_complete_drawing(tmp_path):
    SKETCH.to_gif(tmp_path / "a.gif", 64, seconds=2)
    with Image.open(tmp_path / "a.gif") as found:
        frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(found)]
        seconds = sum(frame.info["duration"] for frame in ImageSequence.Iterator(found)) / 1000
    assert seconds == pytest.approx(2, abs=0.1)
    ink = [int((frame < 128).sum()) for frame in frames]
    assert ink == sorted(ink)
    assert ink[0] < ink[-1]
    SKETCH.to_png(tmp_path / "a.png", 64)
    whole = np.asarray(Image.open(tmp_path / "a.png").convert("L")) / 255
    assert np.abs(frames[-1] / 255 - whole).mean() < 0.2 * (1 - whole).mean()


def test_empty_drawing_is_a_white_gif(tmp_path):
    Sketch.from_strokes([]).to_gif(tmp_path / "a.gif", 16)
    assert np.asarray(Image.open(tmp_path / "a.gif").convert("L")).min() == 255
