"""Drawings out of SVG files: lines and curves, and an error for all that would be read wrongly."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from sketchembed.errors import DataError
from sketchembed.files.reading import check_file_size, read_file
from sketchembed.sketch.curves import Point, arc, bezier

LINES = ("path", "polyline", "polygon", "line")
UNDRAWN = ("defs", "clipPath", "mask", "marker", "pattern", "symbol")
"""What these hold is material for other elements and not drawn where it stands."""

NUMBERS_OF = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7}
SPACING = 1.0
"""How far apart the points of a curve are, in the document's unit."""
SVG_LIMIT = 2 << 20
"""The largest document that is read, in bytes; the largest published sketch has about 80,000."""
MAX_POINTS = 100_000
"""Of a document, curves included; what comes after, simplifying them first of all, takes time for each."""
MAX_COORDINATE = 1e9
"""In the document's unit. Beyond it, differences of coordinates lose what is drawn, and squares overflow."""
# Possessive, so that a digit is tried once: a number may be as long as the document.
_NUMBER = re.compile(r"[-+]?(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][-+]?[0-9]++)?+")
_ONE = rf"({_NUMBER.pattern})"
_ARC = re.compile(rf"\s*{_ONE}\s+{_ONE}\s+{_ONE}\s+([01])\s*([01])\s*{_ONE}\s+{_ONE}")
_TOKEN = re.compile(rf"[\s,]*(?:([A-Za-z])|({_NUMBER.pattern}))")


def read_strokes(source: str | bytes | Path) -> list[np.ndarray]:
    """Read the ``path``, ``polyline``, ``polygon`` and ``line`` elements of an SVG document.

    Curves become points about `SPACING` apart. Other elements, such as a background ``rect``, are passed
    over.

    Args:
        source: a path, or the document itself (bytes, or a string that begins with ``<``).

    Returns:
        For each line the pen draws without a lift its points, float64 ``[n, 2]``, n ≥ 1.

    Raises:
        DataError: if it cannot be read, is no well-formed SVG, or its lines are transformed, endless or
            not numbers.
    """
    inline = isinstance(source, bytes) or (isinstance(source, str) and source.lstrip().startswith("<"))
    name = "the SVG text" if inline else str(source)
    try:
        if isinstance(source, bytes):
            content: str | bytes = source
        elif inline:
            content = str(source).lstrip()
        else:
            fix = "Check the path"
            content = read_file(Path(source), name, expected="an SVG file", fix=fix, most=SVG_LIMIT)
        check_file_size(len(content), name, SVG_LIMIT)
        root = fromstring(content)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise DataError(
            f"{name} is not SVG that can be read ({type(error).__name__}: {error})",
            expected="a well-formed SVG document without entities",
            fix="Export the drawing again as plain SVG",
        ) from error
    if _tag(root) != "svg":
        raise DataError(
            f"{name} begins with <{_tag(root)}>",
            expected="<svg>",
            fix="Export the drawing as plain SVG",
        )
    strokes: list[np.ndarray] = []
    points = 0
    for element in _line_elements(root, name):
        found = [np.array(stroke, dtype=np.float64) for stroke in _element_strokes(element, name) if stroke]
        points += sum(map(len, found))
        if points > MAX_POINTS:
            raise _unfollowed(name, f"more than {MAX_POINTS:,} points", "Simplify it, or leave it out")
        # Written so that what is not a number is refused too.
        if not all((np.abs(stroke) <= MAX_COORDINATE).all() for stroke in found):
            raise _unfollowed(name, "a coordinate too large for a number")
        strokes += found
    return strokes


