"""The drawing store: round trips, atomic writes and detection of damage."""

from __future__ import annotations

import errno
import json
import os
import pickle
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sketchembed.data.store import DrawingStore
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError
from sketchembed.files.locks import locked


def drawings(seed: int = 0, count: int = 8) -> list[tuple[int, np.ndarray]]:
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        rows = rng.integers(-99, 99, (int(rng.integers(2, 9)), 3)).astype(np.int16)
        rows[:, 2] = 0
        rows[-1, 2] = 1
        made.append((number % 3, rows))
    return made


def two_classes() -> list[ClassDrawings]:
    return [ClassDrawings("cat", drawings(1), {"too long": 2}), ClassDrawings("dog", drawings(2), {})]


@pytest.fixture
def store(tmp_path: Path) -> DrawingStore:
    return write_store(
        tmp_path / "store", two_classes(), source="quickdraw", max_length=64, about={"note": 1}
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.integers(0, 2),
                hnp.arrays(
                    "<i2", st.tuples(st.integers(1, 5), st.just(3)), elements=st.integers(-32768, 32767)
                ),
            ),
            max_size=5,
        ),
        min_size=1,
        max_size=4,
    ).filter(any)
)
def test_stored_drawings_are_read_back_unchanged(tmp_path: Path, classes: list) -> None:
    given_classes = [ClassDrawings(f"class {n}", found, {}) for n, found in enumerate(classes)]
    store = write_store(tmp_path / "s", given_classes, source="doodles", max_length=5)
    flat = [(n, part, rows) for n, found in enumerate(classes) for part, rows in found]
    assert len(store) == len(flat)
    for index, (label, part, rows) in enumerate(flat):
        np.testing.assert_array_equal(store[index], rows)
        assert (store.labels[index], store.partitions[index]) == (label, part)
    np.testing.assert_array_equal(store.lengths, [len(rows) for _, _, rows in flat])
    store.verify()


def test_offset_scale_is_the_std_of_the_training_offsets(store: DrawingStore) -> None:
    for names in (None, ["dog"], ["cat", "dog"]):
        train = [store[index][:, :2] for index in store.select(names, "train")]
        assert store.offset_scale(names) == pytest.approx(np.concatenate(train).std())


def test_offset_scale_clips_large_offsets(tmp_path: Path) -> None:
    rows = np.array([[0, 0, 0], [5000, -5000, 1]], dtype=np.float32)
    store = write_store(
        tmp_path / "s", [ClassDrawings("a", [(0, rows)], {})], source="x", max_length=9, dtype="<f4"
    )
    assert store.offset_scale() == pytest.approx(np.std([0, 0, 1000, -1000]))
    np.testing.assert_array_equal(store[0], rows)


def test_select_and_manifest(store: DrawingStore) -> None:
    assert store.class_names == ["cat", "dog"]
    assert (store.source, store.manifest["note"], store.manifest["max_length"]) == ("quickdraw", 1, 64)
    assert store.classes[0].rejected == {"too long": 2}
    assert store.classes[0].counts == [3, 3, 2]
    assert store.select(["dog"]).tolist() == list(range(8, 16))
    assert store.select(["dog", "no such"], "test").tolist() == [10, 13]
    assert len(store.select()) == 16


def test_store_is_pickled_as_a_path(store: DrawingStore) -> None:
    frozen = pickle.dumps(store)
    assert len(frozen) < 500
    np.testing.assert_array_equal(pickle.loads(frozen)[3], store[3])


def test_folder_mode_follows_the_umask(store: DrawingStore) -> None:
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o777 & ~umask


def test_open_store_can_be_replaced(store: DrawingStore) -> None:
    before = store[0]
    fresh = write_store(store.path, [ClassDrawings("a", drawings(5), {})], source="x", max_length=9)
    np.testing.assert_array_equal(store[0], before)
    assert fresh.class_names == ["a"]
    assert [path.name for path in store.path.parent.iterdir()] == ["store"]


