"""Drawings whose segments are coloured by cluster: whole, and cluster by cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sketchembed.reporting.grid import Content, Tile, grid_svg
from sketchembed.sketch import Sketch

COLOURS = (
    *("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#00a6b8"),
    *("#8c4a2f", "#e05fb0", "#a9a60f", "#2b2f9e", "#00875a", "#c79a4b"),
)
NOISE, OTHERS, FAINT = "#b4bbc4", "#4a5058", "#e9ecf0"
"""Colours of noise, of clusters without a column, and of what a cell is not about."""
SIDE = 56
WIDE = 8
"""Whole drawings in a row."""


@dataclass(frozen=True, eq=False)
class Coloured:
    """A drawing with the cluster of each segment.

    Attributes:
        name: of its class.
        sketch: n points.
        labels: int64 ``[n - 1]``, of the segment that ends at each point but the first; -1 is noise.
    """

    name: str
    sketch: Sketch
    labels: np.ndarray

    def tile(self, colour: Callable[[int], str], label: str = "") -> Tile:
        """Return the drawing as a grid's cell.

        Args:
            colour: of the segments of a cluster.
            label: below it.
        """
        strokes, labels = runs(self.sketch, self.labels)
        lines = [(colour(one), stroke) for one, stroke in zip(labels, strokes, strict=True)]
        lines.sort(key=lambda line: line[0] != FAINT)
        return Tile(
            Sketch.from_strokes([stroke for _, stroke in lines]),
            [its for its, _ in lines],
            label,
            box=self.sketch.bounds if len(self.sketch) else None,
        )

    def holds(self, label: int) -> bool:
        """Return whether a visible segment is of this cluster."""
        return bool(np.any(self.labels[~self.sketch.lifted[:-1]] == label))


def runs(sketch: Sketch, labels: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
    """Return the lines on paper, parted where the label changes, and the label of each.

    Args:
        sketch: n points.
        labels: int64 ``[n - 1]``, see :class:`Coloured`.
    """
    lines: list[np.ndarray] = []
    found: list[int] = []
    first = 0
    for end in range(1, len(sketch)):
        on_paper = not sketch.lifted[end - 1]
        label = int(labels[end - 1])
        more = on_paper and end < len(labels) and not sketch.lifted[end] and labels[end] == label
        if not on_paper:
            first = end
        elif not more:
            lines.append(sketch.points[first : end + 1])
            found.append(label)
            first = end
    return lines, found


def palette(drawings: Sequence[Coloured], count: int) -> dict[int, str]:
    """Return a colour for each of the first clusters that these drawings show.

    Args:
        drawings: see there.
        count: clusters at the most.
    """
    labels = [one.labels[~one.sketch.lifted[:-1]] for one in drawings]
    shown = sorted({int(label) for its in labels for label in its if label >= 0})[:count]
    return {label: COLOURS[at % len(COLOURS)] for at, label in enumerate(shown)}


def colour_of(label: int, colours: Mapping[int, str]) -> str:
    """Return a cluster's colour, or that of noise or of all other clusters."""
    return NOISE if label < 0 else colours.get(label, OTHERS)


def clusters_svg(drawings: Sequence[Coloured], colours: Mapping[int, str]) -> str:
    """Return a row a drawing: the whole, its noise, and its part in each of some clusters.

    Args:
        drawings: see there.
        colours: of the clusters, in the order of their columns.
    """

    def only(wanted: int) -> Callable[[int], str]:
        return lambda label: colour_of(label, colours) if label == wanted else FAINT

    rows: list[list[Tile | Content]] = [
        [
            one.tile(lambda label: colour_of(label, colours)),
            None,
            *(one.tile(only(label)) if one.holds(label) else None for label in (-1, *colours)),
        ]
        for one in drawings
    ]
    heads = ["whole", "", "noise", *map(str, colours)]
    return grid_svg(rows, heads=heads, names=_names(drawings), size=SIDE, framed=False)


def wholes_svg(drawings: Sequence[Coloured], colours: Mapping[int, str]) -> str:
    """Return whole drawings, coloured by cluster.

    Args:
        drawings: see there.
        colours: of the clusters.
    """
    tiles = [one.tile(lambda label: colour_of(label, colours), one.name) for one in drawings]
    return grid_svg([tiles[at : at + WIDE] for at in range(0, len(tiles), WIDE)], size=112)


def _names(drawings: Sequence[Coloured]) -> list[str]:
    """Return the names of rows, equal ones below each other once."""
    names = [one.name for one in drawings]
    return [name if at == 0 or names[at - 1] != name else "" for at, name in enumerate(names)]
