"""Mutations of archives: of their members and of their headers."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import PurePosixPath
from random import Random

from . import structured
from .bytewise import INTEGERS, change_bytes

NAMES = (
    "../../escaped.png", "/tmp/escaped.png", "..", ".", "a/../b.png", "\udcff.png", "x" * 300 + ".png", "CON",
    "a\\b.png", "a\nb.png", "é.png", "run01/class_labels.txt", "photo/axe/n1_1.jpg",
    "sketches/axe/checked.txt",
    "a/b/c.txt", "",
)  # fmt: skip


def zip_of(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def change_zip(content: bytes, random: Random) -> bytes:
    """Return a zip with changed members, other names, wrong fields in its directory, or changed bytes."""
    chance = random.random()
    if chance < 0.12:
        return change_bytes(content, random)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:
        return change_bytes(content, random)
    if not entries:
        return change_bytes(content, random)
    method = random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_STORED))
    number = random.randrange(len(entries))
    name, inner = entries[number]
    if chance < 0.72:
        entries[number] = (name, change_content(name, inner, random))
    elif chance < 0.8:
        entries[number] = (random.choice((*NAMES, name + "x")), inner)
    elif chance < 0.84:
        entries.append((name, change_content(name, inner, random)))
    elif chance < 0.87:
        del entries[number]
    elif chance < 0.9:
        # A decompression bomb that is large enough to be noticed.
        entries[number] = (name, bytes(random.choice((2**20, 2**27, 2**27 + 1))))
        method = zipfile.ZIP_DEFLATED
    elif chance < 0.92:
        method = random.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about duplicate names
        with zipfile.ZipFile(out, "w", method) as archive:
            for entry, data in entries:
                archive.writestr(entry.encode("utf-8", "replace").decode(), data)
    changed = bytearray(out.getvalue())
    if chance >= 0.92:
        _corrupt_zip_header(changed, random)
    return bytes(changed)


def _corrupt_zip_header(changed: bytearray, random: Random) -> None:
    """Change a field of an entry in a zip's directory, and usually the same field of the local header."""
    fields = {
        "flags": (8, 6, 2),
        "method": (10, 8, 2),
        "sum": (16, 14, 4),
        "packed": (20, 18, 4),
        "size": (24, 22, 4),
    }
    at, local, width = fields[random.choice(list(fields))]
    central = changed.find(b"PK\1\2")
    if central < 0:
        return
    value = (random.choice((1, 9, 64, 0x800)) if width == 2 else random.choice(INTEGERS)) % 2 ** (8 * width)
    changed[central + at : central + at + width] = value.to_bytes(width, "little")
    if random.random() < 0.7:
        changed[local : local + width] = value.to_bytes(width, "little")


def change_tar(content: bytes, random: Random) -> bytes:
    """Return a tar with changed members, links, devices, wrong fields, compression, or changed bytes."""
    chance = random.random()
    if chance < 0.15:
        return change_bytes(content, random)
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            entries = [(entry, archive.extractfile(entry).read()) for entry in archive if entry.isfile()]  # type: ignore[union-attr]
    except Exception:
        return change_bytes(content, random)
    if not entries:
        return change_bytes(content, random)
    number = random.randrange(len(entries))
    entry, inner = entries[number]
    if chance < 0.6:
        entries[number] = (entry, change_content(entry.name, inner, random))
    elif chance < 0.68:
        entry.name = random.choice(NAMES)
    elif chance < 0.72:
        entries.append((entry, inner))
    elif chance < 0.8:
        entry.type = random.choice(
            (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
        )
        entry.linkname = random.choice(("/etc/passwd", "../x", entry.name, entries[0][0].name))
        entries[number] = (entry, b"")
    elif chance < 0.84:
        key = random.choice(
            (
                "size",
                "path",
                "GNU.sparse.size",
                "GNU.sparse.map",
                "GNU.sparse.numblocks",
                "mtime",
                "hdrcharset",
            )
        )
        entry.pax_headers = {key: random.choice(("1", "-1", "9" * 30, "x", "1,2,3", "", "../a", "nan"))}
    format = random.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    out = io.BytesIO()
    try:
        with tarfile.open(fileobj=out, mode="w", format=format) as archive:
            for entry, data in entries:
                if entry.isreg():
                    entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    except Exception:
        return change_bytes(content, random)
    changed = bytearray(out.getvalue())
    if 0.84 <= chance < 0.92:
        _corrupt_tar_header(changed, random)
    if 0.92 <= chance < 0.95:
        return random.choice((gzip.compress, lzma.compress))(bytes(changed))
    if 0.95 <= chance < 0.97:
        header = tarfile.TarInfo("x")
        header.type, header.size = b"x", 11
        block = header.tobuf(tarfile.USTAR_FORMAT) + b"11 path=ab\n".ljust(512, b"\0")
        return block * random.choice((1, 50, 1500)) + bytes(changed)
    return bytes(changed)


def _corrupt_tar_header(changed: bytearray, random: Random) -> None:
    """Change a field of the first header, and correct the checksum of the header."""
    start, size = random.choice(
        ((100, 8), (124, 12), (124, 12), (136, 12), (156, 1), (157, 100), (345, 155), (257, 8))
    )
    fields = (
        b"77777777777\0",
        b"\x80\0\0\0\0\0\0\0\0\0\xff\xff",
        b"\xff" * 12,
        b"-1\0",
        b"S",
        b"L",
        b"K",
        b"x",
        b"g",
        b"\0",
    )
    value = random.choice(fields)[:size].ljust(size, b"\0")
    changed[start : start + size] = value
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % (sum(changed[:512]) & 0o777777)


BY_SUFFIX: dict[str, Callable[[bytes, Random], bytes]] = {
    ".zip": change_zip,
    ".npz": change_zip,
    ".tar": change_tar,
    ".npy": structured.change_npy,
    ".pkl": structured.change_pickle,
    ".ckpt": change_zip,
    ".safetensors": structured.change_safetensors,
    ".json": structured.change_json,
    ".jsonl": lambda content, random: structured.change_lines(content, random, structured.change_json),
    ".ndjson": lambda content, random: structured.change_lines(content, random, structured.change_json),
    ".svg": structured.change_svg,
    ".png": structured.change_png,
    ".yaml": structured.change_yaml,
    ".txt": structured.change_text,
    ".csv": structured.change_text,
}


def change_content(name: str, content: bytes, random: Random) -> bytes:
    """Return a file with a mutation that fits its suffix."""
    try:
        return BY_SUFFIX.get(PurePosixPath(name).suffix, change_bytes)(content, random)
    except Exception:  # the content cannot be parsed or packed any longer
        return change_bytes(content, random)
