"""How often what is nearest in embedding space is of the same class: mean average precision."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.retrieval.ranking import Ranking, chance, rank
from sketchembed.reporting.figures import drawing_as_svg, svg
from sketchembed.reporting.part import Figure, Part, Table

FIRSTS = (1, 5, 10)
PIXELS, CHANCE = "Raw pixels", "Chance"
DOTS = 60
"""Classes that have a line each in the figure, at the most."""
PIECE = 1024
"""Drawings that are embedded between two signs of progress."""


def embedded(
    context: EvaluationContext, indices: np.ndarray, what: str
) -> dict[str, Float[Tensor, "n size"]]:
    """Return drawings as each model's embeddings and as raw pixels, by the name of each.

    Args:
        context: whose models.
        indices: of the drawings, in the store.
        what: they are, for the display of progress.
    """
    size = context.net.config.image_size
    found: dict[str, list[Tensor]] = {name: [] for name in [*(model.name for model in context.both), PIXELS]}
    pieces = [indices[at : at + PIECE] for at in range(0, len(indices), PIECE)]
    for piece in track(pieces, f"Embedding {what}", transient=True):
        images = context.pictures.images(piece, size)
        for model in context.both:
            found[model.name].append(context.embed(model, images))
        found[PIXELS].append(as_ink(images))
    return {name: torch.cat(parts) for name, parts in found.items()}


def as_ink(images: Float[Tensor, "n 1 size size"]) -> Float[Tensor, "n pixels"]:
    """Return images of drawings as vectors of their darkness."""
    ink: Tensor = (1 - images).flatten(1)
    return ink


def digest(indices: np.ndarray) -> str:
    """Return a short digest of which drawings there are, in order."""
    return hashlib.sha256(np.asarray(indices, dtype="<i8").tobytes()).hexdigest()[:16]


def score(context: EvaluationContext, part: Part, measured: int) -> str:
    """Add the table and the figure of mean average precision to a part, and return what was done.

    Args:
        context: whose models.
        part: what is added to.
        measured: drawings of each class, at the most.
    """
    pictures = context.pictures
    table = Table(
        "Is what is nearest of the same class?",
        ["drawings", "by", "mAP", "±", *(f"precision@{first}" for first in FIRSTS)],
        [],
        note="Each drawing is a query for all others of its row. Means over classes, each of which counts "
        "alike; ± is half the 95 % interval over classes. Where a drawing has fewer than k others of its "
        "class, precision@k cannot reach 1.",
    )
    slugs = {model.name: model.network.kind for model in context.both} | {PIXELS: "pixels", CHANCE: "chance"}
    rankings: dict[str, dict[str, Ranking]] = {}
    told: list[str] = []
    for kind, classes in (("unseen", pictures.unseen), ("seen", pictures.seen)):
        pools = [pictures.up_to(name, measured, context.seed, held_out=True) for name in classes]
        scored = sum(len(pool) > 1 for pool in pools)
        if not scored:
            continue
        chosen = np.concatenate(pools)
        rankings[kind] = _ranked(context, chosen, kind)
        for name, ranking in rankings[kind].items():
            found = _summary(ranking)
            table.rows.append([f"{kind} classes, held out", name, *found.values()])
            stem = f"{kind}/{slugs[name]}"
            part.values |= {f"{stem}/{key}": one for key, one in found.items() if one is not None}
        told.append(f"{len(chosen)} drawings of {scored} {kind} classes")
        part.facts |= {f"measured, {kind}": len(chosen), f"measured_digest, {kind}": digest(chosen)}
    if not rankings:
        return "Mean average precision is left out: no class has two drawings that are held out."
    part.tables.append(table)
    part.figures.append(_figure(pictures.store.class_names, rankings))
    return (
        f"Mean average precision is measured with {' and '.join(told)}, at most {measured} of each class, "
        "none of which trains a model of Quick, Draw!."
    )


def _ranked(context: EvaluationContext, chosen: np.ndarray, kind: str) -> dict[str, Ranking]:
    """Return how each method ranks the drawings, by its name."""
    labels = np.asarray(context.pictures.store.labels[chosen])
    vectors = embedded(context, chosen, f"drawings of {kind} classes")
    found = {name: rank(z.to(context.device), labels, FIRSTS) for name, z in vectors.items()}
    return found | {CHANCE: chance(labels, FIRSTS)}


def _summary(ranking: Ranking) -> dict[str, float | None]:
    """Return the numbers of a row."""
    found = {
        "map": ranking.mean(ranking.average_precision),
        "map_interval": ranking.interval(ranking.average_precision),
    }
    return found | {f"precision-{first}": ranking.mean(ranking.precision[first]) for first in FIRSTS}


def _figure(names: Sequence[str], rankings: dict[str, dict[str, Ranking]]) -> Figure:
    """Return average precision by class, a panel each for unseen and seen classes."""
    means = {
        kind: {name: one.by_class(one.average_precision) for name, one in of_kind.items()}
        for kind, of_kind in rankings.items()
    }
    counts = [len(next(iter(of_kind.values()))) for of_kind in means.values()]
    rows = max((count for count in counts if count <= DOTS), default=20)
    with drawing_as_svg() as pyplot:
        figure, panels = pyplot.subplots(
            1, len(means), squeeze=False, figsize=(0.6 + 4.4 * len(means), 1.3 + 0.155 * max(rows, 14))
        )
        for panel, (kind, of_kind) in zip(panels[0], means.items(), strict=True):
            _panel(panel, of_kind, names)
            panel.set_title(f"{kind} classes")
            panel.grid(color="0.93")
        panels[0][0].legend(loc="lower right", fontsize=8)
        return Figure(
            "retrieval-map",
            "Mean average precision by class",
            svg(figure),
            "Average precision of each class, held-out drawings only. Dots: by class, sorted by the first "
            "method's. Curves: where there are many classes, sorted for each method by itself.",
        )


def _panel(panel: Any, means: dict[str, dict[int, float]], names: Sequence[str]) -> None:
    """Draw the dots of each class, or curves where they are too many."""
    first = next(iter(means.values()))
    order = sorted(first, key=lambda label: first[label])
    dots = len(order) <= DOTS
    for number, (name, values) in enumerate(means.items()):
        colour = f"C{number}" if name != CHANCE else "0.45"
        if dots:
            places = [values[label] for label in order]
            mark = "o" if name != CHANCE else "|"
            panel.plot(places, range(len(order)), mark, color=colour, ms=4, label=name)
        else:
            curve = sorted(values.values(), reverse=True)
            style = "-" if name != CHANCE else ":"
            panel.plot(range(1, len(curve) + 1), curve, style, color=colour, label=name)
    if dots:
        panel.set_yticks(range(len(order)), [names[label] for label in order], fontsize=7)
        panel.set_ylim(-0.7, len(order) - 0.3)
        panel.set_xlim(0)
        panel.set_xlabel("mean average precision")
    else:
        panel.set_ylim(0)
        panel.set_ylabel("mean average precision")
        panel.set_xlabel("classes, sorted for each method")
