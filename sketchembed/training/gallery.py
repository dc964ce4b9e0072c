"""Sample drawings of fixed held-out inputs during a run."""

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
from sketchembed.errors import check_range
from sketchembed.files.images import png_uri, uri_png
from sketchembed.files.writing import whole_file
from sketchembed.reporting.sheet import contact_sheet_png, drawing_png
from sketchembed.reporting.svg_elements import boxed
from sketchembed.reporting.wandb_dashboard import DRAWINGS, SAMPLES
from sketchembed.runs.run_logger import logged_run
from sketchembed.sketch import Sketch

if TYPE_CHECKING:
    from sketchembed.data.datamodules.drawing_datamodule import DrawingDataModule
    from sketchembed.training.drawing import DrawingTask


COLUMNS = ["step", "class", "seen", "temperature", "input", "drawing"]
"""Columns of the table of drawings on W&B."""


class Gallery(pl.Callback):
    """Sample drawings of held-out inputs into ``samples/`` of the run's folder and to W&B.

    The inputs are chosen by a fixed seed, one per class: held-out drawings of training classes, and drawings
    of held-out classes. An input can be a photo with its sketch. Only rank 0 samples.

    Args:
        every: number of steps between two samplings; the last step is always sampled.
        seen: number of training classes.
        unseen: number of held-out classes.
        temperatures: sampling temperatures; 0 is greedy.
    """

    def __init__(
        self,
        every: int = 2500,
        seen: int = 8,
        unseen: int = 16,
        temperatures: Sequence[float] = (0.0, 0.2, 0.5),
    ) -> None:
        check_range("gallery.every", every, 1)
        self.every, self.seen, self.unseen = every, seen, unseen
        self.temperatures = list(temperatures)
        self._inputs: tuple[list[tuple[str, bool]], Tensor | Pair] | None = None
        self._last = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reset the step of the last sampling."""
        self._last = -1

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Sample every `every` steps."""
        if trainer.global_step % self.every == 0:
            self._sample(trainer, cast("DrawingTask", pl_module))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample the last step."""
        self._sample(trainer, cast("DrawingTask", pl_module))

    def _sample(self, trainer: pl.Trainer, task: DrawingTask) -> None:
        run = logged_run(trainer)
        draws = hasattr(task, "pairs")
        if run is None or not draws or not trainer.is_global_zero or trainer.global_step == self._last:
            return
        self._last = trainer.global_step
        items = self.draw(task, trainer.datamodule)  # type: ignore[attr-defined]
        samples = {"step": trainer.global_step, "items": items}
        with whole_file(run.path / "samples" / f"step-{trainer.global_step:08d}.json") as file:
            file.write(json.dumps(samples, separators=(",", ":")).encode())
        self._to_wandb(trainer, items)

    def _to_wandb(self, trainer: pl.Trainer, items: list[dict[str, Any]]) -> None:
        """Log a sheet, and a table with one row per drawing."""
        logger = next((logger for logger in trainer.loggers if isinstance(logger, WandbLogger)), None)
        if logger is None:
            return
        import wandb
        from PIL import Image

        def picture(png: bytes) -> Any:
            return wandb.Image(Image.open(io.BytesIO(png)))

        step = trainer.global_step
        sheet = Image.open(io.BytesIO(contact_sheet_png(items)))
        logger.log_image(SAMPLES, [sheet], caption=[f"step {step}"])
        rows = []
        for item in items:
            given = picture(uri_png(item["photo"]) if "photo" in item else drawing_png(item["input"], True))
            about = [step, item["class"], "seen" if item["seen"] else "unseen"]
            rows += [
                [*about, sample["temperature"], given, picture(drawing_png(sample["strokes"]))]
                for sample in item["samples"]
            ]
        logger.log_table(DRAWINGS, COLUMNS, rows)

    @torch.no_grad()
    def draw(self, task: DrawingTask, data: DrawingDataModule) -> list[dict[str, Any]]:
        """Return the inputs and the model's drawings as plain values."""
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
        batch = data.dataset[[index for *_, index in chosen]]
        return [(name, seen) for name, seen, _ in chosen], batch
