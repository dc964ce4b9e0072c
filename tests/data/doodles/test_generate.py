"""Doodles: the same ones for the same seed, in Quick, Draw!'s form, and showing what they are named for."""

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


def _some(name: str, count: int = 40, seed: int = 5) -> list[Sketch]:
    return [Sketch.from_stroke3(rows) for _, rows in drawings(name, count, seed).drawings]


# ---- the same for the same seed ----------------------------------------------------------------


def test_asking_for_more_keeps_the_first() -> None:
    few, many = drawings("snowman", 5, seed=3), drawings("snowman", 40, seed=3)
    for (part, rows), (more_part, more_rows) in zip(few.drawings, many.drawings[:5], strict=True):
        assert part == more_part
        np.testing.assert_array_equal(rows, more_rows)


def test_other_seeds_other_drawings() -> None:
    first, second = drawings("house", 20, seed=0).drawings, drawings("house", 20, seed=1).drawings
    assert not any(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))


def test_a_doodle_depends_on_its_generator_alone() -> None:
    assert doodle("cat", np.random.default_rng(8)) == doodle("cat", np.random.default_rng(8))
    assert doodle("cat", np.random.default_rng(8)) != doodle("cat", np.random.default_rng(9))


@pytest.mark.parametrize("count", [30, 300])
def test_partitions_follow_the_index(count: int) -> None:
    parts = np.bincount([part for part, _ in drawings("square", count, 0).drawings], minlength=3)
    assert parts.sum() == count
    assert (parts >= 1).all()
    assert parts[0] / count >= 0.92


# ---- form --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", class_names())
def test_form(name: str) -> None:
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
def test_points_are_worth_keeping() -> None:
    """Simplified already: another implementation of the algorithm, with half the tolerance, keeps all."""
    strokes = [
        stroke for name in ("circle", "cat", "house", "tree") for s in _some(name, 8) for stroke in s.strokes
    ]
    kept = sum(len(rdp_package.rdp(stroke, epsilon=1.0)) for stroke in strokes)
    assert kept >= 0.97 * sum(map(len, strokes))


def test_as_long_as_peoples_drawings() -> None:
    """For these classes Quick, Draw! has a median of 35 points and 3 strokes, and a mean of 39 and 4.1."""
    made = [sketch for name in class_names() for sketch in _some(name, 10)]
    assert 27 <= np.median([len(sketch) for sketch in made]) <= 40
    assert 3 <= np.median([len(sketch.strokes) for sketch in made]) <= 5


@pytest.mark.parametrize("name", ["snowman", "house", "ladder", "fence", "clock", "face", "wheel", "sun"])
def test_optional_and_counted_parts(name: str) -> None:
    assert len({len(sketch.strokes) for sketch in _some(name)}) >= 4


def test_loops_begin_anywhere_and_go_both_ways() -> None:
    angles, turning = [], []
    for sketch in _some("circle", 60):
        around = sketch.points - (np.array(sketch.bounds[:2]) + sketch.bounds[2:]) / 2
        angle = np.unwrap(np.arctan2(around[:, 1], around[:, 0]))
        angles.append(angle[0])
        turning.append(angle[-1] - angle[0])
    assert np.abs(np.mean(np.exp(1j * np.array(angles)))) < 0.9
    assert 0.1 < np.mean(np.array(turning) > 0) < 0.5
    missed = np.abs(turning) - 2 * np.pi
    assert (missed < 0).any()
    assert (missed > 0).any()


# ---- what they show ----------------------------------------------------------------------------


def _roundness(sketch: Sketch) -> float:
    """Root mean square distance from the best circle, as a part of its radius."""

    def misfit(circle: np.ndarray) -> np.ndarray:
        return np.hypot(*(sketch.points - circle[:2]).T) - circle[2]

    found = least_squares(misfit, [BOX / 2, BOX / 2, BOX / 2])
    return float(np.sqrt(np.mean(found.fun**2)) / found.x[2])


def test_circles_are_round() -> None:
    circles = [_roundness(sketch) for sketch in _some("circle")]
    assert np.median(circles) < 0.08
    assert max(circles) < 0.25
    assert np.median([_roundness(sketch) for sketch in _some("triangle")]) > 3 * np.median(circles)


@pytest.mark.parametrize(("name", "part"), [("triangle", 0.5), ("circle", np.pi / 4), ("square", 0.92)])
def test_area_of_the_hull(name: str, part: float) -> None:
    """A figure fills a known part of the box around it."""
    found = []
    for sketch in _some(name):
        x0, y0, x1, y1 = sketch.bounds
        found.append(ConvexHull(sketch.points).volume / ((x1 - x0) * (y1 - y0)))
    assert np.mean(found) == pytest.approx(part, abs=0.06)


def _off_line(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Distance of points from the straight line through the ends of another stroke."""
    along = (line[-1] - line[0]) / np.linalg.norm(line[-1] - line[0])
    away = points - line[0]
    return np.abs(along[0] * away[:, 1] - along[1] * away[:, 0])


def test_ladders_have_two_rails_and_rungs_between_them() -> None:
    right = []
    for sketch in _some("ladder"):
        strokes = sorted(sketch.strokes, key=lambda stroke: -np.linalg.norm(stroke[-1] - stroke[0]))
        left, other, rungs = strokes[0], strokes[1], strokes[2:]
        gap = _off_line(other, left).mean()
        ends = [np.array([rung[0], rung[-1]]) for rung in rungs]
        reached = [
            min(_off_line(end[:1], left)[0], _off_line(end[1:], left)[0]) < 0.3 * gap
            and min(_off_line(end[:1], other)[0], _off_line(end[1:], other)[0]) < 0.3 * gap
            for end in ends
        ]
        right.append(len(rungs) >= 2 and all(reached))
    assert np.mean(right) > 0.85


def test_held_out_classes_are_classes() -> None:
    assert set(UNSEEN) < set(class_names())
    assert len(set(UNSEEN)) == len(UNSEEN) >= 6


def test_unknown_class_names_the_nearest() -> None:
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


def test_a_store_that_matches_is_used_again(store: DrawingStore) -> None:
    before = (store.path / "points.bin").stat()
    again = prepare(store.path, per_class=6, seed=2)
    after = (again.path / "points.bin").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_store_of_other_facts_is_made_again(tmp_path) -> None:
    prepare(tmp_path / "store", per_class=1, seed=0)
    short = prepare(tmp_path / "store", per_class=2, seed=0, max_length=30)
    assert short.manifest["max_length"] == 30
    assert short.lengths.max() <= 30
    rejected = sum(entry.rejected.get("too long", 0) for entry in short.classes)
    assert rejected
    assert len(short) + rejected == 2 * len(class_names())


def test_no_other_data_are_overwritten(store: DrawingStore, tmp_path) -> None:
    manifest = (store.path / "manifest.json").read_text()
    for file in store.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "manifest.json").write_text(manifest.replace('"doodles",', '"quickdraw",'))
    with pytest.raises(DataError, match="source 'quickdraw'"):
        prepare(tmp_path, per_class=1)
