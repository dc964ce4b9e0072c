"""Stop training at a non-finite loss or gradient, or skip the step."""

from __future__ import annotations

from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from sketchembed.errors import NonFiniteError, check_range
from sketchembed.files.progress_bar import print_line
from sketchembed.reporting.run_page import write_run_page
from sketchembed.runs.checkpoints import newest_valid
from sketchembed.runs.folder import Run
from sketchembed.runs.run_logger import logged_run
from sketchembed.training.step_check import NonFiniteStep, StepCheck, check_step, gather, non_finite_names

MOST_EVENTS = 100  # number of non-finite steps, the newest, that a checkpoint and a run's page list


class Finite(pl.Callback):
    """Check the loss and all gradients of every step before the optimizer uses them.

    A non-finite step changes nothing: not the weights, nor Adam's moments, nor the running statistics of
    batch norm. All ranks take the same decision (one number is reduced over them).

    A fused Adam on CUDA can skip a step by a number on the device, as it does for
    :class:`torch.amp.GradScaler`. Then the host never waits: it reads the result of the check during the next
    step, before the optimizer uses that one. In ``16-mixed`` only losses are checked, because the gradient
    scaler expects infinite gradients now and then.

    Checkpoints with non-finite weights are never written.

    Args:
        action: ``stop`` ends the run at a non-finite step. ``skip`` continues with the next step; the step
            number advances, and with it the schedules and the order of the data.
        skips: maximum number of consecutive steps to skip before the run stops.

    Raises:
        ConfigError: if `skips` is less than 1.
    """

    def __init__(self, action: Literal["stop", "skip"] = "stop", skips: int = 10) -> None:
        check_range("finite.skips", skips, 1)
        self.action, self.skips = action, skips
        self.skipped = self.in_a_row = self.step_offset = 0
        self.events: list[dict[str, Any]] = []
        self._forget()

    def _forget(self) -> None:
        self._buffers: list[Tensor] = []
        self._batches: list[Any] = []
        self._losses: list[Tensor] = []
        self._pending: StepCheck | None = None

    @property
    def state_key(self) -> str:
        """The key of the state in checkpoints, which must not change with the name of the class."""
        return "Finite"

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        names = "skipped", "in_a_row", "step_offset", "events"
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint.

        In version 0.1.0 a run could go back to an older checkpoint and leave out ``passed_over`` batches.
        """
        self.skipped, self.in_a_row = state_dict["skipped"], state_dict["in_a_row"]
        self.events = state_dict["events"]
        self.step_offset = state_dict.get("step_offset", state_dict.get("passed_over", 0))

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Handle the result of the last step, and refuse to save non-finite weights."""
        self._settle(trainer, pl_module)
        checkpoint["callbacks"][self.state_key] = self.state_dict()  # the last step may have changed it
        weights = gather(trainer, non_finite_names(checkpoint["state_dict"]))[0]
        if weights:
            step = trainer.global_step - 1
            self._act(trainer, NonFiniteStep(step, step, [], 1, {}, [], weights, [], []))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the task's step offset."""
        pl_module.step_offset = self.step_offset  # type: ignore[assignment]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the facts of the run to those of its checkpoint."""
        self._forget()
        run = logged_run(trainer)
        if run is not None and trainer.is_global_zero and (self.events or "non_finite" in run.facts):
            self._note(run)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Copy the buffers, which the forward pass changes."""
        if not self._batches:
            self._buffers = [buffer.clone() for buffer in pl_module.buffers()]
        self._batches.append(batch)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Keep the loss."""
        self._losses.append(loss.detach())

    @torch.no_grad()
    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Check the step; skip it or stop the run if it is not finite."""
        self._settle(trainer, pl_module)
        if not self._losses:  # the task returned no loss for this batch
            self._batches = []
            return
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        check = check_step(trainer, pl_module, self._batches, self._losses, scaled)
        kept = list(zip(pl_module.buffers(), self._buffers, strict=True))
        if optimizer.defaults.get("fused") and not scaled:
            optimizer.found_inf = check.failed  # type: ignore[attr-defined]
            for buffer, before in kept:
                torch.where(check.failed > 0, before, buffer, out=buffer)
            self._pending = check.copy_to_host()
        elif self._handle(trainer, pl_module, check):
            optimizer.zero_grad(set_to_none=True)  # the optimizer skips parameters without a gradient
            for buffer, before in kept:
                buffer.copy_(before)
        self._batches, self._losses = [], []

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Handle the result of the last step."""
        self._settle(trainer, pl_module)

    def _settle(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Handle the result that is still being copied to the host."""
        check, self._pending = self._pending, None
        if check is not None:
            self._handle(trainer, task, check)

    def _handle(self, trainer: pl.Trainer, task: pl.LightningModule, check: StepCheck) -> bool:
        """Return whether a step must be skipped; stop the run if it has to."""
        if not check.has_failed():
            self.in_a_row = 0
            return False
        values = dict(task.state_dict())
        # Within a step the forward pass has changed the buffers; after it they are restored already.
        if self._batches:
            names = (name for name, _ in task.named_buffers())
            values |= {name: kept for name, kept in zip(names, self._buffers, strict=True) if name in values}
        self._act(trainer, check.describe(trainer, values))
        return True

    def _act(self, trainer: pl.Trainer, found: NonFiniteStep) -> None:
        """Record a non-finite step, then stop the run, or return if the step is skipped."""
        why = ""
        if self.action == "skip":
            self.in_a_row += 1
            if found.weights:
                why = "The weights are not finite, so skipping steps does not help"
            elif self.in_a_row > self.skips:
                why = f"{self.in_a_row} steps in a row failed, more than --finite.skips {self.skips}"
        stops = self.action == "stop" or bool(why)
        self.skipped += not stops
        event = {"step": found.step, "what": found.cause(), "action": "stop" if stops else "skip"}
        self.events = [*self.events, event][-MOST_EVENTS:]
        run = logged_run(trainer)
        if run is not None and trainer.is_global_zero:
            self._note(run)
            write_run_page(run.path)
        if stops:
            raise _error(trainer, found, why)
        if trainer.is_global_zero:
            print_line(f"!!! step {found.step} is not finite ({found.cause()}) and is skipped")

    def _note(self, run: Run) -> None:
        run.note(non_finite={"skipped": self.skipped, "events": self.events})


def _error(trainer: pl.Trainer, found: NonFiniteStep, why: str) -> NonFiniteError:
    """Return the error that ends the run; only rank 0 prints it."""
    run, last = logged_run(trainer), None
    if run is not None and trainer.is_global_zero:
        net: Any = trainer.lightning_module.net
        last = newest_valid(run.checkpoints, net, print)
    resumes = f"resumes from {last.name}" if last is not None else "starts again"
    advice = f"The same command {resumes}; with --finite.action skip it skips such steps"
    return NonFiniteError(
        f"step {found.step} is not finite: {'; '.join([found.cause(), *found.details()])}",
        expected="finite losses, gradients and weights",
        fix=". ".join([why, advice] if why else [advice]),
    )
