"""Interpolation in latent space: grids drawn between four embeddings.

*Source*: paper appendix C, figures 7 to 9; the released code's bilinear grids (of 20 × 20).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sketchembed.errors import ConfigError
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.pictures import rasters
from sketchembed.reporting.grid import Content, Tile, grid_svg
from sketchembed.reporting.part import Cell, Figure, Part, Table

PAPER = {
    "figure-7-interpolation": ["power outlet", "snowman", "jacket", "elbow"],
    "figure-8-interpolation": ["cloud", "power outlet", "basket", "compass"],
}
CHANCE = "figure-9-interpolation"
PLACES = ("upper left", "upper right", "lower left", "lower right")
ASPECTS = ("corners", "edges", "inside")


def interpolate(
    context: EvaluationContext, classes: str | None = None, size: int = 8, temperature: float = 0.0
) -> Part:
    """Draw grids between four embeddings (App. C, Fig. 7 to 9).

    Args:
        context: the model and what stands beside it.
        classes: four with commas between them, for the corners upper left, upper right, lower left and lower
            right; if not given, the paper's two grids, and one between drawings chosen by chance. They may
            come first and without --classes.
        size: drawings along each side of a grid; the released code's is 20.
        temperature: of the drawings; 0 is greedy, as the paper's.
    """
    if size < 2:
        raise ConfigError(f"size is {size}", expected="2 or more", fix="The default is 8")
    wanted = {"interpolation": _four(classes)} if classes else PAPER
    pictures, store = context.pictures, context.pictures.store
    grids = {
        # Another seed for each corner, so that a class may stand at several.
        name: [int(pictures.select(one, 1, seed=context.seed + at)[0]) for at, one in enumerate(four)]
        for name, four in wanted.items()
    }
    if not classes:
        grids[CHANCE] = _by_chance(context)
    how = "greedily" if temperature == 0 else f"at temperature {temperature:g}"
    part = Part("interpolate", "Interpolation in latent space (App. C, Fig. 7 to 9)")
    part.about = (
        f"Four drawings are embedded (the mean of z), {size} × {size} embeddings are laid between them by "
        f"bilinear interpolation, the four at the corners, and each is drawn {how}. The drawings were chosen "
        f"by seed {context.seed}."
    )
    rows: list[list[Cell]] = []
    for name, corners in grids.items():
        labels = [store.class_names[store.labels[corner]] for corner in corners]
        part.figures.append(_figure(context, name, corners, labels, size, temperature, rows, part.values))
        part.facts[name] = dict(zip(PLACES, labels, strict=True))
    part.tables.append(
        Table(
            "Is what is drawn where it was asked for?",
            ["grid", "model", *ASPECTS],
            rows,
            note="Mean cosine between an embedding of the grid and that of the drawing (or the Conv-VAE's "
            "picture) made of it. Each model is measured in its own space.",
        )
    )
    part.facts |= {"size": size, "temperature": temperature}
    return part


def bilinear(
    corners: Float[Tensor, "4 latent"], rows: int, columns: int | None = None
) -> Float[Tensor, "rows columns latent"]:
    """Return the bilinear interpolation between four embeddings.

    Args:
        corners: upper left, upper right, lower left, lower right.
        rows: of the grid, 2 or more, the corners included.
        columns: of the grid; as many as rows if not given.
    """
    upper_left, upper_right, lower_left, lower_right = corners.double()
    down = torch.linspace(0, 1, rows, dtype=torch.float64)[:, None, None]
    right = torch.linspace(0, 1, columns or rows, dtype=torch.float64)[None, :, None]
    upper = torch.lerp(upper_left, upper_right, right)
    lower = torch.lerp(lower_left, lower_right, right)
    return torch.lerp(upper, lower, down).to(corners.dtype)


def _four(classes: str) -> list[str]:
    """Return the names of the corners.

    Raises:
        ConfigError: if they are not four.
    """
    names = [name.strip() for name in classes.split(",")]
    if len(names) != 4:
        raise ConfigError(
            f"there are {len(names)} corners: {classes}",
            expected="four classes with commas between them",
            fix="As in --classes 'cloud, snowman, cat, cat'",
        )
    return names


def _by_chance(context: EvaluationContext) -> list[int]:
    """Return four drawings of all that no drawing model is trained on."""
    pictures = context.pictures
    every = [pictures.up_to(name, len(pictures.store), held_out=True) for name in pictures.classes]
    chosen = np.random.default_rng(context.seed).choice(np.concatenate(every), 4, replace=False)
    return [int(one) for one in chosen]


def _figure(
    context: EvaluationContext,
    name: str,
    corners: Sequence[int],
    labels: Sequence[str],
    size: int,
    temperature: float | int,
    rows: list[list[Cell]],
    values: dict[str, float],
) -> Figure:
    """Draw one grid, and add how faithful it is to the table's rows and to the values."""
    images = context.pictures.images(corners, context.net.config.image_size)
    grids: dict[str, list[list[Tile | Content]]] = {}
    for model in context.both:
        z = bilinear(context.embed(model, images), size).flatten(0, 1)
        content: list[Tile | Content]
        if model is context.model:
            sketches = context.decode(z, temperature)
            content, made = list(sketches), rasters(sketches, context.net.config.image_size)
        else:
            pictures = context.pictured(z)
            content, made = list(pictures), torch.from_numpy(pictures)
        grids[model.name] = [content[at : at + size] for at in range(0, len(content), size)]
        faithful = cosine_similarity(context.embed(model, made), z).reshape(size, size)
        means = _by_place(faithful)
        rows.append([name, model.name, *means])
        named = zip(ASPECTS, means, strict=True)
        values |= {f"{name}/{model.network.kind}/{place}": mean for place, mean in named if mean is not None}
    given = context.pictures.sketches(corners)
    (first, drawn), *beside = grids.items()
    lines: list[list[Tile | Content]] = []
    for at in range(size):
        end = {0: 0, size - 1: 2}.get(at)
        left, right = (
            (None, None) if end is None else (Tile(one, shaded=True) for one in given[end : end + 2])
        )
        lines.append([left, None, *drawn[at], None, right])
        for _, pictured in beside:
            lines[-1] += [None, *pictured[at]]
    gap = [""] * (size + 1)
    heads = [labels[0], "", *[first] * size, "", labels[1]]
    feet = [labels[2], *gap, "", labels[3]]
    for its, _ in beside:
        heads += ["", *[its] * size]
    svg = grid_svg(lines, heads=heads, feet=feet, size=max(26, min(46, 400 // size)), framed=False)
    return Figure(
        name,
        "Interpolation between " + ", ".join(labels),
        svg,
        f"{size} × {size} drawings between those of {', '.join(labels)} (shaded: given)"
        + (
            "; beside it the Conv-VAE's pictures between its embeddings of the same drawings."
            if beside
            else "."
        ),
    )


def _by_place(values: Float[Tensor, "size size"]) -> list[float | None]:
    """Return the means at the corners, along the edges between them, and inside; None where there is none."""
    size = len(values)
    border = torch.zeros(size, size, dtype=torch.int64)
    border[[0, -1]] += 1
    border[:, [0, -1]] += 1
    parts = [values[border == 2], values[border == 1], values[border == 0]]
    return [float(part.mean()) if len(part) else None for part in parts]
