"""Generated doodles: reproducible by seed, in the format of Quick, Draw!, and shaped like their classes."""

from __future__ import annotations

import numpy as np
import pytest
import rdp as rdp_package
from scipy.optimize import least_squares
from scipy.spatial import ConvexHull

from sketchembed.data.doodles.generate import BOX, MAX_POINTS, UNSEEN, class_names, doodle, drawings, prepare
from sketchembed.data.store import DrawingStore
from sketchembed.errors import DataError
from sketchembed.sketch import Sketch


def _sketches(name: str, count: int = 40, seed: int = 5) -> list[Sketch]:
    return [Sketch.from_stroke3(rows) for _, rows in drawings(name, count, seed).drawings]


# ---- reproducibility ---------------------------------------------------------------------------


def test_larger_count_keeps_the_first_drawings() -> None:
    few, many = drawings("snowman", 5, seed=3), drawings("snowman", 40, seed=3)
    for (part, rows), (more_part, more_rows) in zip(few.drawings, many.drawings[:5], strict=True):
        assert part == more_part
        np.testing.assert_array_equal(rows, more_rows)


def test_different_seeds_give_different_drawings() -> None:
    first, second = drawings("house", 20, seed=0).drawings, drawings("house", 20, seed=1).drawings
    assert not any(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))


def test_doodle_depends_only_on_its_generator() -> None:
    assert doodle("cat", np.random.default_rng(8)) == doodle("cat", np.random.default_rng(8))
    assert doodle("cat", np.random.default_rng(8)) != doodle("cat", np.random.default_rng(9))


@pytest.mark.parametrize("count", [30, 300])
def test_partitions_are_nonempty_and_mostly_training(count: int) -> None:
    parts = np.bincount([part for part, _ in drawings("square", count, 0).drawings], minlength=3)
    assert parts.sum() == count
    assert (parts >= 1).all()
    assert parts[0] / count >= 0.92


# ---- format ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", class_names())
def test_drawings_have_the_quickdraw_format(name: str) -> None:
    made = drawings(name, 12, seed=1)
    assert made.name == name
    for _, rows in made.drawings:
        assert rows.dtype == np.int16
        assert rows.shape[1] == 3
        assert 2 <= len(rows) <= MAX_POINTS
        assert set(np.unique(rows[:, 2])) <= {0, 1}
        assert rows[-1, 2] == 1
        points = np.cumsum(rows[:, :2].astype(int), axis=0)
        assert points.min(axis=0).tolist() == [0, 0]
        assert points.max() == BOX
        stays = ~np.any(rows[1:, :2], axis=1) & (rows[:-1, 2] == 0)
        assert not stays.any(), "a point is drawn twice"


def test_all_drawings_differ() -> None:
    seen = {rows.tobytes() for name in class_names() for _, rows in drawings(name, 8, 0).drawings}
    assert len(seen) == 8 * len(class_names())


@pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors:DeprecationWarning")
def test_drawings_are_already_simplified() -> None:
    """The package ``rdp``, with half the tolerance, keeps at least 97% of the points."""
    strokes = [
        stroke
        for name in ("circle", "cat", "house", "tree")
        for s in _sketches(name, 8)
        for stroke in s.strokes
    ]
    kept = sum(len(rdp_package.rdp(stroke, epsilon=1.0)) for stroke in strokes)
    assert kept >= 0.97 * sum(map(len, strokes))


def test_drawings_are_as_long_as_human_drawings() -> None:
    """For these classes, Quick, Draw! has medians of 36 points and 3 strokes, and means of 39 and 4.1."""
    made = [sketch for name in class_names() for sketch in _sketches(name, 10)]
    assert 27 <= np.median([len(sketch) for sketch in made]) <= 40
    assert 3 <= np.median([len(sketch.strokes) for sketch in made]) <= 5


@pytest.mark.parametrize("name", ["snowman", "house", "ladder", "fence", "clock", "face", "wheel", "sun"])
def test_number_of_strokes_varies(name: str) -> None:
    assert len({len(sketch.strokes) for sketch in _sketches(name)}) >= 4


def test_circles_start_anywhere_and_turn_both_ways() -> None:
    angles, turning = [], []
    for sketch in _sketches("circle", 60):
        around = sketch.points - (np.array(sketch.bounds[:2]) + sketch.bounds[2:]) / 2
        angle = np.unwrap(np.arctan2(around[:, 1], around[:, 0]))
        angles.append(angle[0])
        turning.append(angle[-1] - angle[0])
    assert np.abs(np.mean(np.exp(1j * np.array(angles)))) < 0.9
    assert 0.1 < np.mean(np.array(turning) > 0) < 0.5
    missed = np.abs(turning) - 2 * np.pi
    assert (missed < 0).any()
    assert (missed > 0).any()


