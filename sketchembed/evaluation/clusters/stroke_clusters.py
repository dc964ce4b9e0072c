"""Clusters of strokes: DBSCAN of the hyper-network's cell states while a model draws.

*Source*: paper appendix K, figures 11 to 16; the released code clusters the hyper cell state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sketchembed.errors import DataError, check_range
from sketchembed.evaluation.clusters.cluster_figure import (
    Coloured,
    clusters_svg,
    palette,
    replays,
    wholes_svg,
)
from sketchembed.evaluation.clusters.hyper_states import NOISE, cluster, number_by_frequency, radius, trace
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.generation.generation_inputs import choose_balanced
from sketchembed.evaluation.pictures import index_digest
from sketchembed.reporting.part import Cell, Figure, Part, Table

ROUND = ("circle", "snowman", "clock", "cup")
PERCENTAGES = ("noise", "largest", "shared")
COLUMNS = (
    *("drawings of", "drawings", "steps", "visible", "eps", "clusters", "noise", "largest cluster"),
    *("shared", "per drawing"),
)
NOTE = (
    "Noise and largest cluster: percentage of all steps. Shared: percentage of clusters with steps of at "
    "least two drawings. Per drawing: mean number of clusters in a drawing. The paper shows figures only."
)


class ClassSelection(NamedTuple):
    """Classes whose drawings are clustered together; all unseen classes if `classes` is empty.

    `figures` are the numbers of the paper's figures: of clusters in columns, and of whole drawings.
    """

    key: str
    title: str
    classes: tuple[str, ...]
    figures: tuple[int, int]


SELECTIONS = (
    ClassSelection("snowman", "Snowmen", ("snowman",), (11, 12)),
    ClassSelection("round", "Round objects", ROUND, (13, 14)),
    ClassSelection("unseen", "Unseen classes", (), (15, 16)),
)


def clusters(
    context: EvaluationContext,
    eps: float | None = None,
    min_samples: int = 5,
    drawings: int = 90,
    rows: int = 16,
    columns: int = 12,
) -> Part:
    """Clusters of strokes by hyper-network states (App. K, Fig. 11 to 16).

    Args:
        context: the model and the data.
        eps: radius of DBSCAN. If not given, the paper's 3.9 for a hyper-network of its size, 512, and the
            radius at which half of the steps are core steps for other sizes.
        min_samples: number of steps in the neighbourhood of a core step of DBSCAN, including itself.
        drawings: maximum number of drawings of each selection of classes.
        rows: number of drawings in a figure.
        columns: maximum number of clusters in a figure: those in the most drawings.
    """
    numbers = {"min-samples": min_samples, "drawings": drawings, "rows": rows, "columns": columns}
    for name, number in numbers.items():
        check_range(name, number, 1)
    part = Part("clusters", "Clusters of strokes in the hyper-network (App. K, Fig. 11 to 16)")
    lines: list[list[Cell]] = []
    radius_source = ""
    for selection in SELECTIONS:
        known = set(context.pictures.store.class_names)
        names = [name for name in selection.classes or context.pictures.unseen if name in known]
        pools = {name: context.pictures.select_up_to(name, drawings, context.seed) for name in names}
        chosen = choose_balanced(pools, drawings, context.seed)
        if not chosen:
            continue
        indices = [index for _, index in chosen]
        drawn, measured, radius_source = _cluster_drawings(context, chosen, eps, min_samples)
        lines.append([selection.title, len(chosen), *(_cell(key, one) for key, one in measured.items())])
        part.values |= {
            f"{selection.key}/{key.replace(' ', '_')}": float(one) for key, one in measured.items()
        }
        part.facts[f"{selection.key}: drawings"] = index_digest(indices)
        part.figures += _figures(selection, drawn, int(measured["clusters"]), rows, columns, measured["eps"])
        given = context.pictures.sketches(indices[:rows])
        part.drawings.append(replays(selection.title, drawn[:rows], columns, given))
    if not lines:
        raise DataError(
            "the data have none of the classes to cluster",
            expected=f"{', '.join(ROUND)}, or unseen classes",
            fix="Download them with `sketchembed data quickdraw`",
        )
    part.about = _about(context, min_samples, radius_source)
    part.tables.append(Table("Clusters of decoding steps", list(COLUMNS), lines, note=NOTE))
    part.facts |= {"eps": eps if eps is not None else radius_source, "min_samples": min_samples}
    return part


def _about(context: EvaluationContext, min_samples: int, radius_source: str) -> str:
    return (
        "Drawings are embedded and decoded greedily by the model. The cell state of the hyper-network "
        f"({context.net.config.hyper} numbers) is kept for each step that draws a segment. DBSCAN clusters "
        f"the steps of all drawings of a selection of classes, with min_samples {min_samples} and eps "
        f"{radius_source}. The drawings were chosen with seed {context.seed}, equally from all classes. "
        "Clusters are numbered by the number of drawings that show them. Steps with a lifted pen are "
        "clustered, but not visible."
    )


def _cluster_drawings(
    context: EvaluationContext, chosen: Sequence[tuple[str, int]], eps: float | None, min_samples: int
) -> tuple[list[Coloured], dict[str, float | int], str]:
    """Return drawings with clustered segments, measurements by name, and the source of the radius."""
    images = context.pictures.images([index for _, index in chosen], context.net.config.image_size)
    traces = trace(context.net, context.embed(context.model, images).to(context.device))
    states = np.concatenate([one.states for one in traces])
    eps, radius_source = radius(states, eps, min_samples, context.net.config.hyper)
    labels = cluster(states, eps, min_samples)
    parts = np.split(labels, np.cumsum([len(one.states) for one in traces])[:-1])
    parts = number_by_frequency(parts, [one.visible for one in traces])
    count = int(labels.max(initial=NOISE)) + 1
    drawn = [
        Coloured(name, one.sketch, its) for (name, _), one, its in zip(chosen, traces, parts, strict=True)
    ]
    measured: dict[str, float | int] = {
        "steps": len(labels),
        "segments on paper": int(sum(one.visible.sum() for one in traces)),
        "eps": eps,
        "clusters": count,
        "noise": float(np.mean(labels == NOISE)) if len(labels) else 0.0,
        "largest": float(np.bincount(labels[labels >= 0], minlength=1).max() / max(len(labels), 1)),
        "shared": _shared(parts, count),
        "per drawing": float(np.mean([len(set(its[its >= 0])) for its in parts])),
    }
    return drawn, measured, radius_source


def _cell(key: str, value: float | int) -> Cell:
    """Return a number as a cell of the table."""
    if key in PERCENTAGES:
        return f"{value:.0%}"
    return value if isinstance(value, int) else f"{value:.3g}"


def _shared(parts: Sequence[np.ndarray], count: int) -> float:
    """Return the share of clusters that have steps of at least two drawings."""
    holders = np.zeros(count, dtype=np.int64)
    for labels in parts:
        holders[np.unique(labels[labels >= 0])] += 1
    return float(np.mean(holders >= 2)) if count else 0.0


def _figures(
    selection: ClassSelection, drawn: Sequence[Coloured], found: int, rows: int, columns: int, eps: float
) -> list[Figure]:
    colours = palette(drawn[:rows], columns)
    apart, whole = selection.figures
    others = " Dark grey: clusters without a column." if found > len(colours) else ""
    return [
        Figure(
            f"figure-{apart}-clusters-{selection.key}",
            f"{selection.title}: clusters in columns (Fig. {apart})",
            clusters_svg(sorted(drawn[:rows], key=lambda one: one.name), colours),
            "One drawing per row: the whole drawing coloured by cluster, the noise, and a column for each "
            f"of the {len(colours)} most frequent of {found} clusters (eps {eps:.3g}). The rest of the "
            f"drawing is light grey.{others}",
        ),
        Figure(
            f"figure-{whole}-coloured-{selection.key}",
            f"{selection.title}: whole drawings (Fig. {whole})",
            wholes_svg(sorted(drawn[: rows + rows // 2], key=lambda one: one.name), colours),
            f"Drawings in the colours of figure {apart}. Light grey: noise.{others}",
        ),
    ]
