"""How often what is nearest in embedding space is of the same class: mean average precision."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from sketchembed.data.pictures import Pictures
from sketchembed.evaluation.ranking import Ranking, chance, rank
from sketchembed.evaluation.study import Study
from sketchembed.reporting.figures import drawing_as_svg, svg
from sketchembed.reporting.part import Figure, Part, Table

FIRSTS = (1, 5, 10)
PIXELS, CHANCE = "Raw pixels", "Chance"
PIECE = 1024
"""Drawings that are embedded between two signs of progress."""


def embedded(study: Study, indices: np.ndarray, what: str) -> dict[str, Float[Tensor, "n size"]]:
    """Return drawings as each model's embeddings and as raw pixels, by the name of each.

    Args:
        study: whose models.
        indices: of the drawings, in the store.
        what: they are, for the display of progress.
    """
    size = study.net.config.image_size
    found: dict[str, list[Tensor]] = {name: [] for name in [*(model.name for model in study.both), PIXELS]}
    pieces = [indices[at : at + PIECE] for at in range(0, len(indices), PIECE)]
    for piece in track(pieces, f"Embedding {what}", transient=True):
        images = study.pictures.images(piece, size)
        for model in study.both:
            found[model.name].append(study.embed(model, images))
        found[PIXELS].append(as_ink(images))
    return {name: torch.cat(parts) for name, parts in found.items()}


def as_ink(images: Float[Tensor, "n 1 size size"]) -> Float[Tensor, "n pixels"]:
    """Return images of drawings as vectors of their darkness."""
    ink: Tensor = (1 - images).flatten(1)
    return ink


def digest(indices: np.ndarray) -> str:
    """Return a short digest of which drawings there are, in order."""
    return hashlib.sha256(np.asarray(indices, dtype="<i8").tobytes()).hexdigest()[:16]


def score(study: Study, part: Part, measured: int) -> str:
    """Add the table and the figure of mean average precision, and return what was done."""
    pictures = study.pictures
    table = Table(
        "Is what is nearest of the same class?",
        ["drawings", "by", "mAP", "±", *(f"precision@{first}" for first in FIRSTS)],
        [],
        note="Each drawing is a query for all others of its row. Means over classes, each of which counts "
        "alike; ± is half the 95 % interval over classes. Where a drawing has fewer than k others of its class, "
        "precision@k cannot reach 1.",
    )
    told: list[str] = []
    rankings: dict[str, dict[str, Ranking]] = {}
    for kind, classes in (("unseen", pictures.unseen), ("seen", pictures.seen)):
        chosen = np.concatenate(
            [pictures.up_to(name, measured, study.seed, held_out=True) for name in classes]
        )
        labels = np.asarray(pictures.store.labels[chosen])
        vectors = embedded(study, chosen, f"drawings of {kind} classes")
        found = {name: rank(z.to(study.device), labels, FIRSTS) for name, z in vectors.items()}
        found[CHANCE] = chance(labels, FIRSTS)
        rankings[kind] = found
        slugs = {model.name: model.network.kind for model in study.both} | {
            PIXELS: "pixels",
            CHANCE: "chance",
        }
        title = f"{kind} classes, held out"
        for name, ranking in found.items():
            mean = ranking.mean(ranking.average_precision)
            spread_of = ranking.interval(ranking.average_precision)
            first = [ranking.mean(ranking.precision[number]) for number in FIRSTS]
            table.rows.append([title, name, mean, spread_of, *first])
            stem = f"{kind}/{slugs[name]}"
            part.values |= {f"{stem}/map": mean, f"{stem}/map_interval": spread_of}
            part.values |= {f"{stem}/precision-{at}": one for at, one in zip(FIRSTS, first, strict=True)}
        scored = len(next(iter(found.values())).by_class(found[CHANCE].average_precision))
        told.append(f"{len(chosen)} drawings of {scored} {kind} classes")
        part.facts |= {f"measured, {kind}": len(chosen), f"measured_digest, {kind}": digest(chosen)}
    part.tables.append(table)
    part.figures.append(_figure(pictures, rankings))
    return (
        f"Mean average precision is measured with {' and '.join(told)}, at most {measured} of each class, "
        "none of which trains a model of Quick, Draw!."
    )


def _figure(pictures: Pictures, rankings: dict[str, dict[str, Ranking]]) -> Figure:
    """Return average precision by class: dots for unseen classes, sorted curves for the many seen ones."""
    unseen = {
        name: ranking.by_class(ranking.average_precision) for name, ranking in rankings["unseen"].items()
    }
    first = next(iter(unseen.values()))
    order = sorted(first, key=lambda label: first[label])
    names = pictures.store.class_names
    with drawing_as_svg() as pyplot:
        figure, (left, right) = pyplot.subplots(
            1, 2, figsize=(9, 1.2 + 0.155 * len(order)), gridspec_kw={"width_ratios": [1.35, 1]}
        )
        for number, (name, means) in enumerate(unseen.items()):
            colour, mark = (f"C{number}", "o") if name != CHANCE else ("0.45", "|")
            left.plot(
                [means[label] for label in order], range(len(order)), mark, color=colour, ms=4, label=name
            )
            found = rankings["seen"][name]
            curve = sorted(found.by_class(found.average_precision).values(), reverse=True)
            right.plot(
                range(1, len(curve) + 1), curve, color=colour, label=name, ls="-" if name != CHANCE else ":"
            )
        left.set_yticks(range(len(order)), [names[label] for label in order], fontsize=7)
        left.set_ylim(-0.7, len(order) - 0.3)
        left.set_xlabel("mean average precision")
        left.set_title("unseen classes")
        left.grid(axis="both", color="0.93")
        left.legend(loc="lower right", fontsize=8)
        right.set_ylabel("mean average precision")
        right.set_xlabel("classes, sorted for each method")
        right.set_title("seen classes, held-out drawings")
        right.grid(color="0.93")
        right.set_ylim(0)
        return Figure(
            "retrieval-map",
            "Mean average precision by class",
            svg(figure),
            "Left: of each unseen class, sorted by the first method's. Right: of the seen classes, sorted for "
            "each method by itself.",
        )