# ---- shapes ------------------------------------------------------------------------------------


def _circle_error(sketch: Sketch) -> float:
    """Return the root mean square distance from the fitted circle, relative to its radius."""

    def misfit(circle: np.ndarray) -> np.ndarray:
        return np.hypot(*(sketch.points - circle[:2]).T) - circle[2]

    found = least_squares(misfit, [BOX / 2, BOX / 2, BOX / 2])
    return float(np.sqrt(np.mean(found.fun**2)) / found.x[2])


def test_circles_are_round() -> None:
    circles = [_circle_error(sketch) for sketch in _sketches("circle")]
    assert np.median(circles) < 0.08
    assert max(circles) < 0.25
    assert np.median([_circle_error(sketch) for sketch in _sketches("triangle")]) > 3 * np.median(circles)


@pytest.mark.parametrize(("name", "part"), [("triangle", 0.5), ("circle", np.pi / 4), ("square", 0.92)])
def test_hull_fills_the_expected_share_of_the_bounding_box(name: str, part: float) -> None:
    """A triangle fills half of its bounding box, a circle π/4, and a slightly turned square most of it."""
    found = []
    for sketch in _sketches(name):
        x0, y0, x1, y1 = sketch.bounds
        found.append(ConvexHull(sketch.points).volume / ((x1 - x0) * (y1 - y0)))
    assert np.mean(found) == pytest.approx(part, abs=0.06)


def _line_distance(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Return the distances of points from the straight line through both ends of a stroke."""
    along = (line[-1] - line[0]) / np.linalg.norm(line[-1] - line[0])
    away = points - line[0]
    return np.abs(along[0] * away[:, 1] - along[1] * away[:, 0])


def test_ladders_have_two_rails_with_rungs_between_them() -> None:
    right = []
    for sketch in _sketches("ladder"):
        strokes = sorted(sketch.strokes, key=lambda stroke: -np.linalg.norm(stroke[-1] - stroke[0]))
        left, other, rungs = strokes[0], strokes[1], strokes[2:]
        gap = _line_distance(other, left).mean()
        ends = [np.array([rung[0], rung[-1]]) for rung in rungs]
        reached = [
            min(_line_distance(end[:1], left)[0], _line_distance(end[1:], left)[0]) < 0.3 * gap
            and min(_line_distance(end[:1], other)[0], _line_distance(end[1:], other)[0]) < 0.3 * gap
            for end in ends
        ]
        right.append(len(rungs) >= 2 and all(reached))
    assert np.mean(right) > 0.85


def test_unseen_classes_are_a_subset_of_all_classes() -> None:
    assert set(UNSEEN) < set(class_names())
    assert len(set(UNSEEN)) == len(UNSEEN) >= 6


def test_unknown_class_error_suggests_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no class of doodles named 'snowmen'.*'snowman'"):
        doodle("snowmen", np.random.default_rng(0))
    with pytest.raises(DataError, match="'ladder'"):
        drawings("lader", 3, 0)


# ---- the store ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DrawingStore:
    return prepare(tmp_path_factory.mktemp("doodles") / "store", per_class=6, seed=2)


def test_store_holds_the_drawings(store: DrawingStore) -> None:
    assert store.source == "doodles"
    assert store.class_names == class_names()
    assert len(store) == 6 * len(class_names())
    store.verify()
    chosen = store.select(["key"])
    for index, (part, rows) in zip(chosen.tolist(), drawings("key", 6, 2).drawings, strict=True):
        np.testing.assert_array_equal(store[index], rows)
        assert store.partitions[index] == part


def test_matching_store_is_reused(store: DrawingStore) -> None:
    before = (store.path / "points.bin").stat()
    again = prepare(store.path, per_class=6, seed=2)
    after = (again.path / "points.bin").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_store_with_other_options_is_rebuilt(tmp_path) -> None:
    prepare(tmp_path / "store", per_class=1, seed=0)
    short = prepare(tmp_path / "store", per_class=2, seed=0, max_length=30)
    assert short.manifest["max_length"] == 30
    assert short.lengths.max() <= 30
    rejected = sum(entry.rejected.get("too long", 0) for entry in short.classes)
    assert rejected
    assert len(short) + rejected == 2 * len(class_names())


def test_store_of_another_source_is_not_overwritten(store: DrawingStore, tmp_path) -> None:
    manifest = (store.path / "manifest.json").read_text()
    for file in store.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "manifest.json").write_text(manifest.replace('"doodles",', '"quickdraw",'))
    with pytest.raises(DataError, match="source 'quickdraw'"):
        prepare(tmp_path, per_class=1)
