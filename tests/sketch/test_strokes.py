"""Sketch compared with the libraries `rdp` and `simplification` and with CairoSVG, and round trips."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rdp import rdp as rdp_oracle
from simplification.cutil import simplify_coords

from sketchembed.sketch import START, Sketch, cairosvg, rainbow, rdp

pytestmark = [
    pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors:DeprecationWarning"),  # raised by rdp
    pytest.mark.filterwarnings("ignore:Do not use the `random` module"),  # raised by beartype in a strategy
]


@st.composite
def sketches(draw, most=12, extent=200):
    """Generate drawings of a few strokes with integer coordinates."""
    coordinate = st.integers(-extent, extent)
    lengths = draw(st.lists(st.integers(1, most), min_size=1, max_size=5))
    return Sketch.from_strokes(
        [draw(st.lists(st.tuples(coordinate, coordinate), min_size=n, max_size=n)) for n in lengths]
    )


def walk(seed: int, count: int) -> np.ndarray:
    """Return a random line. Its real coordinates avoid ties, which libraries may round differently."""
    return np.cumsum(np.random.default_rng(seed).normal(size=(count, 2)), axis=0)


# ---- formats -----------------------------------------------------------------------------------------


@given(sketches())
def test_strokes_round_trip(sketch):
    assert Sketch.from_strokes(sketch.strokes) == sketch


@given(sketches())
def test_stroke3_round_trip(sketch):
    rows = sketch.to_stroke3()
    assert rows.dtype == np.float32
    assert Sketch.from_stroke3(rows) == sketch


@given(sketches())
def test_stroke5_round_trip_up_to_the_first_point(sketch):
    length = len(sketch) + 3
    rows = sketch.to_stroke5(length)
    assert rows.shape == (length + 1, 5)
    assert tuple(rows[0]) == START
    np.testing.assert_array_equal(rows[:, 2:].sum(axis=1), 1)
    np.testing.assert_array_equal(rows[len(sketch) :], [[0, 0, 0, 0, 1]] * (length + 1 - len(sketch)))
    back = Sketch.from_stroke5(rows)
    np.testing.assert_array_equal(back.points, sketch.points - sketch.points[0])
    np.testing.assert_array_equal(back.lifted[1:], sketch.lifted[1:])
    assert not back.lifted[0]


def test_stroke5_of_a_handwritten_example():
    sketch = Sketch.from_strokes([[[1, 2], [4, 6]], [[4, 6], [4, 5]]])
    expected = [[0, 0, 1, 0, 0], [3, 4, 0, 1, 0], [0, 0, 1, 0, 0], [0, -1, 0, 1, 0], [0, 0, 0, 0, 1]]
    np.testing.assert_array_equal(sketch.to_stroke5(4), expected)


def test_stroke5_uses_the_most_probable_state():
    rows = np.array([[0, 0, 1, 0, 0], [1, 1, 0.2, 0.5, 0.3], [1, 0, 0.1, 0.3, 0.6], [9, 9, 1, 0, 0]])
    np.testing.assert_array_equal(Sketch.from_stroke5(rows).points, [[0, 0], [1, 1]])
    np.testing.assert_array_equal(Sketch.from_stroke5(rows).lifted, [False, True])


@pytest.mark.parametrize("length", [0, 1])
def test_stroke5_that_does_not_fit_raises(length):
    with pytest.raises(ValueError, match="of 2 points does not fit"):
        Sketch.from_strokes([[[0, 0], [1, 1]]]).to_stroke5(length)
    with pytest.raises(ValueError, match="of 0 points does not fit"):
        Sketch.from_strokes([]).to_stroke5(length)


def test_points_and_pen_flags_must_match():
    with pytest.raises(ValueError, match="2 points but 1 pen flags"):
        Sketch(np.zeros((2, 2)), np.ones(1, dtype=bool))


def test_equality_is_by_value():
    sketch = Sketch.from_strokes([[[0, 0], [1, 1]]])
    assert sketch == Sketch.from_strokes([[[0, 0], [1, 1]], []])
    assert sketch != Sketch.from_strokes([[[0, 0]], [[1, 1]]])
    assert sketch != "sketch"
    with pytest.raises(TypeError):
        hash(sketch)


# ---- geometry ----------------------------------------------------------------------------------------


@given(sketches(), st.sampled_from([28, 84]), st.sampled_from([0, 3]))
def test_fit_fills_the_canvas(sketch, size, margin):
    x0, y0, x1, y1 = sketch.fit(size, margin).bounds
    before = np.ptp(sketch.points, axis=0)
    if before.max() > 0:
        assert max(x1 - x0, y1 - y0) == pytest.approx(size - 2 * margin)
        assert (x1 - x0) * before[1] == pytest.approx((y1 - y0) * before[0], abs=1e-6)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((size / 2, size / 2))


def test_fit_of_a_vertical_line_and_of_a_point():
    upright = Sketch.from_strokes([[[5, 0], [5, 10]]]).fit(28, 3)
    np.testing.assert_allclose(upright.points, [[14, 3], [14, 25]])
    np.testing.assert_allclose(Sketch.from_strokes([[[7, 9]]]).fit(28, 3).points, [[14, 14]])
    with pytest.raises(ValueError, match="no bounds"):
        Sketch.from_strokes([]).fit(28)


@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0, 4))
def test_rdp_by_line_agrees_with_the_rdp_package(seed, count, epsilon):
    points = walk(seed, count)
    np.testing.assert_array_equal(rdp(points, epsilon, "line"), rdp_oracle(points, epsilon))


@given(st.integers(0, 10**6), st.integers(2, 60), st.floats(0.01, 4))
def test_rdp_by_segment_agrees_with_simplification(seed, count, epsilon):
    points = walk(seed, count)
    np.testing.assert_array_equal(rdp(points, epsilon, "segment"), simplify_coords(points, epsilon))


@given(st.integers(0, 10**6), st.integers(3, 30), st.floats(0, 3))
def test_rdp_of_a_closed_line_agrees_with_the_rdp_package(seed, count, epsilon):
    points = walk(seed, count)
    points[-1] = points[0]
    np.testing.assert_array_equal(rdp(points, epsilon), rdp_oracle(points, epsilon))


def test_simplified_works_stroke_by_stroke():
    sketch = Sketch.from_strokes([[[0, 0], [1, 0.1], [2, 0]], [[9, 9]], [[0, 0], [5, 5], [10, 0]]])
    expected = Sketch.from_strokes([[[0, 0], [2, 0]], [[9, 9]], [[0, 0], [5, 5], [10, 0]]])
    assert sketch.simplified(2.0) == expected


# ---- pictures ----------------------------------------------------------------------------------------


@given(sketches())
def test_svg_round_trip(sketch):
    fitted = sketch.fit(256, 25.6)
    back = Sketch.from_svg(sketch.to_svg())
    assert len(back.strokes) == len(sketch.strokes)
    for ours, read in zip(fitted.strokes, back.strokes, strict=True):
        # A dot is written as a line from its point to itself.
        np.testing.assert_allclose(read, np.repeat(ours, 2, axis=0) if len(ours) == 1 else ours, atol=0.006)


def pixels(svg: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(cairosvg().svg2png(bytestring=svg.encode()))).convert("RGB"))


def test_svg_of_an_empty_sketch_is_white():
    svg = Sketch.from_strokes([]).to_svg(16)
    assert (pixels(svg) == 255).all()
    assert Sketch.from_svg(svg) == Sketch.from_strokes([])


def test_svg_shows_a_dot():
    image = pixels(Sketch.from_strokes([[[3, 3]]]).to_svg(16, width=4))
    assert (image[7:9, 7:9] == 0).all()
    assert (image[:5] == 255).all()


def test_svg_colours_strokes_in_turn():
    svg = Sketch.from_strokes([[[0, 0], [1, 0]]] * 3).to_svg(colours=["red", 'a"b'])
    assert svg.count('stroke="red"') == 2
    assert "stroke='a\"b'" in svg
    rainbow_svg = Sketch.from_strokes([[[0, 0], [1, 0]]] * 3).to_svg(colours="rainbow", background=None)
    assert all(colour in rainbow_svg for colour in rainbow(3))
    assert "<rect" not in rainbow_svg
    assert len(set(rainbow(12))) == 12


def test_png_is_the_rendered_svg(tmp_path):
    sketch = Sketch.from_strokes([[[0, 0], [4, 3]]])
    sketch.to_png(tmp_path / "a.png", 32, width=3)
    written = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    np.testing.assert_array_equal(written, pixels(sketch.to_svg(32, width=3)))
