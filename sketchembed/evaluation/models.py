"""Which trained models are evaluated: those that are named, or those that lie in the folder of runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sketchembed.errors import CheckpointError
from sketchembed.hub.model_files import PACKAGED, find, load_network, step_of
from sketchembed.networks.network import Network
from sketchembed.networks.resnet import ResNet
from sketchembed.networks.sketchembednet import SketchEmbedNet
from sketchembed.runs.folder import MILESTONES, Run
from sketchembed.runs.provenance import provenance

LABELS = {
    "sketchembednet": "SketchEmbedding",
    "sketch-encoder": "SketchEmbedding",
    "protonet": "ProtoNet, supervised",
    "conv-vae": "Conv-VAE",
    "maml": "MAML, supervised",
    "resnet": "ResNet classifier",
}
"""What a report calls the kinds of networks."""
STANDING_IN = {1: "quickdraw-conv4", 3: "photos-resnet12"}
"""The package's models by the channels of their images."""


@dataclass(frozen=True)
class Model:
    """A trained network and where it is from.

    Attributes:
        path: of the checkpoint.
        network: in evaluation mode.
        run: name of its run, or of the file.
        facts: for a report: the checkpoint, its step, what it was trained on.
    """

    path: Path
    network: Network
    run: str
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """What a report calls it."""
        return f"{LABELS[self.network.kind]} ({self.run})"

    @property
    def step(self) -> int | None:
        """The training step, by the checkpoint's name; None if it says none."""
        return step_of(self.path)

    @classmethod
    def load(cls, path: Path) -> Model:
        """Load a model.

        Args:
            path: a checkpoint, a weights file, or a run's folder, whose last checkpoint is taken.

        Raises:
            CheckpointError: if there is none, or this package did not write it.
        """
        file = find(path)
        network = load_network(file)
        in_run = file.parent.name == "checkpoints"
        facts: dict[str, Any] = {"checkpoint": str(file), "step": step_of(file)}
        source = provenance(file)
        facts["step"] = source.get("step", facts["step"])
        facts |= {"trained_on": source.get("source"), "drawings": source.get("drawings")}
        facts["parameters"] = sum(parameter.numel() for parameter in network.parameters())
        known = {key: value for key, value in facts.items() if value is not None}
        return cls(file, network, file.parents[1].name if in_run else file.stem, known)


def newest(runs: Path, channels: int | None = None) -> Model | None:
    """Return the newest run's drawing model; None where there is none.

    Args:
        runs: folder of the runs.
        channels: of the images that it takes; any if not given.
    """
    models = (Model.load(run) for run in _runs(runs) if _kind(run) == SketchEmbedNet.kind)
    return next((model for model in models if channels in (None, model.network.config.channels)), None)


def standing_in(channels: int) -> Model | None:
    """Return the package's own model of such images, for those who have trained none; None if it has none.

    Args:
        channels: of the images: 1 for drawings, 3 for photos.
    """
    path = PACKAGED / f"{STANDING_IN[channels]}.safetensors"
    return Model.load(path) if path.is_file() else None


def trained_baselines(runs: Path) -> list[Model]:
    """Return the models of all runs of other kinds, by name; classifiers, which judge drawings, are left out.

    Of runs that differ in their seed or number alone (``NAME-seed0``, ``NAME-seed0-2``), the newest counts.

    Args:
        runs: folder of the runs.
    """
    found: dict[str, Path] = {}
    for run in _runs(runs):
        if _kind(run) not in (SketchEmbedNet.kind, ResNet.kind):
            found.setdefault(re.sub(r"-seed\d+(-\d+)?$", "", run.name), run)
    return [Model.load(found[name]) for name in sorted(found)]


def _runs(runs: Path) -> list[Path]:
    """Return the folders of the runs with a checkpoint, the newest checkpoint first."""
    files = sorted(runs.glob("*/checkpoints/*.ckpt"), key=lambda file: file.stat().st_mtime, reverse=True)
    return list(dict.fromkeys(file.parents[1] for file in files))


def _kind(run: Path) -> str:
    return str(Run(run).facts.get("kind", SketchEmbedNet.kind))


def along(folder: Path) -> list[Model]:
    """Return the model at every checkpoint of a run, by step.

    Args:
        folder: of the run, or of its checkpoints.

    Raises:
        CheckpointError: if there are none.
    """
    files = files_along(folder)
    if not files:
        raise CheckpointError(
            f"there is no step-N.ckpt in {folder}",
            expected="the checkpoints of a run",
            fix="Keep them while training, with --milestones.count 12 or --checkpoint.save_top_k -1",
        )
    return [Model.load(file) for file in files]


def files_along(folder: Path) -> list[Path]:
    """Return a run's milestones, or its checkpoints if it has none, by step; empty if there are neither.

    Args:
        folder: of the run, or of its checkpoints.
    """
    inner = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    files = list((folder / MILESTONES).glob("*.safetensors")) or list(inner.glob("*.ckpt"))
    found = [(step, file) for file in files if (step := step_of(file)) is not None]
    return [file for _, file in sorted(found)]
