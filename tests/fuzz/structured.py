"""Mutations that keep a file's syntax and change its content: JSON, YAML, text, SVG, arrays, pickles."""

from __future__ import annotations

import ast
import copy
import io
import json
import pickletools
import re
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import yaml

from .bytewise import INTEGERS, change_bytes

TEXTS = (
    "",
    "\0",
    "nan",
    "é\u2028",
    "\ud800",
    "../../../etc/passwd",
    "/etc/passwd",
    "x" * 5000,
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "__SCRIPT__",
    "O",
    "<f8",
    "cat",
    "%s%n",
    "\n",
)
FLOATS = (0.0, -1.0, 0.5, 1e308, -1e308, 5e-324, float("nan"), float("inf"), -float("inf"))


def odd_value(random: Random) -> Any:
    """Return a value that is valid in JSON and probably wrong in its place."""
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: None,
        lambda: random.random() < 0.5,
        lambda: random.choice(INTEGERS) * random.choice((1, 1, -1)),
        lambda: random.choice(FLOATS),
        lambda: random.choice(TEXTS),
        lambda: [],
        lambda: {},
        lambda: [odd_value(random) for _ in range(random.randrange(4))],
        lambda: {random.choice(TEXTS): odd_value(random)},
        lambda: 10 ** random.choice((30, 309, 400)),
        lambda: [[[[]]]],
    )
    return random.choice(kinds)()


def change_value(root: Any, random: Random) -> Any:
    """Return a copy of nested lists and dictionaries in which one to three places are changed."""
    root = copy.deepcopy(root)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        places: list[tuple[Any, Any]] = []

        def walk(node: Any, places: list[tuple[Any, Any]] = places) -> None:
            inner = node.items() if isinstance(node, dict) else enumerate(node)
            for key, value in list(inner):
                places.append((node, key))
                if isinstance(value, dict | list):
                    walk(value, places)

        if not isinstance(root, dict | list):
            return odd_value(random)
        walk(root)
        if not places or random.random() < 0.02:
            return odd_value(random)
        node, key = random.choice(places)
        what = random.randrange(9)
        if what == 0:
            del node[key]
        elif what == 1 and isinstance(node, list):
            node[key:key] = [copy.deepcopy(node[key])] * random.choice((1, 2, 100))
        elif what == 1:
            node[random.choice(TEXTS)] = node.pop(key)
        elif what == 2:
            node[key] = [node[key]]
        elif what == 3:
            other, name = random.choice(places)
            try:
                node[key] = copy.deepcopy(other[name])
            except (KeyError, IndexError, TypeError):
                node[key] = None
        elif what == 4 and isinstance(node[key], int | float) and not isinstance(node[key], bool):
            node[key] = node[key] * random.choice((-1, 2, 10, 0.5)) + random.choice((0, 1, -1))
        else:
            node[key] = odd_value(random)
    return root


def change_json(content: bytes, random: Random) -> bytes:
    """Return JSON with changed values or with deep nesting."""
    what = random.random()
    if what < 0.1:
        return change_bytes(content, random)
    if what < 0.16:
        depth = random.choice((100, 1200, 5000, 100_000))
        nested = (
            b"[" * depth + b"]" * depth if random.random() < 0.5 else b'{"a":' * depth + b"1" + b"}" * depth
        )
        found = list(re.finditer(rb'[:,\[]\s*(-?[\d.]+|"[^"]*"|null|true|false)', content))
        if not found or random.random() < 0.2:
            return nested
        place = random.choice(found)
        return content[: place.start(1)] + nested + content[place.end(1) :]
    try:
        value = json.loads(content)
    except ValueError:
        return change_bytes(content, random)
    return json.dumps(change_value(value, random), ensure_ascii=random.random() < 0.7).encode(
        "utf-8", "surrogatepass"
    )


def change_lines(content: bytes, random: Random, line: Callable[[bytes, Random], bytes]) -> bytes:
    """Return text in which a line is changed, repeated, moved or removed."""
    lines = content.split(b"\n")
    for _ in range(random.choice((1, 1, 2))):
        if not lines:
            break
        at, what = random.randrange(len(lines)), random.randrange(8)
        if what == 0:
            del lines[at]
        elif what == 1:
            lines[at:at] = [lines[at]] * random.choice((1, 3, 200))
        elif what == 2:
            other = random.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            lines[at] = line(lines[at], random)
    return b"\n".join(lines)


NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
ODD_NUMBERS = (
    b"0", b"-1", b"1e308", b"-1e308", b"1e999", b"nan", b"inf", b"1e-320", b"9" * 400, b"0." + b"3" * 5000,
    b"", b"--1", b"0x10", b"1_0", b"999999999999", b"1e9", "\u0663".encode(), b"65535", b"4294967296",
)  # fmt: skip


