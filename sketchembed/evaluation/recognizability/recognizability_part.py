"""Recognizability of generated drawings by classifiers (paper section 7, table 4)."""

from __future__ import annotations

from typing import Any, Literal

from sketchembed.data.datamodules.labelled_datamodule import LabelledQuickdrawDataModule
from sketchembed.errors import ConfigError, check_range
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.recognizability.predictions import (
    DRAWN,
    HELD_OUT,
    SCALED,
    TRAINING,
    VAE,
    Choices,
    Predictions,
    measure,
)
from sketchembed.evaluation.recognizability.recognizability_figures import (
    accuracies,
    prediction_sheet,
    replay,
)
from sketchembed.networks.resnet import ResNet
from sketchembed.reporting.intervals import difference
from sketchembed.reporting.part import Cell, Part, Table

NAMES = {
    HELD_OUT: "Real drawings, held out",
    TRAINING: "Real drawings, training set of the classifier",
    DRAWN: "SketchEmbedNet, one drawing per input",
    VAE: "Conv-VAE, reconstructions",
    SCALED: "Inputs, scaled like images of the VAE",
}
PAPER: list[list[Cell]] = [
    ["Original data (training set of the classifier)", "97.66", "96.09", "", ""],
    ["SketchEmbedNet", "81.44 ± 0.95", "77.94 ± 1.07", "", ""],
    ["Conv-VAE", "76.28 ± 0.93", "75.07 ± 0.84", "", ""],
]
SETS: tuple[Literal["seen"], Literal["unseen"]] = ("seen", "unseen")


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
    """Recognizability of one-shot drawings by classifiers (table 4).

    *Source*: paper section 7. The released code uses ``--inputs training --temperature 1 --component argmax
    --batch_norm training``.

    Args:
        context: the models and the data.
        preset: preset of the two classifiers, which are trained if they do not exist yet; auto is classifier
            on a GPU (the paper's ResNet-101), else classifier-cpu, with at most 100 passes over the drawings.
        network: depth of the classifiers; overrides the preset.
        steps: number of training steps; overrides the preset.
        seen_classifier: a run folder or file of a classifier of the seen classes, to use instead.
        unseen_classifier: the same for the unseen classes.
        inputs: inputs of the models: drawings held out from the classifiers, or their training drawings.
        drawings: maximum number of drawings of each kind and set of classes; the default is the released
            code's 21 batches of 256.
        z: a sample from the Gaussian over z, as in the released code, or its mean.
        temperature: sampling temperature of the decoder; 0 is greedy.
        component: how a component of the mixture is chosen.
        batch_norm: mode of the classifiers' batch norm.

    Raises:
        ConfigError: if the number of drawings is out of range.
        CheckpointError: if a given classifier is not a classifier of these classes.
    """
    check_range("drawings", drawings, 1)
    options: dict[str, Any] = {
        "preset": preset,
        "depth": None if network == "preset" else int(network.removeprefix("resnet")),
        "steps": steps,
        "limited": preset == "auto" and steps is None,
    }
    if preset == "auto":
        options["preset"] = "classifier" if context.device.type == "cuda" else "classifier-cpu"
    paths = {"seen": seen_classifier, "unseen": unseen_classifier}
    choices = Choices(inputs, z, temperature, component, batch_norm, drawings)
    return _evaluate(context, choices, paths, options)


def _evaluate(
    context: EvaluationContext, choices: Choices, paths: dict[str, str | None], options: dict[str, Any]
) -> Part:
    """Return the part, with classifiers at `paths` or trained with `options`."""
    if context.classifier is None:
        raise ConfigError(
            "the evaluation context has no classifier",
            expected="a function that trains or loads one",
            fix="Pass sketchembed.training.recognizability_classifier.classifier as `classifier`",
        )
    nets: dict[str, ResNet] = {}
    found: dict[str, Predictions] = {}
    facts: dict[str, Any] = {"classifier.preset": options["preset"]}
    for which in SETS:
        # At most the paper's 64 points whatever the model's own T, so that all models have the same inputs.
        data = LabelledQuickdrawDataModule(which, context.folder, seed=context.seed)
        data.may_download = False
        data.setup()
        net, file, steps = context.classifier(
            data, context.ranks, context.out / "classifiers", path=paths[which], **options
        )
        nets[which], found[which] = net, measure(context, net, data, choices)
        facts |= {f"{which}.classifier": str(file), f"{which}.network": f"ResNet-{net.config.depth}"}
        facts |= {} if steps is None else {f"{which}.steps": steps}
        facts |= {f"{which}.{key}": value for key, value in data.drawings.facts().items()}
        facts[f"{which}.inputs"] = len(found[which].inputs)
    facts |= {"data": data.store.manifest["digests"]["points.bin"][:16]} if data.store else {}
    facts |= {f"choices.{key}": value for key, value in vars(choices).items()}
    return Part(
        "recognizability",
        "Recognizability of one-shot drawings",
        _about(context, found, nets, choices),
        [_table(found), _classifiers(found, nets)],
        [accuracies(found, NAMES), prediction_sheet(context, found, choices)],
        [replay(context, found, choices.temperature)],
        values=_values(found),
        facts=facts,
    )


