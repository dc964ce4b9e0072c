"""Train the classifiers that score generated drawings, once per data set."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sketchembed.data.augmentation import Augmentation
from sketchembed.data.datamodules.labelled_datamodule import LabelledQuickdrawDataModule
from sketchembed.errors import CheckpointError, ConfigError
from sketchembed.hub.model_files import find, load_network, save
from sketchembed.networks.resnet import ResNet, ResNetConfig
from sketchembed.runs.checkpoints import AtomicCheckpointIO, newest_valid
from sketchembed.runs.process import has_fast_bfloat16, quiet_lightning
from sketchembed.runs.ranks import Ranks
from sketchembed.training.presets import read_preset

if TYPE_CHECKING:
    import pytorch_lightning as pl

Depth = Literal[18, 50, 101]
MAX_PASSES = 100
"""Largest number of passes over the data; the released number of steps is for millions of drawings."""
PROGRESS_LINES = 10
"""Number of progress lines of a training."""


@dataclass(frozen=True)
class Recipe:
    """How to train a classifier: a preset of `sketchembed fit` with another depth or fewer steps.

    Attributes:
        preset: name of the preset.
        network: sizes of the network.
        task: further options of :class:`~sketchembed.training.classification.ClassificationTask`.
        batch_size: drawings per step, over all ranks.
        steps: number of optimizer steps.
        save_every: number of steps between two checkpoints.
        precision: Lightning's precision.
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
        """Read a preset.

        Args:
            preset: name of the preset.
            depth: depth of the network; the preset's by default.
            steps: number of steps; the preset's by default.

        Raises:
            ConfigError: if `steps` is less than 1.
        """
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
        if steps is None:
            return recipe
        if steps < 1:
            raise ConfigError(
                f"steps is {steps}", expected="1 or more", fix=f"The preset uses {recipe.steps} steps"
            )
        return recipe.stretched(steps)

    def shortened(self, drawings: int) -> Recipe:
        """Return the recipe with at most :data:`MAX_PASSES` passes over `drawings` drawings."""
        most = math.ceil(MAX_PASSES * drawings / self.batch_size)
        return self if most >= self.steps else self.stretched(most)

    def stretched(self, steps: int) -> Recipe:
        """Return the recipe with another number of steps; the learning rate schedule is scaled with it."""
        task, scale = dict(self.task), steps / self.steps
        if task.get("lr_steps"):
            task["lr_steps"] = {round(at * scale): rate for at, rate in task["lr_steps"].items()}
        if "lr_decay_steps" in task:
            task["lr_decay_steps"] = max(1, round(task["lr_decay_steps"] * scale))
        return replace(self, task=task, steps=steps)

    def digest(self, data: LabelledQuickdrawDataModule) -> str:
        """Return a short digest of everything that determines a classifier."""
        assert data.store is not None
        used = [asdict(self), data.seed, data.labels, data.store.manifest["digests"]]
        found = hashlib.sha256(json.dumps(used, sort_keys=True).encode())
        found.update(data.train_indices.tobytes())
        return found.hexdigest()[:12]


def classifier(
    recipe: Recipe,
    data: LabelledQuickdrawDataModule,
    ranks: Ranks,
    folder: Path,
    named: str | None = None,
) -> tuple[ResNet, Path]:
    """Load or train a classifier of the data's classes.

    Args:
        recipe: how to train one.
        data: the data module after its setup.
        ranks: the ranks, which train together.
        folder: folder of finished classifiers, and of unfinished ones to resume.
        named: run or file of a classifier to use instead.

    Returns:
        the network in evaluation mode on the device, and its file.

    Raises:
        CheckpointError: if `named` is not a classifier, or is one of other classes.
    """
    if named is not None:
        file = find(named)
    else:
        digest = recipe.digest(data)
        file = folder / f"{data.which}-{digest}.safetensors"
        # Rank 0 decides for all ranks, because it writes the file.
        if not ranks.broadcast(file.exists()):
            train(recipe, data, ranks, file)
    network = load_network(file)
    if not isinstance(network, ResNet):
        raise CheckpointError(
            f"{file} contains a {network.kind}",
            expected="a classifier",
            fix="Train one with `make train-classifier`",
        )
    if network.config.labels != data.labels:
        known = set(network.config.labels)
        missing = [name for name in data.labels if name not in known]
        raise CheckpointError(
            f"{file} has {len(known)} classes" + (f", but not '{missing[0]}'" if missing else ""),
            expected=f"the {len(data.labels)} {data.which} classes of the data, in the same order",
            fix=f"Train one with `make train-classifier ARGS='--data.init_args.which {data.which}'`",
        )
    return network.to(ranks.device), file


def train(recipe: Recipe, data: LabelledQuickdrawDataModule, ranks: Ranks, file: Path) -> None:
    """Train a classifier on all ranks; resume an earlier attempt.

    Args:
        recipe: how to train.
        data: the data module after its setup.
        ranks: the ranks.
        file: the file to write.
    """
    import torch

    from sketchembed.training.checkpointing import Stopped
    from sketchembed.training.classification import ClassificationTask

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
        except Stopped:
            raise
        except SystemExit:
            if trainer.interrupted:
                raise KeyboardInterrupt from None
            raise
    if ranks.is_rank_zero:
        save(task.net, file)
        shutil.rmtree(work, ignore_errors=True)
    ranks.wait()


def _trainer(recipe: Recipe, ranks: Ranks, work: Path) -> pl.Trainer:
    """Return a trainer on the devices of the ranks."""
    import pytorch_lightning as pl

    from sketchembed.training.checkpointing import Checkpoints
    from sketchembed.training.progress import Monitor

    accelerator, many = ranks.device.type, ranks.world_size > 1
    slow = recipe.precision == "bf16-mixed" and not has_fast_bfloat16(accelerator)
    kept = Checkpoints(recipe.save_every, dirpath=work)
    return pl.Trainer(
        accelerator=accelerator,
        devices=ranks.world_size if many or accelerator == "cpu" else [ranks.device.index or 0],
        strategy="ddp" if many else "auto",
        precision="32-true" if slow else recipe.precision,
        max_steps=recipe.steps,
        callbacks=[Monitor(max(1, recipe.steps // PROGRESS_LINES)), kept],
        plugins=[AtomicCheckpointIO()],
        logger=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
