"""Which strokes are alike to the hyper-network: clusters of its activations while it draws.

*Source*: paper appendix K, figures 11 to 16; the released code clusters the hyper cell state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sketchembed.errors import ConfigError, DataError, check_range
from sketchembed.evaluation.clusters.cluster_figure import (
    Coloured,
    clusters_svg,
    colour_of,
    palette,
    runs,
    wholes_svg,
)
from sketchembed.evaluation.clusters.hyper_states import NOISE, by_use, cluster, half_cores, trace
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.generation.generation_inputs import spread
from sketchembed.reporting.part import Cell, Drawings, Figure, Part, Table
from sketchembed.reporting.svg_elements import boxed
from sketchembed.sketch import Sketch

PAPER_EPS, PAPER_SIZE = 3.9, 512
"""The paper's radius, which is one of its hyper-network's size alone; the released code's is 4.2."""
ROUND = ("circle", "snowman", "clock", "cup")
SHARES = ("noise", "largest", "shared")


@dataclass(frozen=True)
class Setting:
    """A choice of classes.

    Attributes:
        key: a short name.
        title: heading.
        classes: names; none for those that are held out from training.
        figures: numbers of the paper's figures: clusters apart, and whole drawings.
    """

    key: str
    title: str
    classes: tuple[str, ...]
    figures: tuple[int, int]


SETTINGS = (
    Setting("snowman", "Snowmen alone", ("snowman",), (11, 12)),
    Setting("round", "Round things", ROUND, (13, 14)),
    Setting("unseen", "Held-out classes", (), (15, 16)),
)


def clusters(
    context: EvaluationContext,
    eps: float | None = None,
    min_samples: int = 5,
    drawings: int = 90,
    rows: int = 16,
    columns: int = 12,
) -> Part:
    """Clusters of strokes by the hyper-network's activations (App. K, Fig. 11 to 16).

    Args:
        context: the model.
        eps: DBSCAN's radius. If not given, the paper's 3.9 for a hyper-network of its size, 512, and for any
            other size the radius within which half of all steps have `min_samples` neighbours.
        min_samples: DBSCAN's, the step itself included.
        drawings: of each setting, fewer where there are not so many.
        rows: drawings in a figure.
        columns: clusters in a figure, those in the most drawings.
    """
    numbers = {"min-samples": min_samples, "drawings": drawings, "rows": rows, "columns": columns}
    for name, number in numbers.items():
        check_range(name, number, 1)
    part = Part("clusters", "Clusters of strokes in the hyper-network (App. K, Fig. 11 to 16)")
    lines: list[list[Cell]] = []
    for setting in SETTINGS:
        known = set(context.pictures.store.class_names)
        names = [name for name in setting.classes or context.pictures.unseen if name in known]
        pools = {name: context.pictures.up_to(name, drawings, context.seed) for name in names}
        chosen = spread(pools, drawings, context.seed)
        if not chosen:
            continue
        indices = [index for _, index in chosen]
        images = context.pictures.images(indices, context.net.config.image_size)
        traces = trace(context.net, context.embed(context.model, images).to(context.device))
        codes = np.concatenate([one.codes for one in traces])
        radius, origin = _radius(codes, eps, min_samples, context.net.config.hyper)
        labels = cluster(codes, radius, min_samples)
        parts = np.split(labels, np.cumsum([len(one.codes) for one in traces])[:-1])
        parts = by_use(parts, [one.visible for one in traces])
        found = int(labels.max(initial=NOISE)) + 1
        drawn = [
            Coloured(name, one.sketch, its) for (name, _), one, its in zip(chosen, traces, parts, strict=True)
        ]
        measured = {
            "steps": len(labels),
            "segments on paper": int(sum(one.visible.sum() for one in traces)),
            "eps": radius,
            "clusters": found,
            "noise": float(np.mean(labels == NOISE)) if len(labels) else 0.0,
            "largest": float(np.bincount(labels[labels >= 0], minlength=1).max() / max(len(labels), 1)),
            "shared": _shared(parts, found),
            "per drawing": float(np.mean([len(set(its[its >= 0])) for its in parts])),
        }
        lines.append([setting.title, len(chosen), *(_cell(key, one) for key, one in measured.items())])
        part.values |= {f"{setting.key}/{key.replace(' ', '_')}": float(one) for key, one in measured.items()}
        part.facts[f"{setting.key}: drawings"] = hashlib.sha256(np.array(indices).tobytes()).hexdigest()[:16]
        part.figures += _figures(setting, drawn, found, rows, columns, radius)
        part.drawings.append(
            _replays(setting, drawn[:rows], columns, context.pictures.sketches(indices[:rows]))
        )
    if not lines:
        raise DataError(
            "the data have none of the classes that are clustered",
            expected=f"{', '.join(ROUND)}, or held-out classes",
            fix="`sketchembed data quickdraw` fetches them",
        )
    part.about = (
        f"Drawings are embedded and drawn greedily by the model. At each step that draws a segment, the "
        f"{context.net.config.hyper} numbers of the hyper-network's cell state are kept; DBSCAN (min_samples "
        f"{min_samples}) clusters the steps of all drawings of a setting. Its radius eps is {origin}. The "
        f"drawings were chosen by seed {context.seed}, round the classes. Clusters are numbered by how many "
        "drawings show them; steps of a lifted pen take part but are not seen."
    )
    part.tables.append(
        Table(
            "Clusters of decoding steps",
            [
                "drawings of",
                "drawings",
                "steps",
                "on paper",
                "eps",
                "clusters",
                "noise",
                "in the largest",
                "shared",
                "a drawing",
            ],
            lines,
            note="Noise and the largest cluster: shares of all steps. Shared: the share of clusters with "
            "steps of two drawings or more. A drawing: clusters in it, on average. The paper shows pictures.",
        )
    )
    part.facts |= {"eps": eps if eps is not None else origin, "min_samples": min_samples}
    return part


