"""Probes of angle, distance and size: the paper's figure 5B and tables 7 and 8."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

import numpy as np

from sketchembed.errors import check_range
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.probing.arrangements import Arrangements, Composer
from sketchembed.evaluation.probing.layouts import VARIABLES
from sketchembed.evaluation.probing.probe_maps import Column, Example, Map, maps_svg
from sketchembed.evaluation.probing.probes import (
    SAMPLING,
    ProbeData,
    ProbeRow,
    RegressionScore,
    linear,
    nonlinear,
    probe_features,
    probe_rows,
    umap_projection,
)
from sketchembed.files.progress_bar import ProgressBar
from sketchembed.files.serialization import parse_yaml
from sketchembed.reporting.intervals import Interval, student_interval
from sketchembed.reporting.part import Cell, Figure, Part, Table

PROBES = ("linear", "linear-scaled", "nonlinear")
MAPPED = 300  # test examples in a map: as many as can be distinguished
EXAMPLES = 4  # drawings above a map, for evenly spaced values of the variable
PAPER = parse_yaml(resources.files(__package__).joinpath("paper_probes.yaml").read_text("utf-8"))

Key = tuple[str, str, int, str]
"""A variable, the name of a row, a number of training examples, and a probe."""


@dataclass
class SpatialResults:
    """Scores of each probe, one per repetition.

    Examples for testing, their UMAP projections and digests of all images are those of the first repetition.
    """

    scores: dict[Key, list[RegressionScore]] = field(default_factory=lambda: defaultdict(list))
    examples: dict[str, Arrangements] = field(default_factory=dict)
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
    """Angle, distance and size predicted by linear and non-linear probes (figure 5B, tables 7 and 8).

    Args:
        context: the models and the data.
        train: number of training images for table 7.
        few: number of training images for table 8, the first ones of the former.
        test: number of test images.
        repeats: number of repetitions with new images, for the interval.
        nonlinear_repeats: number of repetitions in which the perceptron is fitted too, which is slow.

    Raises:
        ConfigError: if a number is out of range.
    """
    check_range("few", few, 2, train)
    check_range("repeats", repeats, 1)
    check_range("nonlinear_repeats", nonlinear_repeats, 1, repeats)
    found = _measure(context, (train, few), test, repeats, nonlinear_repeats)
    r2 = {key: student_interval([score.r2 for score in scores]) for key, scores in found.scores.items()}
    mse = {key: student_interval([score.mse for score in scores]) for key, scores in found.scores.items()}
    rows = probe_rows(context)
    keys = {row.name: row.key for row in rows}
    circles = len(context.pictures.select("circle"))
    return Part(
        "spatial",
        "Spatial variables (figure 5B, tables 7 and 8)",
        _about(circles, train, few, test, repeats, nonlinear_repeats),
        [
            _table(f"{table}: {count:,} training examples", count, rows, r2, mse, PAPER[table])
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


def _measure(
    context: EvaluationContext, counts: tuple[int, int], test: int, repeats: int, nonlinear_repeats: int
) -> SpatialResults:
    found = SpatialResults()
    train = max(counts)
    total = repeats * len(VARIABLES) * len(probe_rows(context))
    with ProgressBar("Training spatial probes", total) as bar:
        for repeat in range(repeats):
            seed = context.seed + repeat
            composer = Composer(context.pictures, seed)
            for variable in VARIABLES:
                learned, tested = composer.examples(variable, train, test)
                images = Arrangements.join([learned, tested]).images(context.net.config.image_size)
                for name, features in probe_features(context, images, seed).items():
                    data = ProbeData(features[:train], learned.targets, features[train:], tested.targets)
                    for count in set(counts):
                        part = data.first(count)
                        found.scores[variable, name, count, "linear"].append(linear(part))
                        found.scores[variable, name, count, "linear-scaled"].append(linear(part.scaled()))
                        if repeat < nonlinear_repeats:
                            found.scores[variable, name, count, "nonlinear"].append(nonlinear(part, seed))
                    if repeat == 0:
                        found.maps[variable, name] = umap_projection(data.test[:MAPPED], context.seed)
                    bar.advance()
                if repeat == 0:
                    found.examples[variable] = tested
                    found.digests[variable] = hashlib.sha256(images.numpy().tobytes()).hexdigest()[:16]
    return found


def _about(circles: int, train: int, few: int, test: int, repeats: int, nonlinear_repeats: int) -> str:
    ranges = ", ".join(f"{name} {one.low:g} to {one.high:g} {one.unit}" for name, one in VARIABLES.items())
    return (
        f"Images of circles that differ in one variable ({ranges}, uniformly distributed) are embedded "
        f"without labels. A probe is trained to predict the variable from {train:,} or {few:,} embeddings "
        f"and tested on {test:,} others. The images are composed of {circles} hand-drawn circles of Quick, "
        "Draw!: half of them for the training images, the other half for the test images. The linear probe "
        "is a ridge regression with penalty 1, the non-linear one a perceptron with a hidden layer of 100 "
        f"units. The experiment is repeated {repeats} times with new images, {nonlinear_repeats} times with "
        "the perceptron. ± is the 95 % interval of the mean over repetitions; it does not include variation "
        "between trainings of the models. The mean squared error is in rad² or px²."
    )


def _table(
    title: str,
    count: int,
    rows: list[ProbeRow],
    r2: Mapping[Key, Interval],
    mse: Mapping[Key, Interval],
    paper: list[list[str]],
) -> Table:
    lines: list[list[Cell]] = []
    for variable in VARIABLES:
        for row in rows:
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


def _figure(names: list[str], train: int, found: SpatialResults, r2: Mapping[Key, Interval]) -> Figure:
    columns = []
    for variable, tested in found.examples.items():
        about = VARIABLES[variable]
        shown = []
        for value in np.linspace(about.low, about.high, EXAMPLES):
            nearest = int(np.abs(tested.targets - value).argmin())
            label = f"{value:.{2 if about.unit == 'rad' else 0}f}"
            shown.append(Example(tested.sketches[nearest], label, float(tested.targets[nearest])))
        maps = [
            Map(
                found.maps[variable, name],
                tested.targets[:MAPPED],
                f"R² {r2[variable, name, train, 'linear'].mean:.3f}",
            )
            for name in names
        ]
        columns.append(Column(f"{variable}, {about.unit}", shown, maps, (about.low, about.high)))
    return Figure(
        "figure-5b-spatial",
        "Embeddings of images that differ in angle, distance or size",
        maps_svg([name.replace(", ", ",\n") for name in names], columns),
        f"UMAP projections of {min(MAPPED, len(tested))} test images, computed without the variable. The "
        "colour is the value of the variable, as in the examples above. Images of the same circle form a "
        "cluster if the embedding distinguishes circles. In the corner: R² of the linear probe on unscaled "
        f"features with {train:,} training examples.",
    )
