"""Retrieval: the drawings whose embeddings are nearest, and how often they are of the same class."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from sketchembed.data.model_inputs import image_files, read_drawing
from sketchembed.errors import ConfigError
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.generation.generation_inputs import spread
from sketchembed.evaluation.retrieval.ranking import similarities
from sketchembed.evaluation.retrieval.retrieval_scores import PIXELS, as_ink, digest, embedded, score
from sketchembed.reporting.grid import Content, Tile, grid_svg
from sketchembed.reporting.part import Figure, Part, Table

RIGHT = "#2a9d4a"
"""Frame of a drawing of the query's class."""


def retrieve(
    context: EvaluationContext,
    image: Path | None = None,
    nearest: int = 6,
    queries: int = 10,
    gallery: int = 40,
    scores: bool = True,
    measured: int = 60,
) -> Part:
    """Find the drawings whose embeddings are nearest, and score how often they are of the same class.

    Args:
        context: the model and what stands beside it.
        image: a picture of a drawing, or a folder of such, to find drawings like it; if not given, drawings
            that never trained, chosen by the seed. It may come first and without --image.
        nearest: drawings shown for each.
        queries: how many are chosen where no image is given: half of them of classes that trained.
        gallery: drawings of each class that are searched, at the most.
        scores: whether mean average precision is measured too.
        measured: drawings of each class in that, at the most.
    """
    if min(nearest, queries, gallery) < 1 or measured < 2:
        raise ConfigError(
            f"nearest is {nearest}, queries {queries}, gallery {gallery} and measured {measured}",
            expected="1 or more, and 2 or more of the last",
            fix="The defaults are 6, 10, 40 and 60",
        )
    part = Part("retrieve", "Retrieval in embedding space")
    part.about = _search(context, part, _queries(context, image, queries), nearest, gallery)
    if scores:
        part.about += " " + score(context, part, measured)
    return part


@dataclass(frozen=True, eq=False)
class Queries:
    """What is searched for.

    Attributes:
        names: of the files, or of the drawings' classes.
        images: ``[n, 1, size, size]``.
        tiles: what stands in the figure.
        indices: of the drawings, in the store; -1 for files.
        about: how they were chosen.
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
        pools = {name: pictures.up_to(name, len(pictures.store), held_out=True) for name in classes}
        chosen += spread(pools, number, context.seed)
    indices = [index for _, index in chosen]
    seen = sum(name in set(pictures.seen) for name, _ in chosen)
    about = f"{len(chosen)} drawings that never trained, {seen} of seen classes and the rest of unseen ones"
    names = [name for name, _ in chosen]
    return Queries(names, pictures.images(indices, size), pictures.sketches(indices), indices, about)


def _search(context: EvaluationContext, part: Part, queries: Queries, nearest: int, gallery: int) -> str:
    """Add the figure and the table of the nearest drawings, and return what was done."""
    pictures, store = context.pictures, context.pictures.store
    searched = np.concatenate([pictures.up_to(name, gallery, context.seed) for name in pictures.classes])
    vectors = embedded(context, searched, "the gallery")
    asked = {model.name: context.embed(model, queries.images) for model in context.both}
    if context.baseline is None:
        asked[PIXELS] = as_ink(queries.images)
    rows: list[list[Tile | Content]] = [[Tile(one, shaded=True)] for one in queries.tiles]
    table = Table("Nearest drawings", ["query", "by", *(str(at + 1) for at in range(nearest))], [])
    for name, z in asked.items():
        close = similarities(z, vectors[name])
        # A drawing does not find itself.
        close[torch.as_tensor(queries.indices)[:, None] == torch.as_tensor(searched)[None, :]] = -torch.inf
        best = close.topk(min(nearest, len(searched)), dim=1)
        for at, (values, places) in enumerate(zip(best.values.tolist(), best.indices.numpy(), strict=True)):
            classes = [store.class_names[label] for label in store.labels[searched[places]]]
            cells: list[Tile | Content] = [None]
            for sketch, found, value in zip(
                pictures.sketches(searched[places]), classes, values, strict=True
            ):
                right = queries.indices[at] >= 0 and found == queries.names[at]
                label = "\n".join([*textwrap.wrap(found, 12)[:2], f"{value:.2f}"])
                cells.append(Tile(sketch, label=label, frame=RIGHT if right else None))
            rows[at] += cells
            shown = [f"{found} ({value:.3f})" for found, value in zip(classes, values, strict=True)]
            table.rows.append([queries.names[at], name, *shown])
    heads = ["query"]
    for name in asked:
        heads += ["", *[f"nearest by {name}"] * nearest]
    names = ["\n".join(textwrap.wrap(name, 14)) for name in queries.names]
    caption = (
        f"Each query (shaded), and the {nearest} of {len(searched)} drawings whose embeddings are nearest to "
        "its own, with their class and the cosine."
    )
    caption += " Green: of the query's class." if queries.indices[0] >= 0 else ""
    figure = grid_svg(rows, names=names, heads=heads, size=64)
    part.figures.append(Figure("retrieval-nearest", "Nearest drawings", figure, caption))
    part.tables.append(table)
    part.facts |= {"gallery": len(searched), "gallery_digest": digest(searched)}
    return (
        f"Queries: {queries.about}. Each is compared with {len(searched)} drawings of "
        f"{len(pictures.classes)} classes, at most {gallery} of each, by the cosine of the embeddings (the "
        "mean of z)."
    )
