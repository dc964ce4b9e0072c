import tarfile
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from skimage.color import lab2rgb
from skimage.feature import canny
from skimage.measure import find_contours

from sketchembed.data.sources.contours import _joined, trace
from sketchembed.data.sources.mini_imagenet import model_photo
from sketchembed.sketch.simplify import rdp

WIDTH, HEIGHT = 84, 70
FINE = 8
"""Oversampling factor at which shapes are painted."""


def paint(*shapes, ground=(60, 60, 60), size=(HEIGHT, WIDTH)):
    """Paint shapes in order. Each is a function of x and y in pixels that returns a mask, and a colour."""
    y, x = ((np.indices([side * FINE for side in size]) + 0.5) / FINE - 0.5).astype(np.float64)
    picture = np.empty((3, *y.shape))
    picture[:] = np.reshape(ground, (3, 1, 1))
    for inside, colour in shapes:
        picture[:, inside(x, y)] = np.reshape(colour, (3, 1))
    pooled = picture.reshape(3, size[0], FINE, size[1], FINE).mean(axis=(2, 4))
    return pooled.round().astype(np.uint8)


def disc(cx, cy, radius):
    return lambda x, y: np.hypot(x - cx, y - cy) <= radius


def box(left, top, right, bottom):
    return lambda x, y: (x > left) & (x < right) & (y > top) & (y < bottom)


def grey(level):
    return (level, level, level)


def clockwise(stroke):
    """Return whether a closed stroke turns once clockwise around the mean of its points, with y down."""
    angles = np.unwrap(np.arctan2(*(stroke - stroke[:-1].mean(axis=0)).T[::-1]))
    return angles[-1] - angles[0] == pytest.approx(2 * np.pi)


def farthest(points, others):
    return cKDTree(others).query(points)[0].max()


# Two colours of equal lightness.
RED, GREEN = ((lab2rgb(np.array([[[60.0, a, 30.0]]])).ravel() * 255).round() for a in (45.0, -45.0))


@pytest.mark.parametrize(
    ("ground", "colour"),
    [(grey(60), grey(200)), (grey(200), grey(60)), (grey(120), grey(126)), (GREEN, RED)],
    ids=["light", "dark", "faint", "same lightness"],
)
@pytest.mark.parametrize(("cx", "cy", "radius"), [(40, 35, 20), (30.3, 41.8, 10), (50, 30, 25.5)])
def test_disc_gives_one_closed_stroke_on_its_circle(ground, colour, cx, cy, radius):
    (stroke,) = trace(paint((disc(cx, cy, radius), colour), ground=ground)).strokes
    np.testing.assert_array_equal(stroke[0], stroke[-1])
    assert np.abs(np.hypot(*(stroke - [cx, cy]).T) - radius).max() < 1
    # The stroke starts at the upper left of the circle, and its points go all the way around.
    np.testing.assert_allclose(stroke[0], np.array([cx, cy]) - radius / np.sqrt(2), atol=1.5)
    assert clockwise(stroke)
    assert np.hypot(*np.diff(stroke, axis=0).T).max() < 1.2 * radius


def test_rectangles_give_closed_strokes_larger_first():
    large, small = (12, 10, 45, 60), (55, 22, 74, 40)
    found = trace(paint((box(*small), grey(190)), (box(*large), grey(190)))).strokes
    assert len(found) == 2
    for stroke, (left, top, right, bottom) in zip(found, (large, small), strict=True):
        np.testing.assert_array_equal(stroke[0], stroke[-1])
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        # The Gaussian rounds corners off by about its σ.
        assert farthest(corners, stroke) < 3
        assert clockwise(stroke)
        assert np.hypot(*(stroke[0] - corners[0])) < 3
        across = np.abs(stroke[:, 0] - (left + right) / 2) - (right - left) / 2
        along = np.abs(stroke[:, 1] - (top + bottom) / 2) - (bottom - top) / 2
        assert np.abs(np.maximum(across, along)).max() < 1.5


def test_more_salient_shape_comes_first():
    def first(*shapes):
        return trace(paint(*shapes)).strokes[0].mean(axis=0)[0]

    left, right = disc(22, 35, 11), disc(62, 35, 11)
    assert first((left, grey(200)), (right, grey(130))) < 42 < first((left, grey(130)), (right, grey(200)))
    # The central disc comes first, although the other is slightly larger.
    assert first((disc(42, 35, 9), grey(200)), (disc(14, 14, 10), grey(200))) > 30


