"""Figures of table 4: accuracies, and pictures with the class that a classifier predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sketchembed.evaluation.context import EvaluationContext
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
from sketchembed.reporting.accuracy_figure import AccuracyRow, accuracy_figure
from sketchembed.reporting.grid import Content, Tile, fit_text, grid_svg
from sketchembed.reporting.intervals import Interval
from sketchembed.reporting.part import Drawings, Figure
from sketchembed.reporting.svg_elements import boxed
from sketchembed.sketch import Sketch

COLUMNS = 9  # number of inputs in the figure of predictions, per set of classes
SIDE = 80  # side of a picture in pixels
PAPER = {
    TRAINING: {"seen classes": [97.66], "unseen classes": [96.09]},
    DRAWN: {"seen classes": [81.44], "unseen classes": [77.94]},
    VAE: {"seen classes": [76.28], "unseen classes": [75.07]},
}
"""The paper's accuracies in percent."""
CORRECT, WRONG = "#1a7f37", "#c0362c"
TITLES = {"seen": "Seen classes", "unseen": "Unseen classes (never trained on)"}


def accuracies(found: Mapping[str, Predictions], names: Mapping[str, str]) -> Figure:
    """Return a figure of the accuracies with their intervals and the paper's; `names` label the lines."""
    rows = []
    for kind, name in names.items():
        if all(kind in one.predicted for one in found.values()):
            row = AccuracyRow(name, paper=PAPER.get(kind, {}))
            for which, one in found.items():
                mean, low, high = one.accuracy(kind)
                row.measured[f"{which} classes"] = Interval(mean, (high - low) / 2)
            rows.append(row)
    caption = (
        "Dots: accuracy of a 45-way classifier, with half of its 95 % interval over pictures to each side. "
        "Hollow diamonds: the paper's accuracies. Its classifiers are ResNet-101, trained on 70,000 drawings "
        "per class, and its real drawings are training drawings."
    )
    document = accuracy_figure([f"{which} classes" for which in found], rows)
    return Figure("table-4", "Accuracy of classifiers on real and generated drawings", document, caption)


def pick(one: Predictions) -> list[int]:
    """Return the positions of the inputs in the figure: the first input of each of some classes."""
    targets = one.targets[DRAWN][:BLOCK].tolist()
    return [targets.index(number) for number in dict.fromkeys(targets)][:COLUMNS]


def prediction_sheet(
    context: EvaluationContext, found: Mapping[str, Predictions], choices: Choices
) -> Figure:
    """Return a figure of inputs and generated pictures, with the predicted class of each."""
    rows: list[list[Tile | Content]] = []
    names: list[str] = []
    headings, heads = {}, {}
    for which, one in found.items():
        places, labels = pick(one), one.data.labels
        source = HELD_OUT if choices.inputs == "held-out" else TRAINING
        given, drawn = _sketches(context, one, places)
        shown: dict[str, tuple[str, Sequence[Content]]] = {
            "input": (source, given),
            "SketchEmbed-\nNet": (DRAWN, drawn),
        }
        if context.baseline:
            block = range(min(BLOCK, len(one.inputs)))
            inputs = context.pictures.images(one.inputs[: len(block)], context.net.config.image_size)
            images = reconstruct(context, inputs, block, choices)[:, 0].float().cpu().numpy()
            shown["Conv-VAE"] = (VAE, [images[at] for at in places])
        headings[len(rows)] = TITLES[which]
        heads[len(rows)] = [
            fit_text(labels[number], 0.75 * SIDE) for number in one.targets[DRAWN][places].tolist()
        ]
        for name, (kind, pictures) in shown.items():
            names.append(name)
            rows.append([])
            for picture, at in zip(pictures, places, strict=True):
                predicted = fit_text(labels[int(one.predicted[kind][at])], SIDE)
                correct = bool(one.correct(kind)[at])
                colour = CORRECT if correct else WRONG
                rows[-1].append(Tile(picture, label=predicted, frame=colour, dashed=not correct))
    caption = (
        "One input of each of some classes, and the pictures that the models generate from it. The predicted "
        "class is below each picture; the frame is green if it is correct, else red and dashed."
    )
    svg_text = grid_svg(rows, names=names, heads=heads, headings=headings, size=SIDE)
    return Figure("table-4-verdicts", "Predictions of the classifier", svg_text, caption)


def replay(
    context: EvaluationContext, found: Mapping[str, Predictions], temperature: float | int
) -> Drawings:
    """Return the inputs and generated drawings of :func:`prediction_sheet` for replay on a page."""
    items = []
    for which, one in found.items():
        places = pick(one)
        for at, given, drawn in zip(places, *_sketches(context, one, places), strict=True):
            sample = {"temperature": temperature, "strokes": boxed(drawn)}
            name = one.data.labels[int(one.targets[DRAWN][at])]
            items.append({"class": name, "seen": which == "seen", "input": boxed(given), "samples": [sample]})
    return Drawings("Drawings that the classifiers were evaluated on", items)


def _sketches(
    context: EvaluationContext, one: Predictions, places: Sequence[int]
) -> tuple[list[Sketch], list[Sketch]]:
    """Return the inputs at some positions, and the drawings generated from them."""
    assert one.rows is not None
    given = context.pictures.strokes(one.inputs[list(places)]).numpy()
    drawn = one.rows[list(places)].numpy()
    return [Sketch.from_stroke5(row) for row in given], [Sketch.from_stroke5(row) for row in drawn]
