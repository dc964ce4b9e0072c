"""The class :class:`Sketch`: a drawing as points and pen lifts, with conversions to and from other formats.

The x axis points right and the y axis down. *stroke-3* rows are ``(dx, dy, lift)``: offset from the previous
point (first row: from the origin), and whether the pen is lifted after this point. *stroke-5* rows are
``(dx, dy, s1, s2, s3)``: offset, and one-hot pen state *after* this point: on paper, lifted, drawing ended
(paper section 3).
"""

from __future__ import annotations

import colorsys
import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

import numpy as np

from sketchembed.sketch.animation import HELD, gif_frames, stroke_animations
from sketchembed.sketch.simplify import rdp
from sketchembed.sketch.svg import path_data, read_strokes

START = (0.0, 0.0, 1.0, 0.0, 0.0)  # the start token y_0 (paper section 3)


@dataclass(frozen=True, eq=False)
class Sketch:
    """A drawing: its points in any unit, and whether the pen is lifted after each of them.

    In a complete drawing the pen is lifted after the last point.
    """

    points: np.ndarray  # absolute x and y, float64 [n, 2]
    lifted: np.ndarray  # bool [n]

    def __post_init__(self) -> None:
        """Convert to arrays and check the shapes."""
        points = np.asarray(self.points, dtype=np.float64).reshape(-1, 2)
        lifted = np.asarray(self.lifted, dtype=bool).reshape(-1)
        if len(points) != len(lifted):
            raise ValueError(f"{len(points)} points but {len(lifted)} pen flags; expected one flag per point")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "lifted", lifted)

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.points)

    def __eq__(self, other: object) -> bool:
        """Return whether both drawings have equal points and lifts."""
        if not isinstance(other, Sketch):
            return NotImplemented
        return np.array_equal(self.points, other.points) and np.array_equal(self.lifted, other.lifted)

    @classmethod
    def from_strokes(cls, strokes: Iterable[np.ndarray | Sequence[Sequence[float | int]]]) -> Sketch:
        """Create a sketch from strokes, each ``[n_i, 2]`` absolute points. Empty strokes are dropped."""
        arrays = [np.asarray(stroke, dtype=np.float64).reshape(-1, 2) for stroke in strokes]
        arrays = [array for array in arrays if len(array)]
        if not arrays:
            return cls(np.zeros((0, 2)), np.zeros(0, dtype=bool))
        lifted = np.concatenate([np.arange(len(array)) == len(array) - 1 for array in arrays])
        return cls(np.concatenate(arrays), lifted)

    @property
    def strokes(self) -> list[np.ndarray]:
        """The points between two pen lifts as one stroke each, float64 ``[n_i, 2]``."""
        ends = np.flatnonzero(self.lifted) + 1
        return [part for part in np.split(self.points, ends) if len(part)]

    @classmethod
    def from_stroke3(cls, rows: np.ndarray) -> Sketch:
        """Create a sketch from stroke-3 rows, ``[n, 3]``."""
        rows = np.asarray(rows, dtype=np.float64).reshape(-1, 3)
        return cls(np.cumsum(rows[:, :2], axis=0), rows[:, 2] > 0.5)

    def to_stroke3(self) -> np.ndarray:
        """Return stroke-3 rows, float32 ``[n, 3]``. The first offset is the first point itself."""
        offsets = np.diff(self.points, axis=0, prepend=np.zeros((1, 2)))
        return np.concatenate([offsets, self.lifted[:, None]], axis=1).astype(np.float32)

    @classmethod
    def from_stroke5(cls, rows: np.ndarray) -> Sketch:
        """Create a sketch from stroke-5 rows, ``[n, 5]``, up to the first row whose s3 is the largest state.

        A leading start token is an ordinary point, (0, 0) with the pen on paper, as in the released code.
        """
        rows = np.asarray(rows, dtype=np.float64).reshape(-1, 5)
        state = rows[:, 2:].argmax(axis=1)
        ended = np.flatnonzero(state == 2)
        rows, state = (rows[: ended[0]], state[: ended[0]]) if len(ended) else (rows, state)
        return cls(np.cumsum(rows[:, :2], axis=0), state == 1)

    def to_stroke5(self, length: int) -> np.ndarray:
        """Return the training target, float32 ``[length + 1, 5]``.

        Row 0 is the start token. It replaces the first point's offset and pen flag, as in the released code
        (docs/deviations.md). Rows after the end are ``(0, 0, 0, 0, 1)``.

        Raises:
            ValueError: if the drawing is empty or has more than `length` points.
        """
        if not 1 <= len(self) <= length:
            raise ValueError(
                f"a drawing of {len(self)} points does not fit a sequence of 1 to {length} points"
            )
        rows = np.zeros((length + 1, 5), dtype=np.float32)
        rows[len(self) :, 4] = 1
        rows[1 : len(self), :2] = np.diff(self.points, axis=0)
        rows[: len(self), 2] = ~self.lifted
        rows[: len(self), 3] = self.lifted
        rows[0] = START
        return rows

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The bounding box, (x_min, y_min, x_max, y_max); a ValueError if the drawing is empty."""
        if not len(self):
            raise ValueError("an empty drawing has no bounds")
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def fit(self, size: float | int, margin: float | int = 0.0) -> Sketch:
        """Scale and centre the drawing on a square canvas with a margin, keeping the aspect ratio.

        *Source*: paper appendix H.1 and the released code's preprocessing.
        """
        x0, y0, x1, y1 = self.bounds
        extent = max(x1 - x0, y1 - y0)
        scale = (size - 2 * margin) / extent if extent > 0 else 1.0
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        return Sketch((self.points - centre) * scale + size / 2, self.lifted)

    def scaled(self, factor: float | int) -> Sketch:
        """Multiply all coordinates by `factor`."""
        return Sketch(self.points * factor, self.lifted)

    def simplified(self, epsilon: float | int) -> Sketch:
        """Simplify each stroke by :func:`rdp`; `epsilon` is in the drawing's unit."""
        return Sketch.from_strokes(rdp(stroke, epsilon) for stroke in self.strokes)

    def to_svg(
        self,
        size: int = 256,
        margin: float | int | None = None,
        width: float | int = 2.0,
        colours: Sequence[str] | Literal["rainbow"] | None = None,
        background: str | None = "white",
        seconds: float | int | None = None,
    ) -> str:
        """Return an SVG document with the drawing fitted to a square.

        Args:
            size: side in pixels.
            margin: empty border in pixels; a tenth of the side if not given.
            width: line width in pixels.
            colours: CSS colour of each stroke (repeated if too few), or ``"rainbow"``; black if not given.
            background: CSS colour of the canvas; None for a transparent one.
            seconds: duration of an animation that draws one stroke after the other; None for a still picture.
        """
        fitted = self.fit(size, size / 10 if margin is None else margin) if len(self) else self
        strokes = fitted.strokes
        palette = rainbow(len(strokes)) if colours == "rainbow" else colours or ["black"]
        moving = stroke_animations(strokes, width, seconds) if seconds else []
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" '
            f'viewBox="0 0 {size} {size}" fill="none" stroke-width="{width:g}" '
            'stroke-linecap="round" stroke-linejoin="round">'
        ]
        if background is not None:
            lines.append(f'<rect width="{size}" height="{size}" fill={quoteattr(background)}/>')
        for number, stroke in enumerate(strokes):
            colour = quoteattr(palette[number % len(palette)])
            end = f" {moving[number]}</path>" if moving else "/>"
            lines.append(f'<path d="{path_data(stroke)}" stroke={colour}{end}')
        return "\n".join([*lines, "</svg>"]) + "\n"

    @classmethod
    def from_svg(cls, source: str | Path) -> Sketch:
        """Read the lines and curves of an SVG document, see :func:`~sketchembed.sketch.svg.read_strokes`."""
        return cls.from_strokes(read_strokes(source))

    def to_png(self, path: str | Path, size: int = 256, **options: Any) -> None:
        """Write the drawing as a PNG file, rendered by CairoSVG; `options` are those of :meth:`to_svg`.

        Raises:
            ImportError: if the system library libcairo2 is missing.
        """
        cairosvg().svg2png(bytestring=self.to_svg(size, **options).encode(), write_to=str(path))

    def to_gif(
        self, path: str | Path, size: int = 256, seconds: float | int = 4.0, width: float | int = 2.0
    ) -> None:
        """Write a GIF that draws the strokes one after the other, takes `seconds`, and repeats."""
        strokes = self.fit(size, size / 10).strokes if len(self) else []
        frames = gif_frames(strokes, size, width)
        each = 1000 * seconds * (1 - HELD) / len(frames)
        durations = [round(each)] * (len(frames) - 1) + [round(each + 1000 * seconds * HELD)]
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def cairosvg() -> ModuleType:
    """Import CairoSVG on demand, since it needs a system library."""
    try:
        return importlib.import_module("cairosvg")
    except (ImportError, OSError) as error:
        raise ImportError(
            f"PNG output needs CairoSVG and the system library libcairo2 ({error}). "
            "Install both: `apt-get install libcairo2` and `pip install cairosvg`"
        ) from error


def rainbow(count: int) -> list[str]:
    """Return `count` distinct colours in the order of the spectrum, as hexadecimal RGB."""
    colours = [colorsys.hls_to_rgb(0.83 * number / max(count - 1, 1), 0.42, 0.85) for number in range(count)]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colour) for colour in colours]
