"""Classifiers for the recognizability of drawings: trained once, then loaded from their files."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch

from sketchembed.data.augmentation import Augmentation
from sketchembed.data.datamodules.labelled_datamodule import LabelledQuickdrawDataModule
from sketchembed.errors import CheckpointError, check_range
from sketchembed.hub.model_files import find, load_network, save
from sketchembed.networks.resnet import ResNet, ResNetConfig
from sketchembed.runs.checkpoints import AtomicCheckpointIO, newest_valid
from sketchembed.runs.process import has_fast_bfloat16, quiet_lightning
from sketchembed.runs.ranks import Ranks
from sketchembed.training.checkpointing import Checkpoints, Stopped
from sketchembed.training.classification import ClassificationTask
from sketchembed.training.presets import read_preset
from sketchembed.training.progress import Monitor

Depth = Literal[18, 50, 101]
MAX_PASSES = 100
"""Maximum number of passes over the drawings in a limited training. Presets are for millions of drawings."""
PROGRESS_LINES = 10  # progress lines printed in a training


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained: values of a preset of `sketchembed fit`.

    `task` are the options of :class:`.ClassificationTask` except its network. `batch_size` is that of all
    ranks together.
    """

    preset: str
    network: ResNetConfig
    task: dict[str, Any]
    batch_size: int
    steps: int
    save_every: int
    precision: Any

    @classmethod
    def of(cls, preset: str, depth: Depth | None = None, steps: int | None = None) -> Recipe:
        """Read a preset, with another depth or number of steps if given."""
        conf = read_preset(preset)
        task = conf["model"]["init_args"]
        network = ResNetConfig(**task.pop("network"))
        recipe = cls(
            preset,
            replace(network, depth=depth) if depth else network,
            task,
            conf["data"]["init_args"]["batch_size"],
            conf["trainer"]["max_steps"],
            conf["checkpoint"]["every_n_train_steps"],
            conf["trainer"]["precision"],
        )
        return recipe if steps is None else recipe.with_steps(steps)

    def limited(self, drawings: int) -> Recipe:
        """Return the recipe with at most :data:`MAX_PASSES` passes over a number of training drawings."""
        most = math.ceil(MAX_PASSES * drawings / self.batch_size)
        return self if most >= self.steps else self.with_steps(most)

    def with_steps(self, steps: int) -> Recipe:
        """Return the recipe with another number of steps and a learning rate schedule scaled to it."""
        check_range("steps", steps, 1)
        task, scale = dict(self.task), steps / self.steps
        if task.get("lr_steps"):
            task["lr_steps"] = {round(at * scale): rate for at, rate in task["lr_steps"].items()}
        if "lr_decay_steps" in task:
            task["lr_decay_steps"] = max(1, round(task["lr_decay_steps"] * scale))
        return replace(self, task=task, steps=steps)

    def digest(self, data: LabelledQuickdrawDataModule) -> str:
        """Return a short digest of all that determines the classifier."""
        assert data.store is not None
        used = [asdict(self), data.seed, data.labels, data.store.manifest["digests"]]
        found = hashlib.sha256(json.dumps(used, sort_keys=True).encode())
        found.update(data.train_indices.tobytes())
        return found.hexdigest()[:12]


def classifier(
    data: LabelledQuickdrawDataModule,
    ranks: Ranks,
    folder: Path,
    *,
    preset: str,
    depth: Depth | None = None,
    steps: int | None = None,
    limited: bool = False,
    path: str | None = None,
) -> tuple[ResNet, Path, int | None]:
    """Load a classifier of drawings, or train it if its file does not exist.

    Args:
        data: drawings of the classes to tell apart, set up.
        ranks: the ranks, which train it together.
        folder: where trained classifiers and checkpoints of interrupted trainings are kept.
        preset: preset of the training, which can have another depth or number of steps.
        depth: depth of the network.
        steps: number of steps.
        limited: make at most :data:`MAX_PASSES` passes over the drawings.
        path: a run folder or file of a classifier, which is loaded instead.

    Returns:
        the network in evaluation mode on the device, its file, and the number of steps; None with `path`.

    Raises:
        CheckpointError: if the model at `path` is not a classifier of these classes.
    """
    recipe = Recipe.of(preset, depth, steps)
    if limited:
        recipe = recipe.limited(len(data.train_indices))
    file = find(path) if path is not None else trained(recipe, data, ranks, folder)
    return load(file, data).to(ranks.device), file, recipe.steps if path is None else None


