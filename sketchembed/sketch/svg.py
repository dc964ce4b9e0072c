"""SVG in and out: strokes from the lines and curves of a document, and path data from a stroke.

Path data are parsed here, since svgelements and svgpathtools accept malformed paths and return wrong ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring
from numpy.typing import ArrayLike

from sketchembed.errors import DataError
from sketchembed.files.reading import check_file_size, read_file
from sketchembed.sketch.curves import Point, arc, bezier

LINE_TAGS = ("path", "polyline", "polygon", "line")
HIDDEN_TAGS = ("defs", "clipPath", "mask", "marker", "pattern", "symbol")  # not rendered in place

NUMBERS_OF = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}
"""Number of arguments of each path command."""
SPACING = 1.0  # approximate distance between the points of a curve, in the document's unit
SVG_LIMIT = 2 << 20  # maximum size of a document in bytes; the largest published sketch has about 80,000
MAX_POINTS = 100_000  # of a document, including those of curves; simplifying more takes too long
MAX_COORDINATE = 1e9  # larger coordinates lose precision in differences and overflow in squares
SEPARATORS = " \t\r\n\f,"
# Possessive quantifiers avoid backtracking: a number may be as long as the document.
_NUMBER = r"[-+]?(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][-+]?[0-9]++)?+"
_COORDINATE = re.compile(rf"[\s,]*({_NUMBER})")
_TOKEN = re.compile(rf"[\s,]*(?:([A-Za-z])|({_NUMBER}))")
_FLAG = re.compile(r"[\s,]*(?:([A-Za-z])|([01]))")

Control = tuple[str, Point] | None
"""``"cubic"`` or ``"quadratic"`` and the last control point, if the previous command was a Bézier curve."""


def path_data(stroke: ArrayLike, decimals: int = 2) -> str:
    """Return a stroke as SVG path data (the attribute ``d``), or an empty string if no point is finite.

    A stroke is ``[n, 2]`` or flat ``[x0, y0, x1, y1, ...]``. Points that are not finite are skipped. A single
    point becomes a line of zero length, which is visible with round line caps.
    """
    flat = np.asarray(stroke, dtype=np.float64).reshape(-1)
    points = flat[: len(flat) // 2 * 2].reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return ""
    points = np.repeat(points, 2, axis=0) if len(points) == 1 else points
    return "M" + "L".join(f"{round(x, decimals):.12g},{round(y, decimals):.12g}" for x, y in points.tolist())


def read_strokes(source: str | bytes | Path) -> list[np.ndarray]:
    """Read the ``path``, ``polyline``, ``polygon`` and ``line`` elements of an SVG document.

    Curves are sampled at points about `SPACING` apart. Other elements, such as a background ``rect``, are
    skipped.

    Args:
        source: a path, or the document itself (bytes, or a string that starts with ``<``).

    Returns:
        The points of each line drawn without lifting the pen, float64 ``[n, 2]`` with n ≥ 1.

    Raises:
        DataError: if the document cannot be read, is not well-formed SVG, or has transforms, malformed paths,
            too many points or too large coordinates.
    """
    root, name = _parse(source)
    strokes: list[np.ndarray] = []
    points = 0
    for element in _line_elements(root, name):
        found = [np.array(stroke, dtype=np.float64) for stroke in _element_strokes(element, name) if stroke]
        points += sum(map(len, found))
        _check_count(points, name)
        # `not all(... <= ...)` also rejects NaN.
        if not all((np.abs(stroke) <= MAX_COORDINATE).all() for stroke in found):
            raise _unsupported(name, f"a coordinate beyond {MAX_COORDINATE:g}")
        strokes += found
    return strokes


def _parse(source: str | bytes | Path) -> tuple[Element, str]:
    """Return the root element, and the name of the document for error messages."""
    if isinstance(source, Path) or (isinstance(source, str) and not source.lstrip().startswith("<")):
        name, fix = str(source), "Check the path"
        content: str | bytes = read_file(Path(source), name, expected="an SVG file", fix=fix, most=SVG_LIMIT)
    else:
        name = "the SVG text"
        content = source.lstrip() if isinstance(source, str) else source
    check_file_size(len(content), name, SVG_LIMIT)
    try:
        root = fromstring(content)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise DataError(
            f"{name} cannot be parsed as SVG ({type(error).__name__}: {error})",
            expected="a well-formed SVG document without entities",
            fix="Export the drawing again as plain SVG",
        ) from error
    if _tag(root) != "svg":
        raise DataError(
            f"the root element of {name} is <{_tag(root)}>",
            expected="<svg>",
            fix="Export the drawing as plain SVG",
        )
    return root, name


def _tag(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _line_elements(root: Element, name: str) -> Iterator[Element]:
    """Yield the elements that draw lines, in document order."""
    pending = [(root, False)]
    while pending:
        element, transformed = pending.pop()
        tag = _tag(element)
        if tag in HIDDEN_TAGS:
            continue
        transformed = transformed or bool(element.get("transform", "").strip())
        if tag in LINE_TAGS:
            if transformed:
                raise _unsupported(
                    name, "a transform", "Apply transforms to the coordinates, or ungroup the lines"
                )
            yield element
        pending += [(child, transformed) for child in reversed(element)]


def _element_strokes(element: Element, name: str) -> list[list[Point]]:
    tag = _tag(element)
    if tag == "path":
        return _path_strokes(element.get("d", ""), name)
    if tag == "line":
        values = [_coordinates(element.get(key, "0"), name) for key in ("x1", "y1", "x2", "y2")]
        if any(len(value) != 1 for value in values):
            raise _unsupported(name, "a line whose end points are not four numbers")
        (x1,), (y1,), (x2,), (y2,) = values
        return [[(x1, y1), (x2, y2)]]
    numbers = _coordinates(element.get("points", ""), name)
    if len(numbers) % 2:
        raise _unsupported(name, f"a {tag} with an odd number of coordinates ({len(numbers)})")
    stroke = list(zip(numbers[::2], numbers[1::2], strict=True))
    return [stroke + stroke[:1] if tag == "polygon" else stroke]


def _match(pattern: re.Pattern[str], data: str, at: int, name: str) -> re.Match[str]:
    found = pattern.match(data, at)
    if found is None:
        raise _unsupported(name, f"{data[at : at + 12].strip()!r} among its coordinates")
    return found


def _coordinates(data: str, name: str) -> list[float]:
    numbers, at, end = [], 0, len(data.rstrip(SEPARATORS))
    while at < end:
        found = _match(_COORDINATE, data, at, name)
        numbers.append(float(found[1]))
        at = found.end()
    return numbers


def _path_strokes(data: str, name: str) -> list[list[Point]]:
    """Follow the commands of a path; each moveto starts a stroke."""
    strokes: list[list[Point]] = []
    pen: Point = (0.0, 0.0)
    control: Control = None
    count = 0
    for command, numbers in _commands(data, name):
        kind = command.upper()
        if kind != "M" and not strokes:
            raise _unsupported(name, f"the path command '{command}' before any moveto")
        if kind == "Z":
            pen, control = strokes[-1][0], None
            strokes[-1].append(pen)
            continue
        if kind == "M":
            strokes.append([])
        for at in range(0, len(numbers), NUMBERS_OF[kind]):
            values = numbers[at : at + NUMBERS_OF[kind]]
            if not max(map(abs, (*pen, *values))) <= MAX_COORDINATE:
                raise _unsupported(name, f"a coordinate beyond {MAX_COORDINATE:g}")
            points, control = _follow(command, values, pen, control)
            strokes[-1] += points
            count += len(points)
            _check_count(count, name)
            pen = points[-1] if points else pen
    return strokes


def _commands(data: str, name: str) -> list[tuple[str, list[float]]]:
    """Split path data into commands, and check the number of arguments of each."""
    commands: list[tuple[str, list[float]]] = []
    at, end = 0, len(data.rstrip(SEPARATORS))
    while at < end:
        command, numbers = commands[-1] if commands else ("", [])
        # The two flags of an arc are single digits, which need no separator: "01.5" is 0, 1 and .5.
        flag = command in ("A", "a") and len(numbers) % 7 in (3, 4)
        found = _match(_FLAG if flag else _TOKEN, data, at, name)
        at = found.end()
        if found[1]:
            if found[1].upper() not in NUMBERS_OF:
                raise _unsupported(name, f"the path command '{found[1]}'")
            commands.append((found[1], []))
        elif not commands:
            raise _unsupported(name, f"a path that starts with {found[2][:12]}, not with a moveto")
        else:
            numbers.append(float(found[2]))
    for command, numbers in commands:
        wanted = NUMBERS_OF[command.upper()]
        if bool(wanted) != bool(numbers) or (wanted and len(numbers) % wanted):
            raise _unsupported(name, f"the path command '{command}' with {len(numbers)} numbers")
    return commands


def _follow(command: str, values: list[float], pen: Point, control: Control) -> tuple[list[Point], Control]:
    """Return the points that one command adds, and its last control point if it is a Bézier curve.

    Commands in lower case are relative. A smooth curve (S, T) starts with the reflection of `control`.
    """
    kind = command.upper()
    from_x, from_y = pen if command.islower() else (0.0, 0.0)
    if kind == "H":
        return [(from_x + values[0], pen[1])], None
    if kind == "V":
        return [(pen[0], from_y + values[0])], None
    if kind == "A":
        rx, ry, rotation, large, sweep, x, y = values
        end = (from_x + x, from_y + y)
        return _pairs(arc(pen, (rx, ry), rotation, bool(large), bool(sweep), end, SPACING)), None
    points = [(from_x + x, from_y + y) for x, y in zip(values[::2], values[1::2], strict=True)]
    if kind in "ML":
        return points, None
    degree = "cubic" if kind in "CS" else "quadratic"
    if kind in "ST":
        # After a command of another kind the first control point is the current point.
        previous = control[1] if control is not None and control[0] == degree else pen
        points.insert(0, (2 * pen[0] - previous[0], 2 * pen[1] - previous[1]))
    return _pairs(bezier([pen, *points], SPACING)), (degree, points[-2])


def _pairs(points: np.ndarray) -> list[Point]:
    return [(float(x), float(y)) for x, y in points]


def _check_count(points: int, name: str) -> None:
    if points > MAX_POINTS:
        raise _unsupported(name, f"more than {MAX_POINTS:,} points", "Simplify it, or leave it out")


def _unsupported(name: str, what: str, fix: str = "Export the drawing again as plain SVG") -> DataError:
    return DataError(
        f"{name} has {what}",
        expected="path commands (M, L, H, V, C, S, Q, T, A, Z) and plain numbers",
        fix=fix,
    )
