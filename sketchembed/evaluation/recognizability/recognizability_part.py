"""Whether a classifier recognises what the model draws (paper section 7, table 4)."""

from __future__ import annotations

from typing import Any, Literal

from sketchembed.data.datamodules.labelled_datamodule import LabelledQuickdrawDataModule
from sketchembed.errors import ConfigError
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.recognizability.predictions import (
    DRAWN,
    HELD_OUT,
    SCALED,
    TRAINING,
    VAE,
    Choices,
    Verdicts,
    measure,
)
from sketchembed.evaluation.recognizability.recognizability_figures import bars, replay, verdict_sheet
from sketchembed.networks.resnet import ResNet
from sketchembed.reporting.intervals import difference, wilson_interval
from sketchembed.reporting.part import Cell, Part, Table
from sketchembed.training.recognizability_classifier import Depth, Recipe, classifier

NAMES = {
    HELD_OUT: "Real drawings, held out",
    TRAINING: "Real drawings, the classifier's own",
    DRAWN: "SketchEmbedNet, drawn once",
    VAE: "Conv-VAE",
    SCALED: "The inputs, scaled as the VAE's",
}
PAPER: list[list[Cell]] = [
    ["Original data (the classifier's own)", "97.66", "96.09", "", ""],
    ["SketchEmbedNet", "81.44 ± 0.95", "77.94 ± 1.07", "", ""],
    ["Conv-VAE", "76.28 ± 0.93", "75.07 ± 0.84", "", ""],
]
SETS: tuple[Literal["seen"], Literal["unseen"]] = ("seen", "unseen")


DEPTHS: dict[str, Depth | None] = {"preset": None, "resnet18": 18, "resnet50": 50, "resnet101": 101}


def recognizability(
    context: EvaluationContext,
    preset: Literal["auto", "classifier", "classifier-cpu"] = "auto",
    network: Literal["preset", "resnet18", "resnet50", "resnet101"] = "preset",
    steps: int | None = None,
    seen_classifier: str | None = None,
    unseen_classifier: str | None = None,
    inputs: Literal["held-out", "training"] = "held-out",
    drawings: int = Choices.count,
    z: Literal["sample", "mean"] = "sample",
    temperature: float | int = 0.0,
    component: Literal["sample", "argmax"] = "sample",
    batch_norm: Literal["evaluation", "training"] = "evaluation",
) -> Part:
    """Whether a classifier recognises one-shot drawings (table 4).

    *Source*: paper section 7. The released code's choices are ``--inputs training --temperature 1 --component
    argmax --batch_norm training``.

    Args:
        context: the model, and the Conv-VAE beside it.
        preset: of `sketchembed fit`, by which the two classifiers are trained, if they are not there yet;
            auto is classifier on a GPU, the paper's ResNet-101, else classifier-cpu, with at most 100 passes
            over the drawings.
        network: depth of the classifiers, instead of the preset's.
        steps: of their training, instead of the preset's.
        seen_classifier: a run or file of a classifier of the seen classes, to be used instead.
        unseen_classifier: the same of the unseen ones.
        inputs: drawings that the models are given: held out from the classifiers, or those that trained them.
        drawings: of each kind and set of classes at most; the released code's 21 batches of 256 if not given.
        z: a sample of the Gaussian over z, as released, or its mean.
        temperature: of the drawing; 0 is greedy.
        component: how a Gaussian of the mixture is chosen.
        batch_norm: of the classifiers, in evaluation mode or in training mode.

    Raises:
        ConfigError: if there are no drawings to be judged.
        CheckpointError: if a classifier that is named is none, or of other classes.
    """
    if drawings < 1:
        raise ConfigError(f"drawings is {drawings}", expected="1 or more", fix="The released code's are 5376")
    choices = Choices(inputs, z, temperature, component, batch_norm, drawings)
    short = preset == "auto" and steps is None
    if preset == "auto":
        preset = "classifier" if context.device.type == "cuda" else "classifier-cpu"
    recipe = Recipe.of(preset, DEPTHS[network], steps)
    named = {"seen": seen_classifier, "unseen": unseen_classifier}
    nets: dict[str, ResNet] = {}
    found: dict[str, Verdicts] = {}
    facts: dict[str, Any] = {"classifier.preset": preset}
    for which in SETS:
        # At most the paper's 64 points whatever the model's own T, so that all models are asked the same.
        data = LabelledQuickdrawDataModule(which, context.folder, seed=context.seed)
        data.setup()
        mine = recipe.shortened(len(data.train_indices)) if short else recipe
        net, file = classifier(mine, data, context.ranks, context.out / "classifiers", named[which])
        nets[which], found[which] = net, measure(context, net, data, choices)
        facts |= {f"{which}.classifier": str(file), f"{which}.network": f"ResNet-{net.config.depth}"}
        facts |= {} if named[which] else {f"{which}.steps": mine.steps}
        facts |= {f"{which}.{key}": value for key, value in data.drawings.facts().items()}
        facts[f"{which}.inputs"] = len(found[which].given)
    facts |= {"data": data.store.manifest["digests"]["points.bin"][:16]} if data.store else {}
    facts |= {f"choices.{key}": value for key, value in vars(choices).items()}
    return Part(
        "recognizability",
        "Recognizability of one-shot drawings",
        _about(context, found, nets, choices),
        [_table(found), _classifiers(found, nets)],
        [bars(found, NAMES), verdict_sheet(context, found, choices)],
        [replay(context, found, temperature)],
        values=_values(found),
        facts=facts,
    )


