"""Composed pictures: the tests measure each target on the rendered picture."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, find_objects, label
from scipy.spatial import ConvexHull

from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import ConfigError, DataError
from sketchembed.evaluation.pictures import Pictures
from sketchembed.evaluation.probing.arrangements import Arrangements, Composer
from sketchembed.evaluation.probing.layouts import CANVAS, RELATIONS, VARIABLES
from sketchembed.sketch import Sketch

EIGHT_NEIGHBOURS = np.ones((3, 3))


def ellipse(random) -> Sketch:
    turn = random.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, 25)
    axes = (127, 127 * random.uniform(0.85, 1))
    return Sketch.from_strokes([np.stack([axes[0] * np.cos(turn), axes[1] * np.sin(turn)], 1) + 300])


def rectangle(random) -> Sketch:
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) * [random.uniform(0.85, 1), 1]
    return Sketch.from_strokes([255 * corners[:3], 255 * corners[2:]])


def store_of(path, count=12, **more):
    random = np.random.default_rng(0)
    shapes = {"circle": ellipse, "square": rectangle, **more}
    classes = [
        ClassDrawings(name, [(0, np.rint(draw(random).to_stroke3())) for _ in range(count)], {})
        for name, draw in shapes.items()
    ]
    return write_store(path, classes, source="quickdraw", max_length=64)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Pictures:
    store = store_of(tmp_path_factory.mktemp("shapes") / "store")
    return Pictures(store, store.class_names, [])


@pytest.fixture
def composer(pictures) -> Composer:
    return Composer(pictures)


class Blob(NamedTuple):
    """A connected patch of ink."""

    x: float
    y: float
    box: tuple[slice, slice]
    kind: str

    def surrounds(self, other: "Blob") -> bool:
        return all(
            mine.start < its.start and its.stop < mine.stop
            for mine, its in zip(self.box, other.box, strict=True)
        )


def blobs(image: np.ndarray) -> list[Blob]:
    """Find the patches of ink. The share of its box that a hull fills tells a circle from a square."""
    ink = 1 - image
    patches, count = label(ink > 0.1, EIGHT_NEIGHBOURS)
    found = []
    for number, box in enumerate(find_objects(patches), start=1):
        y, x = center_of_mass(ink, patches, number)
        hull = ConvexHull(np.argwhere((patches == number) & (ink > 0.3)))
        share = hull.volume / np.prod(hull.points.max(0) - hull.points.min(0))
        found.append(Blob(x + 0.5, y + 0.5, box, "circle" if share < 0.9 else "square"))
    assert len(found) == count
    return found


def halves(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres of ink of the left and the right drawing, each as (x, y).

    The picture is cut halfway between its first and last columns of ink. Two copies of one drawing whose
    distance exceeds their width lie on either side of the cut, even if the drawing itself has a gap.
    """
    ink = 1 - image
    columns = np.flatnonzero(ink.max(axis=0) > 0.02)
    cut = int(columns[0] + columns[-1] + 1) // 2
    assert ink[:, cut - 1 : cut + 1].max(axis=0).min() <= 0.02
    left, right = center_of_mass(ink[:, :cut]), center_of_mass(ink[:, cut:])
    return np.array([left[1], left[0]]) + 0.5, np.array([right[1] + cut, right[0]]) + 0.5


def offsets(arrangements: Arrangements, size: int = CANVAS) -> np.ndarray:
    """Return the vector from the left circle to the right one in each picture, ``[n, 2]``, y down.

    The vectors are measured on pictures of `size` pixels and returned in pixels of the canvas.
    """
    found = [halves(image[0].numpy()) for image in arrangements.images(size)]
    return np.array([right - left for left, right in found]) * CANVAS / size


