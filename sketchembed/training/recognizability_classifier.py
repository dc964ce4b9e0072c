"""The classifiers that judge drawings: trained once, and kept beside the results."""

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
PASSES = 100
"""Times that a short training sees each drawing at most; the released steps are for millions of them."""
LINES = 10
"""Lines of progress that a training prints."""


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained: a preset of `sketchembed fit`, with other sizes or fewer steps.

    Attributes:
        preset: its name.
        network: sizes.
        task: the other options of :class:`~sketchembed.training.classification.ClassificationTask`.
        batch_size: drawings in a step, over all processes together.
        steps: of the optimiser.
        save_every: steps between two checkpoints.
        precision: Lightning's.
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
            preset: its name.
            depth: of the network; the preset's if not given.
            steps: the preset's if not given.

        Raises:
            ConfigError: if the steps are fewer than one.
        """
        conf = read_preset(preset)
        task = conf["model"]["init_args"]
        network = ResNetConfig(**task.pop("network"))
        planned = conf["trainer"]["max_steps"]
        if steps is not None and steps < 1:
            raise ConfigError(f"steps is {steps}", expected="1 or more", fix=f"The preset's is {planned}")
        recipe = cls(
            preset,
            replace(network, depth=depth) if depth else network,
            task,
            conf["data"]["init_args"]["batch_size"],
            planned,
            conf["checkpoint"]["every_n_train_steps"],
            conf["trainer"]["precision"],
        )
        return recipe if steps is None else recipe.stretched(steps)

    def shortened(self, drawings: int) -> Recipe:
        """Return the same with so few steps that no drawing is seen more than :data:`PASSES` times.

        Args:
            drawings: how many train.
        """
        most = math.ceil(PASSES * drawings / self.batch_size)
        return self if most >= self.steps else self.stretched(most)

    def stretched(self, steps: int) -> Recipe:
        """Return the same with another number of steps, to which the learning rate's course is stretched."""
        task, scale = dict(self.task), steps / self.steps
        if task.get("lr_steps"):
            task["lr_steps"] = {round(at * scale): rate for at, rate in task["lr_steps"].items()}
        if "lr_decay_steps" in task:
            task["lr_decay_steps"] = max(1, round(task["lr_decay_steps"] * scale))
        return replace(self, task=task, steps=steps)

    def digest(self, data: LabelledQuickdrawDataModule) -> str:
        """Return a short digest of all that makes a classifier what it is."""
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
    """Return a classifier of the data's classes: the one that is named, or that lies there, or a new one.

    Args:
        recipe: how to train one.
        data: set up.
        ranks: the processes, which train together.
        folder: where finished classifiers are kept, and unfinished ones gone on with.
        named: a classifier's run or file, which is taken as it is.

    Returns:
        the network in evaluation mode on the device, and its file.

    Raises:
        CheckpointError: if the one that is named is none, or of other classes.
    """
    if named is not None:
        file = find(named)
    else:
        digest = recipe.digest(data)
        file = folder / f"{data.which}-{digest}.safetensors"
        # The first process says for all whether there is one, since it is the one that writes it.
        if not ranks.broadcast(file.exists()):
            train(recipe, data, ranks, file)
    network = load_network(file)
    if not isinstance(network, ResNet):
        raise CheckpointError(
            f"{file} is a {network.kind}, which names no classes",
            expected="a classifier",
            fix="Train one with `make train-classifier`",
        )
    if network.config.labels != data.labels:
        known = set(network.config.labels)
        missing = [name for name in data.labels if name not in known]
        raise CheckpointError(
            f"{file} knows {len(known)} classes" + (f", but no '{missing[0]}'" if missing else ""),
            expected=f"the {len(data.labels)} {data.which} ones that there are drawings of, in this order",
            fix=f"Train one with `make train-classifier ARGS='--data.init_args.which {data.which}'`",
        )
    return network.to(ranks.device), file


def train(recipe: Recipe, data: LabelledQuickdrawDataModule, ranks: Ranks, file: Path) -> None:
    """Train a classifier on all processes, going on where an earlier attempt stopped.

    Args:
        recipe: how.
        data: set up.
        ranks: the processes.
        file: to write when it is finished.
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
    """Return a trainer on the processes and devices that there are."""
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
        callbacks=[Monitor(max(1, recipe.steps // LINES)), kept],
        plugins=[AtomicCheckpointIO()],
        logger=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
