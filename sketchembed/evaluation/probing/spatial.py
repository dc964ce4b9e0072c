"""Angle, distance and size, read out of embeddings: the paper's figure 5, B, and tables 7 and 8."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from rich.progress import Progress

from sketchembed.errors import check_range
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.probing.arrangements import Arrangements, Composer
from sketchembed.evaluation.probing.layouts import VARIABLES
from sketchembed.evaluation.probing.probe_maps import Column, Example, Map, maps_svg
from sketchembed.evaluation.probing.probes import (
    SAMPLING,
    Fit,
    Row,
    Split,
    embedded,
    linear,
    nonlinear,
    projected,
    rows,
)
from sketchembed.reporting.intervals import Interval, student_interval
from sketchembed.reporting.part import Cell, Figure, Part, Table

PROBES = ("linear", "linear-scaled", "nonlinear")
MAPPED = 300
"""Test examples in a map: as many as can be told apart."""
EXAMPLES = 4
"""Drawings above a map, from the smallest value to the largest."""
PAPER: dict[str, list[tuple[str, str, str, str, str]]] = {
    "Table 7": [
        ("Angle (SketchEmbedding)", "0.99", "0.0013", "0.98", "0.0012"),
        ("Angle (VAE)", "0.11", "0.0793", "0.95", "0.0432"),
        ("Distance (SketchEmbedding)", "0.97", "0.090", "0.98", "0.058"),
        ("Distance (VAE)", "0.28", "2.287", "0.97", "0.092"),
        ("Size (SketchEmbedding)", "0.97", "0.69", "0.98", "0.48"),
        ("Size (VAE)", "0.20", "21.72", "0.98", "0.44"),
    ],
    "Table 8": [
        ("Angle (SketchEmbedding)", "0.96", "0.0037", "0.95", "0.0047"),
        ("Angle (VAE)", "0.00", "0.0969", "0.82", "0.0173"),
        ("Distance (SketchEmbedding)", "0.82", "0.585", "0.96", "0.14"),
        ("Distance (VAE)", "0.00", "3.24", "0.91", "0.28"),
        ("Size (SketchEmbedding)", "0.95", "1.20", "0.87", "3.53"),
        ("Size (VAE)", "0.02", "26.70", "0.85", "4.01"),
    ],
}
"""With 1,000 and with 100 training examples: R² and mean squared error of a linear and of another probe."""

Key = tuple[str, str, int, str]
"""A variable, a row, a number of training examples, and a probe."""


@dataclass
class Found:
    """What was measured.

    Attributes:
        fits: of each probe, one a repetition.
        asked: the test examples of each variable, of the first repetition.
        maps: where they lie, by variable and row.
        digests: of the images of each variable, of the first repetition.
    """

    fits: dict[Key, list[Fit]] = field(default_factory=lambda: defaultdict(list))
    asked: dict[str, Arrangements] = field(default_factory=dict)
    maps: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)


def spatial(
    context: EvaluationContext,
    train: int = 1000,
    few: int = 100,
    test: int = 2000,
    repeats: int = 5,
    nonlinear_repeats: int = 3,
) -> Part:
    """Tell angle, distance and size by linear and other probes (figure 5B, tables 7 and 8).

    Args:
        context: the models.
        train: pictures that a probe learns from, for table 7.
        few: how many of these it learns from for table 8.
        test: pictures that it is tested on.
        repeats: how often everything is drawn and fitted anew, for the interval.
        nonlinear_repeats: in how many of these the perceptron is fitted too, which takes longest.

    Raises:
        ConfigError: if a number is out of its range.
    """
    check_range("few", few, 2, train)
    check_range("repeats", repeats, 1)
    check_range("nonlinear_repeats", nonlinear_repeats, 1, repeats)
    found = _measured(context, (train, few), test, repeats, nonlinear_repeats)
    r2 = {key: student_interval([fit.r2 for fit in fits]) for key, fits in found.fits.items()}
    mse = {key: student_interval([fit.mse for fit in fits]) for key, fits in found.fits.items()}
    probed = rows(context)
    keys = {row.name: row.key for row in probed}
    circles = len(context.pictures.select("circle"))
    return Part(
        "spatial",
        "Spatial variables (figure 5B, tables 7 and 8)",
        _about(circles, train, few, test, repeats, nonlinear_repeats),
        [
            _table(f"{table}: {count:,} training examples", count, probed, r2, mse, PAPER[table])
            for table, count in zip(PAPER, (train, few), strict=True)
        ],
        [_figure(list(keys), train, found, r2)],
        values={
            f"{variable}/{keys[name]}/{count}/{probe}/{measure}": value.mean
            for measure, values in (("r2", r2), ("mse", mse))
            for (variable, name, count, probe), value in values.items()
        },
        facts={
            "drawings": f"{circles} of circle",
            "seeds": f"{context.seed} to {context.seed + repeats - 1}",
            **{f"digest.{variable}": digest for variable, digest in found.digests.items()},
        },
    )


def _measured(
    context: EvaluationContext, counts: tuple[int, int], test: int, repeats: int, nonlinear_repeats: int
) -> Found:
    found = Found()
    train = max(counts)
    with Progress(transient=True, disable=not context.ranks.is_rank_zero) as bar:
        task = bar.add_task("spatial", total=repeats * len(VARIABLES) * len(rows(context)))
        for repeat in range(repeats):
            seed = context.seed + repeat
            composer = Composer(context.pictures, seed)
            for variable in VARIABLES:
                known, asked = composer.variable(variable, train, test)
                images = Arrangements.join([known, asked]).images(context.net.config.image_size)
                for name, features in embedded(context, images, seed).items():
                    split = Split(features[:train], known.truth, features[train:], asked.truth)
                    for count in set(counts):
                        part = split.first(count)
                        found.fits[variable, name, count, "linear"].append(linear(part))
                        found.fits[variable, name, count, "linear-scaled"].append(linear(part.scaled()))
                        if repeat < nonlinear_repeats:
                            found.fits[variable, name, count, "nonlinear"].append(nonlinear(part, seed))
                    if repeat == 0:
                        found.maps[variable, name] = projected(split.test[:MAPPED], context.seed)
                    bar.advance(task)
                if repeat == 0:
                    found.asked[variable] = asked
                    found.digests[variable] = hashlib.sha256(images.numpy().tobytes()).hexdigest()[:16]
    return found


def _about(circles: int, train: int, few: int, test: int, repeats: int, nonlinear_repeats: int) -> str:
    ranges = ", ".join(f"{name} {one.low:g} to {one.high:g} {one.unit}" for name, one in VARIABLES.items())
    return (
        f"Pictures of circles that differ in one number ({ranges}, uniform) are embedded without it. A probe "
        f"learns the number from {train:,} or {few:,} of them and tells it for {test:,} others. Each picture "
        f"is made of one of {circles} people's circles from Quick, Draw!, moved to its place as strokes; "
        "half of these make the pictures to learn from, the other half those that are asked about. The "
        "linear probe is a ridge regression with the penalty 1, the other a perceptron with a hidden layer "
        f"of 100. Everything is drawn and fitted {repeats} times, the perceptron in {nonlinear_repeats} of "
        "these; ± is the 95 % interval of the mean, which says nothing of other trainings of the models. The "
        "mean squared error is in rad² and px²."
    )


def _table(
    title: str,
    count: int,
    probed: list[Row],
    r2: Mapping[Key, Interval],
    mse: Mapping[Key, Interval],
    paper: list[tuple[str, str, str, str, str]],
) -> Table:
    lines: list[list[Cell]] = []
    for variable in VARIABLES:
        for row in probed:
            cells = [str(found[variable, row.name, count, probe]) for probe in PROBES for found in (r2, mse)]
            lines.append([f"{variable.capitalize()} ({row.name})", *cells])
    columns = ["linear", "linear, scaled", "non-linear"]
    return Table(
        title,
        ["", *(f"{name} {measure}" for name in columns for measure in ("R²", "MSE"))],
        lines,
        [[name, a, b, None, None, c, d] for name, a, b, c, d in paper],
        SAMPLING,
    )


def _figure(names: list[str], train: int, found: Found, r2: Mapping[Key, Interval]) -> Figure:
    columns = []
    for variable, asked in found.asked.items():
        about = VARIABLES[variable]
        wanted = np.linspace(about.low, about.high, EXAMPLES)
        nearest = [int(np.abs(asked.truth - value).argmin()) for value in wanted]
        shown = [
            Example(
                asked.sketches[at], f"{value:.{2 if about.unit == 'rad' else 0}f}", float(asked.truth[at])
            )
            for at, value in zip(nearest, wanted, strict=True)
        ]
        maps = [
            Map(
                found.maps[variable, name],
                asked.truth[:MAPPED],
                f"R² {r2[variable, name, train, 'linear'].mean:.3f}",
            )
            for name in names
        ]
        columns.append(Column(f"{variable}, {about.unit}", shown, maps, (about.low, about.high)))
    return Figure(
        "figure-5b-spatial",
        "Embeddings of pictures that differ in angle, distance or size",
        maps_svg([name.replace(", ", ",\n") for name in names], columns),
        f"Each dot is one of {min(MAPPED, len(asked))} test pictures, laid out by UMAP, which does not see "
        "the variable; its colour is the variable's value, as in the examples above. Pictures of one and the "
        "same circle lie together where an embedding tells circles apart. In the corner: R² of the linear "
        f"probe with {train:,} training examples, features as they are.",
    )
