"""Reading `.npz` files of pickled object arrays without ever running what they contain.

The sketch-rnn files hold ragged drawings as numpy object arrays, which numpy stores as pickles, and a
pickle is a program. Here its three powers are taken away one after the other:

* a pass over the opcodes lets through only those that build numbers, text, bytes, tuples and lists (no
  dictionaries, no instances), and bounds the memo, the number of objects and the letters of texts, so that a
  few bytes cannot claim gigabytes;
* the only globals are the five with which numpy describes an array, and each is answered by an inert
  stand-in of this module: neither numpy's nor anybody else's code sees the pickle's arguments;
* arrays are then made of the stand-ins' raw bytes, once type, shape and length have been checked.

Sizes are bounded before anything is unpacked: :data:`MEMBER_LIMIT` and :data:`RATIO_LIMIT`.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from sketchembed.errors import DataError

MEMBER_LIMIT = 144 << 20
"""The largest array file that is unpacked, in bytes: 340,000 drawings, more than any class has."""
STEPS_LIMIT, OBJECTS_LIMIT = 64, 16
"""Opcodes of a drawing, and objects that they make, on average; there are about 30 and 8. An opcode of one
byte takes 8 bytes of the unpickler's stack, and one that makes an object 72."""
STEPS_AT_MOST, OBJECTS_AT_MOST = 12_000_000, 3_000_000
"""In all."""
RATIO_LIMIT = 100
"""How many times its packed size an array file may have; drawings have 2 to 4."""
DRAWING_SIZE = 16
"""No pickled drawing takes fewer bytes, so a header that claims more drawings than that lies."""

_NPZ = "a whole .npz file of pickled drawings"
_AGAIN = "Delete the file and download it again"


def opening_bytes(path: str | Path, expected: str, count: int = 512) -> bytes:
    """Return a file's first bytes, and refuse what often lies in the place of a data file.

    Args:
        path: of the file.
        expected: what the file should be, for the message.
        count: how many bytes.

    Raises:
        DataError: if the file is missing, empty, a web page, or a Git LFS pointer.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(count)
    except OSError as error:
        fix = "Check the path and its permissions"
        raise DataError(
            f"{path} cannot be read ({error.strerror or error})", expected=expected, fix=fix
        ) from error
    if not head:
        raise DataError(f"{path} is empty", expected=expected, fix=_AGAIN)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(f"{path} is a web page or XML answer, not data", expected=expected, fix=_AGAIN)
    if head.startswith(b"version https://git-lfs"):
        fix = "Run `git lfs pull` where it came from, or download the file itself"
        raise DataError(f"{path} is a Git LFS pointer, not the file itself", expected=expected, fix=fix)
    return head


def read_object_arrays(path: str | Path, names: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """Read object arrays of numeric arrays, such as sketch-rnn's ``train``, ``valid`` and ``test``.

    Files written under Python 2 and 3, numpy 1 and 2, are read alike.

    Args:
        path: of the `.npz` file.
        names: of the arrays wanted; each is one-dimensional.

    Returns:
        For each name a list of read-only numeric arrays, of any shape each.

    Raises:
        DataError: if the file is cut short, empty, no `.npz` or too large, if an array is missing, or if
            its pickle holds anything but numeric arrays; a forbidden global is named.
    """
    head = opening_bytes(path, _NPZ)
    if not head.startswith(b"PK"):
        raise DataError(f"{path} is no zip archive (it starts with {head[:8]!r})", expected=_NPZ, fix=_AGAIN)
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read_member(archive, path, name) for name in names}
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is cut short or damaged ({error})", expected=_NPZ, fix=_AGAIN) from error


def _read_member(archive: zipfile.ZipFile, path: str | Path, name: str) -> list[np.ndarray]:
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        there = ", ".join(archive.namelist()[:6]) or "nothing"
        fix = "Check that this is the sketch-rnn form of the data set"
        raise DataError(
            f"{path} has no array '{name}' (it has {there})", expected=f"an array '{name}'", fix=fix
        ) from None
    where = f"{path}, array '{name}',"
    if info.file_size > MEMBER_LIMIT or info.file_size > RATIO_LIMIT * max(info.compress_size, 1 << 14):
        raise DataError(
            f"{where} claims {info.file_size} bytes unpacked from {info.compress_size}",
            expected=f"at most {MEMBER_LIMIT} bytes and {RATIO_LIMIT} times the packed size",
            fix="Do not use this file unless you trust it; download it again from the publisher",
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{where} is packed by method {info.compress_type}", expected="stored or deflated", fix=_AGAIN
        )
    try:
        return _arrays(archive.read(info), where)
    except DataError:
        raise
    except Exception as error:  # damaged bytes raise nearly anything: zlib, header, pickle and more
        why = (str(error) or type(error).__name__).splitlines()[0]
        what = f"{where} is cut short or damaged ({why})"
        raise DataError(what, expected=_NPZ, fix=_AGAIN) from error


def _arrays(data: bytes, where: str) -> list[np.ndarray]:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        _refuse(where, f"has .npy format version {version}")
    shape, _, dtype = readers[version](file)
    if dtype != np.dtype(object) or len(shape) != 1:
        _refuse(where, f"is of type {dtype} and shape {shape}, not a list of drawings")
    payload = memoryview(data)[file.tell() :]
    if shape[0] * DRAWING_SIZE > len(payload):
        _refuse(where, f"claims {shape[0]} drawings in {len(payload)} bytes")
    _check_opcodes(payload, where, shape[0])
    whole = _Unpickler(file, where).load()
    items = whole.raw if isinstance(whole, _Array) else None
    if not isinstance(items, list) or len(items) != shape[0]:
        _refuse(where, "does not hold as many drawings as its header says")
    return [_numeric(item, where) for item in items]


def _numeric(item: Any, where: str) -> np.ndarray:
    """Make an array of a stand-in's raw bytes."""
    if not isinstance(item, _Array) or not isinstance(item.raw, bytes) or item.dtype.hasobject:
        _refuse(where, f"holds a {type(item).__name__.strip('_')} that is no numeric array")
    array = np.frombuffer(item.raw, dtype=item.dtype)
    return array.reshape(item.shape, order="F" if item.fortran else "C")


