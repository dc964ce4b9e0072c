"""When a run saves, which checkpoints it keeps, and how it stops when it is told to."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from sketchembed.errors import ConfigError
from sketchembed.hub.model_files import by_step, save, step_of
from sketchembed.runs.folder import MILESTONES
from sketchembed.runs.run_logger import RunLogger

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""What asks a run to stop: Ctrl-C, a machine that is taken back, a scheduler's warning before that."""


class Stopped(SystemExit):
    """A run that was asked to stop has saved and stops; the exit status is 128 + the signal's number.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


class Checkpoints(pl.callbacks.Checkpoint):
    """Saves the whole state of a run every so many steps, at its end, and when it is asked to stop.

    A checkpoint of step s is written when all that belongs to the first s steps is done: their metrics are in
    ``metrics.jsonl``, the validation after step s has ended, the gallery is drawn. Going on from it therefore
    repeats nothing and leaves nothing out.

    Which are kept: the newest `save_top_k` by step, at least two, so that a run goes on even if the newest
    is damaged; -1 keeps all. An older one is removed only when the new one is whole on the disk. Files that
    are not named ``step-N.ckpt`` are left alone.

    Ctrl-C, SIGTERM and SIGUSR1 end the run after the step that is under way (and the validation, if one is),
    with a checkpoint of it. A second Ctrl-C ends it at once. Processes that train together stop after the
    same step, whichever of them was asked.

    Args:
        every_n_train_steps: steps between two checkpoints.
        save_top_k: how many of the newest are kept, 2 or more; -1 for all.
        dirpath: the folder; of `sketchembed fit` always the run's.

    Raises:
        ConfigError: if a value is out of its range.
    """

    def __init__(
        self, every_n_train_steps: int = 2500, save_top_k: int = 2, dirpath: str | Path | None = None
    ) -> None:
        if every_n_train_steps < 1:
            raise ConfigError(
                f"checkpoint.every_n_train_steps is {every_n_train_steps}",
                expected="1 or more",
                fix="Set --checkpoint.every_n_train_steps anew",
            )
        if save_top_k < 2 and save_top_k != -1:
            raise ConfigError(
                f"checkpoint.save_top_k is {save_top_k}",
                expected="2 or more, so that a damaged checkpoint is not the only one, or -1 to keep all",
                fix="Set --checkpoint.save_top_k anew",
            )
        self.every_n_train_steps, self.save_top_k = every_n_train_steps, save_top_k
        self.dirpath = Path(dirpath or "checkpoints")
        self._saved = 0
        self._signal: int | None = None

    # ---- when ------------------------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen for signals.

        Raises:
            ConfigError: if the training is divided into epochs.
        """
        if trainer.num_training_batches != float("inf"):
            raise ConfigError(
                f"trainer.limit_train_batches ends an epoch after {trainer.num_training_batches} batches",
                expected="one endless stream of batches, whose order depends on the step alone",
                fix="Say how long to train with --trainer.max_steps",
            )
        self._saved = trainer.global_step
        self._signal = None
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            # A shell has its background jobs ignore Ctrl-C. Lightning puts all back when the training ends.
            if number != signal.SIGINT or signal.getsignal(number) is signal.default_int_handler:
                signal.signal(number, self._on_signal)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save what the steps so far have made, if it is time to.

        Raises:
            Stopped: if the run was asked to stop.
        """
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
            # Not print(), which the signal may have interrupted.
            os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")

    def _asked(self, trainer: pl.Trainer) -> int | None:
        if trainer.world_size == 1:
            return self._signal
        asked = trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False)
        return (self._signal or signal.SIGTERM) if asked else None

    # ---- what ------------------------------------------------------------------------------------

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
        """Say in Lightning's own counts that the steps so far are done, and nothing of the next one.

        The counts are put as they are at the end of a step's batch, the one moment at which Lightning resumes
        without validating anew and without counting a step twice.
        """
        loops = checkpoint["loops"]["fit_loop"]
        batches, epochs = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
        for counts in batches["total"], batches["current"]:
            counts |= dict.fromkeys(("ready", "processed"), counts["started"])
            counts["completed"] = counts["started"] - 1
        for counts in epochs["total"], epochs["current"]:
            counts |= dict.fromkeys(("processed", "completed"), counts["started"] - 1)
        # Of validations Lightning counts on from where it is: the count would tell of the stops.
        validation = loops["epoch_loop.val_loop.batch_progress"]
        for counts in validation["total"], validation["current"]:
            counts |= dict.fromkeys(counts, 0)
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] = trainer.global_step - 1


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