def _tag(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _line_elements(root: Element, name: str) -> Iterator[Element]:
    """Yield the elements that draw lines, in the document's order."""
    pending = [(root, False)]
    while pending:
        element, moved = pending.pop()
        tag = _tag(element)
        if tag in UNDRAWN:
            continue
        moved = moved or bool(element.get("transform", "").strip())
        if tag in LINES:
            if moved:
                raise _unfollowed(
                    name, "a transform", "Apply transforms to the coordinates, or ungroup the lines"
                )
            yield element
        pending += [(child, moved) for child in reversed(element)]


def _element_strokes(element: Element, name: str) -> list[list[tuple[float, float]]]:
    tag = _tag(element)
    if tag == "path":
        return _path_strokes(element.get("d", ""), name)
    if tag == "line":
        values = [_numbers(element.get(key, "0"), name) for key in ("x1", "y1", "x2", "y2")]
        if any(len(value) != 1 for value in values):
            raise _unfollowed(name, "a line whose ends are not four numbers")
        (x1,), (y1,), (x2,), (y2,) = values
        return [[(x1, y1), (x2, y2)]]
    numbers = _numbers(element.get("points", ""), name)
    if len(numbers) % 2:
        raise _unfollowed(name, f"a {tag} of {len(numbers)} numbers, an odd one")
    stroke = list(zip(numbers[::2], numbers[1::2], strict=True))
    return [stroke + stroke[:1] if tag == "polygon" else stroke]


def _tokens(data: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield pairs of a letter and a number of which one is empty.

    Raises:
        DataError: at the first that is neither.
    """
    at, end = 0, len(data.rstrip(" \t\r\n\f,"))
    while at < end:
        found = _TOKEN.match(data, at)
        if found is None:
            raise _unfollowed(name, f"{data[at : at + 12].strip()!r} among its coordinates")
        yield found[1] or "", found[2] or ""
        at = found.end()


def _numbers(data: str, name: str) -> list[float]:
    tokens = list(_tokens(data, name))
    for letter, _ in tokens:
        if letter:
            raise _unfollowed(name, f"'{letter}' among its coordinates")
    return [float(number) for _, number in tokens]


def _path_strokes(data: str, name: str) -> list[list[tuple[float, float]]]:
    """Follow the commands of a path; each moveto begins a stroke."""
    strokes: list[list[Point]] = []
    pen, handle, count = (0.0, 0.0), None, 0
    for command, numbers in _commands(data, name):
        upper = command.upper()
        if upper != "M" and not strokes:
            raise _unfollowed(name, f"the path command '{command}' before any moveto")
        if upper == "Z":
            pen, handle = strokes[-1][0], None
            strokes[-1].append(pen)
            continue
        if upper == "M":
            strokes.append([])
        for at in range(0, len(numbers), NUMBERS_OF[upper]):
            values = numbers[at : at + NUMBERS_OF[upper]]
            places, handle = _followed(command, values, pen, handle)
            strokes[-1] += places
            count += len(places)
            if count > MAX_POINTS:
                raise _unfollowed(name, f"more than {MAX_POINTS:,} points", "Simplify it, or leave it out")
            pen = places[-1] if places else pen
    return strokes


def _commands(data: str, name: str) -> list[tuple[str, list[float]]]:
    """Return a path's commands with their numbers, whose count fits."""
    found: list[tuple[str, list[str]]] = []
    for letter, number in _tokens(data, name):
        if letter:
            if letter.upper() not in (*NUMBERS_OF, "Z"):
                raise _unfollowed(name, f"the path command '{letter}'")
            found.append((letter, []))
        elif found:
            found[-1][1].append(number)
        else:
            raise _unfollowed(name, f"a path that begins with {number}, not with a moveto")
    commands = []
    for command, texts in found:
        upper = command.upper()
        texts = _arc_numbers(texts) if upper == "A" else texts
        count = NUMBERS_OF.get(upper, 0)
        if (not count and texts) or (count and (not texts or len(texts) % count)):
            raise _unfollowed(name, f"the path command '{command}' with {len(texts)} numbers")
        commands.append((command, [float(text) for text in texts]))
    return commands


def _arc_numbers(texts: list[str]) -> list[str]:
    """Part an arc's two flags from what may touch them, as in ``01.5`` for 0 and 1.5."""
    text, at = " ".join(texts), 0
    parted: list[str] = []
    while found := _ARC.match(text, at):
        parted += found.groups()
        at = found.end()
    return parted if at == len(text) else texts[:1]


def _followed(
    command: str, values: list[float], pen: Point, handle: tuple[str, Point] | None
) -> tuple[list[Point], tuple[str, Point] | None]:
    """Return where one command leads, and the control point that a smooth curve after it mirrors."""
    upper = command.upper()
    from_x, from_y = pen if command.islower() else (0.0, 0.0)
    if upper == "H":
        return [(from_x + values[0], pen[1])], None
    if upper == "V":
        return [(pen[0], from_y + values[0])], None
    if upper == "A":
        rx, ry, rotation, large, sweep, x, y = values
        if not max(map(abs, (*pen, *values, from_x, from_y))) <= MAX_COORDINATE:
            return [(math.inf, math.inf)], None  # refused with all that is too large
        end = (from_x + x, from_y + y)
        return _pairs(arc(pen, (rx, ry), rotation, bool(large), bool(sweep), end, SPACING)), None
    points = [(from_x + x, from_y + y) for x, y in zip(values[::2], values[1::2], strict=True)]
    if not max(map(abs, (*pen, *values, from_x, from_y))) <= MAX_COORDINATE:
        return [(math.inf, math.inf)], None
    if upper in "ML":
        return points, None
    kind = "cubic" if upper in "CS" else "quadratic"
    if upper in "ST":
        # Smoothly on from a curve of the same kind; after anything else there is nothing to mirror.
        known = handle[1] if handle is not None and handle[0] == kind else pen
        points.insert(0, (2 * pen[0] - known[0], 2 * pen[1] - known[1]))
    return _pairs(bezier([pen, *points], SPACING)), (kind, points[-2])


def _pairs(places: np.ndarray) -> list[Point]:
    return [(float(x), float(y)) for x, y in places]


def _unfollowed(name: str, what: str, fix: str = "Export the drawing again as plain SVG") -> DataError:
    return DataError(
        f"{name} has {what}",
        expected="path commands (M, L, H, V, C, S, Q, T, A, Z) and plain numbers",
        fix=fix,
    )
