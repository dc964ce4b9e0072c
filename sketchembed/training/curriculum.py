"""The curriculum of α, which shifts the loss from strokes to pixels during training."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from sketchembed.errors import ConfigError


class Curriculum(pl.Callback):
    """Set the task's α before every step.

    *Source*: paper section 3.1 and appendix B: α starts at 0 and grows by 0.05 every 10,000 steps up to
    α_max, 0.50 for Quick, Draw! and 0.75 for Sketchy.

    α depends only on the step, so it is the same in a resumed run and on several ranks.

    Args:
        alpha_max: maximum of α, 0 to 1.
        interval: increase of α.
        every: number of steps between two increases.

    Raises:
        ConfigError: if a value is out of range.
    """

    def __init__(self, alpha_max: float = 0.5, interval: float = 0.05, every: int = 10_000) -> None:
        if not 0 <= alpha_max <= 1:
            raise ConfigError(
                f"curriculum.alpha_max is {alpha_max}",
                expected="0 (strokes only) to 1 (pixels only)",
                fix="The paper uses 0.5 for Quick, Draw! and 0.75 for Sketchy",
            )
        if interval < 0 or every < 1:
            raise ConfigError(
                f"curriculum.interval is {interval} and curriculum.every {every}",
                expected="an interval of 0 or more, every 1 or more steps",
                fix="The paper uses 0.05 and 10000",
            )
        self.alpha_max, self.interval, self.every = alpha_max, interval, every

    def alpha(self, step: int) -> float:
        """Return α of a step, counted from 0; it first increases at step `every` - 1, as released."""
        return min(self.alpha_max, (step + 1) // self.every * self.interval)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Set the task's α."""
        pl_module.alpha = self.alpha(trainer.global_step)  # type: ignore[assignment]

    on_validation_start = on_train_batch_start  # a run can validate before its first step
