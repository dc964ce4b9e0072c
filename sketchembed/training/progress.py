"""Report the progress of a run: throughput, gradient norm, a line on the terminal, and the run's page."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
import torch

from sketchembed.files.progress_bar import ProgressBar, print_line
from sketchembed.reporting.run_page import write_run_page
from sketchembed.reporting.runs_page import update_runs_page
from sketchembed.runs.run_logger import logged_run
from sketchembed.training.task import rows_in

PRINTED = (
    ("train/loss", "loss", 3),
    ("train/pen", "pen", 3),
    ("train/stroke", "stroke", 3),
    ("train/reconstruction", "reconstruction", 3),
    ("train/accuracy", "accuracy", 3),
    ("train/alpha", "α", 2),
    ("val/stroke", "val stroke", 3),
    ("unseen/stroke", "unseen stroke", 3),
    ("val/reconstruction", "val reconstruction", 3),
    ("val/accuracy", "val accuracy", 3),
)
"""Metrics in a line of progress: name, printed label, and decimals."""
PAGE_SECONDS = 60  # minimum time between two updates of the run's page
LATE = 8.0  # maximum time between two lines if steps are fast; before the bar prints its own line


class Monitor(pl.Callback):
    """Log the throughput (drawings per second) and the gradient norm, and show the progress.

    A terminal shows a bar with the remaining time. A line is printed every `print_every` steps, and earlier
    if these steps take longer than :data:`LATE` seconds.

    Args:
        print_every: number of steps between two lines; 0 to show no progress.
    """

    def __init__(self, print_every: int = 50) -> None:
        self.print_every = print_every
        self._since, self._steps, self._begun, self._first, self._printed = 0.0, 0, 0.0, 0, 0.0
        self._bar: ProgressBar | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and the bar."""
        self._since = self._begun = self._printed = time.perf_counter()
        self._steps, self._first = 0, trainer.global_step
        if self.print_every and trainer.is_global_zero:
            steps = trainer.max_steps if trainer.max_steps > 0 else None
            self._bar = ProgressBar("Training", steps, self._first)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log the total norm of the gradients before clipping."""
        if (trainer.global_step + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            grads = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
            pl_module.log("train/grad_norm", torch.nn.utils.get_total_norm(grads))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Log the throughput, and print a line."""
        self._steps += 1
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            now = time.perf_counter()
            rate = self._steps * rows_in(batch) * trainer.world_size / max(now - self._since, 1e-9)
            pl_module.log("train/drawings_per_second", rate, batch_size=1)
            self._since, self._steps = now, 0
        step = trainer.global_step
        if self._bar is None:
            return
        self._bar.update(step)
        late = time.perf_counter() - self._printed >= LATE
        if late or step % self.print_every == 0 or step in (1, trainer.max_steps):
            self._print(trainer, step)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Store the start of the validation."""
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Exclude the time of the validation from the throughput."""
        self._since += time.perf_counter() - self._paused

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Remove the bar."""
        self.teardown(trainer, pl_module, "fit")

    def _print(self, trainer: pl.Trainer, step: int) -> None:
        seen = trainer.callback_metrics
        total = f"/{trainer.max_steps}" if trainer.max_steps > 0 else ""
        parts = [f"step {step:>6}{total}"]
        for key, shown, digits in PRINTED:
            if key in seen:
                parts.append(f"{shown} {float(seen[key]):.{digits}f}")
        each = (time.perf_counter() - self._begun) / max(step - self._first, 1)
        parts.append(f"{each * 1000:.0f} ms/step")
        if trainer.max_steps > 0:
            parts.append(f"left {timedelta(seconds=round(each * (trainer.max_steps - step)))}")
        print_line("  ".join(parts))
        self._printed = time.perf_counter()


class RunPage(pl.Callback):
    """Write the page of a run after its first logged step, and then about once a minute.

    Browsers reload the page until the run ends.
    """

    def __init__(self) -> None:
        self._written: float | None = None

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Write the page if there are new metrics; those of a step are logged after its last hook."""
        step, every = trainer.global_step, trainer.log_every_n_steps  # type: ignore[attr-defined]
        run, now = logged_run(trainer), time.monotonic()
        if run is None or not trainer.is_global_zero or not step or step % every:
            return
        if self._written is None or now - self._written >= PAGE_SECONDS:
            write_run_page(run.path, live=True)
            update_runs_page(run.path)
            self._written = now

    def on_exception(self, trainer: pl.Trainer, *_: Any) -> None:
        """Write the page for the last time."""
        run = logged_run(trainer)
        if run is not None and trainer.is_global_zero and self._written is not None:
            with suppress(OSError):  # it must not replace the exception
                write_run_page(run.path)
