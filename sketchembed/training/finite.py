"""Losses and gradients that are not finite: named, saved for a replay, and the end of a run or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

import pytorch_lightning as pl
import torch
from torch import Tensor, distributed

from sketchembed.errors import CheckpointError, NonFiniteError, check_range
from sketchembed.hub.model_files import read_raw
from sketchembed.reporting.run_page import write_run_page
from sketchembed.runs.checkpoints import newest_valid
from sketchembed.runs.folder import Run
from sketchembed.runs.run_logger import RunLogger
from sketchembed.training.incident import Incident, Setting, not_finite, write
from sketchembed.training.step_check import Verdict, judge

FOLDER = "non-finite"
"""Where a run keeps the files to replay."""
MOST_FILES = 10
"""Steps of a run whose files are kept, each as large as the weights; of further ones only the words are."""
MOST_EVENTS = 100
"""Steps that a run's page and its checkpoints know the words of, the newest."""
STATE = ("skipped", "in_a_row", "went_back", "step_offset", "events")
Value = TypeVar("Value")


class RollBack(Exception):
    """Training is to go on from its newest whole checkpoint, as `sketchembed fit` does by itself."""


class Finite(pl.Callback):
    """Judges every step before the optimiser takes it: its loss, and all gradients.

    A step that is not finite changes nothing: neither weights, nor Adam's moments, nor the running statistics
    of batch norm. On several processes all of them agree (one number is reduced), so that none waits for
    another.

    Where the optimiser can leave a step out by a number on the device (the fused Adam of CUDA, as for
    :class:`torch.amp.GradScaler`), the host never waits for a verdict: it is fetched while the next step
    computes, and acted on before that one is taken, when weights and statistics are still those before the
    bad step. Elsewhere it is read at once. In ``16-mixed`` gradients are left to the scaler, which expects to
    meet some that are not finite.

    Checkpoints with weights that are not finite are never written.

    Args:
        action: what becomes of such a step. ``stop`` ends the run. ``skip`` leaves the step out: its number
            is used up, so that schedules and the order of the data go on. ``rollback`` goes back to the last
            checkpoint and passes over all data that came after it, up to the bad step's, since weights may
            have begun to go astray long before; the random numbers are others too.
        skips: steps in a row that are left out at the most, before the run stops.
        rollbacks: how often a run goes back at the most, before it stops.

    Raises:
        ConfigError: if a value is none of those.
    """

    def __init__(
        self, action: Literal["stop", "skip", "rollback"] = "stop", skips: int = 10, rollbacks: int = 3
    ) -> None:
        check_range("finite.skips", skips, 1)
        check_range("finite.rollbacks", rollbacks, 1)
        self.action, self.skips, self.rollbacks = action, skips, rollbacks
        self.skipped = self.in_a_row = self.went_back = self.step_offset = 0
        self.events: list[dict[str, Any]] = []
        self._going_back = False
        self._forget()

    def _forget(self) -> None:
        self._buffers: list[Tensor] = []
        self._batches: list[Any] = []
        self._losses: list[Tensor] = []
        self._pending: Verdict | None = None
        self._first = True

    # ---- what checkpoints keep -------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run has to know."""
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up; in going back, what is known by now is kept."""
        if not self._going_back:
            for name in STATE:
                setattr(self, name, state_dict[name])

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Act on the step before, and refuse weights that are not finite.

        Raises:
            NonFiniteError: or :class:`RollBack`, as the action says.
        """
        self._settle(trainer, pl_module)
        checkpoint["callbacks"][self.state_key] = self.state_dict()  # which the settled step has changed
        weights = _gathered(trainer, not_finite(checkpoint["state_dict"]))[0]
        if weights:
            step = trainer.global_step - 1
            self._act(trainer, Incident(step, step, [], 1, {}, [], weights, {}, []), None)

    # ---- a step ----------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the task how far its data are ahead."""
        self._going_back = False
        pl_module.step_offset = self.step_offset  # type: ignore[assignment]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See that the run's facts are those of its checkpoint."""
        self._forget()
        run = _run(trainer)
        if run is not None and trainer.is_global_zero and (self.events or "non_finite" in run.facts):
            self._note(run)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep what the forward pass changes; once, see that there is something to go back to."""
        if not self._batches:
            self._buffers = [buffer.clone() for buffer in pl_module.buffers()]
        self._batches.append(batch)
        run = _run(trainer)
        if self._first and self.action == "rollback" and run is not None and _newest(trainer) is None:
            trainer.save_checkpoint(run.checkpoints / f"step-{trainer.global_step}.ckpt")
        self._first = False

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Keep the loss."""
        self._losses.append(loss.detach())

    @torch.no_grad()
    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Judge the step; leave it out if it is not finite.

        Raises:
            NonFiniteError: or :class:`RollBack`, as the action says.
        """
        self._settle(trainer, pl_module)
        if not self._losses:  # the task had none for this batch
            self._batches = []
            return
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        verdict = judge(trainer, pl_module, self._batches, self._losses, scaled)
        kept = list(zip(pl_module.buffers(), self._buffers, strict=True))
        if optimizer.defaults.get("fused") and not scaled:
            optimizer.found_inf = verdict.bad  # type: ignore[attr-defined]
            for buffer, before in kept:
                torch.where(verdict.bad > 0, before, buffer, out=buffer)
            self._pending = verdict.sent()
        elif self._acted_on(trainer, pl_module, verdict):
            optimizer.zero_grad(set_to_none=True)  # so that the optimiser passes over every parameter
            for buffer, before in kept:
                buffer.copy_(before)
        self._batches, self._losses = [], []

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Act on the last step."""
        self._settle(trainer, pl_module)

    def _settle(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Act on a verdict that was on its way."""
        verdict, self._pending = self._pending, None
        if verdict is not None:
            self._acted_on(trainer, task, verdict)

    def _acted_on(self, trainer: pl.Trainer, task: pl.LightningModule, verdict: Verdict) -> bool:
        """Return whether a step is to be left out."""
        bad = verdict.is_bad()
        if bad:
            self._act(trainer, *self._saved(trainer, task, verdict))
        else:
            self.in_a_row = 0
        return bad

    # ---- a step that is not finite ---------------------------------------------------------------

    def _saved(
        self, trainer: pl.Trainer, task: pl.LightningModule, verdict: Verdict
    ) -> tuple[Incident, Path | None]:
        """Return what all processes know, and the file that the first one has written."""
        values = dict(task.state_dict())
        # Between two steps the buffers are those before the bad one; within a step, the kept ones are.
        if self._batches:
            names = (name for name, _ in task.named_buffers())
            values |= {name: kept for name, kept in zip(names, self._buffers, strict=True) if name in values}
        incident, batches = verdict.incident(trainer, _gathered(trainer, verdict.share(values)))
        run = _run(trainer)
        if run is None or sum(bool(event["file"]) for event in self.events) >= MOST_FILES:
            return incident, None
        file = run.path / FOLDER / incident.file_name
        if trainer.is_global_zero:
            checkpoint: dict[str, Any] = {"state_dict": values, "global_step": verdict.step}
            task.on_save_checkpoint(checkpoint)
            seed, device, config = int(getattr(task, "seed", 0)), task.device.type, run.config or ""
            setting = Setting(verdict.alpha, verdict.step_offset, seed, device, config)
            try:
                write(file, checkpoint, incident, setting, batches)
            except CheckpointError as error:
                print(f"!!! {error}", flush=True)
        return incident, file

    def _act(self, trainer: pl.Trainer, incident: Incident, file: Path | None) -> None:
        """Write down what was found, and return if the step is only left out."""
        step, what = incident.step, incident.cause()
        event = {"step": step, "what": what, "file": file.name if file else None, "action": self.action}
        self.events = [*self.events, event][-MOST_EVENTS:]
        checkpoint = None
        why = ""
        if self.action == "skip":
            self.in_a_row += 1
            if incident.weights:
                why = "The weights are not finite, so that to leave steps out does not help"
            elif self.in_a_row > self.skips:
                why = f"That is {self.in_a_row} steps in a row, more than --finite.skips {self.skips}"
        elif self.action == "rollback":
            checkpoint = _newest(trainer)
            if checkpoint is None:
                why = "There is no checkpoint to go back to"
            elif self.went_back >= self.rollbacks:
                why = f"The run has gone back {self.went_back} times, as often as --finite.rollbacks allows"
        stops = self.action == "stop" or bool(why)
        if stops:
            event["action"] = "stop"
        elif checkpoint is not None:
            # The step that the checkpoint goes on with takes the data after the bad step's.
            event["to"] = back = int(read_raw(checkpoint)["global_step"])
            self.went_back += 1
            self.step_offset += step + 1 - back
            self._going_back = True
        else:
            self.skipped += 1
        run = _run(trainer)
        if run is not None and trainer.is_global_zero:
            self._note(run)
            write_run_page(run.path)
        if stops:
            raise _ending(trainer, incident, file, why)
        if trainer.is_global_zero:
            then = f"goes back to {checkpoint.name}, past the data since" if checkpoint else "leaves it out"
            print(f"!!! step {step} is not finite ({what}); training {then}{_how(file)}", flush=True)
        if checkpoint is not None:
            raise RollBack

    def _note(self, run: Run) -> None:
        run.note(non_finite={"skipped": self.skipped, "rollbacks": self.went_back, "events": self.events})


def _run(trainer: pl.Trainer) -> Run | None:
    return next((logger.run for logger in trainer.loggers if isinstance(logger, RunLogger)), None)


def _newest(trainer: pl.Trainer) -> Path | None:
    """Return the checkpoint that training would go on from, the same on all processes."""
    run, first = _run(trainer), trainer.is_global_zero
    net: Any = getattr(trainer.lightning_module, "net", None)
    found = newest_valid(run.checkpoints, net, print) if run is not None and first else None
    return _gathered(trainer, found)[0]


def _gathered(trainer: pl.Trainer, value: Value) -> list[Value]:
    """Return the values of all processes, by rank."""
    if trainer.world_size == 1:
        return [value]
    values: list[Any] = [None] * trainer.world_size
    distributed.all_gather_object(values, value)
    return values


def _how(file: Path | None) -> str:
    return f"\n    sketchembed replay {file}" if file else ""


def _ending(trainer: pl.Trainer, incident: Incident, file: Path | None, why: str) -> NonFiniteError:
    """Return what ends the run."""
    last = _newest(trainer)
    advice = [why] if why else []
    goes_on = f"goes on from {last.name}" if last is not None else "starts again"
    advice.append(
        f"The same command {goes_on}, with --finite.action skip past such steps, and with rollback past "
        "all data up to them"
    )
    if file:
        advice.append(f"This computes the step again and says where that arose:{_how(file)}")
    return NonFiniteError(
        f"step {incident.step} is not finite: {'; '.join([incident.cause(), *incident.lines()])}",
        expected="finite losses, gradients and weights",
        fix=". ".join(advice),
    )
