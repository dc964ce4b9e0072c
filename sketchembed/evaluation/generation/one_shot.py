"""One-shot generation: drawings of inputs that the model was not trained on.

*Source*: paper sections 4 and 7, figures 3, 4 and 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.errors import ConfigError
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.generation.generation_inputs import Inputs, gather
from sketchembed.evaluation.pictures import sketch_images
from sketchembed.raster.blur import GaussianBlur
from sketchembed.reporting.grid import Content, Tile, grid_svg
from sketchembed.reporting.part import Cell, Drawings, Figure, Part, Table
from sketchembed.reporting.svg_elements import boxed
from sketchembed.sketch import Sketch

Sample = tuple[float, int]  # a temperature, and the number of the sample at this temperature
SIGMA = 1.0
"""Blur in pixels before images are compared, so that lines that are a pixel apart still overlap."""
COLUMNS = ("inputs", "drawn", "similarity to input", "similarity to each other", "strokes", "points")
NOTE = (
    f"Similarity is the correlation of the darkness of two images, blurred by {SIGMA:g} pixel, averaged over "
    "the inputs. It is 1 for equal images."
)


def one_shot(
    context: EvaluationContext,
    temperatures: Sequence[float | int] = (0.0, 0.3, 0.6),
    samples: int = 3,
    shown: int = 8,
    measured: int = 90,
) -> Part:
    """One-shot drawings of inputs of seen and unseen classes (Fig. 3, 4 and 6).

    Args:
        context: the models and the data.
        temperatures: sampling temperatures; 0 is greedy and drawn once.
        samples: drawings of an input at each temperature above 0.
        shown: inputs of each kind in the figures.
        measured: inputs of each kind in the table, including those in the figures.
    """
    if min(samples, shown) < 1 or not temperatures or min(temperatures) < 0:
        raise ConfigError(
            f"temperatures is {list(temperatures)}, samples {samples} and shown {shown}",
            expected="temperatures of 0 or more, and 1 or more of the others",
            fix="The defaults are [0, 0.3, 0.6], 3 and 8",
        )
    drawn_at = [(float(t), number) for t in temperatures for number in range(samples if t else 1)]
    part = Part("one-shot", "One-shot generation (Fig. 3, 4 and 6)")
    kinds, missing = gather(context, shown, max(measured, shown))
    figures: dict[str, list[Inputs]] = {}
    blocks: dict[str, list[list[Tile | Content]]] = {}
    items: list[dict[str, Any]] = []
    rows: list[list[Cell]] = []
    for kind in kinds:
        z = context.embed(context.model, kind.images)
        drawn = {sample: context.decode(z, sample[0], context.seed + sample[1]) for sample in drawn_at}
        pictures = None
        if context.baseline:
            pictures = context.decode_baseline(context.embed(context.baseline, kind.images))
        figures.setdefault(kind.figure, []).append(kind)
        blocks[kind.key] = _rows(kind, drawn, pictures)
        items += _items(kind, drawn)
        rows += _measure(kind, drawn, pictures, part.values)
        part.facts[f"inputs, {kind.key}"] = len(kind)
    for name, shown_kinds in figures.items():
        part.figures.append(_figure(name, shown_kinds, blocks, drawn_at, bool(context.baseline)))
    title = "Similarity of drawings to the input and to each other"
    part.tables.append(Table(title, list(COLUMNS), rows, note=NOTE))
    if items:
        part.drawings.append(Drawings("One-shot drawings", items))
    counts = ", ".join(f"{len(kind)} inputs of '{kind.key}'" for kind in kinds)
    listed = ", ".join(f"{temperature:g}" for temperature in temperatures)
    part.about = (
        f"Each input is embedded (the mean of z) and decoded at temperatures {listed}, {samples} times at "
        f"each temperature above 0. The inputs ({counts}) were chosen with seed {context.seed}, from as many "
        f"classes as possible. The figures show the first {shown} of each kind. " + " ".join(missing)
    )
    part.facts |= {"temperatures": list(map(float, temperatures)), "samples": samples}
    return part


def similarity(
    one: Float[Tensor, "batch 1 size size"], other: Float[Tensor, "batch 1 size size"]
) -> Float[Tensor, " batch"]:
    """Return the correlation of the blurred darkness of pairs of images; 0 if one is blank."""
    blur = GaussianBlur(SIGMA, None)
    ink = [blur(1 - images[:, 0]).flatten(1).double() for images in (one, other)]
    centred = [values - values.mean(dim=1, keepdim=True) for values in ink]
    return torch.nn.functional.cosine_similarity(*centred).float()


def _rows(
    kind: Inputs, drawn: dict[Sample, list[Sketch]], pictures: np.ndarray | None
) -> list[list[Tile | Content]]:
    """Return the rows of the figure for one kind of inputs."""
    rows: list[list[Tile | Content]] = []
    for number, strokes in enumerate(kind.strokes):
        given = kind.images[number].numpy() if strokes is None else strokes
        row: list[Tile | Content] = [Tile(given, shaded=True)]
        if kind.people is not None:
            row.append(Tile(kind.people[number], shaded=True))
        for (_, sample), sketches in drawn.items():
            row += [sketches[number]] if sample else [None, sketches[number]]
        rows.append([*row, None, pictures[number]] if pictures is not None else row)
    return rows


def _figure(
    name: str,
    kinds: Sequence[Inputs],
    blocks: dict[str, list[list[Tile | Content]]],
    drawn_at: Sequence[Sample],
    baseline: bool,
) -> Figure:
    rows: list[list[Tile | Content]] = []
    names: list[str] = []
    headings: dict[int, str] = {}
    for kind in kinds:
        headings[len(rows)] = kind.title
        rows += blocks[kind.key]
        names += kind.names[: len(blocks[kind.key])]
    people = any(kind.people is not None for kind in kinds)
    heads = ["input", "a person"] if people else ["input"]
    for temperature, sample in drawn_at:
        heads += [f"τ = {temperature:g}"] if sample else ["", f"τ = {temperature:g}"]
    heads += ["", "Conv-VAE"] if baseline else []
    svg = grid_svg(rows, names=names, heads=heads, headings=headings, size=58)
    caption = "Inputs (shaded) and drawings by the model at each temperature."
    caption += " The second column is a person's drawing of the photo." if people else ""
    caption += " The last column is the Conv-VAE's reconstruction of the input." if baseline else ""
    return Figure(name, "; ".join(kind.title for kind in kinds), svg, caption)


def _items(kind: Inputs, drawn: dict[Sample, list[Sketch]]) -> list[dict[str, Any]]:
    """Return drawings for the page that replays them, for the inputs with known strokes."""
    return [
        {
            "class": kind.names[number].replace("\n", ", "),
            "seen": kind.seen,
            "input": boxed(strokes),
            "samples": [
                {"temperature": temperature, "strokes": boxed(sketches[number])}
                for (temperature, _), sketches in drawn.items()
            ],
        }
        for number, strokes in enumerate(kind.strokes)
        if strokes is not None
    ]


def _measure(
    kind: Inputs, drawn: dict[Sample, list[Sketch]], pictures: np.ndarray | None, values: dict[str, float]
) -> list[list[Cell]]:
    """Return the rows of the table for one kind of inputs, and add the values."""
    size, grey = kind.images.shape[-1], kind.images.shape[1] == 1
    made = {sample: sketch_images(sketches, size) for sample, sketches in drawn.items()}
    rows: list[list[Cell]] = []
    for temperature in dict.fromkeys(sample[0] for sample in drawn):
        here = [sample for sample in drawn if sample[0] == temperature]
        among = [similarity(made[one], made[other]) for one, other in combinations(here, 2)]
        sketches = [sketch for sample in here for sketch in drawn[sample]]
        found = {
            "like_input": _mean([similarity(kind.images, made[sample]) for sample in here]) if grey else None,
            "like_each_other": _mean(among) if among else None,
            "strokes": float(np.mean([len(sketch.strokes) for sketch in sketches])),
            "points": float(np.mean([len(sketch) for sketch in sketches])),
        }
        stem = f"{kind.key}/temperature-{temperature:g}"
        values |= {f"{stem}/{name}": value for name, value in found.items() if value is not None}
        rows.append([kind.title, f"τ = {temperature:g}", *found.values()])
    if pictures is not None and grey:
        mean = _mean([similarity(kind.images, torch.from_numpy(pictures))])
        values[f"{kind.key}/vae/like_input"] = mean
        rows.append([kind.title, "Conv-VAE reconstruction", mean, None, None, None])
    return rows


def _mean(parts: Sequence[Tensor]) -> float:
    return float(torch.cat(list(parts)).mean())