def change_numbers(content: bytes, random: Random) -> bytes:
    """Return text with one number replaced, or with changed bytes."""
    found = list(NUMBER.finditer(content))
    if not found or random.random() < 0.2:
        return change_bytes(content, random)
    place = random.choice(found)
    number = str(random.choice(INTEGERS)).encode()
    new = number if random.random() < 0.3 else random.choice(ODD_NUMBERS)
    return content[: place.start()] + new + content[place.end() :]


def change_text(content: bytes, random: Random) -> bytes:
    """Return text with changed lines, or with long or many lines appended."""
    if random.random() < 0.05:
        line = random.choice((b"\n", b"a,b\n", b'"', b"a" * 200_000, b",", b"\r", b"\0"))
        return content + line * random.choice((1, 3, max(3, 400_000 // len(line))))
    return change_lines(content, random, change_numbers)


def change_yaml(content: bytes, random: Random) -> bytes:
    """Return YAML with changed values, or with features of YAML: tags, anchors, nesting."""
    what = random.random()
    if what < 0.1:
        return change_bytes(content, random)
    if what < 0.2:
        extra = random.choice(
            (
                b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                + b"".join(
                    b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(99, 107)
                ),
                b"run: &x {name: *x}\n",
                b"run: !!python/object/apply:os.system ['touch executed']\n",
                b"model: !!python/name:os.system\n",
                b"? [a, b]\n: 1\n",
                b"run: " + b"[" * 3000 + b"]" * 3000 + b"\n",
                b"run: " + b"{a: " * 1500 + b"1" + b"}" * 1500 + b"\n",
                b"run: !!binary aGVsbG8=\n",
                b"run: 2001-99-99\n",
                b"run: 1:2:3:4\n",
                b"<<: [1]\n",
                b"config: run.yaml\n",
                b"config: /etc/passwd\n",
                b"seed_everything: 1e9\n",
                b"seed_everything: 99999999999999999999\n",
                b"--- 1\n--- 2\n",
            )
        )
        return content + b"\n" + extra if random.random() < 0.7 else extra
    if b"&" in content:  # anchors of an earlier mutation would exhaust the memory of this process
        return change_bytes(content, random)
    try:
        value = yaml.safe_load(content)
        return yaml.safe_dump(change_value(value, random), allow_unicode=True).encode(
            "utf-8", "surrogatepass"
        )
    except (yaml.YAMLError, ValueError, TypeError):
        return change_bytes(content, random)


PATHS = (
    b"M0 0A1e9 1e9 0 0 1 9 9", b"M0 0C9e8 1 -9e8 5 3 3 " * 40, b"M0 0A 5 5 0 1", b"M0,0L" + b"1" * 20_000,
    b"M0 0" + b"Z" * 999, b"M0 0T9 9S1 2 3 4", b"M 1e308 1e308 l 1e308 1e308",
    b"M0 0A" + b"1" * 4000 + b" 2 x",
    b"m" + b"1-1" * 3000, b"M0 0A 0 0 0 0 0 0 0", b"M0 0A1e-300 1e-300 0 0 1 1e300 1e300",
    b"M" + b" 1 2 3 7 5 1" * 3000,
)  # fmt: skip


def change_svg(content: bytes, random: Random) -> bytes:
    """Return SVG with other numbers, paths, elements or attributes."""
    what = random.randrange(10)
    if what == 0:
        return change_bytes(content, random)
    if what == 1:
        found = list(re.finditer(rb'\b(d|points)="[^"]*"', content))
        if found:
            place = random.choice(found)
            return (
                content[: place.start()]
                + place[1]
                + b'="'
                + random.choice(PATHS)
                + b'"'
                + content[place.end() :]
            )
    if what == 2:
        wrap = random.choice((b"g", b"defs", b"a", b"svg", b'g transform="scale(2)"', b"x:y", b"script"))
        depth = random.choice((1, 3, 1500, 20_000))
        inner = content[content.find(b">") + 1 : content.rfind(b"</svg>")]
        opened = b"<%s>" % wrap * depth
        return (
            b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="x">'
            + opened
            + inner
            + b"</%s>" % wrap.split()[0] * depth
            + b"</svg>"
        )
    if what == 3:
        head = random.choice(
            (
                b'<?xml version="1.0" encoding="utf-16"?>',
                b'<?xml version="1.0" encoding="x-none"?>',
                b'<?xml version="1.0" encoding="idna"?>',
                b'<!DOCTYPE svg [<!ENTITY a "b">]>',
                b'<!DOCTYPE svg SYSTEM "file:///etc/passwd">',
                b'<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
                b"<!-- " + b"-" * 99,
                b"\xef\xbb\xbf",
                b"\xff\xfe",
            )
        )
        return head + content
    if what == 4:
        extra = random.choice(
            (
                b' onload="alert(1)"',
                b' ONLOAD="alert(1)"',
                b' style="background:url(http://example.org)"',
                b' HREF="javascript:alert(1)"',
                b' width="1e999"',
                b' viewBox="nan"',
                b' transform="rotate(9)"',
                b' d="M0 0L9 9"',
                b' xmlns:q="q" q:onload="alert(1)"',
                b' id="\'&gt;&lt;script&gt;"',
            )
        )
        places = [found.end() for found in re.finditer(rb"<[a-zA-Z]+", content)]
        at = random.choice(places) if places else 0
        return content[:at] + extra + content[at:]
    if what == 5:
        extra = random.choice(
            (
                b"<style>@import url(http://example.org); path{fill:red}</style>",
                b"<SCRIPT>alert(1)</SCRIPT>",
                b'<image href="http://example.org/x.png"/>',
                b"<foreignObject><b>x</b></foreignObject>",
                b'<use href="#a" id="a"/>',
                b"<a/>" * 50_000,
                b"<line x1='1' x2='x'/>",
                b"<polyline points='1 2 3'/>",
                b"<polygon points=''/>",
                b"<path/>",
                b"<![CDATA[</svg>]]>",
                b"&lt;script&gt;",
            )
        )
        at = content.find(b">") + 1
        return content[:at] + extra + content[at:]
    start = max(content.find(b"<g"), 0)  # skips the numbers in the XML declaration and the namespaces
    return content[:start] + change_numbers(content[start:], random)


def change_npy(content: bytes, random: Random) -> bytes:
    """Return an array file with another header or other content."""
    if len(content) < 12 or content[:6] != b"\x93NUMPY" or random.random() < 0.15:
        return change_bytes(content, random)
    size = int.from_bytes(content[8:10], "little")
    header, body = content[10 : 10 + size], content[10 + size :]
    if random.random() < 0.3:
        body = change_pickle(body, random) if b"|O" in header else change_bytes(body, random)
        return content[: 10 + size] + body
    try:
        facts: Any = ast.literal_eval(header.decode("latin1"))
        shape = list(facts["shape"])
    except (ValueError, SyntaxError, KeyError, TypeError):
        return change_bytes(content, random)
    what = random.randrange(7)
    if what == 0 and shape:
        shape[random.randrange(len(shape))] = random.choice((*INTEGERS, "x", None, 1.5))
        facts["shape"] = tuple(shape)
    elif what == 1:
        facts["shape"] = (*shape, random.choice((0, 1, 2)))
    elif what == 2:
        facts["shape"] = tuple(shape[:-1])
    elif what == 3:
        facts["descr"] = random.choice(
            ("|O", "<f8", "<i2", ">i4", "|u1", "<U9", "|V3", "<c16", "<M8[s]", [("a", "<i4")], "x", 7, "|S0")
        )
    elif what == 4:
        facts["fortran_order"] = random.choice((True, 1, "x"))
    elif what == 5:
        facts[random.choice(("extra", "shape"))] = odd_value(random)
    text = repr(facts)
    if what == 6:
        text = random.choice(
            (
                "(" * 500 + ")" * 500,
                "{" * 99,
                "{'shape': (1,",
                "__import__('os')",
                "\\",
                "1L",
                " " * 9000,
                "'''",
                "\t\n x",
            )
        )
    raw = text.encode("latin1", "replace")
    raw += b" " * (-(len(raw) + 11) % 64) + b"\n"
    version = random.choice((b"\1\0",) * 6 + (b"\2\0", b"\3\0", b"\7\0"))
    length = struct.pack("<H", len(raw) % 65536) if version == b"\1\0" else struct.pack("<I", len(raw))
    return b"\x93NUMPY" + version + length + raw + body


OPCODES = (
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n",
    b"cnumpy\ndtype\n", b"c_codecs\nencode\n", b"ccollections\nOrderedDict\n", b"cbuiltins\nbytearray\n",
    b"ctorch\nTensor\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n",
    b"ctorch\ndevice\n",
    b"ctorch._utils\n_rebuild_parameter\n", b"ctorch\nSize\n", b"cnumpy.core.multiarray\nscalar\n",
    b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n", b"ctorch._utils\n_rebuild_sparse_tensor\n",
    b"R", b"b", b"\x81", b"(", b"t", b"\x85", b"\x86", b"\x87", b"]", b"}", b")", b"N", b"K\x07",
    b"M\xff\xff",
    b"J\xff\xff\xff\x7f", b"\x8a\x09" + b"\xff" * 8 + b"\0", b"0", b"2", b"a", b"e", b"s", b"u", b"Q", b".",
    b"r\xff\xff\xff\x7f", b"r\xff\xff\xff\x00", b"q\x01", b"h\x01", b"j\x01\0\0\0", b"X\x05\0\0\0hello",
    b"X\xff\xff\xff\x7f", b"B\xff\xff\xff\xff", b"\x8e" + b"\xff" * 8, b"C\x04abcd",
    b"\x95" + b"\x09" + b"\0" * 7,
    b"]" * 3000, b"N\x85" * 3000, b"(" * 3000, b"G\x7f\xf0" + b"\0" * 6, b"U\x03i2x", b"\x93", b"i", b"o",
    b"P1\n",
)  # fmt: skip


def change_pickle(content: bytes, random: Random) -> bytes:
    """Return a pickle with opcodes inserted, removed, repeated or replaced."""
    try:
        starts = [place for _, _, place in pickletools.genops(content) if place is not None]
    except Exception:
        return change_bytes(content, random)
    if len(starts) < 3 or random.random() < 0.15:
        return change_bytes(content, random)
    out = content
    for _ in range(random.choice((1, 1, 2))):
        number = random.randrange(len(starts) - 1)
        at, end = starts[number], starts[number + 1]
        what = random.randrange(4)
        if what == 0:
            out = out[:at] + out[end:]
        elif what == 1:
            out = out[:at] + out[at:end] * random.choice((2, 3)) + out[end:]
        elif what == 2:
            out = out[:at] + random.choice(OPCODES) + out[at:]
        else:
            out = out[:at] + random.choice(OPCODES) + out[end:]
    return out


def change_safetensors(content: bytes, random: Random) -> bytes:
    """Return a safetensors file with another header, description or content."""
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 + size or random.random() < 0.1:
        return change_bytes(content, random)
    try:
        header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
        described = header["__metadata__"]["sketchembed"]
    except (ValueError, KeyError, TypeError):
        return change_bytes(content, random)
    what = random.random()
    if what < 0.8:
        facts = json.loads(described)
        if random.random() < 0.7:
            config = facts["config"]
            name = random.choice(list(config))
            config[name] = odd_value(random) if random.random() < 0.6 else random.choice(INTEGERS)
            new = json.dumps(facts)
        else:
            new = change_json(described.encode(), random).decode("utf-8", "replace")
        header["__metadata__"]["sketchembed"] = new
    elif what < 0.92:
        header = change_value(header, random)
    else:
        body = change_bytes(body, random)
    if random.random() < 0.3:
        body = np.random.default_rng(random.randrange(99)).bytes(len(body))
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + body


def change_png(content: bytes, random: Random) -> bytes:
    """Return a PNG with changed chunks and correct checksums."""
    import zlib

    chunks, at = [], 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks or random.random() < 0.2:
        return change_bytes(content, random)
    number = random.randrange(len(chunks))
    kind, inner = chunks[number]
    what = random.randrange(6)
    if what == 0 and kind == b"IDAT":
        try:
            inner = zlib.compress(change_bytes(zlib.decompress(inner), random))
        except zlib.error:
            inner = change_bytes(inner, random)
        chunks[number] = (kind, inner)
    elif what == 1:
        chunks[number:number] = [chunks[number]] * random.choice((1, 2, 50))
    elif what == 2:
        del chunks[number]
    elif what == 3:
        extra = random.choice(
            (b"tRNS", b"PLTE", b"gAMA", b"iCCP", b"zTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"sBIT")
        )
        chunks.insert(
            random.randrange(len(chunks) + 1), (extra, random.randbytes(random.choice((0, 4, 12, 26))))
        )
    elif what == 4 and chunks[0][0] == b"IHDR":
        sizes = [random.choice((0, 1, 12, 4000, 9000, 2**31 - 1)) for _ in range(2)]
        chunks[0] = (b"IHDR", struct.pack(">II", *sizes) + chunks[0][1][8:])
    else:
        chunks[number] = (kind, change_bytes(inner, random) if inner else b"\0")
    parts = [
        struct.pack(">I", len(inner)) + kind + inner + struct.pack(">I", zlib.crc32(kind + inner))
        for kind, inner in chunks
    ]
    return content[:8] + b"".join(parts)


def array_file(array: np.ndarray) -> bytes:
    """Return an array as the content of a .npy file."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()
