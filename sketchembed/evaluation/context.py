"""What all evaluations of a model share: the model, its Conv-VAE baseline, the data and the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.data.folders import data_folder
from sketchembed.errors import CheckpointError
from sketchembed.evaluation.models import Model, default_model, newest_model, trained_baselines
from sketchembed.evaluation.pictures import Pictures
from sketchembed.networks.conv_vae import ConvVAE
from sketchembed.networks.network import evaluating
from sketchembed.networks.resnet import ResNet
from sketchembed.networks.sketchembednet import Latent, SketchEmbedNet
from sketchembed.runs.ranks import Ranks
from sketchembed.sketch import Sketch

BATCH = 512  # images or embeddings in a batch


ClassifierSource = Callable[..., tuple[ResNet, Path, int | None]]
"""Loads or trains a classifier, like ``training.recognizability_classifier.classifier``, which the
commands pass in because evaluation does not import training."""


@dataclass
class EvaluationContext:
    """The model to evaluate, with everything that the parts of a report need. Costly values are lazy.

    Args:
        checkpoint: a .ckpt or .safetensors file, or a run folder; if not given, the newest run in `runs`, or
            the packaged model of drawings if there is no run.
        vae: the Conv-VAE baseline, in the same forms; if not given, the newest one in `runs` for images of
            the same size and channels; none to leave it out.
        runs: folder of the runs in which models are looked up.
        out: output folder.
        folder: data folder; SKETCHEMBED_DATA, else data, if not given.
        seed: random seed of all choices and samples.
        devices: number of processes, each with its own device; auto for every GPU.
        accelerator: auto, cpu or cuda; --device is another name of this option.
        wandb: offline (needs no account), online or disabled; auto uses WANDB_MODE, else offline.
        project: W&B project.
        classifier: trains or loads the classifiers of the recognizability part.
    """

    checkpoint: str | None = None
    vae: str | None = None
    runs: Path = Path("runs")
    out: Path = Path("results")
    folder: str | None = None
    seed: int = 0
    devices: str = "1"
    accelerator: str = "auto"
    wandb: Literal["auto", "offline", "online", "disabled"] = "auto"
    project: str = "sketchembed"
    classifier: ClassifierSource | None = None

    @cached_property
    def model(self) -> Model:
        """The evaluated model, in evaluation mode on the device.

        Raises:
            CheckpointError: if there is none, or it is not a SketchEmbedNet.
        """
        named = self.checkpoint
        model = Model.load(Path(named)) if named else newest_model(self.runs) or default_model(1)
        if model is None:
            raise CheckpointError(
                f"no checkpoint was given and there is none in {self.runs}",
                expected="a trained SketchEmbedNet",
                fix="Train one (`make train-quickdraw`), or name one with --checkpoint",
            )
        if not isinstance(model.network, SketchEmbedNet):
            raise CheckpointError(
                f"{model.path} is a {model.network.kind}, which cannot draw",
                expected="a SketchEmbedNet",
                fix="Name another with --checkpoint",
            )
        model.network.to(self.ranks.device)
        return model

    @property
    def net(self) -> SketchEmbedNet:
        """The network of the evaluated model."""
        network = self.model.network
        assert isinstance(network, SketchEmbedNet)
        return network

    @cached_property
    def baseline(self) -> Model | None:
        """The Conv-VAE baseline, in evaluation mode on the device; None if there is none.

        Raises:
            CheckpointError: if the model named by `vae` is not a Conv-VAE for images of the same form.
        """
        if self.vae == "none":
            return None
        if self.vae:
            model = Model.load(Path(self.vae))
            if not self._is_baseline(model):
                raise CheckpointError(
                    f"{model.path} is a {model.network.kind} for images of "
                    f"{model.network.config.channels} x {model.network.config.image_size} pixels",
                    expected=f"a Conv-VAE for {self.net.config.channels} x {self.net.config.image_size}",
                    fix="Train one with `make train-vae`, or name another with --vae",
                )
            found = [model]
        else:
            known = [model for model in trained_baselines(self.runs) if self._is_baseline(model)]
            # A Conv-VAE trained on the same drawings is the fairer baseline.
            source = self.model.facts.get("trained_on")
            found = [model for model in known if model.facts.get("trained_on") == source] or known
        if not found:
            return None
        found[0].network.to(self.ranks.device)
        return found[0]

    def _is_baseline(self, model: Model) -> bool:
        ours, theirs = self.net.config, model.network.config
        same = (ours.channels, ours.image_size) == (theirs.channels, theirs.image_size)
        return isinstance(model.network, ConvVAE) and same

    @property
    def models(self) -> list[Model]:
        """The evaluated model, and the Conv-VAE baseline if there is one."""
        return [self.model] + ([self.baseline] if self.baseline else [])

    @cached_property
    def ranks(self) -> Ranks:
        """The ranks and their devices."""
        return Ranks.launch(self.devices, self.accelerator)

    @property
    def device(self) -> torch.device:
        """The device of this rank."""
        return self.ranks.device

    @cached_property
    def pictures(self) -> Pictures:
        """The drawings of Quick, Draw! by class, which do not depend on the model."""
        return Pictures.quickdraw(data_folder(self.folder))

    def facts(self) -> dict[str, object]:
        """Return the facts about models and seed that every part reports."""
        facts: dict[str, object] = {f"model.{key}": value for key, value in self.model.facts.items()}
        if self.baseline:
            facts |= {f"vae.{key}": value for key, value in self.baseline.facts.items()}
        return facts | {"seed": self.seed}

    def embed(
        self, model: Model, images: Float[Tensor, "batch channels size size"]
    ) -> Float[Tensor, "batch latent"]:
        """Return the embedding of images, which is the mean of z, on the CPU; see :meth:`encode`."""
        return self.encode(model, images).mean

    @torch.no_grad()
    def encode(self, model: Model, images: Float[Tensor, "batch channels size size"]) -> Latent:
        """Return the Gaussian over z of images, on the CPU.

        Args:
            model: one of :attr:`models`.
            images: in [0, 1], dark on white, with one channel or as many as the model takes.
        """
        network = model.network
        assert isinstance(network, SketchEmbedNet | ConvVAE)
        means, logvars = [], []
        with evaluating(network):
            for part in torch.split(images.expand(-1, network.config.channels, -1, -1), BATCH):
                latent = network.encode(part.to(self.device))
                means.append(latent.mean.float().cpu())
                logvars.append(latent.logvar.float().cpu())
        return Latent(torch.cat(means), torch.cat(logvars))

    def decode(
        self, z: Float[Tensor, "batch latent"], temperature: float | int = 0.0, seed: int | None = None
    ) -> list[Sketch]:
        """Draw embeddings with the evaluated model, in the unit of the drawings.

        Temperature 0 is greedy. The seed of the sampling is that of the context if not given.
        """
        generator = torch.Generator(self.device).manual_seed(self.seed if seed is None else seed)
        sketches: list[Sketch] = []
        for part in torch.split(z, BATCH):
            rows = self.net.generate(part.to(self.device), temperature, generator=generator)
            sketches += [Sketch.from_stroke5(row) for row in rows.float().cpu().numpy()]
        return [sketch.scaled(self.net.offset_scale) for sketch in sketches]

    def decode_baseline(self, z: Float[Tensor, "batch latent"]) -> np.ndarray:
        """Decode embeddings of the baseline to images in 0..1, float32 ``[batch, channels, size, size]``."""
        assert self.baseline is not None
        network = self.baseline.network
        assert isinstance(network, ConvVAE)
        pictures = [network.pictures(part.to(self.device)).float().cpu() for part in torch.split(z, BATCH)]
        return np.asarray(torch.cat(pictures).numpy())
