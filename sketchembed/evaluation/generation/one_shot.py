"""One-shot generation: what is drawn of inputs never seen, several times.

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
from sketchembed.evaluation.pictures import rasters
from sketchembed.raster.blur import GaussianBlur
from sketchembed.reporting.grid import Content, Tile, grid_svg
from sketchembed.reporting.part import Cell, Drawings, Figure, Part, Table
from sketchembed.reporting.svg_elements import boxed
from sketchembed.sketch import Sketch

Time = tuple[float, int]
"""A temperature, and which sample at it."""
SIGMA = 1.0
"""Of the blur, in pixels, before images are compared: lines a pixel apart still meet."""


def one_shot(
    context: EvaluationContext,
    temperatures: Sequence[float | int] = (0.0, 0.3, 0.6),
    samples: int = 3,
    shown: int = 8,
    measured: int = 90,
) -> Part:
    """Draw inputs of classes seen and never seen, several times (Fig. 3, 4 and 6).

    Args:
        context: the model and what stands beside it.
        temperatures: of the samples; 0 is greedy and drawn once.
        samples: drawings of an input at each temperature above 0.
        shown: inputs of each kind in the figures.
        measured: inputs of each kind that are drawn and measured, the shown ones among them.
    """
    if min(samples, shown) < 1 or not temperatures or min(temperatures) < 0:
        raise ConfigError(
            f"temperatures is {list(temperatures)}, samples {samples} and shown {shown}",
            expected="temperatures of 0 or more, and 1 or more of the others",
            fix="The defaults are [0, 0.3, 0.6], 3 and 8",
        )
    times = [(float(t), number) for t in temperatures for number in range(samples if t else 1)]
    part = Part("one-shot", "One-shot generation (Fig. 3, 4 and 6)")
    kinds, left_out = gather(context, shown, max(measured, shown))
    figures: dict[str, list[tuple[str, list[list[Tile | Content]], list[str]]]] = {}
    people: set[str] = set()
    items: list[dict[str, Any]] = []
    rows: list[list[Cell]] = []
    for kind in kinds:
        z = context.embed(context.model, kind.images)
        drawn = {time: context.decode(z, time[0], context.seed + time[1]) for time in times}
        pictures = (
            context.pictured(context.embed(context.baseline, kind.images)) if context.baseline else None
        )
        figures.setdefault(kind.figure, []).append((kind.title, _rows(kind, drawn, pictures), kind.names))
        if kind.people is not None:
            people.add(kind.figure)
        items += _items(kind, drawn)
        rows += _measure(kind, drawn, pictures, part.values)
        part.facts[f"inputs, {kind.key}"] = len(kind)
    for name, blocks in figures.items():
        part.figures.append(_figure(name, blocks, times, name in people, bool(context.baseline)))
    part.tables.append(
        Table(
            "How the drawings differ from the input and from each other",
            ["inputs", "drawn", "like the input", "like each other", "strokes", "points"],
            rows,
            note=f"Likeness is the correlation of the ink's darkness, blurred by {SIGMA:g} pixel, averaged "
            "over the inputs: 1 for the same image.",
        )
    )
    if items:
        part.drawings.append(Drawings("One-shot drawings", items))
    counts = ", ".join(f"{len(kind)} inputs of '{kind.key}'" for kind in kinds)
    shown_at = ", ".join(f"{temperature:g}" for temperature in temperatures)
    part.about = (
        f"Each input is embedded (the mean of z) and drawn at temperatures {shown_at}, {samples} times at "
        f"each above 0: {counts}, each of another class as far as there are enough, chosen by seed "
        f"{context.seed}. The first {shown} of each kind are shown. " + " ".join(left_out)
    )
    part.facts |= {"temperatures": list(map(float, temperatures)), "samples": samples}
    return part


def likeness(
    one: Float[Tensor, "batch 1 size size"], other: Float[Tensor, "batch 1 size size"]
) -> Float[Tensor, " batch"]:
    """Return the correlation of two images' blurred darkness, pair by pair; 0 where one is blank."""
    blur = GaussianBlur(SIGMA, None)
    ink = [blur(1 - images[:, 0]).flatten(1).double() for images in (one, other)]
    centred = [values - values.mean(dim=1, keepdim=True) for values in ink]
    return torch.nn.functional.cosine_similarity(*centred).float()


