"""Weights kept at even distances of a training, to see later how what they are worth grew."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from sketchembed.hub.model_files import save
from sketchembed.runs.folder import MILESTONES
from sketchembed.runs.metrics import RunLogger


class Milestones(pl.Callback):
    """Writes the model alone, without the optimizer, as ``milestones/step-N.safetensors`` of the run.

    *Source*: appendix D evaluates each of twelve equal parts of the training (table 5, figure 10).

    Args:
        count: of milestones, the last of them at the last step; 0 keeps none.
    """

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self._last = -1

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Write the weights if this step is a milestone."""
        step = trainer.global_step
        if not trainer.is_global_zero or step == self._last or step not in self.steps(trainer.max_steps):
            return
        self._last = step
        run = next((logger.run for logger in trainer.loggers if isinstance(logger, RunLogger)), None)
        if run is not None:
            save(pl_module.net, run.path / MILESTONES / f"step-{step}.safetensors")  # type: ignore[arg-type]

    def steps(self, total: int) -> set[int]:
        """Return the steps of the milestones of a training of `total` steps."""
        return {round(total * part / self.count) for part in range(1, self.count + 1)} - {0}
