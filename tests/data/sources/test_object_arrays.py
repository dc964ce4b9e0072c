"""Object arrays: NumPy's pickles are read, and hostile pickles are refused."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sketchembed.data.sources.object_arrays import read_object_arrays
from sketchembed.errors import DataError

NAMES = ("train", "valid", "test")


def ragged(arrays: list) -> np.ndarray:
    whole = np.empty(len(arrays), dtype=object)
    for place, array in enumerate(arrays):
        whole[place] = array
    return whole


def member(payload: bytes, count: int = 1) -> bytes:
    """Return a .npy file whose header claims `count` objects, followed by the payload."""
    file = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + payload


def archive(path: Path, data: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("train.npy", data)
    return path


def hostile(path: Path, thing: object, protocol: int = 4) -> Path:
    return archive(path, member(pickle.dumps(thing, protocol=protocol).ljust(64, b"."), 1))


# ---- valid files -------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        hnp.arrays(
            st.sampled_from(["<i2", ">i2", "i4", "u1", "f4", "f8", "?"]),
            hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=9),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_arrays_are_read_as_numpy_wrote_them(tmp_path: Path, arrays: list) -> None:
    path = tmp_path / "some.npz"
    np.savez_compressed(path, train=ragged(arrays), valid=ragged(arrays[:1]))
    with np.load(path, allow_pickle=True) as oracle:
        expected = {name: list(oracle[name]) for name in ("train", "valid")}
    got = read_object_arrays(path, ("train", "valid"))
    for name, arrays_got in got.items():
        assert len(arrays_got) == len(expected[name])
        for one, other in zip(arrays_got, expected[name], strict=True):
            assert one.dtype.newbyteorder("=") == other.dtype.newbyteorder("=")  # numpy may swap on reading
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_every_protocol_and_fortran_order_are_read(tmp_path: Path, protocol: int) -> None:
    drawing = np.arange(12, dtype=np.int16).reshape(4, 3)
    arrays = [drawing, np.asfortranarray(drawing), drawing]  # the third refers to the first through the memo
    data = member(pickle.dumps(ragged(arrays), protocol=protocol), 3)
    for got in read_object_arrays(archive(tmp_path / "a.npz", data), ["train"])["train"]:
        np.testing.assert_array_equal(got, drawing)


def test_python_2_pickles_are_read(tmp_path: Path) -> None:
    def array(shape: bytes, dtype: bytes, raw: bytes) -> bytes:
        made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        return made + b"(K\x01" + shape + dtype + b"\x89" + raw + b"tb"

    def dtype(code: bytes, order: bytes, flags: bytes = b"\x00") -> bytes:
        made = b"cnumpy\ndtype\nU" + bytes([len(code)]) + code + b"K\x00K\x01\x87R"
        return made + b"(K\x03U\x01" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK" + flags + b"tb"

    rows = np.array([[-7, 300, 0], [200, -1, 1]], dtype="<i2")  # bytes above 127 in a Python 2 string
    raw = rows.tobytes()
    drawing = array(b"K\x02K\x03\x86", dtype(b"i2", b"<"), b"U" + bytes([len(raw)]) + raw)
    payload = b"\x80\x02" + array(b"K\x01\x85", dtype(b"O8", b"|", b"?"), b"]" + drawing + b"a") + b"."
    data = member(payload)
    oracle = np.lib.format.read_array(
        io.BytesIO(data), allow_pickle=True, pickle_kwargs={"encoding": "latin1"}
    )
    np.testing.assert_array_equal(oracle[0], rows)
    (got,) = read_object_arrays(archive(tmp_path / "two.npz", data), ["train"])["train"]
    np.testing.assert_array_equal(got, rows)


@pytest.mark.data
def test_published_file_is_read_as_by_numpy(real_data: Path) -> None:
    path = real_data / "quickdraw" / "sketchrnn" / "cat.npz"
    got = read_object_arrays(path, NAMES)
    with np.load(path, allow_pickle=True, encoding="latin1") as oracle:
        for name in NAMES:
            assert len(got[name]) == len(oracle[name])
            assert all(map(np.array_equal, got[name], oracle[name]))


# ---- hostile files -----------------------------------------------------------------------------------


class Calls:
    def __init__(self, function: object, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple:
        return self.call  # type: ignore[return-value]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_hostile_pickle_runs_no_code(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "mark"
    for thing in (Calls(os.system, f"touch {mark}"), ragged([Calls(open, str(mark), "w")])):
        path = hostile(tmp_path / "bad.npz", thing, protocol)
        with pytest.raises(DataError, match=r"forbidden global '.*(system|open)'"):
            read_object_arrays(path, ["train"])
        assert not mark.exists()


def test_hostile_pickle_runs_code_in_plain_pickle(tmp_path: Path) -> None:
    """Confirm that the payload works; otherwise the test above would prove nothing."""
    mark = tmp_path / "mark"
    pickle.loads(pickle.dumps(Calls(os.system, f"touch {mark}")))
    assert mark.exists()


def test_unsafe_objects_are_refused(tmp_path: Path) -> None:
    reconstruct = np.ndarray.__reduce__(np.zeros(1))[0]
    things = [
        Calls(eval, "1"),
        Calls(getattr, "text", "format"),
        ragged([np.ma.masked_array([1])]),
        Calls(reconstruct, np.ma.MaskedArray, (0,), b"b"),
        Calls(reconstruct, int, (0,), b"b"),
        Calls(np.dtype, "V8"),
        ragged([np.zeros(2, dtype=[("a", "O")])]),
        ragged([np.zeros(2, dtype="U3")]),
        ragged([ragged([1])]),
        ragged([{"a": 1}]),
        ragged(["text"]),
        ragged([None]),
        [np.zeros(3)],
        np.zeros(3),
        3,
    ]
    for thing in things:
        for protocol in (2, 4):
            with pytest.raises(DataError, match=r"bad\.npz"):
                read_object_arrays(hostile(tmp_path / "bad.npz", thing, protocol), ["train"])


def test_memo_bomb_is_refused(tmp_path: Path) -> None:
    """Ten bytes would make the unpickler reserve 34 GB for its memo."""
    data = member(b"\x80\x02Nr\xff\xff\xff\x7f.".ljust(64, b"."))
    with pytest.raises(DataError, match="forbidden opcode b'r'"):
        read_object_arrays(archive(tmp_path / "bomb.npz", data), ["train"])


@pytest.mark.parametrize("opcode", [b"}", b"\x81", b"\x92", b"P1\n", b"i", b"o", b"\x82\x01", b"I1\n", b"Q"])
def test_opcodes_that_arrays_do_not_need_are_refused(tmp_path: Path, opcode: bytes) -> None:
    path = archive(tmp_path / "odd.npz", member(b"\x80\x02" + opcode.ljust(62, b".")))
    with pytest.raises(DataError, match="forbidden opcode"):
        read_object_arrays(path, ["train"])


def test_excessive_claims_are_refused_before_unpacking(tmp_path: Path) -> None:
    path = archive(tmp_path / "claim.npz", member(b"\x80\x02]." * 8, 10**12))
    with pytest.raises(DataError, match="claims 1000000000000 drawings"):
        read_object_arrays(path, ["train"])
    path = archive(tmp_path / "zeros.npz", bytes(32 << 20))
    with pytest.raises(DataError, match="claims 33554432 bytes unpacked from"):
        read_object_arrays(path, ["train"])
    path = archive(tmp_path / "packed.npz", member(b"N" * 64), zipfile.ZIP_BZIP2)
    with pytest.raises(DataError, match="packed by method 12"):
        read_object_arrays(path, ["train"])
    data = bytearray(archive(tmp_path / "lies.npz", member(b"N" * 64)).read_bytes())
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 1 << 31)
    (tmp_path / "lies.npz").write_bytes(bytes(data))
    with pytest.raises(DataError, match="claims 2147483648 bytes"):
        read_object_arrays(tmp_path / "lies.npz", ["train"])


# ---- damaged files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>no such page", "web page"),
        (b"<html><body>", "web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", "XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"\x93NUMPY\x01\x00", "no zip archive"),
        (b"PK\x03\x04 and then nothing", "cut short"),
    ],
)
def test_wrong_file_type_gives_a_clear_error(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "cat.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read_object_arrays(path, NAMES)
    assert "cat.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_or_array_gives_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.npz cannot be read \(No such file"):
        read_object_arrays(tmp_path / "nowhere.npz", NAMES)
    np.savez(tmp_path / "some.npz", train=ragged([np.zeros(1)]), other=np.zeros(1))
    with pytest.raises(DataError, match=r"has no array 'valid' \(it has train.npy, other.npy\)"):
        read_object_arrays(tmp_path / "some.npz", NAMES)
    with pytest.raises(DataError, match="of type float64"):
        read_object_arrays(tmp_path / "some.npz", ["other"])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("small") / "small.npz"
    np.savez(path, train=ragged([np.ones((2, 3), np.int16), np.zeros((3, 3), np.int16)]))
    return path.read_bytes()


def test_every_truncation_raises(small: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.npz"
    for end in range(len(small)):
        path.write_bytes(small[:end])
        with pytest.raises(DataError, match=r"cut\.npz"):
            read_object_arrays(path, ["train"])


def test_unknown_zip_version_raises(small: bytes, tmp_path: Path) -> None:
    damaged = bytearray(small)
    damaged[small.index(b"PK\x01\x02") + 6] = 64  # version 6.4
    (tmp_path / "new.npz").write_bytes(bytes(damaged))
    with pytest.raises(DataError, match=r"new\.npz is cut short or damaged \(zip file version 6\.4\)"):
        read_object_arrays(tmp_path / "new.npz", ["train"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_gives_an_error_or_arrays(small: bytes, tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(small)
    for place in data.draw(st.lists(st.integers(0, len(small) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    (tmp_path / "hurt.npz").write_bytes(bytes(damaged))
    try:
        arrays = read_object_arrays(tmp_path / "hurt.npz", ["train"])["train"]
    except DataError:
        return
    assert all(isinstance(array, np.ndarray) for array in arrays)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_pickle_gives_an_error_or_arrays(tmp_path: Path, data: st.DataObject) -> None:
    """Damage the pickle before it is archived, so that the zip checksum cannot detect it."""
    payload = bytearray(
        pickle.dumps(ragged([np.ones((2, 3), np.int16)]), protocol=data.draw(st.integers(2, 4)))
    )
    for place in data.draw(st.lists(st.integers(0, len(payload) - 1), max_size=4)):
        payload[place] = data.draw(st.integers(0, 255))
    path = archive(tmp_path / "hurt.npz", member(bytes(payload)[: data.draw(st.integers(0, len(payload)))]))
    try:
        arrays = read_object_arrays(path, ["train"])["train"]
    except DataError:
        return
    assert all(isinstance(array, np.ndarray) and array.dtype.kind in "iufb" for array in arrays)