def classify(relation: str, image: np.ndarray) -> str:
    """Classify a picture from its pixels."""
    found = blobs(image)
    if relation == "count":
        return ["one", "two", "three", "four"][len(found) - 1]
    if relation == "nesting":
        outer, inner = found if found[0].surrounds(found[1]) else found[::-1]
        assert outer.surrounds(inner)
        return f"{inner.kind} in {outer.kind}"
    if relation == "orientation":
        circle, square = sorted(found, key=lambda blob: blob.kind)
        assert (circle.kind, square.kind) == ("circle", "square")
        x, y = circle.x - square.x, circle.y - square.y
        assert min(abs(x), abs(y)) < 1
        assert max(abs(x), abs(y)) == pytest.approx(14, abs=1)
        return (
            f"circle {('left' if x < 0 else 'right') if abs(x) > abs(y) else 'above' if y < 0 else 'below'}"
        )
    grid = {(blob.y > 14, blob.x > 14): blob.kind for blob in found}
    assert len(found) == len(grid) == 4
    circles = sorted(place for place, kind in grid.items() if kind == "circle")
    names = {
        ((False, False), (False, True)): "circles above",
        ((True, False), (True, True)): "circles below",
        ((False, True), (True, False)): "circles rising",
        ((False, False), (True, True)): "circles falling",
    }
    return names[tuple(circles)]


@pytest.mark.parametrize("relation", RELATIONS)
def test_relation_matches_the_picture(composer, relation):
    for part in composer.examples(relation, 20, 12):
        images = part.images()
        assert images.shape == (len(part), 1, 28, 28)
        seen = [classify(relation, image[0].numpy()) for image in images]
        assert seen == [part.classes[number] for number in part.targets]
        assert np.ptp(np.bincount(part.targets)) <= 1


def test_angle_and_distance_match_the_picture(composer):
    part = composer.examples("angle", 100, 10)[0]
    offset = offsets(part)
    np.testing.assert_allclose(np.arctan2(-offset[:, 1], offset[:, 0]), part.targets, atol=0.01)
    np.testing.assert_allclose(np.hypot(*offset.T), 14, atol=0.1)
    assert (part.targets.min(), part.targets.max()) == pytest.approx((-0.52, 0.52), abs=0.06)
    part = composer.examples("distance", 100, 10)[0]
    offset = offsets(part)
    np.testing.assert_allclose(offset[:, 0] - 12, part.targets, atol=0.1)
    np.testing.assert_allclose(offset[:, 1], 0, atol=0.05)
    assert (part.targets.min(), part.targets.max()) == pytest.approx((0, 6), abs=0.3)


def test_size_matches_the_picture(composer):
    part = composer.examples("size", 60, 10)[0]
    for size in (28, 280):
        found = []
        for ink in 1 - part.images(size)[:, 0].numpy():
            rows, columns = (np.flatnonzero(ink.max(axis=axis) > 0.02) for axis in (1, 0))
            found.append(max(np.ptp(rows), np.ptp(columns)))  # from edge to edge, minus the pen's one pixel
            middle = [(line[0] + line[-1] + 1) / 2 * 28 / size for line in (rows, columns)]
            assert middle == pytest.approx([14, 14], abs=28 / size)
        # Either edge may lie anywhere within its pixel.
        beyond = np.array(found) - part.targets * size / 28
        assert beyond.min() > -0.5
        assert beyond.max() < 2


def test_drawings_stay_inside_the_canvas(composer):
    for name in VARIABLES:
        whole = composer.examples(name, 200, 10)[0]
        points = np.concatenate([sketch.points for sketch in whole.sketches])
        assert points.min() >= 0.5 - 1e-9
        assert points.max() <= 27.5 + 1e-9


def test_seed_determines_the_examples(pictures, composer):
    same, other = Composer(pictures), Composer(pictures, seed=1)
    for ask in (lambda c: c.examples("placement", 16, 8), lambda c: c.examples("angle", 16, 8)):
        for mine, again, its in zip(ask(composer), ask(same), ask(other), strict=True):
            assert mine.sketches == again.sketches
            np.testing.assert_array_equal(mine.targets, again.targets)
            assert mine.sketches != its.sketches
            assert mine.targets.tolist() != its.targets.tolist()


