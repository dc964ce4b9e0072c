"""Save and remove checkpoints, stop a run at a signal, and save weights at milestones."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from sketchembed.errors import ConfigError, check_range
from sketchembed.hub.model_files import by_step, save, step_of
from sketchembed.runs.folder import MILESTONES
from sketchembed.runs.run_logger import logged_run

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # Ctrl-C, preemption, a scheduler's warning


class Stopped(SystemExit):
    """Stops a run that has saved; the exit status is 128 plus the number of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


class Checkpoints(pl.callbacks.Checkpoint):
    """Save the state of a run every `every_n_train_steps` steps, at its end, and when a signal stops it.

    The checkpoint of step s is written after everything that belongs to the first s steps: their metrics, the
    validation and the samples. A resumed run therefore repeats nothing and omits nothing.

    The newest `save_top_k` checkpoints by step are kept. An older one is removed only after the new one is
    completely on disk. Files with other names than ``step-N.ckpt`` are not touched.

    SIGINT (Ctrl-C), SIGTERM and SIGUSR1 stop the run with a checkpoint after the current step or validation.
    A second Ctrl-C stops it at once. All ranks stop after the same step.

    Args:
        every_n_train_steps: number of steps between two checkpoints.
        save_top_k: number of checkpoints to keep, 2 or more; -1 for all.
        dirpath: the folder; `sketchembed fit` always uses the run's.

    Raises:
        ConfigError: if a value is out of range.
    """

    def __init__(
        self, every_n_train_steps: int = 2500, save_top_k: int = 2, dirpath: str | Path | None = None
    ) -> None:
        check_range("checkpoint.every_n_train_steps", every_n_train_steps, 1)
        if save_top_k < 2 and save_top_k != -1:
            raise ConfigError(
                f"checkpoint.save_top_k is {save_top_k}",
                expected="2 or more, in case the newest checkpoint is damaged, or -1 to keep all",
                fix="Correct --checkpoint.save_top_k",
            )
        self.every_n_train_steps, self.save_top_k = every_n_train_steps, save_top_k
        self.dirpath = Path(dirpath or "checkpoints")
        self._saved = 0
        self._signal: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Install the signal handlers, and refuse a training that has epochs."""
        if trainer.num_training_batches != float("inf"):
            raise ConfigError(
                f"trainer.limit_train_batches ends an epoch after {trainer.num_training_batches} batches",
                expected="no limit, because the batches are one endless stream",
                fix="Set the length of the training with --trainer.max_steps",
            )
        self._saved = trainer.global_step
        self._signal = None
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            # Background jobs of a shell ignore Ctrl-C. Lightning restores the handlers after the training.
            if number != signal.SIGINT or signal.getsignal(number) is signal.default_int_handler:
                signal.signal(number, self._on_signal)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save the steps so far if a checkpoint is due, and stop if a signal has asked for it."""
        if batch_idx % trainer.accumulate_grad_batches:
            return
        if trainer.global_step % self.every_n_train_steps == 0:
            self._save(trainer)
        asked = self._asked(trainer)
        if asked is not None:
            self._save(trainer)
            raise Stopped(asked)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the last step."""
        self._save(trainer)

    def _on_signal(self, number: int, _: Any) -> None:
        self._signal = number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            # Not print(), because the signal can interrupt a print().
            os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")

    def _asked(self, trainer: pl.Trainer) -> int | None:
        if trainer.world_size == 1:
            return self._signal
        asked = trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False)
        return (self._signal or signal.SIGTERM) if asked else None

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step == self._saved:
            return
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.dirpath / f"step-{trainer.global_step}.ckpt")
        self._saved = trainer.global_step
        if trainer.is_global_zero and self.save_top_k != -1:
            named = [path for path in by_step(self.dirpath) if step_of(path) is not None]
            for path in named[: -self.save_top_k]:
                path.unlink(missing_ok=True)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Set Lightning's counters to their values at the end of the last step's batch.

        This is the only state from which Lightning resumes without a second validation and without counting
        a step twice.
        """
        loops = checkpoint["loops"]["fit_loop"]
        batches, epochs = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
        for counts in batches["total"], batches["current"]:
            counts |= dict.fromkeys(("ready", "processed"), counts["started"])
            counts["completed"] = counts["started"] - 1
        for counts in epochs["total"], epochs["current"]:
            counts |= dict.fromkeys(("processed", "completed"), counts["started"] - 1)
        # Lightning would count validation batches on, so the counter would depend on the number of stops.
        validation = loops["epoch_loop.val_loop.batch_progress"]
        for counts in validation["total"], validation["current"]:
            counts |= dict.fromkeys(counts, 0)
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] = trainer.global_step - 1


class Milestones(pl.Callback):
    """Save the model without the optimizer as ``milestones/step-N.safetensors`` of the run.

    *Source*: appendix D evaluates twelve equal parts of the training (table 5, figure 10).

    Args:
        count: number of milestones, the last one at the last step; 0 for none.
    """

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self._last = -1

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Save the weights if this step is a milestone."""
        step = trainer.global_step
        if not trainer.is_global_zero or step == self._last or step not in self.steps(trainer.max_steps):
            return
        self._last = step
        run = logged_run(trainer)
        if run is not None:
            save(pl_module.net, run.path / MILESTONES / f"step-{step}.safetensors")  # type: ignore[arg-type]

    def steps(self, total: int) -> set[int]:
        """Return the milestones of a training of `total` steps."""
        return {round(total * part / self.count) for part in range(1, self.count + 1)} - {0}
