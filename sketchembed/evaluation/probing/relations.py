"""Relations between the parts of a picture, read out of embeddings: the paper's figure 5, A."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from sketchembed.errors import DataError, check_range
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.pictures import Pictures
from sketchembed.evaluation.probing.arrangements import Arrangements, Composer
from sketchembed.evaluation.probing.layouts import RELATIONS
from sketchembed.evaluation.probing.probe_maps import Column, Example, Map, maps_svg
from sketchembed.evaluation.probing.probes import (
    SAMPLING,
    Split,
    classified,
    embedded,
    projected,
    rows,
)
from sketchembed.reporting.intervals import Interval, student_interval
from sketchembed.reporting.part import Cell, Figure, Part, Table
from sketchembed.sketch import Sketch

REAL = ("circle", "snowman", "square", "television")
"""Classes that are made of like shapes: a snowman of circles, a television of squares."""
TITLES = {
    "placement": "four placements",
    "nesting": "nesting",
    "orientation": "orientation",
    "count": "count",
    "real": "real classes",
}
PER_CLASS = 75
"""Drawings of each real class at the most: four times as many are the paper's 300."""

Key = tuple[str, str, bool]
"""A set, a row, and whether its features are scaled."""


@dataclass(frozen=True)
class Examples:
    """Pictures of classes, those to learn from first.

    Attributes:
        images: a network's input.
        truth: numbers of the classes.
        classes: their names.
        sketches: the same pictures as strokes, in pixels of a canvas of 28.
        train: how many there are to learn from.
    """

    images: Float[Tensor, "batch 1 size size"]
    truth: np.ndarray
    classes: list[str]
    sketches: list[Sketch]
    train: int

    @classmethod
    def composed(cls, train: Arrangements, test: Arrangements, size: int) -> Examples:
        """Return composed pictures."""
        both = Arrangements.join([train, test])
        return cls(both.images(size), both.truth, both.classes, both.sketches, len(train))

    @classmethod
    def real(cls, pictures: Pictures, train: int, test: int, seed: int, size: int) -> Examples:
        """Return drawings of the four classes, of each as many as of another.

        Args:
            pictures: Quick, Draw!'s.
            train: how many to learn from.
            test: how many to be tested on; as many as there are, if there are fewer.
            seed: of the choice.
            size: side of the images in pixels.

        Raises:
            DataError: if a class has too few drawings to leave any to be tested on.
        """
        counts = {name: len(pictures.select(name)) for name in REAL}
        least = min(counts, key=lambda name: counts[name])
        each = min(-(-(train + test) // len(REAL)), counts[least])
        if each * len(REAL) <= train:
            raise DataError(
                f"there are {counts[least]} drawings of '{least}', and none of the {each * len(REAL)} that "
                f"{len(REAL)} classes of as many make is left to be tested on",
                expected=f"more than {train // len(REAL)} of each of {', '.join(REAL)}",
                fix="Learn from fewer with --train, or get more drawings",
            )
        random = np.random.default_rng(seed)
        drawings = [random.permutation(pictures.select(name, each, seed=seed)) for name in REAL]
        # One of each class in turn, so that those to learn from are balanced too.
        chosen = np.stack(drawings, axis=1).flatten()[: train + test]
        truth = np.arange(len(chosen)) % len(REAL)
        sketches = [Sketch.from_stroke3(pictures.store[index]).fit(28, 3) for index in chosen]
        return cls(pictures.images(chosen, size), truth, list(REAL), sketches, train)

    @property
    def digest(self) -> str:
        """What tells these pictures and classes from others."""
        content = self.images.numpy().tobytes() + self.truth.astype(np.int64).tobytes()
        return hashlib.sha256(content).hexdigest()[:16]

    def split(self, features: np.ndarray) -> Split:
        """Return features of the images as a probe takes them."""
        at = self.train
        return Split(features[:at], self.truth[:at], features[at:], self.truth[at:])


def relations(context: EvaluationContext, train: int = 100, test: int = 200, repeats: int = 10) -> Part:
    """Tell by a linear probe how the shapes of a picture are arranged (figure 5A).

    Args:
        context: the models.
        train: pictures of each set that a probe learns from.
        test: pictures of each set that it is tested on.
        repeats: how often everything is drawn and fitted anew, for the interval.

    Raises:
        ConfigError: if a number is out of its range.
        DataError: if there are too few drawings.
    """
    check_range("train", train, max(len(classes) for classes in RELATIONS.values()))
    check_range("test", test, 1)
    check_range("repeats", repeats, 1)
    size = context.net.config.image_size
    names = [row.name for row in rows(context)]
    first: dict[str, Examples] = {}
    scores: dict[Key, list[float]] = defaultdict(list)
    maps: dict[tuple[str, str], np.ndarray] = {}
    for repeat in track(range(repeats), "relations", transient=True, disable=not context.ranks.is_rank_zero):
        seed = context.seed + repeat
        composer = Composer(context.pictures, seed)
        for relation in reversed(TITLES):  # the real classes first, of which there may be too few
            if relation in RELATIONS:
                examples = Examples.composed(*composer.relation(relation, train, test), size)
            else:
                examples = Examples.real(context.pictures, train, test, seed, size)
            for name, features in embedded(context, examples.images, seed).items():
                split = examples.split(features)
                scores[relation, name, False].append(classified(split))
                scores[relation, name, True].append(classified(split.scaled()))
                if repeat == 0:
                    first[relation] = examples
                    maps[relation, name] = projected(features, context.seed)
    found = {key: student_interval(values) for key, values in scores.items()}
    return Part(
        "relations",
        "Relations between components (figure 5A)",
        _about(first, train, repeats),
        [_table(names, found, first)],
        [_figure(names, found, first, maps)],
        values={
            f"{relation}/{row.key}/accuracy{'-scaled' * scaled}": found[relation, row.name, scaled].mean
            for row in rows(context)
            for relation in TITLES
            for scaled in (False, True)
        },
        facts=_facts(context, first, repeats),
    )


def _about(first: dict[str, Examples], train: int, repeats: int) -> str:
    composed, real = (len(first[name].truth) - train for name in ("placement", "real"))
    return (
        "Pictures with the same shapes in different relations are embedded without a label. A logistic "
        f"regression then learns the relation from {train} of them and is asked about {composed} others "
        f"({real} of the real classes). The shapes are people's circles and squares from Quick, Draw!, moved "
        "to their places as strokes and drawn once; drawings that the pictures to learn from are made of are "
        f"never in those that are asked about. Everything is drawn and fitted {repeats} times; ± is the 95 % "
        "interval of the mean over these, which says nothing of other trainings of the models."
    )


def _table(names: list[str], found: dict[Key, Interval], first: dict[str, Examples]) -> Table:
    lines: list[list[Cell]] = [
        [name + ", scaled" * scaled, *(str(found[relation, name, scaled]) for relation in TITLES)]
        for scaled in (False, True)
        for name in names
    ]
    chance: list[Cell] = [f"{100 / len(first[relation].classes):.0f}" for relation in TITLES]
    return Table(
        "Figure 5A: accuracy of a linear probe, per cent",
        ["embedding", *TITLES.values()],
        [*lines, ["chance", *chance]],
        note="The paper prints its accuracies inside figure 5 and not in its text, which says that "
        f"SketchEmbedding is above Conv-VAE. {SAMPLING}",
    )


def _figure(
    names: list[str],
    found: dict[Key, Interval],
    first: dict[str, Examples],
    maps: dict[tuple[str, str], np.ndarray],
) -> Figure:
    columns = []
    for relation, title in TITLES.items():
        examples = first[relation]
        shown = [
            Example(
                examples.sketches[int(np.flatnonzero(examples.truth == number)[0])], _wrapped(label), number
            )
            for number, label in enumerate(examples.classes)
        ]
        column = [
            Map(maps[relation, name], examples.truth, f"{found[relation, name, False].mean:.1f}")
            for name in names
        ]
        columns.append(Column(title, shown, column))
    return Figure(
        "figure-5a-relations",
        "Embeddings of pictures that differ in the relation of their parts",
        maps_svg([name.replace(", ", ",\n") for name in names], columns),
        "Each dot is a picture, laid out by UMAP, which does not see the classes; colours are those of the "
        "examples above. In the corner: accuracy of the linear probe, per cent, features as they are.",
    )


def _facts(context: EvaluationContext, first: dict[str, Examples], repeats: int) -> dict[str, object]:
    drawings = {name: len(context.pictures.select(name)) for name in REAL}
    facts: dict[str, object] = {
        "drawings": ", ".join(f"{count} of {name}" for name, count in drawings.items()),
        "training classes of the model among them": ", ".join(
            name for name in REAL if name in context.pictures.seen
        )
        or "none",
        "seeds": f"{context.seed} to {context.seed + repeats - 1}",
    }
    return facts | {f"digest.{relation}": examples.digest for relation, examples in first.items()}


def _wrapped(label: str) -> str:
    return label.replace("television", "tele-vision").replace("-", "-\n").replace(" ", "\n", 1)