def test_small_dot_is_drawn_only_if_it_is_alone():
    dot, large = (disc(70, 12, 3), grey(200)), (disc(35, 40, 22), grey(220))
    assert len(trace(paint(dot)).strokes) == 1
    (stroke,) = trace(paint(dot, large)).strokes
    assert np.abs(np.hypot(*(stroke - [35, 40]).T) - 22).max() < 1.5


def test_open_strokes_start_at_the_upper_left():
    # Each edge runs from one side of the photo to another.
    for inside, way in [
        (lambda x, y: y > 30, (1, 0)),
        (lambda x, y: x > 30, (0, 1)),
        (lambda x, y: y > x, (1, 1)),
    ]:
        (stroke,) = trace(paint((inside, grey(200)))).strokes
        assert ((stroke[-1] - stroke[0]) @ way) > 50


def test_step_edge_agrees_with_marching_squares():
    def flower(x, y):
        angle = np.arctan2(y - 35, x - 42)
        return np.hypot(x - 42, y - 35) <= 20 + 4 * np.cos(3 * angle)

    picture = paint((flower, grey(210)))
    (level,) = find_contours(picture[0].astype(float), 135.0)
    (stroke,) = trace(picture, max_points=10_000, epsilon=0).strokes
    assert farthest(stroke, level[:, ::-1]) < 0.8
    assert farthest(level[:, ::-1], stroke) < 0.8
    # The default sketch is the same line with fewer points.
    short = trace(picture).strokes[0]
    assert len(short) < 30
    np.testing.assert_array_equal(short, rdp(stroke, 1.2, "segment"))


def scene(seed):
    rng = np.random.default_rng(seed)
    shapes = [
        (disc(*rng.uniform(10, 70, 2), rng.uniform(6, 18)), grey(level))
        for level in rng.permutation([20, 60, 140, 180, 220])
    ]
    return paint(*shapes, ground=grey(100))


@pytest.mark.parametrize("seed", range(5))
def test_edges_agree_with_canny(seed):
    picture = scene(seed)
    edges = np.argwhere(canny(picture[0].astype(float), sigma=1.75, low_threshold=1, high_threshold=2))
    sketch = trace(picture, max_points=10_000, epsilon=0)
    assert len(sketch) > 50
    gaps = cKDTree(edges[:, ::-1]).query(sketch.points)[0]
    # Distances are larger only at joints, where a line bridges a gap between Canny's edges.
    assert np.quantile(gaps, 0.95) < 1
    assert gaps.max() < 4


@pytest.mark.parametrize("seed", range(5))
def test_transposed_photo_has_the_same_contours(seed):
    picture = scene(seed)
    sketch = trace(picture, max_points=10_000, epsilon=0)
    turned = trace(picture.transpose(0, 2, 1), max_points=10_000, epsilon=0)
    assert farthest(sketch.points, turned.points[:, ::-1]) < 0.1
    assert farthest(turned.points[:, ::-1], sketch.points) < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_negative_photo_has_the_same_contours(seed):
    picture = scene(seed)
    sketch = trace(picture, max_points=10_000, epsilon=0)
    negative = trace(255 - picture, max_points=10_000, epsilon=0)
    # A few pixels differ where two edges meet.
    for one, other in ((sketch, negative), (negative, sketch)):
        assert (cKDTree(other.points).query(one.points)[0] < 0.1).mean() > 0.97


def test_frame_of_a_photo_is_not_drawn():
    framed = paint((box(0.5, 0.5, 82.5, 68.5), grey(60)), (disc(42, 35, 15), grey(110)), ground=grey(255))
    (stroke,) = trace(framed).strokes
    assert np.abs(np.hypot(*(stroke - [42, 35]).T) - 15).max() < 1.5


def test_isolated_outline_is_more_salient_than_stripes():
    # The stripes are longer than the circle, of the same contrast, and as near to the middle.
    picture = paint((lambda x, y: (x > 44) & ((x - 44) % 12 > 6), grey(190)), (disc(22, 35, 10), grey(190)))
    stroke = trace(picture).strokes[0]
    assert np.abs(np.hypot(*(stroke - [22, 35]).T) - 10).max() < 1.5


