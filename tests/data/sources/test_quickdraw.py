"""Quick, Draw!: agreement of the three published formats, class lists, splits and preparation."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdp import rdp

from sketchembed.data.sources import quickdraw
from sketchembed.data.sources.quickdraw_formats import (
    PACKED_HEADER,
    READERS,
    key_partition,
    read_bin,
    read_class,
    read_ndjson,
    read_npz,
)
from sketchembed.data.store import DrawingStore
from sketchembed.data.store_writer import ClassDrawings
from sketchembed.errors import DataError
from sketchembed.sketch import Sketch

FIXTURE = [HealthCheck.function_scoped_fixture]
stroke = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=6)
published = st.lists(
    st.tuples(st.integers(0, 2**64 - 1), st.lists(stroke, max_size=4)), min_size=1, max_size=8
)


def line(key: int, strokes: list, **more: object) -> str:
    drawing = [[list(part) for part in zip(*points, strict=True)] for points in strokes]
    return json.dumps({"word": "cat", "key_id": str(key), "recognized": True, "drawing": drawing} | more)


def packed(key: int, strokes: list) -> bytes:
    data = PACKED_HEADER.pack(key, b"DE", 1, 1490000000, len(strokes))
    for points in strokes:
        xs, ys = (bytes(part) for part in zip(*points, strict=True))
        data += struct.pack("<H", len(xs)) + xs + ys
    return data


def object_array(arrays: list) -> np.ndarray:
    whole = np.empty(len(arrays), dtype=object)
    for place, array in enumerate(arrays):
        whole[place] = array
    return whole


def write_npz(path: Path, train: list, valid: list = [], test: list = []) -> Path:  # noqa: B006
    parts = {"train": train, "valid": valid, "test": test}
    np.savez(path, **{name: object_array(arrays) for name, arrays in parts.items()})
    return path


def same(one: ClassDrawings, other: ClassDrawings) -> bool:
    return (
        one.rejected == other.rejected
        and [part for part, _ in one.drawings] == [part for part, _ in other.drawings]
        and all(np.array_equal(a, b) for (_, a), (_, b) in zip(one.drawings, other.drawings, strict=True))
    )


def rows(*points: tuple[float, float], lift: float = 1, dtype: str = "i2") -> np.ndarray:
    return np.array([[*point, lift * (n == len(points) - 1)] for n, point in enumerate(points)], dtype=dtype)


# ---- agreement of the formats ------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE)
@given(published, st.integers(2, 20), st.none() | st.integers(1, 4))
def test_ndjson_and_bin_agree(tmp_path: Path, found: list, longest: int, limit: int | None) -> None:
    (tmp_path / "cat.ndjson").write_text("\n".join(line(*drawing) for drawing in found))
    (tmp_path / "cat.bin").write_bytes(b"".join(packed(*drawing) for drawing in found))
    lines = read_ndjson(tmp_path / "cat.ndjson", "cat", longest, limit)
    assert same(lines, read_bin(tmp_path / "cat.bin", "cat", longest, limit))
    # Compare with Sketch, which shares no code with the readers. A drawing starts at its first point.
    oracle = [Sketch.from_strokes(strokes) for _, strokes in found]
    kept = [sketch for sketch in oracle if 2 <= len(sketch) <= longest][:limit]
    assert len(kept) == len(lines.drawings)
    for sketch, (_, got) in zip(kept, lines.drawings, strict=True):
        assert got.dtype == np.int16
        np.testing.assert_array_equal(got[1:], sketch.to_stroke3()[1:])
        assert got[0].tolist() == [0, 0, sketch.lifted[0]]


@pytest.mark.data
@pytest.mark.parametrize("name", ["cat", "monkey"])
def test_published_formats_agree(real_data: Path, name: str) -> None:
    folder = real_data / "quickdraw"
    lines = read_ndjson(folder / "simplified" / f"{name}.ndjson", name, 64)
    assert same(lines, read_bin(folder / "binary" / f"{name}.bin", name, 64))
    known = {drawing.tobytes() for _, drawing in lines.drawings}
    drawings = [drawing for _, drawing in read_npz(folder / "sketchrnn" / f"{name}.npz", name, 64).drawings]
    others = [drawing for drawing in drawings if drawing.tobytes() not in known]
    assert len(drawings) - len(others) > 200
    # Each format has drawings that the other lacks. They must differ clearly from all drawings of the other
    # format; otherwise they would be the same drawings, read differently.
    for drawing in others:
        like = [each for _, each in lines.drawings if len(each) == len(drawing)]
        assert all(np.abs(each[:, :2] - drawing[:, :2]).max() > 5 for each in like)


def test_partition_depends_only_on_the_key() -> None:
    # Fixed values: if the rule changed, drawings would move between training and test.
    moved = {key: part for key in range(100) if (part := key_partition(key))}
    assert moved == {10: 1, 80: 1, 92: 2}
    counts = np.bincount([key_partition(key) for key in range(4_500_000_000_000_000, 4_500_000_000_030_000)])
    np.testing.assert_allclose(counts / counts.sum(), [28 / 30, 1 / 30, 1 / 30], atol=0.005)


@pytest.mark.data
def test_partitions_of_published_keys_have_the_published_shares(real_data: Path) -> None:
    lines = (real_data / "quickdraw" / "simplified" / "cat.ndjson").read_text().splitlines()
    counts = np.bincount([key_partition(int(json.loads(text)["key_id"])) for text in lines], minlength=3)
    np.testing.assert_allclose(counts / counts.sum(), [28 / 30, 1 / 30, 1 / 30], atol=0.015)


# ---- excluded drawings -------------------------------------------------------------------------------


def test_npz_counts_excluded_drawings(tmp_path: Path) -> None:
    good = rows((0, 0), (3, 4))
    bad = [
        rows((0, 0), (float("nan"), 0), dtype="f4"),
        rows((0, 0), (float("inf"), 0), dtype="f4"),
        rows((0, 0), (1001, 0)),
        rows((0, 0), (0, -32768)),
        rows((5, 5)),
        np.zeros((0, 3), np.int16),
        rows(*[(1, 1)] * 65),
    ]
    path = write_npz(tmp_path / "cat.npz", [good, *bad, good], [good], [rows((0, 0), (-1000, 1000))])
    found = read_npz(path, "cat", 64)
    assert [part for part, _ in found.drawings] == [0, 0, 1, 2]
    np.testing.assert_array_equal(found.drawings[0][1], good)
    assert found.drawings[3][1].tolist() == [[0, 0, 0], [-1000, 1000, 1]]
    assert found.rejected == {
        "not finite": 2,
        "offsets out of range": 2,
        "fewer than two points": 2,
        "too long": 1,
    }


def test_npz_rounds_floats_and_keeps_valid_neighbours(tmp_path: Path) -> None:
    good, bad = rows((0.2, -0.4), (2.6, -3), dtype="f8"), rows((0, 0), (np.nan, 1), dtype="f8")
    found = read_npz(write_npz(tmp_path / "a.npz", [bad, good, bad]), "a", 64)
    assert [drawing.tolist() for _, drawing in found.drawings] == [[[0, 0, 0], [3, -3, 1]]]


def test_npz_with_malformed_drawings_raises(tmp_path: Path) -> None:
    for odd in (np.zeros((4, 5), np.int16), np.zeros(9, np.int16), rows((0, 0), (1, 1), lift=7)):
        with pytest.raises(DataError, match=r"a\.npz has 1 malformed drawings of 3"):
            read_npz(write_npz(tmp_path / "a.npz", [rows((0, 0), (1, 1))] * 2 + [odd]), "a", 64)


def test_npz_limit_is_divided_among_partitions(tmp_path: Path) -> None:
    drawing = [rows((0, 0), (n, n)) for n in range(100)]
    path = write_npz(tmp_path / "a.npz", drawing[:80], drawing[80:90], drawing[90:])
    for limit, counts in (
        (10, [8, 1, 1]),
        (50, [40, 5, 5]),
        (99, [79, 10, 10]),
        (100, [80, 10, 10]),
        (1, [1]),
    ):
        found = read_npz(path, "a", 64, limit)
        got = np.bincount([part for part, _ in found.drawings])
        assert got.sum() == min(limit, 100)
        np.testing.assert_allclose(got, counts, atol=1)
        assert found.drawings[0][1][1, 0] == 0


MALFORMED = [
    "{",
    "nonsense",
    "[]",
    "3",
    "null",
    '{"key_id": "1"}',
    '{"drawing": [[[1,2],[3,4]]]}',
    '{"key_id": "x", "drawing": [[[1,2],[3,4]]]}',
    '{"key_id": "-1", "drawing": [[[1,2],[3,4]]]}',
    '{"key_id": "1", "drawing": [[[1,2],[3,4],[5,6]]]}',
    '{"key_id": "1", "drawing": [[[1,2],[3]]]}',
    '{"key_id": "1", "drawing": [[[1,2],["3","4"]]]}',
    '{"key_id": "1", "drawing": [[[1,2],[null,4]]]}',
    '{"key_id": "1", "drawing": [["12","34"]]}',
    '{"key_id": "1", "drawing": [[[1,2],[3,' + "9" * 400 + "]]]}",
    '{"key_id": "1", "drawing": ' + "[" * 9000 + "]" * 9000 + "}",
    '{"key_id": "1", "drawing": 7}',
    "\x00\x01",
]


@pytest.mark.parametrize("bad", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_lines_are_skipped_up_to_one_percent(tmp_path: Path, bad: str) -> None:
    good = [line(key, [[(0, 0), (9, key % 200)]]) for key in range(150)]
    path = tmp_path / "cat.ndjson"
    path.write_text("\n".join([*good[:5], bad, "", *good[5:]]))
    found = read_ndjson(path, "cat", 64)
    assert found.rejected == {"malformed": 1}
    assert [drawing[1, 1] for _, drawing in found.drawings] == [key % 200 for key in range(150)]
    path.write_text("\n".join([*good[:5], bad, *good[5:20]]))
    with pytest.raises(DataError, match=r"cat\.ndjson has 1 malformed lines of 21, the first is line 6"):
        read_ndjson(path, "cat", 64)


def test_ndjson_counts_excluded_drawings(tmp_path: Path) -> None:
    drawings = [
        line(1, []),
        line(2, [[(1, 1)]]),
        line(3, [[(0, 0)] * 5]),
        line(4, [[(0, 0), (2, 5000)]]),
        line(5, [[(0, 0), (2, 5)]], recognized=False),
        '{"key_id": 6, "drawing": [[[0, NaN], [1, 2]]]}',
        '{"key_id": 6, "drawing": [[[Infinity, Infinity], [1, 2]]]}',
        '{"key_id": 7, "drawing": [[[], []], [[0.4, 1.6], [1, 2]]]}',
    ]
    (tmp_path / "a.ndjson").write_text("\n".join(drawings))
    found = read_ndjson(tmp_path / "a.ndjson", "a", 4)
    assert found.rejected == {
        "fewer than two points": 2,
        "too long": 1,
        "offsets out of range": 1,
        "not finite": 2,
    }
    assert [drawing.tolist() for _, drawing in found.drawings] == [
        [[0, 0, 0], [2, 5, 1]],
        [[0, 0, 0], [2, 1, 1]],
    ]


def test_limit_counts_only_kept_drawings(tmp_path: Path) -> None:
    found = [(key, [[(0, 0), (1, 9000 if key % 2 else key)]]) for key in range(40)]
    (tmp_path / "a.ndjson").write_text("\n".join(line(*drawing) for drawing in found) + "\ntrailing junk")
    got = read_ndjson(tmp_path / "a.ndjson", "a", 64, 7)
    assert [drawing[1, 1] for _, drawing in got.drawings] == list(range(0, 14, 2))


# ---- damaged files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_wrong_file_type_error_names_the_file(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"cat{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cat\.\w+ is (empty|a web page|a Git LFS pointer)"):
        read_class(path, "cat", 64)


def test_unknown_suffix_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ends in \.npz, \.ndjson, \.bin"):
        read_class(tmp_path / "cat.tfrecord", "cat", 64)


def test_truncated_bin_raises_or_is_shorter(tmp_path: Path) -> None:
    parts = [packed(key, [[(0, 0), (key, 1)], [(9, 9)]]) for key in range(4)]
    data, path = b"".join(parts), tmp_path / "a.bin"
    boundaries = {sum(map(len, parts[:count])): count for count in range(1, 5)}
    for end in range(1, len(data)):
        path.write_bytes(data[:end])
        if end in boundaries:
            assert len(read_bin(path, "a", 64).drawings) == boundaries[end]
        else:
            with pytest.raises(DataError, match=r"a\.bin ends in the middle of drawing \d"):
                read_bin(path, "a", 64)


def test_truncated_ndjson_raises_or_is_shorter(tmp_path: Path) -> None:
    data = "\n".join(line(key, [[(0, 0), (key, 1)]]) for key in range(3)).encode()
    for end in range(1, len(data)):
        (tmp_path / "a.ndjson").write_bytes(data[:end])
        try:
            found = read_ndjson(tmp_path / "a.ndjson", "a", 64)
        except DataError:
            continue
        assert len(found.drawings) == len(data[:end].decode().split("}")) - 1


@settings(max_examples=100, deadline=None, suppress_health_check=FIXTURE)
@given(st.sampled_from([*READERS]), st.binary(min_size=1, max_size=200), st.booleans())
def test_arbitrary_bytes_give_an_error_or_drawings(
    tmp_path: Path, suffix: str, data: bytes, begun: bool
) -> None:
    start = {".npz": b"PK\x03\x04", ".ndjson": b'{"key_id":"1","drawing":', ".bin": packed(1, [])}[suffix]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(start + data if begun else data)
    try:
        found = read_class(path, "a", 64)
    except DataError:
        return
    assert all(2 <= len(drawing) <= 64 and drawing.dtype == np.int16 for _, drawing in found.drawings)


# ---- classes -----------------------------------------------------------------------------------------


def test_class_lists() -> None:
    everything, unseen, seen = (quickdraw.class_names(which) for which in ("all", "unseen", "seen"))
    assert (len(set(everything)), len(set(unseen)), len(set(seen))) == (345, 45, 45)
    assert set(unseen) < set(everything)
    assert set(seen) < set(everything) - set(unseen)


def test_class_splits() -> None:
    names = quickdraw.class_names()
    train, held = quickdraw.split_classes("paper", names)
    assert (len(train), held) == (300, [name for name in names if name in quickdraw.class_names("unseen")])
    assert quickdraw.split_classes("paper", ["cat", "bandage"]) == (["cat"], ["bandage"])
    small, large = quickdraw.split_classes("50", names)[0], quickdraw.split_classes("100", names)[0]
    assert (len(small), len(large)) == (50, 100)
    assert set(small) < set(large)
    assert quickdraw.split_classes("4", names)[0] == ["broccoli", "eye", "popsicle", "trumpet"]
    assert set(quickdraw.split_classes("100", names)[1]) == set(names) - set(large)
    for wrong in ("0", "346", "-1", "paper ", "½", "²"):
        with pytest.raises(DataError, match="there is no split"):
            quickdraw.split_classes(wrong, names)


def test_unknown_class_error_suggests_a_similar_name() -> None:
    quickdraw.check_classes(["cat", "The Eiffel Tower"])
    with pytest.raises(DataError, match=r"class 'cta'; .* Did you mean 'cat'"):
        quickdraw.check_classes(["dog", "cta"])


def test_class_files_are_found_in_every_layout(tmp_path: Path) -> None:
    layout = {
        "quickdraw/sketchrnn/cat.npz": "cat",
        "quickdraw/sketchrnn/cat.full.npz": None,
        "quickdraw/simplified/cat.ndjson": None,
        "quickdraw/sketchrnn/sketchrnn_dog.full.npz": "dog",
        "quickdraw/raw/bee.ndjson": None,
        "quickdraw/full/simplified/bee.ndjson": "bee",
        "full_simplified_The Eiffel Tower.ndjson": "The Eiffel Tower",
        "full_raw_ant.ndjson": None,
        "full_binary_ant.bin": "ant",
        "binary/aircraft%20carrier.bin": "aircraft carrier",
        "ice_cream.npz": "ice cream",
        "t-shirt.npz": "t-shirt",
        "no such class.npz": None,
        ".hidden/bat.npz": None,
        "quickdraw/notes.txt": None,
        "a/b/c/axe.npz": None,
    }
    for place in layout:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    found = quickdraw.find_class_files(tmp_path)
    assert found == {name: tmp_path / place for place, name in layout.items() if name}
    assert list(found) == [name for name in quickdraw.class_names() if name in found]
    assert quickdraw.find_class_files(tmp_path / "quickdraw")["cat"] == found["cat"]
    assert quickdraw.find_class_files(tmp_path / "nowhere") == {}


# ---- preparation -------------------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "data" / "quickdraw"
    folder.mkdir(parents=True)
    write_npz(folder / "cat.npz", [rows((0, 0), (n, 1)) for n in range(9)], [rows((0, 0), (1, 1))])
    (folder / "bee.bin").write_bytes(b"".join(packed(key, [[(0, 0), (key, 7)]]) for key in range(5)))
    return quickdraw.find_class_files(tmp_path / "data")


def test_store_is_rebuilt_only_after_changes(
    sources: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    place = tmp_path / "store"
    store = quickdraw.prepare_quickdraw(sources, place)
    assert "quickdraw: 15 drawings of 2 classes kept, 0 excluded; " in capsys.readouterr().err
    assert store.class_names == ["bee", "cat"]
    assert store[14].tolist() == [[0, 0, 0], [1, 1, 1]]
    born = place.stat().st_ino, (place / "manifest.json").stat().st_mtime_ns

    def rebuilds(**options: object) -> bool:
        quickdraw.prepare_quickdraw(sources, place, **options)  # type: ignore[arg-type]
        nonlocal born
        before, born = born, (place.stat().st_ino, (place / "manifest.json").stat().st_mtime_ns)
        return before != born

    assert not rebuilds()
    assert capsys.readouterr().err == ""
    assert rebuilds(max_length=32)
    assert rebuilds(max_length=32, per_class=3)
    assert len(DrawingStore(place)) == 6
    assert not rebuilds(max_length=32, per_class=3)
    assert rebuilds(max_length=32, per_class=3, epsilon=5)
    assert rebuilds(max_length=32, per_class=3)
    os.utime(sources["cat"], (1, 1))
    assert rebuilds(max_length=32, per_class=3)
    (place / "labels.npy").unlink()
    assert rebuilds(max_length=32, per_class=3)


def test_epsilon_simplifies_like_rdp_before_the_length_limit(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(0)
    points = np.cumsum(random.integers(-9, 10, (70, 2)), axis=0)
    offsets = np.diff(points, axis=0, prepend=points[:1])
    write_npz(tmp_path / "cat.npz", [np.column_stack([offsets, np.arange(70) == 69]).astype(np.int16)])
    found = {"cat": tmp_path / "cat.npz"}
    with pytest.raises(DataError, match="no drawing was left"):
        quickdraw.prepare_quickdraw(found, tmp_path / "store", max_length=64)
    store = quickdraw.prepare_quickdraw(found, tmp_path / "store", max_length=64, epsilon=8)
    kept = np.cumsum(store[0][:, :2].astype(int), axis=0) + points[0]
    assert kept.tolist() == rdp(points.astype(float), epsilon=8.0).astype(int).tolist()


def test_damaged_source_keeps_the_old_store(sources: dict[str, Path], tmp_path: Path) -> None:
    quickdraw.prepare_quickdraw(sources, tmp_path / "store")
    sources["bee"].write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"bee\.bin is a web page"):
        quickdraw.prepare_quickdraw(sources, tmp_path / "store")
    DrawingStore(tmp_path / "store").verify()


def test_prepare_with_invalid_options_raises(sources: dict[str, Path], tmp_path: Path) -> None:
    for options, says in (
        ({"sources": {}}, "SKETCHEMBED_DATA"),
        ({"sources": {"cta": sources["cat"]}}, "Did you mean"),
        ({"sources": {"cat": tmp_path / "no.npz"}}, r"no\.npz cannot be read"),
        ({"max_length": 1}, "leave nothing"),
        ({"per_class": 0}, "leave nothing"),
    ):
        with pytest.raises(DataError, match=says):
            quickdraw.prepare_quickdraw(**{"sources": sources, "destination": tmp_path / "s", **options})
    assert not (tmp_path / "s").exists()


@pytest.mark.data
def test_real_data_are_prepared(real_data: Path, real_classes: Callable[..., Path], tmp_path: Path) -> None:
    if len(found := quickdraw.find_class_files(real_data)) < 300:
        pytest.skip("SKETCHEMBED_DATA does not hold all classes")
    assert list(found) == quickdraw.class_names()
    some = {"cat", "bee", *quickdraw.class_names()[::15]}
    found = quickdraw.find_class_files(real_classes(*sorted(some)))
    store = quickdraw.prepare_quickdraw(found, tmp_path / "store")
    store.verify()
    assert store.class_names == [name for name in quickdraw.class_names() if name in some]
    assert set().union(*(entry.rejected for entry in store.classes)) <= {"too long"}
    with np.load(found["cat"], allow_pickle=True, encoding="latin1") as oracle:
        expected = [drawing for drawing in oracle["train"] if len(drawing) <= 64]
    got = [store[index] for index in store.select(["cat"], "train")]
    assert all(np.array_equal(*pair) for pair in zip(got, expected, strict=True))
    train = np.concatenate([store[index][:, :2] for index in store.select(["cat", "bee"], "train")])
    assert store.offset_scale(["cat", "bee"]) == pytest.approx(train.std())
    shutil.rmtree(tmp_path / "store")


def test_parallel_preparation_gives_equal_stores_and_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "quickdraw").mkdir()
    for name, form in (("bee", "ndjson"), ("cat", "npz"), ("dog", "npz"), ("ant", "ndjson")):
        drawings = [random.integers(0, 256, (random.integers(1, 30), 2)) for _ in range(40)]
        path = tmp_path / "quickdraw" / f"{name}.{form}"
        if form == "npz":
            write_npz(path, [rows(*np.diff(points, axis=0, prepend=0).tolist()) for points in drawings])
        else:
            path.write_text("\n".join(line(key, [points.tolist()]) for key, points in enumerate(drawings)))
    sources = quickdraw.find_class_files(tmp_path)
    alone = quickdraw.prepare_quickdraw(sources, tmp_path / "alone", epsilon=7, max_length=20)
    monkeypatch.setattr(quickdraw, "PARALLEL_BYTES", 0)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    together = quickdraw.prepare_quickdraw(sources, tmp_path / "together", epsilon=7, max_length=20)
    assert len(alone) > 100
    assert sum(alone.manifest["classes"][0]["rejected"].values()) > 0
    assert together.manifest == alone.manifest  # with the digest of every file
    sources["cat"].write_bytes(b"<html>no such file</html>")
    with pytest.raises(DataError, match=r"cat\.npz .*expected .*"):
        quickdraw.prepare_quickdraw(sources, tmp_path / "damaged", epsilon=7, max_length=20)
    assert not (tmp_path / "damaged").exists()