def _radius(codes: np.ndarray, eps: float | None, min_samples: int, size: int) -> tuple[float, str]:
    """Return DBSCAN's radius, and where it is from.

    Distances grow with the number of activations and with how far a model's training has driven them: at
    other sizes than the paper's, its radius, scaled by the root of the sizes' ratio, left nearly everything
    to noise.
    """
    if eps is not None:
        if eps <= 0:
            raise ConfigError(f"eps is {eps:g}", expected="a radius above 0", fix="The paper's is 3.9")
        return eps, f"{eps:g}, as asked for"
    if size == PAPER_SIZE:
        return PAPER_EPS, f"{PAPER_EPS}, the paper's"
    if not len(codes):
        return PAPER_EPS, "unused: nothing was drawn"
    return (
        half_cores(codes, min_samples),
        f"chosen in each setting so that half of the steps are cores (the paper's {PAPER_EPS} is for "
        f"{PAPER_SIZE} numbers)",
    )


def _cell(key: str, value: float | int) -> Cell:
    """Return a number as the table shows it."""
    if key in SHARES:
        return f"{value:.0%}"
    return value if isinstance(value, int) else f"{value:.3g}"


def _shared(parts: Sequence[np.ndarray], count: int) -> float:
    """Return the share of clusters that have steps of two drawings or more."""
    holders = np.zeros(count, dtype=np.int64)
    for labels in parts:
        holders[np.unique(labels[labels >= 0])] += 1
    return float(np.mean(holders >= 2)) if count else 0.0


def _figures(
    setting: Setting, drawn: Sequence[Coloured], found: int, rows: int, columns: int, eps: float
) -> list[Figure]:
    colours = palette(drawn[:rows], columns)
    apart, whole = setting.figures
    smaller = " Dark grey: clusters without a column." if found > len(colours) else ""
    return [
        Figure(
            f"figure-{apart}-clusters-{setting.key}",
            f"{setting.title}: clusters apart (Fig. {apart})",
            clusters_svg(sorted(drawn[:rows], key=lambda one: one.name), colours),
            "Each row is a drawing: the whole, coloured by cluster, then what is noise, then a column for "
            f"each of the {len(colours)} most used of the {found} clusters that these drawings show (eps "
            f"{eps:.3g}). The rest of each drawing is faint.{smaller}",
        ),
        Figure(
            f"figure-{whole}-coloured-{setting.key}",
            f"{setting.title}: whole drawings (Fig. {whole})",
            wholes_svg(sorted(drawn[: rows + rows // 2], key=lambda one: one.name), colours),
            f"Drawings in the colours of figure {apart}. Light grey: noise.{smaller}",
        ),
    ]


def _replays(setting: Setting, drawn: Sequence[Coloured], columns: int, given: Sequence[Sketch]) -> Drawings:
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
    return Drawings(f"{setting.title}, drawn cluster by cluster", items)
