"""A drawing as a value: points and pen lifts, in and out of every form that the field uses.

Coordinates are those of a canvas: x to the right, y down. Three array forms are in use:

* absolute points with a flag, which is what :class:`Sketch` holds;
* *stroke-3*, rows ``(dx, dy, lift)``: offset from the point before (the first row: from the origin)
  and whether the pen is lifted after this point;
* *stroke-5*, rows ``(dx, dy, s1, s2, s3)``: offset and the one-hot pen state *after* this point
  (paper section 3): on paper, lifted, drawing ended.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import quoteattr

import numpy as np

from sketchembed.errors import DataError

Distance = Literal["line", "segment"]
START = (0.0, 0.0, 1.0, 0.0, 0.0)
"""The start token y_0 (paper section 3)."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """A drawing: where the pen went, and where it left the paper.

    Attributes:
        points: float64 ``[n, 2]``, absolute x and y, in any unit.
        lifted: bool ``[n]``, whether the pen is lifted after each point. The last point of a whole
            drawing is lifted.
    """

    points: np.ndarray
    lifted: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes, so that a mistake shows where it is made."""
        points = np.asarray(self.points, dtype=np.float64).reshape(-1, 2)
        lifted = np.asarray(self.lifted, dtype=bool).reshape(-1)
        if len(points) != len(lifted):
            raise ValueError(f"{len(points)} points but {len(lifted)} pen flags; one flag a point is needed")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "lifted", lifted)

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.points)

    def __eq__(self, other: object) -> bool:
        """Return whether both drawings have the same points and lifts."""
        if not isinstance(other, Sketch):
            return NotImplemented
        return np.array_equal(self.points, other.points) and np.array_equal(self.lifted, other.lifted)

    __hash__ = None  # type: ignore[assignment]

    # ---- forms ---------------------------------------------------------------------------------

    @classmethod
    def from_strokes(cls, strokes: Iterable[np.ndarray | Sequence[Sequence[float]]]) -> Sketch:
        """Make a drawing of strokes, each ``[n_i, 2]`` absolute points; empty strokes are dropped."""
        arrays = [np.asarray(stroke, dtype=np.float64).reshape(-1, 2) for stroke in strokes]
        arrays = [array for array in arrays if len(array)]
        if not arrays:
            return cls(np.zeros((0, 2)), np.zeros(0, dtype=bool))
        lifted = np.concatenate([np.arange(len(array)) == len(array) - 1 for array in arrays])
        return cls(np.concatenate(arrays), lifted)

    @property
    def strokes(self) -> list[np.ndarray]:
        """The strokes, each float64 ``[n_i, 2]``: the points between two lifts of the pen."""
        ends = np.flatnonzero(self.lifted) + 1
        return [part for part in np.split(self.points, ends) if len(part)]

    @classmethod
    def from_stroke3(cls, rows: np.ndarray) -> Sketch:
        """Make a drawing of stroke-3 rows, ``[n, 3]``."""
        rows = np.asarray(rows, dtype=np.float64).reshape(-1, 3)
        return cls(np.cumsum(rows[:, :2], axis=0), rows[:, 2] > 0.5)

    def to_stroke3(self) -> np.ndarray:
        """Return stroke-3 rows, float32 ``[n, 3]``; the first offset is the first point itself."""
        offsets = np.diff(self.points, axis=0, prepend=np.zeros((1, 2)))
        return np.concatenate([offsets, self.lifted[:, None]], axis=1).astype(np.float32)

    @classmethod
    def from_stroke5(cls, rows: np.ndarray) -> Sketch:
        """Make a drawing of stroke-5 rows, ``[n, 5]``, up to the first row whose s3 is the largest.

        A leading start token is a point like any other, (0, 0) with the pen on paper, as in the
        released code.
        """
        rows = np.asarray(rows, dtype=np.float64).reshape(-1, 5)
        state = rows[:, 2:].argmax(axis=1)
        ended = np.flatnonzero(state == 2)
        rows, state = (rows[: ended[0]], state[: ended[0]]) if len(ended) else (rows, state)
        return cls(np.cumsum(rows[:, :2], axis=0), state == 1)

    def to_stroke5(self, length: int) -> np.ndarray:
        """Return the training target, float32 ``[length + 1, 5]``.

        Row 0 is the start token and stands for the first point, whose offset from the origin (and
        pen flag) it replaces, as in the released code (docs/deviations.md); rows past the end are
        ``(0, 0, 0, 0, 1)``.

        Args:
            length: the sequence length T; the drawing may have at most T points.

        Raises:
            ValueError: if the drawing is empty or longer than `length`.
        """
        if not 1 <= len(self) <= length:
            raise ValueError(f"a drawing of {len(self)} points does not fit a sequence of 1 to {length}")
        rows = np.zeros((length + 1, 5), dtype=np.float32)
        rows[len(self) :, 4] = 1
        rows[1 : len(self), :2] = np.diff(self.points, axis=0)
        rows[: len(self), 2] = ~self.lifted
        rows[: len(self), 3] = self.lifted
        rows[0] = START
        return rows

    # ---- geometry ------------------------------------------------------------------------------

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The box around all points: (x_min, y_min, x_max, y_max).

        Raises:
            ValueError: if the drawing is empty.
        """
        if not len(self):
            raise ValueError("an empty drawing has no bounds")
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def fit(self, size: float, margin: float = 0.0) -> Sketch:
        """Scale and centre on a square canvas, keeping the aspect ratio.

        *Source*: paper appendix H.1 and the released code's preparation of inputs.

        Args:
            size: side of the canvas.
            margin: empty border on each side, in the canvas' unit.
        """
        x0, y0, x1, y1 = self.bounds
        extent = max(x1 - x0, y1 - y0)
        scale = (size - 2 * margin) / extent if extent > 0 else 1.0
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        return Sketch((self.points - centre) * scale + size / 2, self.lifted)

    def scaled(self, factor: float) -> Sketch:
        """Multiply every coordinate by `factor`."""
        return Sketch(self.points * factor, self.lifted)

    def simplified(self, epsilon: float, distance: Distance = "line") -> Sketch:
        """Simplify each stroke by :func:`rdp`.

        Args:
            epsilon: tolerance, in the drawing's own unit.
            distance: see :func:`rdp`.
        """
        return Sketch.from_strokes(rdp(stroke, epsilon, distance) for stroke in self.strokes)

    # ---- pictures ------------------------------------------------------------------------------

    def to_svg(
        self,
        size: int = 256,
        margin: float | None = None,
        width: float = 2.0,
        colours: Sequence[str] | Literal["rainbow"] | None = None,
        background: str | None = "white",
    ) -> str:
        """Return the drawing as an SVG document, fitted to a square.

        Args:
            size: side in pixels.
            margin: empty border in pixels; a tenth of the side if not given.
            width: line width in pixels.
            colours: a colour for each stroke (repeated if too few), or ``"rainbow"``; black if not given.
            background: CSS colour of the canvas; None for none.
        """
        fitted = self.fit(size, size / 10 if margin is None else margin) if len(self) else self
        strokes = fitted.strokes
        if colours is None:
            palette: Sequence[str] = ["black"]
        elif colours == "rainbow":
            palette = rainbow(max(len(strokes), 1))
        else:
            palette = colours
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" '
            f'viewBox="0 0 {size} {size}" fill="none" stroke-width="{width:g}">'
        ]
        if background is not None:
            lines.append(f'<rect width="{size}" height="{size}" fill={quoteattr(background)}/>')
        for number, stroke in enumerate(strokes):
            path = "M" + " L".join(f"{x:.2f},{y:.2f}" for x, y in stroke)
            lines.append(f'<path d="{path}" stroke={quoteattr(palette[number % len(palette)])}/>')
        return "\n".join([*lines, "</svg>"]) + "\n"

    @classmethod
    def from_svg(cls, source: str | Path) -> Sketch:
        """Read a simple SVG: ``path`` (M, L, H, V, Z), ``polyline``, ``polygon`` and ``line`` elements.

        Transforms and curves are not followed.

        Args:
            source: a path, or the document itself (a string that begins with ``<``).

        Raises:
            DataError: if it is not well-formed SVG, or uses what is not supported.
        """
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import ParseError, fromstring

        inline = isinstance(source, str) and source.lstrip().startswith("<")
        name = "the SVG text" if inline else str(source)
        text = str(source) if inline else Path(source).read_text(encoding="utf-8", errors="replace")
        try:
            root = fromstring(text)
        except (ParseError, DefusedXmlException, ValueError) as error:
            raise DataError(
                f"{name} is not SVG that can be read ({type(error).__name__}: {error})",
                expected="a well-formed SVG document without entities",
                fix="Export the drawing again as plain SVG",
            ) from error
        strokes: list[list[tuple[float, float]]] = []
        for element in root.iter():
            tag = str(element.tag).rpartition("}")[2]
            if tag == "path":
                strokes += _parse_path(element.get("d", ""), name)
            elif tag in ("polyline", "polygon"):
                numbers = [float(value) for value in _NUMBER.findall(element.get("points", ""))]
                stroke = list(zip(numbers[::2], numbers[1::2], strict=False))
                strokes.append(stroke + stroke[:1] if tag == "polygon" else stroke)
            elif tag == "line":
                x1, y1, x2, y2 = (float(element.get(key, "0")) for key in ("x1", "y1", "x2", "y2"))
                strokes.append([(x1, y1), (x2, y2)])
        return cls.from_strokes(np.array(stroke) for stroke in strokes if stroke)

    def to_png(self, path: str | Path, size: int = 256, **style: object) -> None:
        """Write the drawing as a PNG, drawn by CairoSVG.

        Args:
            path: where to.
            size: side in pixels.
            style: as for :meth:`to_svg`.

        Raises:
            ImportError: if the system library libcairo2 is missing.
        """
        svg = self.to_svg(size, **style)  # type: ignore[arg-type]
        cairosvg().svg2png(bytestring=svg.encode(), write_to=str(path))


def cairosvg() -> object:
    """Import CairoSVG, and say what to install where the import fails.

    Raises:
        ImportError: if CairoSVG or the system library libcairo2 is missing.
    """
    try:
        import cairosvg
    except (ImportError, OSError) as error:
        raise ImportError(
            f"PNG output needs CairoSVG and the system library libcairo2 ({error}). "
            "Install both: `apt-get install libcairo2` and `pip install cairosvg`"
        ) from error
    return cairosvg


def rainbow(count: int) -> list[str]:
    """Return `count` well separated colours, as hexadecimal RGB, in the order of the spectrum."""
    colours = [colorsys.hls_to_rgb(0.83 * number / max(count - 1, 1), 0.42, 0.85) for number in range(count)]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colour) for colour in colours]


def rdp(points: np.ndarray, epsilon: float, distance: Distance = "line") -> np.ndarray:
    """Simplify a polyline by the Ramer-Douglas-Peucker algorithm.

    *Source*: Douglas and Peucker 1973; paper appendix H.2 (ε = 2 for Omniglot) and H.3 (5 for Sketchy).

    Args:
        points: ``[n, 2]``.
        epsilon: a point farther than this from the chord is kept.
        distance: ``"line"``, to the infinite line through the chord, is what the released code measures;
            ``"segment"``, to the chord itself, is what most other libraries do.

    Returns:
        The kept points, ``[m, 2]``, with the first and the last always among them.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) < 3:
        return points
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    pending = [(0, len(points) - 1)]
    while pending:
        first, last = pending.pop()
        if last - first < 2:
            continue
        gaps = _chord_distance(points[first + 1 : last], points[first], points[last], distance)
        farthest = int(gaps.argmax())
        if gaps[farthest] > epsilon:
            middle = first + 1 + farthest
            keep[middle] = True
            pending += [(first, middle), (middle, last)]
    return points[keep]


