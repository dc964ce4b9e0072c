"""Read ``.npz`` files of pickled object arrays without executing the pickles.

The sketch-rnn files hold drawings as pickled object arrays. A pickle is a program, so three checks restrict
it. The sizes that the archive states are bounded. A scan admits only opcodes that build plain values, and
bounds their number: ten bytes can make the unpickler reserve 34 GB for its memo. The only permitted globals
are the four that describe an array, and a checked stand-in replaces each of them.
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
from sketchembed.files.reading import ZIP_ERRORS

MEMBER_LIMIT = 144 << 20  # largest unpacked array file in bytes: 340,000 drawings, more than any class has
RATIO_LIMIT = 100  # largest ratio of an array file's unpacked and packed size; 2 to 4 for drawings
STEPS_LIMIT, OBJECTS_LIMIT = 64, 16
"""Most opcodes, and most objects that they make, per drawing; drawings need about 30 and 8. An opcode takes
8 bytes of memory, or 72 if it makes an object."""
STEPS_AT_MOST, OBJECTS_AT_MOST = 12_000_000, 3_000_000  # most opcodes and objects in total
DRAWING_SIZE = 16  # smallest pickled drawing in bytes; bounds the number of drawings in a header

_NPZ = "a whole .npz file of pickled drawings"
_AGAIN = "Delete the file and download it again"


def opening_bytes(path: str | Path, expected: str) -> bytes:
    """Return the first 512 bytes of a file that should be `expected`.

    Raises:
        DataError: if the file is missing, empty, a web page, or a Git LFS pointer.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(512)
    except OSError as error:
        fix = "Check the path and its permissions"
        what = f"{path} cannot be read ({error.strerror or error})"
        raise DataError(what, expected=expected, fix=fix) from error
    if not head:
        raise DataError(f"{path} is empty", expected=expected, fix=_AGAIN)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(f"{path} is a web page or XML answer, not data", expected=expected, fix=_AGAIN)
    if head.startswith(b"version https://git-lfs"):
        fix = "Run `git lfs pull` in its repository, or download the file itself"
        raise DataError(f"{path} is a Git LFS pointer, not the file itself", expected=expected, fix=fix)
    return head


def read_object_arrays(path: str | Path, names: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """Read object arrays of numeric arrays, such as sketch-rnn's ``train``, ``valid`` and ``test``.

    Reads files of Python 2 and 3, NumPy 1 and 2.

    Args:
        path: path of the ``.npz`` file.
        names: names of the wanted arrays, each one-dimensional.

    Returns:
        Lists of read-only numeric arrays of any shape, by name.

    Raises:
        DataError: if the file is damaged, too large or not an ``.npz`` file, if an array is missing, or
            if its pickle contains anything but numeric arrays. The message names a forbidden global.
    """
    head = opening_bytes(path, _NPZ)
    if not head.startswith(b"PK"):
        raise DataError(f"{path} is no zip archive (it starts with {head[:8]!r})", expected=_NPZ, fix=_AGAIN)
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read_member(archive, path, name) for name in names}
    except ZIP_ERRORS as error:
        raise DataError(f"{path} is cut short or damaged ({error})", expected=_NPZ, fix=_AGAIN) from error


