"""Mean average precision of retrieval in embedding space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.fewshot.methods import pixel_features
from sketchembed.evaluation.pictures import index_digest
from sketchembed.evaluation.retrieval.ranking import RankingScores, chance, rank
from sketchembed.files.progress_bar import track
from sketchembed.reporting.figures import drawing_as_svg, svg
from sketchembed.reporting.part import Figure, Part, Table

CUTOFFS = (1, 5, 10)
PIXELS, CHANCE = "Raw pixels", "Chance"
MAX_NAMES = 60  # maximum number of classes that the figure names
BATCH = 1024  # drawings embedded between two updates of the progress bar


def embedded(
    context: EvaluationContext, indices: np.ndarray, what: str
) -> dict[str, Float[Tensor, "n size"]]:
    """Return the embeddings of drawings by each model, and their pixels, by name."""
    size = context.net.config.image_size
    found: dict[str, list[Tensor]] = {
        name: [] for name in [*(model.name for model in context.models), PIXELS]
    }
    batches = [indices[at : at + BATCH] for at in range(0, len(indices), BATCH)]
    for batch in track(batches, f"Embedding {what}"):
        images = context.pictures.images(batch, size)
        for model in context.models:
            found[model.name].append(context.embed(model, images))
        found[PIXELS].append(pixel_features(images))
    return {name: torch.cat(parts) for name, parts in found.items()}


def score(context: EvaluationContext, part: Part, measured: int) -> str:
    """Add the table and the figure of mean average precision to a part, and return a description.

    At most `measured` drawings of each class are used.
    """
    pictures = context.pictures
    table = Table(
        "Retrieval of drawings of the same class",
        ["drawings", "method", "mAP", "±", *(f"precision@{cutoff}" for cutoff in CUTOFFS)],
        [],
        note="Each drawing is a query for all other drawings of its row. Unweighted means over classes; ± is "
        "half of the 95 % interval over classes. If a drawing has fewer than k others of its class, its "
        "precision@k cannot reach 1.",
    )
    slugs = {model.name: model.network.kind for model in context.models}
    slugs |= {PIXELS: "pixels", CHANCE: "chance"}
    rankings: dict[str, dict[str, RankingScores]] = {}
    described: list[str] = []
    for kind, classes in (("unseen", pictures.unseen), ("seen", pictures.seen)):
        pools = [pictures.select_up_to(name, measured, context.seed, held_out=True) for name in classes]
        scored = sum(len(pool) > 1 for pool in pools)
        if not scored:
            continue
        chosen = np.concatenate(pools)
        labels = np.asarray(pictures.store.labels[chosen])
        vectors = embedded(context, chosen, f"drawings of {kind} classes")
        found = {name: rank(z.to(context.device), labels, CUTOFFS) for name, z in vectors.items()}
        rankings[kind] = found | {CHANCE: chance(labels, CUTOFFS)}
        for name, scores in rankings[kind].items():
            numbers = {
                "map": scores.mean(scores.average_precision),
                "map_interval": scores.interval(scores.average_precision),
            }
            numbers |= {f"precision-{cutoff}": scores.mean(scores.precision[cutoff]) for cutoff in CUTOFFS}
            table.rows.append([f"{kind} classes, held out", name, *numbers.values()])
            stem = f"{kind}/{slugs[name]}"
            part.values |= {f"{stem}/{key}": one for key, one in numbers.items() if one is not None}
        described.append(f"{len(chosen)} drawings of {scored} {kind} classes")
        part.facts |= {f"measured, {kind}": len(chosen), f"measured_digest, {kind}": index_digest(chosen)}
    if not rankings:
        return "Mean average precision is omitted: no class has two drawings that are held out."
    part.tables.append(table)
    part.figures.append(_figure(pictures.store.class_names, rankings))
    return (
        f"Mean average precision is measured on {' and '.join(described)}, at most {measured} of each class. "
        "They are held out from the training of models of Quick, Draw!."
    )


def _figure(names: Sequence[str], rankings: dict[str, dict[str, RankingScores]]) -> Figure:
    """Return average precision by class, with a panel each for unseen and seen classes."""
    panels_of = {
        kind: {name: one.by_class(one.average_precision) for name, one in of_kind.items()}
        for kind, of_kind in rankings.items()
    }
    most = max(len(next(iter(means.values()))) for means in panels_of.values())
    with drawing_as_svg() as pyplot:
        size = (0.6 + 4.4 * len(rankings), 1.3 + 0.155 * min(max(most, 14), MAX_NAMES))
        figure, panels = pyplot.subplots(1, len(rankings), squeeze=False, figsize=size)
        for panel, (kind, means) in zip(panels[0], panels_of.items(), strict=True):
            first = next(iter(means.values()))
            order = sorted(first, key=lambda label: first[label])
            for number, (name, values) in enumerate(means.items()):
                colour, mark = ("0.45", "|") if name == CHANCE else (f"C{number}", "o")
                dots = [values[label] for label in order]
                panel.plot(dots, range(len(order)), mark, color=colour, ms=4, label=name)
            named = order if len(order) <= MAX_NAMES else []
            panel.set_yticks(range(len(named)), [names[label] for label in named], fontsize=7)
            panel.set(xlabel="mean average precision", title=f"{kind} classes")
            panel.set(ylim=(-0.7, len(order) - 0.3), xlim=(0, None))
            panel.grid(color="0.93")
        panels[0][0].legend(loc="lower right", fontsize=8)
        return Figure(
            "retrieval-map",
            "Mean average precision by class",
            svg(figure),
            "Mean average precision of each class over held-out drawings. Classes are sorted by the first "
            "method, and named if there are few.",
        )