def trained(recipe: Recipe, data: LabelledQuickdrawDataModule, ranks: Ranks, folder: Path) -> Path:
    """Return the file of a classifier in a folder; train the classifier if the file does not exist."""
    file = folder / f"{data.which}-{recipe.digest(data)}.safetensors"
    # Rank zero decides for all whether there is a file, because it is the rank that writes it.
    if not ranks.broadcast(file.exists()):
        train(recipe, data, ranks, file)
    return file


def load(file: Path, data: LabelledQuickdrawDataModule) -> ResNet:
    """Load a classifier and check that its classes are those of the data.

    Raises:
        CheckpointError: if it is not a classifier of these classes.
    """
    network = load_network(file)
    if not isinstance(network, ResNet):
        raise CheckpointError(
            f"{file} is a {network.kind}",
            expected="a classifier (resnet)",
            fix="Train one with `make train-classifier`",
        )
    if network.config.labels != data.labels:
        known = set(network.config.labels)
        missing = [name for name in data.labels if name not in known]
        raise CheckpointError(
            f"{file} has {len(known)} classes" + (f", without '{missing[0]}'" if missing else ""),
            expected=f"the {len(data.labels)} {data.which} classes of the data, in their order",
            fix=f"Train one with `make train-classifier ARGS='--data.init_args.which {data.which}'`",
        )
    return network


def train(recipe: Recipe, data: LabelledQuickdrawDataModule, ranks: Ranks, file: Path) -> None:
    """Train a classifier on all ranks, or resume an interrupted training, and write it to a file."""
    data.batch_size = recipe.batch_size
    options = dict(recipe.task)
    augmentation = Augmentation(**(options.pop("augmentation", None) or {}))
    network = replace(recipe.network, classes=len(data.labels))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(data.seed)
        task = ClassificationTask(network, augmentation=augmentation, seed=data.seed, **options)
    work = file.with_suffix("")
    unfinished = ranks.on_rank_zero(lambda: newest_valid(work, task.net, print))
    if ranks.is_rank_zero:
        print(
            f"training a ResNet-{network.depth} on {len(data.train_indices):,} drawings of "
            f"{len(data.labels)} {data.which} classes, {recipe.steps} steps",
            flush=True,
        )
    with quiet_lightning():
        trainer = _trainer(recipe, ranks, work)
        try:
            trainer.fit(task, datamodule=data, ckpt_path=unfinished, weights_only=True)
        except SystemExit as error:
            if trainer.interrupted and not isinstance(error, Stopped):
                raise KeyboardInterrupt from None
            raise
    if ranks.is_rank_zero:
        save(task.net, file)
        shutil.rmtree(work, ignore_errors=True)
    ranks.wait()


def _trainer(recipe: Recipe, ranks: Ranks, work: Path) -> pl.Trainer:
    """Return a Lightning trainer on the devices of the ranks."""
    accelerator, many = ranks.device.type, ranks.world_size > 1
    slow = recipe.precision == "bf16-mixed" and not has_fast_bfloat16(accelerator)
    return pl.Trainer(
        accelerator=accelerator,
        devices=ranks.world_size if many or accelerator == "cpu" else [ranks.device.index or 0],
        strategy="ddp" if many else "auto",
        precision="32-true" if slow else recipe.precision,
        max_steps=recipe.steps,
        callbacks=[
            Monitor(max(1, recipe.steps // PROGRESS_LINES)),
            Checkpoints(recipe.save_every, dirpath=work),
        ],
        plugins=[AtomicCheckpointIO()],
        logger=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