def _refuse(where: str, what: str) -> NoReturn:
    fix = "Do not open this file with other tools unless you trust it; download it again"
    raise DataError(f"{where} {what}", expected="pickled numeric arrays and nothing else", fix=fix)


# ---- the pickle, disarmed ----------------------------------------------------------------------------

# Opcodes without a length of their own. LONG_BINPUT (r) is let through up to index 2^22 only: the
# unpickler makes a table as large as the index it is told.
_MAKES = rb"[]\x85-\x87tR]|M..|J....|G.{8}"
_OTHER = rb"[()aeNb.02\x88\x89\x93\x94]|[Khq\x80].|j....|r..[\x00-\x3f]\x00|\x95.{8}"
_PLAIN = re.compile(rb"(?:%b|%b){0,999}" % (_MAKES, _OTHER), re.DOTALL)
_COUNTED = re.compile(rb"(%b)|%b" % (_MAKES, _OTHER), re.DOTALL)
_BEYOND_LATIN1 = re.compile(rb"[\xc4-\xff]")
_LENGTHS = {1: "CU\x8c\x8a", 4: "BTX", 8: "\x8d\x8e"}
_SIZED = {ord(code): size for size, codes in _LENGTHS.items() for code in codes}
_TEXTS = frozenset(b"X\x8c\x8d")
_GLOBAL = re.compile(rb"c[\w.]{1,80}\n[\w.]{1,80}\n")


def _check_opcodes(data: memoryview, where: str, drawings: int) -> None:
    position, end = 0, len(data)
    steps = min(1000 + STEPS_LIMIT * drawings, STEPS_AT_MOST)
    objects = min(1000 + OBJECTS_LIMIT * drawings, OBJECTS_AT_MOST)
    while position < end:
        start = position
        if match := _PLAIN.match(data, start):
            position = match.end()
            made = _COUNTED.findall(data, start, position)
            steps -= len(made)
            objects -= len(made) - made.count(b"")
        objects -= 1
        if steps < 0 or objects < 0:
            _refuse(where, f"has a pickle of more steps than {drawings} drawings need")
        if position == end:
            return
        if size := _SIZED.get(data[position]):
            text, first = data[position] in _TEXTS, position + 1 + size
            position = first + int.from_bytes(data[position + 1 : first], "little")
            # One wide letter makes a text four times as large; arrays' bytes are written as narrow ones.
            if text and _BEYOND_LATIN1.search(data, first, min(position, end)):
                _refuse(where, "holds a text of letters that are no bytes")
        elif match := _GLOBAL.match(data, position):
            position = match.end()
        elif position == start:
            code = bytes(data[position : position + 1])
            _refuse(where, f"has a pickle with the forbidden opcode {code!r} at byte {position}")
    if position > end:
        _refuse(where, "is cut short")


class _DType:
    """Stands in for ``numpy.dtype``: remembers a plain numeric type, or object."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch(r"[iuf][1248]|b1|O[48]?", str(code)):
            raise ValueError(f"type {code!r}")
        self.code, self.order = str(code), "="

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError(f"byte order {state[1]!r}")
        self.order = state[1]

    def resolve(self) -> np.dtype:
        return np.dtype(object if self.code[0] == "O" else self.order + self.code)


class _Array:
    """Stands in for an array: its state, not yet believed."""

    __slots__ = ("dtype", "fortran", "raw", "shape")

    shape: tuple[int, ...]
    raw: bytes | list[Any] | None

    def __init__(self) -> None:
        self.raw = None

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, dtype, self.fortran, raw = state
        resolved = _RESOLVED.get((dtype.code, dtype.order))
        self.dtype = dtype.resolve() if resolved is None else resolved
        self.raw = raw.encode("latin1") if isinstance(raw, str) else raw  # text under Python 2


_RESOLVED = {("i2", "<"): np.dtype("<i2")}  # of nearly every drawing; the rest are looked up
_NDARRAY = object()


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if kind is not _NDARRAY:
        raise ValueError("a subclass of ndarray")
    return _Array()


def _scalar(dtype: _DType, raw: bytes | str) -> Any:
    resolved = dtype.resolve()
    if resolved.hasobject:
        raise ValueError("an object scalar")
    return np.frombuffer(raw.encode("latin1") if isinstance(raw, str) else raw, dtype=resolved)[0]


def _encode(text: str, encoding: str) -> bytes:
    """Stands in for ``_codecs.encode``, by which Python 3 writes bytes for Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"encoding {encoding!r}")
    return text.encode("latin1")


_GLOBALS: dict[tuple[str, str], Callable[..., Any] | object] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, where: str) -> None:
        super().__init__(file, encoding="latin1", fix_imports=False)
        self.where = where

    def find_class(self, module: str, name: str) -> Any:
        """Answer numpy's five globals with stand-ins, and nothing else."""
        try:
            return _GLOBALS[module, name]
        except KeyError:
            _refuse(self.where, f"wants to call the forbidden global '{module}.{name}'")