def _chord_distance(points: np.ndarray, start: np.ndarray, end: np.ndarray, kind: Distance) -> np.ndarray:
    chord, offsets = end - start, points - start
    squared = float(chord @ chord)
    if squared == 0.0:
        return np.hypot(offsets[:, 0], offsets[:, 1])
    if kind == "line":
        return np.abs(chord[0] * offsets[:, 1] - chord[1] * offsets[:, 0]) / np.sqrt(squared)
    nearest = np.clip(offsets @ chord / squared, 0.0, 1.0)[:, None] * chord
    rest = offsets - nearest
    return np.hypot(rest[:, 0], rest[:, 1])


def offset_scale(drawings: Iterable[np.ndarray], limit: float = 1000.0) -> float:
    """Return the standard deviation of all offsets: the unit in which drawings are normalised.

    *Source*: Ha and Eck 2018, as the paper's appendix H; x and y jointly, over the training set. The
    first offset of each drawing counts, as in the released code.

    Args:
        drawings: stroke-3 arrays.
        limit: offsets are clipped to ±limit first, as in the released code.

    Raises:
        ValueError: if there is no offset, or none that differs from the others.
    """
    count, total, squares = 0, 0.0, 0.0
    for rows in drawings:
        offsets = np.clip(np.asarray(rows[:, :2], dtype=np.float64), -limit, limit)
        count += offsets.size
        total += float(offsets.sum())
        squares += float((offsets**2).sum())
    variance = squares / count - (total / count) ** 2 if count else 0.0
    if variance <= 0.0:
        raise ValueError(f"{count // 2} offsets have no spread, so they cannot be scaled to unit variance")
    return float(np.sqrt(variance))


