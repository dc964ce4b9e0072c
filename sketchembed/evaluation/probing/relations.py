"""Probes of the relations between shapes in an image: the paper's figure 5A."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sketchembed.errors import DataError, check_range
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.pictures import Pictures
from sketchembed.evaluation.probing.arrangements import Arrangements, Composer
from sketchembed.evaluation.probing.layouts import RELATIONS
from sketchembed.evaluation.probing.probe_maps import Column, Example, Map, maps_svg
from sketchembed.evaluation.probing.probes import (
    SAMPLING,
    ProbeData,
    classification_accuracy,
    probe_features,
    probe_rows,
    umap_projection,
)
from sketchembed.files.progress_bar import track
from sketchembed.reporting.intervals import Interval, student_interval
from sketchembed.reporting.part import Cell, Figure, Part, Table
from sketchembed.sketch import Sketch

REAL = ("circle", "snowman", "square", "television")
"""Classes with similar shapes: snowmen consist of circles, televisions of squares."""
TITLES = {
    "placement": "four placements",
    "nesting": "nesting",
    "orientation": "orientation",
    "count": "count",
    "real": "real classes",
}

Key = tuple[str, str, bool]  # a relation, the name of a row, and whether the features are scaled


@dataclass(frozen=True)
class Examples:
    """Images with class labels and their drawings in pixels of the canvas, training examples first."""

    images: Float[Tensor, "batch 1 size size"]
    targets: np.ndarray
    classes: list[str]
    sketches: list[Sketch]
    train: int

    @classmethod
    def real(cls, pictures: Pictures, train: int, test: int, seed: int, size: int) -> Examples:
        """Return drawings of the four classes of :data:`REAL`, with balanced classes.

        There are fewer test examples than asked for if there are not enough drawings.

        Raises:
            DataError: if a class has too few drawings for any test example.
        """
        counts = {name: len(pictures.select(name)) for name in REAL}
        least = min(counts, key=lambda name: counts[name])
        each = min(-(-(train + test) // len(REAL)), counts[least])
        if each * len(REAL) <= train:
            raise DataError(
                f"there are {counts[least]} drawings of '{least}': of {each * len(REAL)} balanced examples, "
                f"none is left for testing after {train} for training",
                expected=f"more than {train // len(REAL)} of each of {', '.join(REAL)}",
                fix="Reduce --train, or get more drawings",
            )
        random = np.random.default_rng(seed)
        drawings = [random.permutation(pictures.select(name, each, seed=seed)) for name in REAL]
        # Classes alternate, so that the training examples are balanced too.
        chosen = np.stack(drawings, axis=1).flatten()[: train + test]
        targets = np.arange(len(chosen)) % len(REAL)
        sketches = [Sketch.from_stroke3(pictures.store[index]).fit(28, 3) for index in chosen]
        return cls(pictures.images(chosen, size), targets, list(REAL), sketches, train)

    @property
    def digest(self) -> str:
        """Digest of images and labels."""
        content = self.images.numpy().tobytes() + self.targets.astype(np.int64).tobytes()
        return hashlib.sha256(content).hexdigest()[:16]

    def probe_data(self, features: np.ndarray) -> ProbeData:
        """Split features of the images into training and test examples."""
        at = self.train
        return ProbeData(features[:at], self.targets[:at], features[at:], self.targets[at:])


def relations(context: EvaluationContext, train: int = 100, test: int = 200, repeats: int = 10) -> Part:
    """Relations between shapes predicted by a linear probe (figure 5A).

    Args:
        context: the models and the data.
        train: number of training images of each relation.
        test: number of test images of each relation.
        repeats: number of repetitions with new images, for the interval.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if there are too few drawings.
    """
    check_range("train", train, max(len(classes) for classes in RELATIONS.values()))
    check_range("test", test, 1)
    check_range("repeats", repeats, 1)
    size = context.net.config.image_size
    rows = probe_rows(context)
    names = [row.name for row in rows]
    first: dict[str, Examples] = {}
    scores: dict[Key, list[float]] = defaultdict(list)
    maps: dict[tuple[str, str], np.ndarray] = {}
    for repeat in track(range(repeats), "Training probes of relations"):
        seed = context.seed + repeat
        composer = Composer(context.pictures, seed)
        for relation in reversed(TITLES):  # the real classes first, because they may have too few drawings
            if relation in RELATIONS:
                both = Arrangements.join(composer.examples(relation, train, test))
                examples = Examples(both.images(size), both.targets, both.classes, both.sketches, train)
            else:
                examples = Examples.real(context.pictures, train, test, seed, size)
            for name, features in probe_features(context, examples.images, seed).items():
                data = examples.probe_data(features)
                scores[relation, name, False].append(classification_accuracy(data))
                scores[relation, name, True].append(classification_accuracy(data.scaled()))
                if repeat == 0:
                    first[relation] = examples
                    maps[relation, name] = umap_projection(features, context.seed)
    found = {key: student_interval(values) for key, values in scores.items()}
    return Part(
        "relations",
        "Relations between components (figure 5A)",
        _about(first, train, repeats),
        [_table(names, found, first)],
        [_figure(names, found, first, maps)],
        values={
            f"{relation}/{row.key}/accuracy{'-scaled' * scaled}": found[relation, row.name, scaled].mean
            for row in rows
            for relation in TITLES
            for scaled in (False, True)
        },
        facts=_facts(context, first, repeats),
    )


def _about(first: dict[str, Examples], train: int, repeats: int) -> str:
    composed, real = (len(first[name].targets) - train for name in ("placement", "real"))
    return (
        "Images of the same shapes in different relations are embedded without labels. A logistic "
        f"regression is trained to predict the relation from {train} embeddings and tested on {composed} "
        f"others ({real} for the real classes). The images are composed of hand-drawn circles and squares of "
        "Quick, Draw!: half of them for the training images, the other half for the test images. The "
        f"experiment is repeated {repeats} times with new images. ± is the 95 % interval of the mean over "
        "repetitions; it does not include variation between trainings of the models."
    )


def _table(names: list[str], found: dict[Key, Interval], first: dict[str, Examples]) -> Table:
    lines: list[list[Cell]] = [
        [name + ", scaled" * scaled, *(str(found[relation, name, scaled]) for relation in TITLES)]
        for scaled in (False, True)
        for name in names
    ]
    chance: list[Cell] = [f"{100 / len(first[relation].classes):.0f}" for relation in TITLES]
    return Table(
        "Figure 5A: accuracy of a linear probe, percent",
        ["embedding", *TITLES.values()],
        [*lines, ["chance", *chance]],
        note="The paper prints its accuracies only in figure 5; its text says that SketchEmbedding is "
        f"better than Conv-VAE. {SAMPLING}",
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
                examples.sketches[int(np.flatnonzero(examples.targets == number)[0])], _wrap(name), number
            )
            for number, name in enumerate(examples.classes)
        ]
        column = [
            Map(maps[relation, name], examples.targets, f"{found[relation, name, False].mean:.1f}")
            for name in names
        ]
        columns.append(Column(title, shown, column))
    return Figure(
        "figure-5a-relations",
        "Embeddings of images that differ in the relation of their shapes",
        maps_svg([name.replace(", ", ",\n") for name in names], columns),
        "UMAP projections of the images, computed without the classes. The colours are the classes, as in "
        "the examples above. In the corner: accuracy of the linear probe on unscaled features, percent.",
    )


def _facts(context: EvaluationContext, first: dict[str, Examples], repeats: int) -> dict[str, object]:
    drawings = {name: len(context.pictures.select(name)) for name in REAL}
    trained = ", ".join(name for name in REAL if name in context.pictures.seen)
    facts: dict[str, object] = {
        "drawings": ", ".join(f"{count} of {name}" for name, count in drawings.items()),
        "training classes of the model among them": trained or "none",
        "seeds": f"{context.seed} to {context.seed + repeats - 1}",
    }
    return facts | {f"digest.{relation}": examples.digest for relation, examples in first.items()}


def _wrap(label: str) -> str:
    return label.replace("television", "tele-vision").replace("-", "-\n").replace(" ", "\n", 1)
