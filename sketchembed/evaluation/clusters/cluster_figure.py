"""Drawings with segments coloured by cluster: all clusters together, and one cluster per column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sketchembed.reporting.grid import Content, Tile, grid_svg
from sketchembed.reporting.part import Drawings
from sketchembed.reporting.svg_elements import boxed
from sketchembed.sketch import Sketch

COLOURS = (
    *("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#00a6b8"),
    *("#8c4a2f", "#e05fb0", "#a9a60f", "#2b2f9e", "#00875a", "#c79a4b"),
)
NOISE, OTHERS, FAINT = "#b4bbc4", "#4a5058", "#e9ecf0"
"""Colours of noise, of clusters without a column, and of the other segments in a column's cell."""
SIDE = 56
WIDE = 8  # drawings per row in wholes_svg


@dataclass(frozen=True, eq=False)
class Coloured:
    """A drawing of n points with the cluster of each segment, int64 ``[n - 1]``; -1 is noise."""

    name: str
    sketch: Sketch
    labels: np.ndarray

    def tile(self, colour: Callable[[int], str], label: str = "") -> Tile:
        """Return the drawing as a cell of a grid, with the colour of each cluster and a text below."""
        strokes, labels = runs(self.sketch, self.labels)
        lines = [(colour(one), stroke) for one, stroke in zip(labels, strokes, strict=True)]
        lines.sort(key=lambda line: line[0] != FAINT)
        return Tile(
            Sketch.from_strokes([stroke for _, stroke in lines]),
            [its for its, _ in lines],
            label,
            box=self.sketch.bounds if len(self.sketch) else None,
        )

    @property
    def visible_labels(self) -> np.ndarray:
        """The clusters of the visible segments."""
        visible: np.ndarray = self.labels[~self.sketch.lifted[:-1]]
        return visible


def runs(sketch: Sketch, labels: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
    """Split the visible lines of a drawing where the cluster changes.

    `labels` are those of :class:`Coloured`. Returns the points of each line, and its cluster.
    """
    lines: list[np.ndarray] = []
    found: list[int] = []
    first = 0
    for end in range(1, len(sketch)):
        visible = not sketch.lifted[end - 1]
        label = int(labels[end - 1])
        continues = visible and end < len(labels) and not sketch.lifted[end] and labels[end] == label
        if not visible:
            first = end
        elif not continues:
            lines.append(sketch.points[first : end + 1])
            found.append(label)
            first = end
    return lines, found


def palette(drawings: Sequence[Coloured], count: int) -> dict[int, str]:
    """Return a colour for each of the first `count` clusters that are visible in some drawings."""
    shown = sorted({int(label) for one in drawings for label in one.visible_labels if label >= 0})[:count]
    return {label: COLOURS[at % len(COLOURS)] for at, label in enumerate(shown)}


def colour_of(label: int, colours: Mapping[int, str]) -> str:
    """Return the colour of a cluster, also if it is noise or has no colour in `colours`."""
    return NOISE if label < 0 else colours.get(label, OTHERS)


def clusters_svg(drawings: Sequence[Coloured], colours: Mapping[int, str]) -> str:
    """Return a row per drawing: all its clusters, its noise, and its part of each cluster with a column.

    `colours` are those of the clusters with columns, in order.
    """

    def only(wanted: int) -> Callable[[int], str]:
        return lambda label: colour_of(label, colours) if label == wanted else FAINT

    rows: list[list[Tile | Content]] = [
        [
            one.tile(lambda label: colour_of(label, colours)),
            None,
            *(one.tile(only(label)) if label in one.visible_labels else None for label in (-1, *colours)),
        ]
        for one in drawings
    ]
    heads = ["whole", "", "noise", *map(str, colours)]
    # The name of several rows of one class is written once.
    names = [one.name for one in drawings]
    names = [name if at == 0 or names[at - 1] != name else "" for at, name in enumerate(names)]
    return grid_svg(rows, heads=heads, names=names, size=SIDE, framed=False)


def wholes_svg(drawings: Sequence[Coloured], colours: Mapping[int, str]) -> str:
    """Return whole drawings, coloured by cluster."""
    tiles = [one.tile(lambda label: colour_of(label, colours), one.name) for one in drawings]
    return grid_svg([tiles[at : at + WIDE] for at in range(0, len(tiles), WIDE)], size=112)


def replays(title: str, drawn: Sequence[Coloured], columns: int, given: Sequence[Sketch]) -> Drawings:
    """Return drawings coloured by cluster, with the inputs `given`, for replay on a page."""
    colours = palette(drawn, columns)
    items = []
    for one, sketch in zip(drawn, given, strict=True):
        strokes, labels = runs(one.sketch, one.labels)
        sample = {
            "label": "by cluster",
            "strokes": boxed(Sketch.from_strokes(strokes)),
            "colours": [colour_of(label, colours) for label in labels],
        }
        items.append({"class": one.name, "input": boxed(sketch), "samples": [sample]})
    return Drawings(f"{title}, coloured by cluster", items)
