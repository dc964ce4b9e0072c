"""What the evaluations of one trained model share: its checkpoint, a Conv-VAE beside it, data and device."""

from __future__ import annotations

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
from sketchembed.evaluation.models import Model, newest, standing_in, trained_baselines
from sketchembed.evaluation.pictures import Pictures
from sketchembed.networks.conv_vae import ConvVAE
from sketchembed.networks.network import evaluating
from sketchembed.networks.sketchembednet import Latent, SketchEmbedNet
from sketchembed.runs.ranks import Ranks
from sketchembed.sketch import Sketch


@dataclass
class EvaluationContext:
    """A trained model under context. What is costly is loaded when it is first asked for.

    Args:
        checkpoint: a .ckpt or .safetensors file, or a run's folder; the newest run in `runs` if not
            given, or the package's model of drawings where there is none.
        vae: the Conv-VAE to stand beside it, in the same forms; the newest one in `runs` that takes the same
            images if not given; none to leave it out.
        runs: folder of the runs to find models in.
        out: folder to write to.
        folder: of the data sets; SKETCHEMBED_DATA, else data, if not given.
        seed: of every choice by chance.
        devices: processes, each with a device of its own; auto for every GPU.
        accelerator: auto, cpu or cuda.
        wandb: offline (needs no account), online or disabled; auto is what WANDB_MODE says, else offline.
        project: of W&B.
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

    @cached_property
    def model(self) -> Model:
        """The model under context, in evaluation mode on the device.

        Raises:
            CheckpointError: if there is none, or it is not a SketchEmbedNet's.
        """
        named = self.checkpoint
        model = Model.load(Path(named)) if named else newest(self.runs) or standing_in(1)
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
        """The network under context."""
        network = self.model.network
        assert isinstance(network, SketchEmbedNet)
        return network

    @cached_property
    def baseline(self) -> Model | None:
        """The Conv-VAE beside it, in evaluation mode on the device; None where there is none.

        Raises:
            CheckpointError: if the one that was named is no Conv-VAE, or takes other images.
        """
        if self.vae == "none":
            return None
        if self.vae:
            model = Model.load(Path(self.vae))
            if not self._is_beside(model):
                raise CheckpointError(
                    f"{model.path} is a {model.network.kind} for images of "
                    f"{model.network.config.channels} x {model.network.config.image_size} pixels",
                    expected=f"a Conv-VAE for {self.net.config.channels} x {self.net.config.image_size}",
                    fix="Train one with `make train-vae`, or name another with --vae",
                )
            found = [model]
        else:
            known = [model for model in trained_baselines(self.runs) if self._is_beside(model)]
            # One trained on the same drawings is the fair one.
            source = self.model.facts.get("trained_on")
            found = [model for model in known if model.facts.get("trained_on") == source] or known
        for model in found[:1]:
            model.network.to(self.ranks.device)
            return model
        return None

    def _is_beside(self, model: Model) -> bool:
        mine, its = self.net.config, model.network.config
        same = (mine.channels, mine.image_size) == (its.channels, its.image_size)
        return isinstance(model.network, ConvVAE) and same

    @property
    def both(self) -> list[Model]:
        """The model under context, and the Conv-VAE if there is one."""
        return [self.model] + ([self.baseline] if self.baseline else [])

    @cached_property
    def ranks(self) -> Ranks:
        """The processes and their devices."""
        return Ranks.launch(self.devices, self.accelerator)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.ranks.device

    @cached_property
    def pictures(self) -> Pictures:
        """Quick, Draw!'s drawings by class, the same ones whatever the model's own T."""
        return Pictures.quickdraw(data_folder(self.folder))

    def facts(self) -> dict[str, object]:
        """Return what every part says of its models and its seed."""
        facts: dict[str, object] = {f"model.{key}": value for key, value in self.model.facts.items()}
        if self.baseline:
            facts |= {f"vae.{key}": value for key, value in self.baseline.facts.items()}
        return facts | {"seed": self.seed}

    def embed(
        self, model: Model, images: Float[Tensor, "batch channels size size"]
    ) -> Float[Tensor, "batch latent"]:
        """Return a model's embedding of images, the mean of z, on the CPU.

        Args:
            model: one of :attr:`both`.
            images: in [0, 1], drawings dark on white; with the model's channels, or one.
        """
        return self.encode(model, images).mean

    @torch.no_grad()
    def encode(self, model: Model, images: Float[Tensor, "batch channels size size"]) -> Latent:
        """Return a model's Gaussian over z of images, on the CPU; grey ones do for every model.

        Args:
            model: one of :attr:`both`.
            images: in [0, 1], dark on white.
        """
        network = model.network
        assert isinstance(network, SketchEmbedNet | ConvVAE)
        means, logvars = [], []
        with evaluating(network):
            for part in torch.split(images.expand(-1, network.config.channels, -1, -1), 512):
                latent = network.encode(part.to(self.device))
                means.append(latent.mean.float().cpu())
                logvars.append(latent.logvar.float().cpu())
        return Latent(torch.cat(means), torch.cat(logvars))

    def pictured(self, z: Float[Tensor, "batch latent"]) -> np.ndarray:
        """Return what the Conv-VAE makes of embeddings of its own.

        Args:
            z: embeddings, by :meth:`embed` of :attr:`beside` or computed from such.

        Returns:
            float32 ``[batch, channels, size, size]`` in [0, 1].
        """
        assert self.baseline is not None
        network = self.baseline.network
        assert isinstance(network, ConvVAE)
        pictures = [network.pictures(part.to(self.device)).float().cpu() for part in torch.split(z, 512)]
        return np.asarray(torch.cat(pictures).numpy())

    def decode(
        self, z: Float[Tensor, "batch latent"], temperature: float | int = 0.0, seed: int | None = None
    ) -> list[Sketch]:
        """Draw embeddings with the model under context, in the drawings' own unit.

        Args:
            z: embeddings.
            temperature: 0 is greedy.
            seed: of the sampling; the context's if not given.
        """
        generator = torch.Generator(self.device).manual_seed(self.seed if seed is None else seed)
        sketches: list[Sketch] = []
        for part in torch.split(z, 512):
            rows = self.net.generate(part.to(self.device), temperature, generator=generator)
            sketches += [Sketch.from_stroke5(row) for row in rows.float().cpu().numpy()]
        return [sketch.scaled(self.net.offset_scale) for sketch in sketches]