# ---- parts ---------------------------------------------------------------------------------------------


def _rows(
    kind: Inputs, drawn: dict[Time, list[Sketch]], pictures: np.ndarray | None
) -> list[list[Tile | Content]]:
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
    blocks: Sequence[tuple[str, list[list[Tile | Content]], list[str]]],
    times: Sequence[Time],
    people: bool,
    beside: bool,
) -> Figure:
    rows: list[list[Tile | Content]] = []
    names: list[str] = []
    headings: dict[int, str] = {}
    for title, block, of_classes in blocks:
        headings[len(rows)] = title
        rows += block
        names += of_classes[: len(block)]
    heads = ["input", "a person"] if people else ["input"]
    for temperature, sample in times:
        heads += [f"τ = {temperature:g}"] if sample else ["", f"τ = {temperature:g}"]
    heads += ["", "Conv-VAE"] if beside else []
    svg = grid_svg(rows, names=names, heads=heads, headings=headings, size=58)
    caption = "Inputs (shaded) and what the model draws of them, by temperature."
    caption += " Beside each photo, what a person drew of it." if people else ""
    caption += " Last, the Conv-VAE's reconstruction of the same input." if beside else ""
    return Figure(name, "; ".join(title for title, _, _ in blocks), svg, caption)


def _items(kind: Inputs, drawn: dict[Time, list[Sketch]]) -> list[dict[str, Any]]:
    """Return the drawings for a page that replays them, where the input's strokes are known."""
    return [
        {
            "class": kind.names[number].replace("\n", ", "),
            "seen": kind.seen,
            "input": boxed(strokes),
            "samples": [
                {"temperature": time[0], "strokes": boxed(sketches[number])}
                for time, sketches in drawn.items()
            ],
        }
        for number, strokes in enumerate(kind.strokes)
        if strokes is not None
    ]


def _measure(
    kind: Inputs, drawn: dict[Time, list[Sketch]], pictures: np.ndarray | None, values: dict[str, float]
) -> list[list[Cell]]:
    """Return the table's rows for one kind of inputs."""
    size, grey = kind.images.shape[-1], kind.images.shape[1] == 1
    made = {time: rasters(sketches, size) for time, sketches in drawn.items()}
    rows: list[list[Cell]] = []
    for temperature in dict.fromkeys(time[0] for time in drawn):
        here = [time for time in drawn if time[0] == temperature]
        among = [likeness(made[one], made[other]) for one, other in combinations(here, 2)]
        sketches = [sketch for time in here for sketch in drawn[time]]
        found = {
            "like_input": _mean([likeness(kind.images, made[time]) for time in here]) if grey else None,
            "like_each_other": _mean(among) if among else None,
            "strokes": float(np.mean([len(sketch.strokes) for sketch in sketches])),
            "points": float(np.mean([len(sketch) for sketch in sketches])),
        }
        stem = f"{kind.key}/temperature-{temperature:g}"
        values |= {f"{stem}/{name}": value for name, value in found.items() if value is not None}
        rows.append([kind.title, f"τ = {temperature:g}", *found.values()])
    if pictures is not None and grey:
        close = _mean([likeness(kind.images, torch.from_numpy(pictures))])
        values[f"{kind.key}/vae/like_input"] = close
        rows.append([kind.title, "Conv-VAE's reconstruction", close, None, None, None])
    return rows


def _mean(parts: Sequence[Tensor]) -> float:
    return float(torch.cat(list(parts)).mean())
