"""Predictions of a classifier for real drawings, for generated drawings, and for images of a VAE.

Predictions are kept per picture, for the confidence intervals, so there is no torchmetrics metric here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sketchembed.data.datamodules.labelled_datamodule import LabelledQuickdrawDataModule
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.networks.conv_vae import ConvVAE, scale
from sketchembed.networks.resnet import ResNet
from sketchembed.networks.sketchembednet import Latent
from sketchembed.raster.rasterize import draw_pen
from sketchembed.reporting.intervals import wilson_interval
from sketchembed.runs.ranks import Ranks

BLOCK = 256
"""Pictures in a batch, as in the released code. With batch norm in training mode, the predictions for the
pictures of a batch depend on each other."""
HELD_OUT, TRAINING, DRAWN, SCALED, VAE = "held-out", "training", "sketchembednet", "scaled", "conv-vae"
"""Kinds of pictures: real drawings that are held out from the classifier, its training drawings, drawings by
the model, the inputs of the model scaled like images of a VAE, and images of a VAE."""


@dataclass(frozen=True)
class Choices:
    """Options of the generation and of the classification, see :func:`.recognizability`."""

    inputs: Literal["held-out", "training"] = "held-out"
    z: Literal["sample", "mean"] = "sample"
    temperature: float | int = 0.0
    component: Literal["sample", "argmax"] = "sample"
    batch_norm: Literal["evaluation", "training"] = "evaluation"
    count: int = 21 * BLOCK


@dataclass
class Predictions:
    """Predictions of a classifier for pictures of its set of classes.

    Attributes:
        data: the drawings and classes.
        inputs: indices of the models' inputs in the store, ``[n]``, in the order of generated pictures.
        targets: numbers of the true classes, by kind of picture.
        predicted: numbers of the predicted classes, by kind of picture.
        rows: the generated drawings in stroke-5 format and normalised units.
    """

    data: LabelledQuickdrawDataModule
    inputs: np.ndarray
    targets: dict[str, Int[Tensor, " n"]] = field(default_factory=dict)
    predicted: dict[str, Int[Tensor, " n"]] = field(default_factory=dict)
    rows: Float[Tensor, "n rows 5"] | None = None

    def correct(self, kind: str) -> Bool[Tensor, " n"]:
        """Return whether the prediction for each picture is correct."""
        return self.predicted[kind] == self.targets[kind]

    def accuracy(self, kind: str) -> tuple[float, float, float]:
        """Return the accuracy and the ends of its 95 % interval over pictures, in percent."""
        correct = self.correct(kind)
        return 100 * float(correct.double().mean()), *wilson_interval(correct)

    def class_mean(self, kind: str) -> float:
        """Return the balanced accuracy, 0 to 1: the unweighted mean over classes."""
        correct, targets = self.correct(kind).double(), self.targets[kind]
        return float(
            torch.stack([correct[targets == number].mean() for number in set(targets.tolist())]).mean()
        )


def measure(
    context: EvaluationContext, net: ResNet, data: LabelledQuickdrawDataModule, choices: Choices | None = None
) -> Predictions:
    """Classify pictures of every kind with a classifier in evaluation mode, on the device."""
    choices = choices or Choices()
    parts = {HELD_OUT: data.drawings.held_out, TRAINING: data.drawings.train}
    # A random order, so that every batch has all classes.
    real = {
        kind: np.random.default_rng(context.seed).permutation(indices)[: choices.count]
        for kind, indices in parts.items()
    }
    given = real[choices.inputs]
    out = Predictions(data, given)
    size = net.config.image_size

    def add(kind: str, indices: np.ndarray, picture: Callable[[range], Tensor]) -> None:
        out.targets[kind] = data.labelled.classes_of(indices)
        out.predicted[kind] = classify(net, picture, len(indices), choices.batch_norm, context.ranks)

    def pictures(indices: np.ndarray, side: int) -> Callable[[range], Tensor]:
        return lambda block: context.pictures.images(indices[block.start : block.stop], side)

    for kind, indices in real.items():
        add(kind, indices, pictures(indices, size))
    inputs = pictures(given, context.net.config.image_size)
    rows = out.rows = draw(context, inputs, len(given), choices)
    add(DRAWN, given, lambda block: 1 - draw_pen(rows[block.start : block.stop], size).unsqueeze(1))
    if context.baseline:
        add(SCALED, given, lambda block: scale(inputs(block), size))
        add(VAE, given, lambda block: scale(reconstruct(context, inputs(block), block, choices), size))
    return out


def classify(
    net: ResNet,
    picture: Callable[[range], Float[Tensor, "block 1 size size"]],
    count: int,
    batch_norm: Literal["evaluation", "training"],
    ranks: Ranks,
) -> Int[Tensor, " count"]:
    """Return the number of the predicted class of each picture.

    `picture` returns the pictures with a range of numbers. Batch norm in mode ``training`` uses the
    statistics of the batch, as in the released code, unless the batch has a single picture.
    """
    classifier = copy.deepcopy(net)  # batch norm in training mode changes its running averages

    @torch.no_grad()
    def block(rows: range) -> Tensor:
        images = picture(rows).expand(-1, net.config.channels, -1, -1).to(ranks.device)
        classifier.train(batch_norm == "training" and len(rows) > 1)
        predicted: Tensor = classifier(images).argmax(-1)
        return predicted

    return ranks.gather(torch.zeros(count, dtype=torch.int64), BLOCK, block, "Classifying pictures")


def draw(
    context: EvaluationContext,
    inputs: Callable[[range], Float[Tensor, "block 1 size size"]],
    count: int,
    choices: Choices,
) -> Float[Tensor, "count rows 5"]:
    """Generate a drawing of every input, in stroke-5 format and normalised units, on the CPU.

    `inputs` returns the images with a range of numbers.
    """
    net, length = context.net, context.net.config.max_length + 1

    @torch.no_grad()
    def block(rows: range) -> Tensor:
        generator = _generator(context, rows)
        images = inputs(rows).expand(-1, net.config.channels, -1, -1).to(context.device)
        z = _latent(net.encode(images), choices, generator)
        drawn = net.generate(z, choices.temperature, choices.component, generator=generator)
        out = drawn.new_zeros(len(rows), length, 5)
        out[..., 4] = 1
        out[:, : drawn.shape[1]] = drawn
        return out

    return context.ranks.gather(torch.zeros(count, length, 5), BLOCK, block, "Generating drawings")


@torch.no_grad()
def reconstruct(
    context: EvaluationContext, images: Float[Tensor, "block 1 size size"], rows: range, choices: Choices
) -> Float[Tensor, "block 1 canvas canvas"]:
    """Return the VAE's reconstructions of a batch, in the size of its own output.

    The random numbers are seeded by `rows`, the numbers of the inputs.
    """
    assert context.baseline is not None
    vae = context.baseline.network
    assert isinstance(vae, ConvVAE)
    latent = vae.encode(images.expand(-1, vae.config.channels, -1, -1).to(context.device))
    generator = _generator(context, rows)
    z = latent.mean
    if choices.z == "sample":
        z = vae.sample(latent, torch.randn(z.shape, generator=generator, device=z.device))
    return torch.sigmoid(vae.decode(z)).mean(1, keepdim=True)


def _generator(context: EvaluationContext, rows: range) -> torch.Generator:
    """Return a random generator that depends on the batch, but not on the rank that computes it."""
    state = np.random.SeedSequence([context.seed, rows.start]).generate_state(1, np.uint64)
    return torch.Generator(context.device).manual_seed(int(state[0] >> np.uint64(1)))


def _latent(latent: Latent, choices: Choices, generator: torch.Generator) -> Float[Tensor, "batch latent"]:
    if choices.z == "mean":
        return latent.mean
    noise = torch.randn(latent.mean.shape, generator=generator, device=latent.mean.device)
    return latent.sample(noise)