def _values(found: dict[str, Predictions]) -> dict[str, float]:
    values: dict[str, float] = {}
    for which, one in found.items():
        for kind in one.predicted:
            accuracy, low, high = one.accuracy(kind)
            numbers = {"accuracy": accuracy, "low": low, "high": high}
            numbers |= {"class_mean": 100 * one.class_mean(kind), "pictures": len(one.predicted[kind])}
            values |= {f"{which}/{kind}/{key}": number for key, number in numbers.items()}
        if VAE in one.predicted:
            values[f"{which}/{DRAWN}-over-{VAE}"] = difference(one.correct(DRAWN), one.correct(VAE))[0]
    return values


def _table(found: dict[str, Predictions]) -> Table:
    rows: list[list[Cell]] = []
    for kind, name in NAMES.items():
        if kind in found["seen"].predicted:
            cells = ["{:.1f} ({:.1f} to {:.1f})".format(*found[which].accuracy(kind)) for which in SETS]
            means = [f"{100 * found[which].class_mean(kind):.1f}" for which in SETS]
            rows.append([name, *cells, *means])
    note = (
        "Accuracy in percent, with the 95 % interval over pictures (Wilson). The last two columns are the "
        "unweighted means over classes."
    )
    if VAE in found["seen"].predicted:
        parts = []
        for which in SETS:
            mean, half = difference(found[which].correct(DRAWN), found[which].correct(VAE))
            parts.append(f"{mean:+.1f} ± {half:.1f} ({which})")
        note += (
            f" Difference between SketchEmbedNet and Conv-VAE on the same inputs: {', '.join(parts)} points. "
            "The VAE's images are grey and blurred, unlike the training images of the classifiers."
        )
    columns = ["pictures", "seen", "unseen", "seen, mean over classes", "unseen, mean over classes"]
    return Table("Table 4: accuracy of a 45-way classifier", columns, rows, PAPER, note)


def _classifiers(found: dict[str, Predictions], nets: dict[str, ResNet]) -> Table:
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
    return Table("Classifiers", columns, rows)


def _about(
    context: EvaluationContext, found: dict[str, Predictions], nets: dict[str, ResNet], choices: Choices
) -> str:
    seen, unseen = found["seen"], found["unseen"]
    source = "held out from" if choices.inputs == "held-out" else "from"
    latent = {"sample": "a sample of z", "mean": "the mean of z"}[choices.z]
    norm = {"evaluation": "its running averages", "training": "the statistics of each batch"}
    depths = " and ".join(sorted({f"ResNet-{net.config.depth}" for net in nets.values()}))
    text = (
        f"Two {depths} classifiers are trained on real drawings: one for {len(seen.data.labels)} seen "
        f"classes, which the drawing model was trained on, and one for {len(unseen.data.labels)} unseen "
        "classes. They classify real drawings, and drawings that the model generates. The model draws each "
        f"input once, from {latent} at temperature {choices.temperature:g}. The inputs are drawings {source} "
        f"the classifiers' training sets ({len(seen.inputs)} and {len(unseen.inputs)} inputs). Drawings are "
        f"rendered at {nets['seen'].config.image_size} pixels. Batch norm of the classifiers uses "
        f"{norm[choices.batch_norm]}."
    )
    if context.baseline:
        text += (
            " The Conv-VAE reconstructs the same inputs. The last row of the table is for the inputs "
            "themselves, scaled like the VAE's images."
        )
    borrowed = seen.data.drawings.borrowed + unseen.data.drawings.borrowed
    if borrowed:
        text += (
            f" {borrowed} of the held-out drawings are from the published training set, for classes with "
            "fewer than two drawings in the other sets."
        )
    return text
