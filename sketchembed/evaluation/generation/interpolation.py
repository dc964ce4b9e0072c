"""Interpolation in latent space: grids of drawings between four embeddings.

*Source*: paper appendix C, figures 7 to 9; the released code has bilinear grids of 20 × 20.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sketchembed.errors import ConfigError, check_range
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.pictures import sketch_images
from sketchembed.reporting.grid import Content, Tile, grid_svg
from sketchembed.reporting.part import Cell, Figure, Part, Table

PAPER = {
    "figure-7-interpolation": ["power outlet", "snowman", "jacket", "elbow"],
    "figure-8-interpolation": ["cloud", "power outlet", "basket", "compass"],
}
RANDOM = "figure-9-interpolation"
CORNERS = ("upper left", "upper right", "lower left", "lower right")
PLACES = ("corners", "edges", "inside")


def interpolate(
    context: EvaluationContext, classes: str | None = None, size: int = 8, temperature: float = 0.0
) -> Part:
    """Drawings of bilinear interpolations between four embeddings (App. C, Fig. 7 to 9).

    Args:
        context: the models and the data.
        classes: four class names separated by commas, for the corners upper left, upper right, lower left and
            lower right; if not given, the paper's two grids and one between random drawings. As the first
            argument they need no --classes.
        size: drawings along each side of a grid; the released code has 20.
        temperature: sampling temperature; 0 is greedy, as in the paper.
    """
    check_range("size", size, 2)
    check_range("temperature", temperature, 0)
    wanted = {"interpolation": _four(classes)} if classes else PAPER
    pictures, store = context.pictures, context.pictures.store
    grids = {
        # Each corner has its own seed, so that corners of the same class have different drawings.
        name: [int(pictures.select(one, 1, seed=context.seed + at)[0]) for at, one in enumerate(four)]
        for name, four in wanted.items()
    }
    if not classes:
        grids[RANDOM] = _random_corners(context)
    how = "greedily" if temperature == 0 else f"at temperature {temperature:g}"
    part = Part("interpolate", "Interpolation in latent space (App. C, Fig. 7 to 9)")
    part.about = (
        f"Four drawings are embedded (the mean of z). Between the four embeddings, {size} × {size} "
        f"embeddings are computed by bilinear interpolation and decoded {how}. The drawings were chosen with "
        f"seed {context.seed}."
    )
    rows: list[list[Cell]] = []
    for name, corners in grids.items():
        labels = [store.class_names[store.labels[corner]] for corner in corners]
        part.figures.append(_figure(context, name, corners, labels, size, temperature, rows, part.values))
        part.facts[name] = dict(zip(CORNERS, labels, strict=True))
    part.tables.append(
        Table(
            "Similarity between interpolated embeddings and embeddings of their drawings",
            ["grid", "model", *PLACES],
            rows,
            note="Mean cosine between an embedding of the grid and the embedding of its drawing (or of the "
            "Conv-VAE's image). Each model is measured in its own space.",
        )
    )
    part.facts |= {"size": size, "temperature": temperature}
    return part


def bilinear(
    corners: Float[Tensor, "4 latent"], rows: int, columns: int | None = None
) -> Float[Tensor, "rows columns latent"]:
    """Return the bilinear interpolation between four embeddings.

    The corners are upper left, upper right, lower left and lower right. A grid has at least 2 rows, and as
    many columns if their number is not given.
    """
    upper_left, upper_right, lower_left, lower_right = corners.double()
    down = torch.linspace(0, 1, rows, dtype=torch.float64)[:, None, None]
    right = torch.linspace(0, 1, columns or rows, dtype=torch.float64)[None, :, None]
    upper = torch.lerp(upper_left, upper_right, right)
    lower = torch.lerp(lower_left, lower_right, right)
    return torch.lerp(upper, lower, down).to(corners.dtype)


def _four(classes: str) -> list[str]:
    """Return the class names of the corners; raise a ConfigError if there are not four."""
    names = [name.strip() for name in classes.split(",")]
    if len(names) != 4:
        raise ConfigError(
            f"there are {len(names)} corners: {classes}",
            expected="four class names separated by commas",
            fix="Write them as in --classes 'cloud, snowman, cat, cat'",
        )
    return names


def _random_corners(context: EvaluationContext) -> list[int]:
    """Choose four of the drawings that are held out from the training of drawing models."""
    pictures = context.pictures
    every = [pictures.select_up_to(name, len(pictures.store), held_out=True) for name in pictures.classes]
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
    """Draw one grid, and add its similarities to the rows of the table and to the values."""
    images = context.pictures.images(corners, context.net.config.image_size)
    grids: dict[str, list[list[Tile | Content]]] = {}
    for model in context.models:
        z = bilinear(context.embed(model, images), size).flatten(0, 1)
        content: list[Tile | Content]
        if model is context.model:
            sketches = context.decode(z, temperature)
            content, made = list(sketches), sketch_images(sketches, context.net.config.image_size)
        else:
            pictures = context.decode_baseline(z)
            content, made = list(pictures), torch.from_numpy(pictures)
        grids[model.name] = [content[at : at + size] for at in range(0, len(content), size)]
        similarity = cosine_similarity(context.embed(model, made), z).reshape(size, size)
        means = _by_place(similarity)
        rows.append([name, model.name, *means])
        named = zip(PLACES, means, strict=True)
        values |= {f"{name}/{model.network.kind}/{place}": mean for place, mean in named if mean is not None}
    given = [Tile(one, shaded=True) for one in context.pictures.sketches(corners)]
    (first, drawn), *baseline = grids.items()
    lines: list[list[Tile | Content]] = []
    for at in range(size):
        left, right = {0: given[:2], size - 1: given[2:]}.get(at, (None, None))
        lines.append([left, None, *drawn[at], None, right])
        for _, decoded in baseline:
            lines[-1] += [None, *decoded[at]]
    heads = [labels[0], "", *[first] * size, "", labels[1]]
    feet = [labels[2], *[""] * (size + 2), labels[3]]
    for model_name, _ in baseline:
        heads += ["", *[model_name] * size]
    svg = grid_svg(lines, heads=heads, feet=feet, size=max(26, min(46, 400 // size)), framed=False)
    caption = f"{size} × {size} drawings between drawings of {', '.join(labels)} (shaded)."
    caption += " On the right, images by the Conv-VAE between its embeddings." if baseline else ""
    return Figure(name, "Interpolation between " + ", ".join(labels), svg, caption)


def _by_place(values: Float[Tensor, "size size"]) -> list[float | None]:
    """Return the means over the corners, the edges without corners, and the inside; None for no values."""
    size = len(values)
    border = torch.zeros(size, size, dtype=torch.int64)
    border[[0, -1]] += 1
    border[:, [0, -1]] += 1
    parts = [values[border == 2], values[border == 1], values[border == 0]]
    return [float(part.mean()) if len(part) else None for part in parts]
