"""Drawings out of SVG files: straight lines only, and an error for all that would be read wrongly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from sketchembed.errors import DataError

LINES = ("path", "polyline", "polygon", "line")
UNDRAWN = ("defs", "clipPath", "mask", "marker", "pattern", "symbol")
"""What these hold is material for other elements and not drawn where it stands."""

NUMBERS_OF = {"M": 2, "L": 2, "H": 1, "V": 1}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_TOKEN = re.compile(rf"[\s,]*(?:([A-Za-z])|({_NUMBER.pattern}))")


def read_strokes(source: str | Path) -> list[np.ndarray]:
    """Read the ``path`` (M, L, H, V, Z), ``polyline``, ``polygon`` and ``line`` elements of an SVG document.

    Other elements, such as a background ``rect``, are passed over.

    Args:
        source: a path, or the document itself (a string that begins with ``<``).

    Returns:
        For each line the pen draws without a lift its points, float64 ``[n, 2]``, n ≥ 1.

    Raises:
        DataError: if it cannot be read, is no well-formed SVG, or its lines are curved, transformed,
            endless or not numbers.
    """
    inline = isinstance(source, str) and source.lstrip().startswith("<")
    name = "the SVG text" if inline else str(source)
    try:
        root = fromstring(str(source).lstrip() if inline else Path(source).read_bytes())
    except OSError as error:
        raise DataError(
            f"{name} cannot be read ({error.strerror or error})",
            expected="an SVG file",
            fix="Check the path",
        ) from error
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
    for element in _line_elements(root, name):
        strokes += [
            np.array(stroke, dtype=np.float64) for stroke in _element_strokes(element, name) if stroke
        ]
    if not all(np.isfinite(stroke).all() for stroke in strokes):
        raise _unfollowed(name, "a coordinate too large for a number")
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
    """Follow the straight-line commands of a path; each moveto begins a stroke."""
    commands: list[tuple[str, list[float]]] = []
    for letter, number in _tokens(data, name):
        if letter:
            commands.append((letter, []))
        elif commands:
            commands[-1][1].append(float(number))
        else:
            raise _unfollowed(name, f"a path that begins with {number}, not with a moveto")

    strokes: list[list[tuple[float, float]]] = []
    x = y = 0.0
    for command, numbers in commands:
        upper = command.upper()
        if upper not in "MLHVZ":
            raise _unfollowed(name, f"the path command '{command}'")
        if upper != "M" and not strokes:
            raise _unfollowed(name, f"the path command '{command}' before any moveto")
        if upper == "Z":
            if numbers:
                raise _unfollowed(name, f"the path command '{command}' with numbers")
            x, y = strokes[-1][0]
            strokes[-1].append((x, y))
            continue
        step = NUMBERS_OF[upper]
        if not numbers or len(numbers) % step:
            raise _unfollowed(name, f"the path command '{command}' with {len(numbers)} numbers")
        if upper == "M":
            strokes.append([])
        for at in range(0, len(numbers), step):
            from_x, from_y = (x, y) if command.islower() else (0.0, 0.0)
            if upper != "V":
                x = from_x + numbers[at]
            if upper != "H":
                y = from_y + numbers[at + step - 1]
            strokes[-1].append((x, y))
    return strokes


def _unfollowed(
    name: str, what: str, fix: str = "Flatten curves to polylines before reading the drawing"
) -> DataError:
    return DataError(
        f"{name} has {what}", expected="straight lines: M, L, H, V, Z, and plain numbers", fix=fix
    )