def _read_member(archive: zipfile.ZipFile, path: str | Path, name: str) -> list[np.ndarray]:
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        there = ", ".join(archive.namelist()[:6]) or "nothing"
        fix = "Check that this is the sketch-rnn form of the data set"
        what = f"{path} has no array '{name}' (it has {there})"
        raise DataError(what, expected=f"an array '{name}'", fix=fix) from None
    where = f"{path}, array '{name}',"
    if info.file_size > MEMBER_LIMIT or info.file_size > RATIO_LIMIT * max(info.compress_size, 1 << 14):
        raise DataError(
            f"{where} claims {info.file_size} bytes unpacked from {info.compress_size}",
            expected=f"at most {MEMBER_LIMIT} bytes and {RATIO_LIMIT} times the packed size",
            fix="Do not use this file unless you trust it; download it again from the publisher",
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        what = f"{where} is packed by method {info.compress_type}"
        raise DataError(what, expected="stored or deflated", fix=_AGAIN)
    try:
        return _arrays(archive.read(info), where)
    except DataError:
        raise
    except Exception as error:  # zlib, the header, pickle and others raise many types for damaged data
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
    start, size = file.tell(), len(data) - file.tell()
    if shape[0] * DRAWING_SIZE > size:
        _refuse(where, f"claims {shape[0]} drawings in {size} bytes")
    _check_opcodes(data, start, where, shape[0])
    whole = _Unpickler(file, where).load()
    items = whole.raw if isinstance(whole, _Array) else None
    if not isinstance(items, list) or len(items) != shape[0]:
        _refuse(where, "does not hold as many drawings as its header states")
    return [_numeric(item, where) for item in items]


def _numeric(item: Any, where: str) -> np.ndarray:
    """Make an array from a stand-in's bytes."""
    if not isinstance(item, _Array) or not isinstance(item.raw, bytes) or item.dtype.hasobject:
        _refuse(where, f"holds a {type(item).__name__.strip('_')} that is not a numeric array")
    array = np.frombuffer(item.raw, dtype=item.dtype)
    return array.reshape(item.shape, order="F" if item.fortran else "C")


def _refuse(where: str, what: str) -> NoReturn:
    fix = "Do not open this file with other tools unless you trust it; download it again"
    raise DataError(f"{where} {what}", expected="pickled numeric arrays and nothing else", fix=fix)


# ---- the scan of the opcodes ----------------------------------------------------------------------------

_FIXED = {0: b"]\x85\x86\x87tR()aeNb.02\x88\x89\x93\x94", 1: b"Khq\x80", 2: b"M", 4: b"Jjr", 8: b"G\x95"}
_COUNTED = {1: b"CU\x8c\x8a", 4: b"BTX", 8: b"\x8d\x8e"}
_ARGUMENT = {code: size for size, codes in _FIXED.items() for code in codes}
"""Bytes of the argument of each opcode whose argument has a fixed size."""
_PREFIX = {code: size for size, codes in _COUNTED.items() for code in codes}
"""Bytes of the length that precedes the argument of the other opcodes."""
_MAKES = frozenset(b"]\x85\x86\x87tRMJG").union(_PREFIX)
_TEXTS = frozenset(b"X\x8c\x8d")
_GLOBAL = re.compile(rb"c[\w.]{1,80}\n[\w.]{1,80}\n")
_BEYOND_LATIN1 = re.compile(rb"[\xc4-\xff]")
_MEMO, _MEMO_LIMIT = ord("r"), 1 << 22
"""LONG_BINPUT, and the index that it may have: the unpickler makes a table as large as the index."""


def _check_opcodes(data: bytes, start: int, where: str, drawings: int) -> None:
    position, end = start, len(data)
    steps = min(1000 + STEPS_LIMIT * drawings, STEPS_AT_MOST)
    objects = min(1000 + OBJECTS_LIMIT * drawings, OBJECTS_AT_MOST)
    while position < end:
        code, first = data[position], position + 1
        steps -= 1
        if code in _MAKES:
            objects -= 1
        if steps < 0 or objects < 0:
            _refuse(where, f"has a pickle of more steps than {drawings} drawings need")
        size = _ARGUMENT.get(code)
        if size is not None and not (
            code == _MEMO and int.from_bytes(data[first : first + 4], "little") >= _MEMO_LIMIT
        ):
            position = first + size
        elif prefix := _PREFIX.get(code):
            first += prefix
            position = first + int.from_bytes(data[first - prefix : first], "little")
            # One wide letter makes a text four times as large. Bytes that are pickled as text have none.
            if code in _TEXTS and _BEYOND_LATIN1.search(data, first, min(position, end)):
                _refuse(where, "holds a text with letters that do not stand for bytes")
        elif match := _GLOBAL.match(data, position):
            position = match.end()
        else:
            opcode = bytes([code])
            _refuse(where, f"has a pickle with the forbidden opcode {opcode!r} at byte {position - start}")
    if position > end:
        _refuse(where, "is cut short")


# ---- stand-ins for the permitted globals -----------------------------------------------------------------


class _DType:
    """Stand-in for ``numpy.dtype``, limited to numeric types and object."""

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
    """Stand-in for an array, with its unchecked state."""

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


_RESOLVED = {("i2", "<"): np.dtype("<i2")}  # the type of nearly all drawings, resolved once
_NDARRAY = object()


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if kind is not _NDARRAY:
        raise ValueError("a subclass of ndarray")
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """Stand-in for ``_codecs.encode``, with which Python 3 pickles bytes in protocol 2."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"encoding {encoding!r}")
    return text.encode("latin1")


_GLOBALS: dict[tuple[str, str], Callable[..., Any] | object] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, where: str) -> None:
        super().__init__(file, encoding="latin1", fix_imports=False)
        self.where = where

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a permitted global."""
        try:
            return _GLOBALS[module, name]
        except KeyError:
            _refuse(self.where, f"wants to call the forbidden global '{module}.{name}'")
