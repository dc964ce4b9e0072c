"""What a classifier makes of real drawings, of what the model draws of them, and of a VAE's images."""

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
from sketchembed.runs.ranks import Ranks

BLOCK = 256
"""Pictures that go through the networks together, as in the released code: with batch norm in training mode
the verdict on one depends on the others."""
HELD_OUT, TRAINING, DRAWN, SCALED, VAE = "held-out", "training", "sketchembednet", "scaled", "conv-vae"
"""What a classifier is shown: real drawings held out from it, those that trained it, what the model draws,
the models' inputs scaled as a VAE's images are, and a VAE's images."""


@dataclass(frozen=True)
class Choices:
    """What is put before the classifiers, and how they look at it.

    Attributes:
        inputs: drawings that the models are given: ``held-out`` from the classifier, or its ``training``
            ones.
        z: a ``sample`` of the Gaussian over z, or its ``mean``.
        temperature: of the drawing; 0 is greedy.
        component: how a Gaussian of the mixture is chosen.
        batch_norm: of the classifiers: in ``evaluation`` mode, or in ``training`` mode.
        count: of drawings of each kind and set of classes, at most.
    """

    inputs: Literal["held-out", "training"] = "held-out"
    z: Literal["sample", "mean"] = "sample"
    temperature: float | int = 0.0
    component: Literal["sample", "argmax"] = "sample"
    batch_norm: Literal["evaluation", "training"] = "evaluation"
    count: int = 21 * BLOCK


@dataclass
class Verdicts:
    """What a classifier made of the pictures of its set of classes.

    Attributes:
        data: the drawings and classes.
        given: indices in the store of the models' inputs, ``[n]``.
        truth: numbers of the true classes, by what was shown.
        answers: numbers of the classes that the classifier named, by what was shown. Of what the models made
            they are in the order of `given`.
        rows: what the model drew, stroke-5 in normalised units.
    """

    data: LabelledQuickdrawDataModule
    given: np.ndarray
    truth: dict[str, Int[Tensor, " n"]] = field(default_factory=dict)
    answers: dict[str, Int[Tensor, " n"]] = field(default_factory=dict)
    rows: Float[Tensor, "n rows 5"] | None = None

    def right(self, shown: str) -> Bool[Tensor, " n"]:
        """Return whether each picture was recognised."""
        return self.answers[shown] == self.truth[shown]

    def class_mean(self, shown: str) -> float:
        """Return the mean of the classes' accuracies, in which large and small ones count alike."""
        right, truth = self.right(shown).double(), self.truth[shown]
        return float(torch.stack([right[truth == number].mean() for number in set(truth.tolist())]).mean())


def measure(
    context: EvaluationContext, net: ResNet, data: LabelledQuickdrawDataModule, choices: Choices | None = None
) -> Verdicts:
    """Show a classifier all there is to judge.

    Args:
        context: the models.
        net: the classifier, in evaluation mode on the device.
        data: drawings of its classes, set up.
        choices: see there.
    """
    choices = choices or Choices()
    parts = {HELD_OUT: data.drawings.held_out, TRAINING: data.drawings.train}
    real = {name: _some(indices, choices.count, context.seed) for name, indices in parts.items()}
    given = real[choices.inputs]
    out = Verdicts(data, given)
    size = net.config.image_size

    def show(name: str, indices: np.ndarray, picture: Callable[[range], Tensor]) -> None:
        out.truth[name] = data.labelled.classes_of(indices)
        out.answers[name] = judge(net, picture, len(indices), choices.batch_norm, context.ranks)

    def pictures(indices: np.ndarray, side: int) -> Callable[[range], Tensor]:
        return lambda block: context.pictures.images(indices[block.start : block.stop], side)

    for name, indices in real.items():
        show(name, indices, pictures(indices, size))
    inputs = pictures(given, context.net.config.image_size)
    rows = out.rows = draw(context, inputs, len(given), choices)
    show(DRAWN, given, lambda block: 1 - draw_pen(rows[block.start : block.stop], size).unsqueeze(1))
    if context.baseline:
        show(SCALED, given, lambda block: scale(inputs(block), size))
        show(VAE, given, lambda block: scale(reconstruct(context, inputs(block), block, choices), size))
    return out


def judge(
    net: ResNet,
    picture: Callable[[range], Float[Tensor, "block 1 size size"]],
    count: int,
    batch_norm: Literal["evaluation", "training"],
    ranks: Ranks,
) -> Int[Tensor, " count"]:
    """Return the number of the class that the classifier names for each picture.

    Args:
        net: the classifier, on the device.
        picture: from a block's rows to its pictures.
        count: of pictures.
        batch_norm: in training mode it takes the block's own statistics, as in the released code; a block of
            one picture has none.
        ranks: the processes.
    """
    looking = copy.deepcopy(net)

    @torch.no_grad()
    def block(rows: range) -> Tensor:
        images = picture(rows).expand(-1, net.config.channels, -1, -1).to(ranks.device)
        looking.train(batch_norm == "training" and len(rows) > 1)
        answers: Tensor = looking(images).argmax(-1)
        return answers

    return ranks.gather(torch.zeros(count, dtype=torch.int64), BLOCK, block)


def draw(
    context: EvaluationContext,
    inputs: Callable[[range], Float[Tensor, "block 1 size size"]],
    count: int,
    choices: Choices,
) -> Float[Tensor, "count rows 5"]:
    """Draw every input once; stroke-5 rows in normalised units, on the CPU.

    Args:
        context: the model.
        inputs: from a block's rows to its images.
        count: of inputs.
        choices: of z and of the drawing.
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

    return context.ranks.gather(torch.zeros(count, length, 5), BLOCK, block)


@torch.no_grad()
def reconstruct(
    context: EvaluationContext, images: Float[Tensor, "block 1 size size"], rows: range, choices: Choices
) -> Float[Tensor, "block 1 canvas canvas"]:
    """Return the VAE's images of a block of inputs, on its own canvas.

    Args:
        context: the VAE.
        images: the inputs.
        rows: of the block, which choose the random numbers.
        choices: of z.
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


def _some(indices: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Choose at most `count`, in a random order, so that a block has all classes."""
    return np.random.default_rng(seed).permutation(indices)[:count]


def _generator(context: EvaluationContext, rows: range) -> torch.Generator:
    """Return a source of random numbers that are the block's, whichever process computes it."""
    state = np.random.SeedSequence([context.seed, rows.start]).generate_state(1, np.uint64)
    return torch.Generator(context.device).manual_seed(int(state[0] >> np.uint64(1)))


def _latent(latent: Latent, choices: Choices, generator: torch.Generator) -> Float[Tensor, "batch latent"]:
    if choices.z == "mean":
        return latent.mean
    noise = torch.randn(latent.mean.shape, generator=generator, device=latent.mean.device)
    return latent.sample(noise)
