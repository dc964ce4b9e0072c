"""Table 4 as bars, and drawings with a classifier's verdict on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.recognizability.confusion_figures import Judged, JudgedGroup, verdict_sheet_svg
from sketchembed.evaluation.recognizability.predictions import (
    BLOCK,
    DRAWN,
    HELD_OUT,
    TRAINING,
    VAE,
    Choices,
    Predictions,
    reconstruct,
)
from sketchembed.reporting.figures import drawing_as_svg, svg
from sketchembed.reporting.intervals import wilson_interval
from sketchembed.reporting.part import Drawings, Figure
from sketchembed.sketch import Sketch

COLUMNS = 9
"""Inputs of each set of classes that are shown."""
PAPER = {TRAINING: (97.66, 96.09), DRAWN: (81.44, 77.94), VAE: (76.28, 75.07)}
"""The paper's accuracies of seen and unseen classes, in per cent."""
COLOURS = {"seen": "#2f5d8a", "unseen": "#8fb4d9"}
TITLES = {"seen": "Seen classes", "unseen": "Unseen classes (never trained on)"}


def bars(found: Mapping[str, Predictions], names: Mapping[str, str]) -> Figure:
    """Return the accuracies as bars, with their intervals and the paper's beside them.

    Args:
        found: the verdicts on seen and unseen classes.
        names: of what was shown, in the order of the bars.
    """
    shown = [key for key in names if all(key in one.predicted for one in found.values())]
    with drawing_as_svg() as pyplot:
        figure, axes = pyplot.subplots(figsize=(6.4, 0.5 + 0.5 * len(shown)))
        for at, (which, one) in enumerate(found.items()):
            accuracies = [100 * float(one.correct(key).double().mean()) for key in shown]
            ends = np.array([wilson_interval(one.correct(key)) for key in shown]).T
            places = np.arange(len(shown)) + 0.36 * (at - 0.5)
            errors = np.abs(ends - accuracies)
            grey = {"ecolor": "#15171a", "elinewidth": 0.9, "capsize": 2}
            label = f"{which} classes"
            axes.barh(places, accuracies, 0.34, xerr=errors, color=COLOURS[which], label=label, error_kw=grey)
            papers = [
                (PAPER[key][at], place) for key, place in zip(shown, places, strict=True) if key in PAPER
            ]
            axes.scatter(
                *zip(*papers, strict=True), marker="D", s=22, facecolor="white", edgecolor="#15171a", zorder=3
            )
        marks = axes.scatter([], [], marker="D", s=22, facecolor="white", edgecolor="#15171a")
        handles, labels = axes.get_legend_handles_labels()
        axes.set_yticks(range(len(shown)), [names[key] for key in shown])
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("recognised, in per cent")
        axes.legend(
            [*handles, marks],
            [*labels, "the paper's"],
            frameon=False,
            loc="center left",
            bbox_to_anchor=(1.01, 0.5),
        )
        document = svg(figure)
    caption = (
        "Accuracy of a 45-way classifier with the 95 % interval of its pictures. The paper's classifiers are "
        "ResNet-101 on 70,000 drawings a class; its real drawings are those that trained them."
    )
    return Figure("table-4", "What a classifier recognises", document, caption)


def pick(one: Predictions) -> list[int]:
    """Return which of a set's inputs are shown: the first of each of some classes, in a random order."""
    truth = one.targets[DRAWN][:BLOCK].tolist()
    return [truth.index(number) for number in dict.fromkeys(truth)][:COLUMNS]


def verdict_sheet(context: EvaluationContext, found: Mapping[str, Predictions], choices: Choices) -> Figure:
    """Return inputs, what the models make of them, and the classifier's verdict on each picture.

    Args:
        context: the models.
        found: the verdicts on seen and unseen classes.
        choices: that led to them.
    """
    groups = []
    for which, one in found.items():
        places, labels = pick(one), one.data.labels
        source = HELD_OUT if choices.inputs == "held-out" else TRAINING
        given, drawn = _sketches(context, one, places)

        def judged(
            shown: str, pictures: Sequence, one: Predictions = one, places: Sequence[int] = places
        ) -> list[Judged]:
            named, right = one.predicted[shown].tolist(), one.correct(shown).tolist()
            return [
                Judged(picture, one.data.labels[named[at]], right[at])
                for picture, at in zip(pictures, places, strict=True)
            ]

        rows = {"input": judged(source, given), "SketchEmbed-\nNet": judged(DRAWN, drawn)}
        if context.baseline:
            block = range(min(BLOCK, len(one.inputs)))
            inputs = context.pictures.images(one.inputs[: len(block)], context.net.config.image_size)
            images = reconstruct(context, inputs, block, choices)[:, 0].float().cpu()
            rows["Conv-VAE"] = judged(VAE, [images[at] for at in places])
        classes = [labels[number] for number in one.targets[DRAWN][places].tolist()]
        groups.append(JudgedGroup(TITLES[which], classes, rows))
    caption = (
        "One input of each of some classes, chosen by the seed, and what was made of it. Below each picture "
        "is the class that the classifier names; green is right, red and dashed is wrong."
    )
    return Figure(
        "table-4-verdicts", "What the classifier takes drawings for", verdict_sheet_svg(groups), caption
    )


def replay(
    context: EvaluationContext, found: Mapping[str, Predictions], temperature: float | int
) -> Drawings:
    """Return the same inputs and drawings in a form that a page can replay.

    Args:
        context: the model.
        found: the verdicts on seen and unseen classes.
        temperature: at which it drew.
    """
    items = []
    for which, one in found.items():
        places = pick(one)
        given, drawn = _sketches(context, one, places)
        for at, left, right in zip(places, given, drawn, strict=True):
            items.append(
                {
                    "class": one.data.labels[int(one.targets[DRAWN][at])],
                    "seen": which == "seen",
                    "input": _flat(left),
                    "samples": [{"temperature": temperature, "strokes": _flat(right)}],
                }
            )
    return Drawings("Drawn once, as the classifiers were shown it", items)


def _sketches(
    context: EvaluationContext, one: Predictions, places: Sequence[int]
) -> tuple[list[Sketch], list[Sketch]]:
    """Return the inputs at some places and what was drawn of them."""
    assert one.rows is not None
    given = context.pictures.strokes(one.inputs[list(places)]).numpy()
    drawn = one.rows[list(places)].numpy()
    return [Sketch.from_stroke5(row) for row in given], [Sketch.from_stroke5(row) for row in drawn]


def _flat(sketch: Sketch) -> list[list[float]]:
    """Return the strokes as flat lists in a 0..255 box, to a tenth."""
    strokes = sketch.fit(255, 8).strokes if len(sketch) else []
    return [[round(float(value), 1) for value in stroke.reshape(-1)] for stroke in strokes]