_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_PATH_TOKEN = re.compile(rf"([A-Za-z])|({_NUMBER.pattern})")


def _parse_path(data: str, name: str) -> list[list[tuple[float, float]]]:
    """Follow the straight-line commands of an SVG path; each moveto begins a stroke."""
    strokes: list[list[tuple[float, float]]] = []
    x = y = 0.0
    command, numbers = "", []

    def run() -> None:
        nonlocal x, y, command
        upper, relative = command.upper(), command.islower()
        if upper == "Z" and strokes:
            x, y = strokes[-1][0]
            strokes[-1].append((x, y))
        step = {"M": 2, "L": 2, "H": 1, "V": 1}.get(upper, 1)
        if len(numbers) % step:
            raise _path_error(name, f"command '{command}' with {len(numbers)} numbers")
        for at in range(0, len(numbers), step):
            if upper == "H":
                x = numbers[at] + (x if relative else 0)
            elif upper == "V":
                y = numbers[at] + (y if relative else 0)
            else:
                x = numbers[at] + (x if relative else 0)
                y = numbers[at + 1] + (y if relative else 0)
            if upper == "M" and at == 0:
                strokes.append([])
            if not strokes:
                raise _path_error(name, f"command '{command}' before any moveto")
            strokes[-1].append((x, y))

    for letter, number in _PATH_TOKEN.findall(data):
        if number:
            if not command:
                raise _path_error(name, f"number {number} before any command")
            numbers.append(float(number))
            continue
        if command:
            run()
        if letter.upper() not in "MLHVZ":
            raise _path_error(name, f"command '{letter}'")
        command, numbers = letter, []
    if command:
        run()
    return strokes


def _path_error(name: str, what: str) -> DataError:
    return DataError(
        f"{name} has a path with {what}",
        expected="straight lines: M, L, H, V and Z",
        fix="Flatten curves to polylines before reading the drawing",
    )
