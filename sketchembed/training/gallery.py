"""The gallery: what the model draws, from the same inputs, again and again during a run."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import move_data_to_device
from torch import Tensor

from sketchembed.data.datamodules.pair_datamodule import Pair
from sketchembed.files.images import png_uri
from sketchembed.files.writing import whole_file
from sketchembed.reporting.run_page import write_run_page
from sketchembed.reporting.runs_page import update_runs_page
from sketchembed.reporting.sheet import contact_sheet_png
from sketchembed.reporting.svg_elements import boxed
from sketchembed.runs.run_logger import RunLogger
from sketchembed.sketch import Sketch

if TYPE_CHECKING:
    from sketchembed.data.datamodules.drawing_datamodule import DrawingDataModule
    from sketchembed.training.drawing import DrawingTask


class Gallery(pl.Callback):
    """Samples drawings of held-out inputs into the run's folder, its page, and W&B.

    Of photos, the photo and the sketch that belongs to it are both beside what the model draws.

    The inputs are chosen once by a fixed seed, one a class: held-out drawings of classes that train,
    and drawings of classes that never do. The first process does the work.

    Args:
        every: steps between two samplings; the last step is always sampled.
        seen: number of classes that train.
        unseen: number of held-out classes.
        temperatures: of the samples; 0 is greedy.
    """

    def __init__(
        self,
        every: int = 2500,
        seen: int = 8,
        unseen: int = 16,
        temperatures: Sequence[float] = (0.0, 0.2, 0.5),
    ) -> None:
        self.every, self.seen, self.unseen = every, seen, unseen
        self.temperatures = list(temperatures)
        self._inputs: tuple[list[tuple[str, bool]], Tensor | Pair] | None = None
        self._last = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the last sampling, which a run that has gone back comes by again."""
        self._last = -1

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Sample every so many steps."""
        if trainer.global_step % self.every == 0:
            self._sample(trainer, cast("DrawingTask", pl_module))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample once more."""
        self._sample(trainer, cast("DrawingTask", pl_module))

    def _sample(self, trainer: pl.Trainer, task: DrawingTask) -> None:
        run = next((logger.run for logger in trainer.loggers if isinstance(logger, RunLogger)), None)
        draws = hasattr(task, "pairs")
        if run is None or not draws or not trainer.is_global_zero or trainer.global_step == self._last:
            return
        self._last = trainer.global_step
        items = self.draw(task, trainer.datamodule)  # type: ignore[attr-defined]
        samples = {"step": trainer.global_step, "items": items}
        with whole_file(run.path / "samples" / f"step-{trainer.global_step:08d}.json") as file:
            file.write(json.dumps(samples, separators=(",", ":")).encode())
        write_run_page(run.path)
        update_runs_page(run.path)
        self._to_wandb(trainer, items)

    def _to_wandb(self, trainer: pl.Trainer, items: list[dict[str, Any]]) -> None:
        logger = next((logger for logger in trainer.loggers if isinstance(logger, WandbLogger)), None)
        if logger is None:
            return
        from PIL import Image

        sheet = Image.open(io.BytesIO(contact_sheet_png(items)))
        logger.log_image("samples", [sheet], caption=[f"step {trainer.global_step}"])

    @torch.no_grad()
    def draw(self, task: DrawingTask, data: DrawingDataModule) -> list[dict[str, Any]]:
        """Return the inputs and what the model draws of them, as plain values."""
        if self._inputs is None:
            self._inputs = self._choose(data)
        names, batch = self._inputs
        training = task.training
        task.eval()
        precision = task.trainer.precision_plugin
        image, stroke5 = task.pairs(precision.convert_input(move_data_to_device(batch, task.device)))
        z = task.net.encode(image).mean
        columns: list[list[Sketch]] = []
        for temperature in self.temperatures:
            generator = torch.Generator(task.device).manual_seed(0)
            rows = task.net.generate(z, temperature, generator=generator)
            columns.append([Sketch.from_stroke5(row) for row in rows.float().cpu().numpy()])
        task.train(training)
        photos = (
            [png_uri(photo) for photo in image.float().cpu().numpy()] if isinstance(batch, Pair) else None
        )
        given = stroke5.cpu().numpy()
        return [
            {
                "class": name,
                "seen": seen,
                **({"photo": photos[number]} if photos else {}),
                "input": boxed(Sketch.from_stroke5(given[number])),
                "samples": [
                    {"temperature": temperature, "strokes": boxed(column[number])}
                    for temperature, column in zip(self.temperatures, columns, strict=True)
                ],
            }
            for number, (name, seen) in enumerate(names)
        ]

    def _choose(self, data: DrawingDataModule) -> tuple[list[tuple[str, bool]], Tensor | Pair]:
        assert data.store is not None
        random = np.random.default_rng(0)
        chosen: list[tuple[str, bool, int]] = []
        for indices, count, seen in (
            (data.seen_indices, self.seen, True),
            (data.unseen_indices, self.unseen, False),
        ):
            labels = np.asarray(data.store.labels)[indices]
            present = np.unique(labels)
            for label in np.sort(random.choice(present, min(count, len(present)), replace=False)):
                index = int(random.choice(indices[labels == label]))
                chosen.append((data.store.class_names[label], seen, index))
        batch = data.dataset.__getitems__([index for *_, index in chosen])  # type: ignore[attr-defined]
        return [(name, seen) for name, seen, _ in chosen], batch