def _values(found: dict[str, Verdicts]) -> dict[str, float]:
    values: dict[str, float] = {}
    for which, one in found.items():
        for shown in one.answers:
            right = one.right(shown)
            low, high = wilson_interval(right)
            values[f"{which}/{shown}/accuracy"] = 100 * float(right.double().mean())
            values |= {f"{which}/{shown}/low": low, f"{which}/{shown}/high": high}
            values[f"{which}/{shown}/class_mean"] = 100 * one.class_mean(shown)
            values[f"{which}/{shown}/pictures"] = len(right)
        if VAE in one.answers:
            values[f"{which}/{DRAWN}-over-{VAE}"] = difference(one.right(DRAWN), one.right(VAE))[0]
    return values


def _table(found: dict[str, Verdicts]) -> Table:
    rows: list[list[Cell]] = []
    for shown, name in NAMES.items():
        if shown in found["seen"].answers:
            cells: list[Cell] = []
            for which in SETS:
                right = found[which].right(shown)
                low, high = wilson_interval(right)
                cells.append(f"{100 * float(right.double().mean()):.1f} ({low:.1f} to {high:.1f})")
            means = [f"{100 * found[which].class_mean(shown):.1f}" for which in SETS]
            rows.append([name, *cells, *means])
    note = (
        "Accuracy in per cent, with the 95 % interval of the pictures (Wilson's); the last two columns let "
        "every class count alike."
    )
    if VAE in found["seen"].answers:
        parts = []
        for which in SETS:
            mean, half = difference(found[which].right(DRAWN), found[which].right(VAE))
            parts.append(f"{mean:+.1f} ± {half:.1f} ({which})")
        note += (
            f" SketchEmbedNet over the Conv-VAE, on the same inputs: {', '.join(parts)} points. "
            "A VAE's images are grey and blurred, unlike all that trained the classifiers."
        )
    columns = [
        "shown to the classifier",
        "seen",
        "unseen",
        "seen, mean of classes",
        "unseen, mean of classes",
    ]
    return Table("Table 4: what a 45-way classifier recognises", columns, rows, PAPER, note)


def _classifiers(found: dict[str, Verdicts], nets: dict[str, ResNet]) -> Table:
    rows: list[list[Cell]] = []
    for which, net in nets.items():
        split, config = found[which].data.drawings, net.config
        rows.append(
            [
                which,
                f"ResNet-{config.depth}, width {config.width}, {config.stem} stem",
                sum(parameter.numel() for parameter in net.parameters()),
                len(split.labels),
                len(split.train),
                len(split.held_out),
            ]
        )
    columns = ["set", "network", "parameters", "classes", "training drawings", "held-out drawings"]
    return Table("The classifiers", columns, rows)


def _about(
    context: EvaluationContext, found: dict[str, Verdicts], nets: dict[str, ResNet], choices: Choices
) -> str:
    seen, unseen = found["seen"], found["unseen"]
    own = "held out from its training" if choices.inputs == "held-out" else "that trained it"
    how = {"sample": "a sample of z", "mean": "the mean of z"}[choices.z]
    depths = " and ".join(sorted({f"ResNet-{net.config.depth}" for net in nets.values()}))
    text = (
        f"Two {depths} classifiers tell classes apart: {len(seen.data.labels)} that trained the drawing "
        f"model, and {len(unseen.data.labels)} that did not. Each is shown real drawings, and what the model "
        f"draws once, from {how} at temperature {choices.temperature:g}, given drawings {own} "
        f"({len(seen.given)} and {len(unseen.given)} inputs). Drawings are drawn at "
        f"{nets['seen'].config.image_size} pixels; the classifiers' batch norm "
        + (
            "keeps its averages."
            if choices.batch_norm == "evaluation"
            else "takes each block's own statistics."
        )
    )
    if context.baseline:
        text += (
            " The Conv-VAE's images are reconstructions of the same inputs; the last row of the table shows "
            "the inputs scaled as they are, without the VAE."
        )
    borrowed = seen.data.drawings.borrowed + unseen.data.drawings.borrowed
    if borrowed:
        text += (
            f" {borrowed} of the held-out drawings are from the published training part, of classes with "
            "fewer than two others."
        )
    return text
