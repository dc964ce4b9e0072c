"""Maps of embeddings: panels of points, below example drawings that explain the colours.

*Source*: paper figure 5, A and B.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sketchembed.evaluation.probing.layouts import CANVAS
from sketchembed.reporting.figures import drawing_as_svg, svg
from sketchembed.sketch import Sketch

CLASS_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""From the palette of Okabe and Ito, which is suitable for colour-blind readers."""
SHADES = 24  # number of colours of a continuous variable
PANEL = 1.55  # side of a map, in inches


@dataclass(frozen=True)
class Example:
    """A drawing in the legend, in pixels of the canvas, and the value that it has in the maps."""

    sketch: Sketch
    label: str
    value: float | int


@dataclass(frozen=True)
class Map:
    """Points in 0..1, ``[n, 2]``, class numbers or values, ``[n]``, and a text in the lower left corner."""

    points: np.ndarray
    values: np.ndarray
    corner: str


@dataclass(frozen=True)
class Column:
    """A column of the figure: one variable, with a map for every model.

    `span` is its smallest and largest value; None for classes.
    """

    title: str
    examples: Sequence[Example]
    maps: Sequence[Map]
    span: tuple[float, float] | None = None


def maps_svg(rows: Sequence[str], columns: Sequence[Column]) -> str:
    """Return the figure as SVG, with a row of maps for each model named in `rows`."""
    with drawing_as_svg() as pyplot:
        heights = [0.38, *[1.0] * len(rows)]
        figure, panels = pyplot.subplots(
            len(rows) + 1,
            len(columns),
            figsize=(PANEL * len(columns) + 0.4, PANEL * sum(heights) + 0.3),
            squeeze=False,
            gridspec_kw={"height_ratios": heights},
        )
        for number, column in enumerate(columns):
            _examples(panels[0, number], column)
            for row, (name, one) in enumerate(zip(rows, column.maps, strict=True)):
                panel = panels[row + 1, number]
                _points(panel, one, column.span)
                if number == 0:
                    panel.set_ylabel(name)
        # Shorten the path data of dots, which are lines of zero length.
        return re.sub(r"M (\S+ \S+)\s+L \1\s", r"M\1h0 ", svg(figure))


def _colours(column_span: tuple[float, float] | None, values: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Return the index of each value's colour, and the colours."""
    if column_span is None:
        return values.astype(int), list(CLASS_COLOURS)
    from matplotlib import colormaps

    # The yellow end has too little contrast on white.
    shades = list(colormaps["viridis"](np.linspace(0, 0.9, SHADES)))
    share = (values - column_span[0]) / (column_span[1] - column_span[0])
    return np.clip((share * SHADES).astype(int), 0, SHADES - 1), shades


def _points(panel: Any, one: Map, span: tuple[float, float] | None) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    numbers, colours = _colours(span, one.values)
    for number in np.unique(numbers):
        # One path for all dots of a colour keeps the file small. A dot is a line of zero length.
        dots = np.repeat(one.points[numbers == number], 2, axis=0)
        path = Path(dots, [Path.MOVETO, Path.LINETO] * (len(dots) // 2))
        path.should_simplify = False  # simplification would remove lines of zero length
        _add(panel, PathPatch(path, fill=False, edgecolor=colours[number], linewidth=2.6, capstyle="round"))
    panel.set(xlim=(-0.06, 1.06), ylim=(-0.16, 1.06), xticks=[], yticks=[])
    for spine in panel.spines.values():
        spine.set(visible=True, color="0.8", linewidth=0.6)
    frame = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    panel.text(0.03, 0.03, one.corner, transform=panel.transAxes, fontsize=8, bbox=frame)


def _add(panel: Any, artist: Any) -> None:
    """Add an artist without clipping, since the names of clip paths would differ in every file."""
    panel.add_artist(artist)
    artist.set_clip_on(False)
    artist.set_in_layout(False)


def _examples(panel: Any, column: Column) -> None:
    """Draw the examples in a row, each in its colour."""
    from matplotlib.collections import LineCollection

    panel.axis("off")
    panel.set_title(column.title, fontsize=9, pad=2)
    numbers, colours = _colours(column.span, np.array([example.value for example in column.examples]))
    # A column has the width of four drawings, so that all drawings have the same size.
    step = (CANVAS + 4) * max(1, 4 / len(column.examples))
    for place, (example, number) in enumerate(zip(column.examples, numbers, strict=True)):
        shift = np.array([(place + 0.5) * step - CANVAS / 2, 0])
        corners = np.array([[0, 0], [CANVAS, 0], [CANVAS, CANVAS], [0, CANVAS], [0, 0]]) + shift
        strokes = [stroke + shift for stroke in example.sketch.strokes]
        _add(panel, LineCollection([corners], colors="0.85", linewidths=0.5))
        _add(panel, LineCollection(strokes, colors=[colours[number]], linewidths=0.9, capstyle="round"))
        panel.text(
            (place + 0.5) * step, CANVAS + 2, example.label, ha="center", va="top", fontsize=6, color="0.2"
        )
    panel.set(xlim=(1, step * len(column.examples) - 1), ylim=(CANVAS + 14, -1), aspect="equal")