def test_train_and_test_examples_share_no_drawing(pictures, composer):
    train, test = composer.examples("nesting", 60, 60)
    for column, shape in enumerate(("circle", "square")):
        mine, its = set(train.sources[:, column]), set(test.sources[:, column])
        assert not mine & its
        assert mine | its == set(pictures.select(shape))
        counts = np.unique(train.sources[:, column], return_counts=True)[1]
        assert np.ptp(counts) <= 1
    train, _ = composer.examples("size", 6, 6)
    assert (train.sources[:, 1] == -1).all()
    # The listed source is the circle that was drawn.
    for sketch, (index, _) in zip(train.sketches, train.sources, strict=True):
        drawn, source = sketch.fit(1), Sketch.from_stroke3(pictures.store[index]).fit(1)
        np.testing.assert_allclose(drawn.points, source.points, atol=1e-9)


def test_joined_sets_keep_their_order(composer):
    parts = composer.examples("size", 3, 4)
    both = Arrangements.join(parts)
    assert len(both) == 7
    assert both.sketches[3:] == parts[1].sketches
    np.testing.assert_array_equal(both.targets[:3], parts[0].targets)


def test_unknown_relation_or_too_few_drawings_raise(tmp_path, composer):
    with pytest.raises(ConfigError, match="no relation or variable 'nestling'.*'nesting'"):
        composer.examples("nestling", 4, 4)
    with pytest.raises(ConfigError, match="no relation or variable 'sise'.*'size'"):
        composer.examples("sise", 4, 4)
    few = store_of(tmp_path / "few", count=1)
    with pytest.raises(DataError, match="1 drawings of 'circle'; expected at least 2"):
        Composer(Pictures(few, few.class_names, []))


@pytest.mark.data
def test_human_drawings_are_placed_at_the_targets(real_classes):
    composer = Composer(Pictures.quickdraw(real_classes("circle", "square")))
    # On the network's picture, the pixel grid shifts the centre of a hand-drawn circle: where its lines
    # overlap or run along a pixel's edge, the ink depends on the circle's position within the pixel. The
    # shift shrinks with the pixels, so positions are measured with pixels of a tenth of the size. Each of
    # the two centres may be off by half such a pixel.
    pixel = 0.1
    for name in ("angle", "distance"):
        part = composer.examples(name, 200, 2)[0]
        if name == "angle":
            expected = 14 * np.stack([np.cos(part.targets), -np.sin(part.targets)], axis=1)
        else:
            expected = np.stack([12 + part.targets, np.zeros(200)], axis=1)
        fine = offsets(part, round(CANVAS / pixel))
        np.testing.assert_allclose(fine, expected, rtol=0, atol=pixel)
        if name == "angle":
            angle = np.arctan2(-fine[:, 1], fine[:, 0])
            np.testing.assert_allclose(angle, part.targets, rtol=0, atol=pixel / 14)
        # On the network's picture, nearly all offsets agree.
        assert np.quantile(np.abs(offsets(part) - expected).max(axis=1), 0.95) < 0.1
    part = composer.examples("placement", 200, 2)[0]
    # A hull cannot always tell a hand-drawn circle from a square, but equal tiles can be recognised.
    ink = 1 - part.images()[:, 0].numpy()
    tiles = ink.reshape(-1, 2, 14, 2, 14).swapaxes(2, 3)
    alike = [[_correlated(one[0, 0], one[0, 1]), _correlated(one[0, 0], one[1, 0])] for one in tiles]
    seen = [[across > 0.999, down > 0.999] for across, down in alike]
    rows = {"circles above": [True, False], "circles below": [True, False]}
    wanted = [rows.get(part.classes[number], [False, False]) for number in part.targets]
    assert seen == wanted


def _correlated(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.flatten(), other.flatten())[0, 1])