def test_folder_that_is_not_a_store_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dear.jpg").touch()
    for place in ("photos", "photos/dear.jpg"):
        with pytest.raises(DataError, match="exists and is not a store"):
            write_store(tmp_path / place, two_classes(), source="x", max_length=9)
    assert (tmp_path / "photos" / "dear.jpg").exists()
    (tmp_path / "empty").mkdir()
    write_store(tmp_path / "empty", two_classes(), source="x", max_length=9)


def test_interrupted_write_keeps_the_old_store(store: DrawingStore) -> None:
    def interrupted() -> Iterator[ClassDrawings]:
        yield two_classes()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(store.path, interrupted(), source="x", max_length=9)
    assert [path.name for path in store.path.parent.iterdir()] == ["store"]
    DrawingStore(store.path).verify()


def test_only_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    names = {".store.0000dead", ".store.00bu5y00", ".store.0000new0", ".other.0000dead"}
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "points.bin").write_bytes(bytes(9))
        if "new" not in name:
            os.utime(tmp_path / name, (0, 0))
    with locked(tmp_path / ".store.00bu5y00"):
        write_store(tmp_path / "store", two_classes(), source="x", max_length=9)
    assert {path.name for path in tmp_path.iterdir()} == names - {".store.0000dead"} | {"store"}


def test_full_disk_gives_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sketchembed.data.store_writer.os.fsync", full)
    with pytest.raises(DataError, match=r"store.*No space left.*Free some disk space"):
        write_store(tmp_path / "store", two_classes(), source="x", max_length=9)
    assert not list(tmp_path.iterdir())


def test_store_without_drawings_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'too long': 7"):
        write_store(tmp_path / "s", [ClassDrawings("a", [], {"too long": 7})], source="x", max_length=9)
    assert not list(tmp_path.iterdir())


def test_concurrent_writers_do_not_conflict(store: DrawingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process moves its store into place between the two renames."""
    replace, calls = os.replace, []

    def raced(source: Path, target: Path) -> None:
        replace(source, target)
        calls.append(target)
        if len(calls) == 1:
            store.path.mkdir()
            (store.path / "manifest.json").write_text("{}")

    monkeypatch.setattr("sketchembed.data.store_writer.os.replace", raced)
    assert write_store(store.path, two_classes()[:1], source="x", max_length=9).class_names == ["cat"]
    assert [path.name for path in store.path.parent.iterdir()] == ["store"]


# ---- damage ------------------------------------------------------------------------------------------


def test_damaged_points_are_detected(store: DrawingStore) -> None:
    points = store.path / "points.bin"
    data = bytearray(points.read_bytes())
    data[7] ^= 1
    points.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"points\.bin that differs from its digest"):
        DrawingStore(store.path).verify()
    points.write_bytes(bytes(data[:-1]))
    with pytest.raises(DataError, match=r"is incomplete or damaged \(points\.bin has"):
        DrawingStore(store.path)


@pytest.mark.parametrize(
    "name", ["manifest.json", "points.bin", "starts.npy", "labels.npy", "partitions.npy"]
)
@pytest.mark.parametrize("how", ["missing", "empty", "cut"])
def test_missing_or_truncated_file_raises(store: DrawingStore, name: str, how: str) -> None:
    path = store.path / name
    data = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes(data[: len(data) // 2] if how == "cut" else b"")
    with pytest.raises(DataError, match="Delete the folder"):
        DrawingStore(store.path)


def test_invalid_manifest_raises(store: DrawingStore) -> None:
    path = store.path / "manifest.json"
    whole = json.loads(path.read_text())
    changes = [{"format_version": 99}, {"classes": 3}, {"rows": None}, {"drawings": 15}, {"dtype": "odd"}]
    for manifest in [[], 3, {}, *({**whole, **change} for change in changes)]:
        path.write_text(json.dumps(manifest))
        with pytest.raises(DataError, match=r"store"):
            DrawingStore(store.path)
