"""The curriculum: α moves the weight from strokes to pixels as training goes on."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from sketchembed.errors import ConfigError


class Curriculum(pl.Callback):
    """Sets the task's α before every step, as a function of the step alone.

    *Source*: paper section 3.1 and appendix B: α starts at 0 and grows by 0.05 every 10,000 steps up to
    α_max, 0.50 for Quick, Draw! and 0.75 for Sketchy. Since α depends on nothing but the step, a run that
    is resumed, or spread over processes, has the same one.

    Args:
        alpha_max: the cap, 0 to 1.
        interval: what α grows by.
        every: steps between two increases.

    Raises:
        ConfigError: if a value is out of its range.
    """

    def __init__(self, alpha_max: float = 0.5, interval: float = 0.05, every: int = 10_000) -> None:
        if not 0 <= alpha_max <= 1:
            raise ConfigError(
                f"curriculum.alpha_max is {alpha_max}",
                expected="0 (strokes only) to 1 (pixels only)",
                fix="The paper's is 0.5 for Quick, Draw! and 0.75 for Sketchy",
            )
        if interval < 0 or every < 1:
            raise ConfigError(
                f"curriculum.interval is {interval} and curriculum.every {every}",
                expected="an interval of at least 0, and at least one step",
                fix="The paper's are 0.05 and 10000",
            )
        self.alpha_max, self.interval, self.every = alpha_max, interval, every

    def alpha(self, step: int) -> float:
        """Return α of a step, counted from 0.

        The released code counts from 1, so that the first increase comes one step before the 10,000th;
        the same here.
        """
        return min(self.alpha_max, (step + 1) // self.every * self.interval)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Set the task's α."""
        pl_module.alpha = self.alpha(trainer.global_step)  # type: ignore[assignment]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the task's α, since a run may validate before its first step."""
        pl_module.alpha = self.alpha(trainer.global_step)  # type: ignore[assignment]
