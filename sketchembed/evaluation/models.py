"""Look up trained models: by name, in the folder of runs, or in the package."""

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
    "simclr": "SimCLR",
    "maml": "MAML, supervised",
    "resnet": "ResNet classifier",
}
"""Display names of the kinds of networks."""
DEFAULT_MODELS = {1: "quickdraw-conv4", 3: "photos-resnet12"}
"""Packaged models by the number of channels of their images."""


@dataclass(frozen=True)
class Model:
    """A trained network in evaluation mode, its file, the name of its run or file, and known facts."""

    path: Path
    network: Network
    run: str
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """Display name."""
        return f"{LABELS[self.network.kind]} ({self.run})"

    @property
    def step(self) -> int | None:
        """Training step in the file name; None if it has none."""
        return step_of(self.path)

    @classmethod
    def load(cls, path: Path) -> Model:
        """Load a checkpoint, a weights file, or the last checkpoint of a run folder.

        Raises:
            CheckpointError: if there is none, or it was not written by this package.
        """
        file = find(path)
        network = load_network(file)
        source = provenance(file)
        facts = {
            "checkpoint": str(file),
            "step": source.get("step", step_of(file)),
            "trained_on": source.get("source"),
            "drawings": source.get("drawings"),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
        }
        known = {key: value for key, value in facts.items() if value is not None}
        in_run = file.parent.name == "checkpoints"
        return cls(file, network, file.parents[1].name if in_run else file.stem, known)


def newest_model(runs: Path, channels: int | None = None) -> Model | None:
    """Load the drawing model of the newest run for images of so many channels; None if there is none."""
    models = (Model.load(run) for run in _runs(runs) if _kind(run) == SketchEmbedNet.kind)
    return next((model for model in models if channels in (None, model.network.config.channels)), None)


def default_model(channels: int) -> Model | None:
    """Load the packaged model for drawings (1 channel) or photos (3); None if it is not installed."""
    path = PACKAGED / f"{DEFAULT_MODELS[channels]}.safetensors"
    return Model.load(path) if path.is_file() else None


def trained_baselines(runs: Path) -> list[Model]:
    """Load the baselines of all runs, sorted by name: every model but drawing models and classifiers.

    Of runs that differ only in seed or number (``NAME-seed0``, ``NAME-seed0-2``), the newest is loaded.
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


def models_of_run(folder: Path) -> list[Model]:
    """Load the model at every checkpoint of a run, by step.

    Raises:
        CheckpointError: if there are no checkpoints.
    """
    files = checkpoints_of(folder)
    if not files:
        raise CheckpointError(
            f"there is no step-N.ckpt in {folder}",
            expected="the checkpoints of a run",
            fix="Keep them while training, with --milestones.count 12 or --checkpoint.save_top_k -1",
        )
    return [Model.load(file) for file in files]


def checkpoints_of(folder: Path) -> list[Path]:
    """Return the milestones of a run folder by step, or its checkpoints if it has no milestones."""
    inner = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    files = list((folder / MILESTONES).glob("*.safetensors")) or list(inner.glob("*.ckpt"))
    found = [(step, file) for file in files if (step := step_of(file)) is not None]
    return [file for _, file in sorted(found)]
