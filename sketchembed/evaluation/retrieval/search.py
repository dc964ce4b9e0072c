"""Retrieval: the drawings with the nearest embeddings, and how often they have the same class."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from sketchembed.errors import check_range
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.fewshot.methods import pixel_features
from sketchembed.evaluation.generation.generation_inputs import choose_balanced
from sketchembed.evaluation.pictures import index_digest
from sketchembed.evaluation.retrieval.ranking import similarities
from sketchembed.evaluation.retrieval.retrieval_scores import PIXELS, embedded, score
from sketchembed.networks.model_inputs import image_files, read_drawing
from sketchembed.reporting.grid import Content, Tile, grid_svg
from sketchembed.reporting.part import Figure, Part, Table

SAME_CLASS = "#2a9d4a"  # frame colour of a drawing of the same class as the query


def retrieve(
    context: EvaluationContext,
    image: Path | None = None,
    nearest: int = 6,
    queries: int = 10,
    gallery: int = 40,
    scores: bool = True,
    measured: int = 60,
) -> Part:
    """Retrieval of the nearest drawings, and mean average precision.

    Args:
        context: the models and the data.
        image: a picture of a drawing, or a folder of pictures, to use as queries; random held-out drawings if
            not given. As the first argument it needs no --image.
        nearest: number of drawings shown for each query.
        queries: number of random queries, half of them of seen classes.
        gallery: maximum number of drawings of each class that are searched.
        scores: whether to measure mean average precision.
        measured: maximum number of drawings of each class in that measurement.
    """
    for name, value in {"nearest": nearest, "queries": queries, "gallery": gallery}.items():
        check_range(name, value, 1)
    check_range("measured", measured, 2)
    part = Part("retrieve", "Retrieval in embedding space")
    part.about = _search(context, part, _queries(context, image, queries), nearest, gallery)
    if scores:
        part.about += " " + score(context, part, measured)
    return part


@dataclass(frozen=True, eq=False)
class Queries:
    """Queries of a retrieval, with their tiles in the figure and a description.

    Names are those of files or of classes. Indices are those of drawings in the store; -1 for files.
    """

    names: list[str]
    images: Float[torch.Tensor, "n 1 size size"]
    tiles: Sequence[Content]
    indices: list[int]
    about: str


def _queries(context: EvaluationContext, image: Path | None, count: int) -> Queries:
    size, pictures = context.net.config.image_size, context.pictures
    if image is not None:
        files = image_files(image)
        images = torch.stack([read_drawing(file, size) for file in files])
        about = f"{len(files)} images, {image.name}" if len(files) > 1 else f"the image {image.name}"
        return Queries([file.stem for file in files], images, list(images.numpy()), [-1] * len(files), about)
    chosen: list[tuple[str, int]] = []
    for classes, number in ((pictures.seen, count // 2), (pictures.unseen, count - count // 2)):
        pools = {name: pictures.select_up_to(name, len(pictures.store), held_out=True) for name in classes}
        chosen += choose_balanced(pools, number, context.seed)
    names, indices = [name for name, _ in chosen], [index for _, index in chosen]
    seen = sum(name in set(pictures.seen) for name in names)
    about = (
        f"{len(chosen)} held-out drawings, {seen} of seen classes and {len(chosen) - seen} of unseen classes"
    )
    return Queries(names, pictures.images(indices, size), pictures.sketches(indices), indices, about)


def _search(context: EvaluationContext, part: Part, queries: Queries, nearest: int, gallery: int) -> str:
    """Add the figure and the table of the nearest drawings, and return a description."""
    pictures, store = context.pictures, context.pictures.store
    searched = np.concatenate(
        [pictures.select_up_to(name, gallery, context.seed) for name in pictures.classes]
    )
    vectors = embedded(context, searched, "the gallery")
    embeddings = {model.name: context.embed(model, queries.images) for model in context.models}
    if context.baseline is None:
        embeddings[PIXELS] = pixel_features(queries.images)
    rows: list[list[Tile | Content]] = [[Tile(one, shaded=True)] for one in queries.tiles]
    table = Table("Nearest drawings", ["query", "method", *(str(at + 1) for at in range(nearest))], [])
    heads = ["query"]
    for method, z in embeddings.items():
        heads += ["", *[f"nearest by {method}"] * nearest]
        close = similarities(z, vectors[method])
        # A query in the gallery does not find itself.
        close[torch.as_tensor(queries.indices)[:, None] == torch.as_tensor(searched)[None, :]] = -torch.inf
        best = close.topk(min(nearest, len(searched)), dim=1)
        for at, (cosines, places) in enumerate(zip(best.values.tolist(), best.indices.numpy(), strict=True)):
            found = searched[places]
            classes = [store.class_names[label] for label in store.labels[found]]
            cells: list[Tile | Content] = [None]
            for sketch, name, cosine in zip(pictures.sketches(found), classes, cosines, strict=True):
                same = queries.indices[at] >= 0 and name == queries.names[at]
                label = "\n".join([*textwrap.wrap(name, 12)[:2], f"{cosine:.2f}"])
                cells.append(Tile(sketch, label=label, frame=SAME_CLASS if same else None))
            rows[at] += cells
            shown = [f"{name} ({cosine:.3f})" for name, cosine in zip(classes, cosines, strict=True)]
            table.rows.append([queries.names[at], method, *shown])
    names = ["\n".join(textwrap.wrap(name, 14)) for name in queries.names]
    caption = (
        f"Queries (shaded), and the {nearest} of {len(searched)} drawings with the nearest embeddings, with "
        "their class and cosine."
    )
    caption += " Green: same class as the query." if queries.indices[0] >= 0 else ""
    figure = grid_svg(rows, names=names, heads=heads, size=64)
    part.figures.append(Figure("retrieval-nearest", "Nearest drawings", figure, caption))
    part.tables.append(table)
    part.facts |= {"gallery": len(searched), "gallery_digest": index_digest(searched)}
    return (
        f"Queries: {queries.about}. Each query is compared with {len(searched)} drawings of "
        f"{len(pictures.classes)} classes, at most {gallery} of each, by the cosine of their embeddings (the "
        "mean of z)."
    )