@pytest.mark.parametrize("size", [(84, 84), (5, 84), (3, 3), (1, 1), (6, 7)])
def test_photo_without_contours_gives_an_empty_sketch(size):
    assert len(trace(np.full((3, *size), 90, dtype=np.uint8))) == 0
    faint = np.random.default_rng(0).integers(100, 103, (3, *size)).astype(np.uint8)
    assert len(trace(faint)) == 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(6, 90), st.integers(6, 90)),
    st.integers(1, 100),
    st.floats(0.0, 4.0),
)
def test_sketch_stays_within_max_points_and_the_photo(seed, size, most, blur):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, *(max(1, int(side / (1 + blur))) for side in size)))
    rows, columns = (
        np.arange(side) * count // side for side, count in zip(size, coarse.shape[1:], strict=True)
    )
    picture = coarse[:, rows][:, :, columns].astype(np.uint8)
    sketch = trace(picture, most)
    assert len(sketch) <= most
    assert sketch == trace(picture.copy(), most)
    for line in trace(picture, 10_000, epsilon=0).strokes:
        assert np.hypot(*np.diff(line, axis=0).T).sum() > 10 - 1e-6
    height, width = size
    for stroke in sketch.strokes:
        assert len(stroke) > 1
        assert (stroke >= 2).all()
        assert (stroke <= [width - 3, height - 3]).all()
        assert stroke[0].sum() <= stroke[-1].sum()
        if (stroke[0] == stroke[-1]).all():
            assert stroke[0].sum() == stroke.sum(axis=1).min()


# ---- joining ---------------------------------------------------------------------------------------------


def arc(start, end, radius=20.0):
    angles = np.radians(np.linspace(start, end, 60))
    return 40 + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def segment(start, end):
    return np.linspace(start, end, 30)


def test_two_half_circles_are_joined_to_a_ring():
    # The gaps are 10 degrees wide, that is 3.5 pixels; the second half is drawn the other way around.
    (ring,) = _joined([arc(5, 175), arc(355, 185)])
    np.testing.assert_array_equal(ring[0], ring[-1])
    assert len(ring) == 121
    assert np.hypot(*np.diff(ring, axis=0).T).max() == pytest.approx(40 * np.sin(np.radians(5)))


def test_nearly_closed_line_is_closed_unless_short():
    (ring,) = _joined([arc(5, 355)])
    np.testing.assert_array_equal(ring[0], ring[-1])
    (bow,) = _joined([arc(20, 340, radius=2.5)])
    assert (bow[0] != bow[-1]).any()


def test_line_continues_straight_at_a_junction():
    left, right = segment((10, 40), (38, 40)), segment((42, 40), (70, 40))
    stem = segment((40, 42), (40, 70))
    joined = _joined([left, stem, right])
    assert sorted(len(line) for line in joined) == [30, 60]
    (through,) = (line for line in joined if len(line) == 60)
    assert set(through[:, 1]) == {40.0}
    np.testing.assert_allclose(np.diff(np.sort(through[[0, -1], 0])), 60)


@pytest.mark.parametrize(
    ("other", "count"),
    [
        (segment((44, 40), (70, 40)), 1),  # straight ahead, 4 pixels away
        (segment((41, 41), (41, 70)), 1),  # around a corner, at the very end
        (segment((41, 44), (41, 70)), 2),  # around a corner, but too far away
        (segment((40, 42), (10, 42)), 2),  # back in the opposite direction
        (segment((40, 45), (70, 45)), 2),  # in the same direction, but to the side
        (segment((48, 40), (70, 40)), 2),  # straight ahead, but too far away
    ],
)
def test_ends_are_joined_if_one_line_continues_the_other(other, count):
    assert len(_joined([segment((10, 40), (40, 40)), other])) == count


# ---- real photos -----------------------------------------------------------------------------------------


@pytest.mark.data
def test_real_photos_have_contours(real_data):
    with tarfile.open(real_data / "mini_imagenet" / "val.tar") as archive:
        entries = islice((entry for entry in archive if entry.name.endswith(".jpg")), 0, 900, 30)
        photos = [model_photo(archive.extractfile(entry).read(), entry.name, 84) for entry in entries]
    sketches = [trace(picture) for picture in photos]
    assert len(sketches) == 30
    assert all(1 <= len(sketch.strokes) <= 25 and len(sketch) <= 60 for sketch in sketches)
    assert 25 <= np.median([len(sketch) for sketch in sketches]) <= 55
