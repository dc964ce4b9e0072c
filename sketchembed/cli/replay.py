"""`sketchembed replay`: a step that was not finite, computed again, term by term."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sketchembed.cli.config_files import trust_no_configuration
from sketchembed.cli.parser import command
from sketchembed.errors import CheckpointError
from sketchembed.files.serialization import parse_yaml
from sketchembed.runs.process import allow_tf32, quiet_lightning, tune_process
from sketchembed.training.incident import Incident, Setting, read, some
from sketchembed.training.step_check import are_finite

Saved = tuple[dict[str, Any], Incident, Setting, list[Any]]
STARTING_WEIGHTS = ("init_from", "weights")
"""Options of tasks that name files to begin with, which need not be there any more."""


def replay(file: Path, precision: str | None = None) -> None:
    """Compute a step again whose loss or gradient was not finite, and say where that arose.

    Args:
        file: what training has left in a run's folder, non-finite/step-N.ckpt.
        precision: to compute in, such as 32-true to see whether 16 bits were too few; the run's if not given.
    """
    trust_no_configuration()
    saved = read(file)
    _, incident, setting, _ = saved
    print(f"step      {incident.step}, batch {incident.batch}")
    if incident.world > 1:
        print(f"note      {incident.world} processes computed it; here one does, with the batch of all")
    for name, values in incident.members.items():
        print(f"{name:9} {', '.join(map(str, values))}")
    print(f"found     {'; '.join([incident.cause(), *incident.lines()])}")
    if setting.device == "cuda" and not torch.cuda.is_available():
        print("note      the step was computed on CUDA; without it the random numbers are others")
    witness = _Witness(incident.step, setting.alpha)
    _compute(saved, witness, precision)
    for terms in witness.terms:
        print(f"losses    {', '.join(_shown(name, value) for name, value in terms.items())}")
    failed = any(not math.isfinite(value) for terms in witness.terms for value in terms.values())
    if not witness.bad and not failed:
        print("backward  everything is finite here: other numbers came of another device or precision")
        return
    if witness.first is not None:
        print(f"forward   first not finite in the output of {witness.first}")
    else:
        print("forward   the outputs of all modules are finite")
    print(f"gradients not finite: {some(witness.bad) or 'none'}")
    if witness.bad:
        print(f"backward  {_operation(saved, precision)}")


class _Witness(pl.Callback):
    """Notes the terms, the first module whose output is not finite, and gradients that are not."""

    def __init__(self, step: int, alpha: float | None, watch: bool = True) -> None:
        self.step, self.alpha, self.watch = step, alpha, watch
        self.terms: list[dict[str, float]] = []
        self.bad: list[str] = []
        self.first: str | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the trainer at the step."""
        loop = trainer.fit_loop.epoch_loop.automatic_optimization
        loop.optim_progress.optimizer.step.total.completed = self.step
        if self.alpha is not None:
            pl_module.alpha = self.alpha  # type: ignore[assignment]
        if self.watch:
            for name, module in pl_module.named_modules():
                module.register_forward_hook(self._noting(name))

    def _noting(self, name: str) -> Any:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            if self.first is None and not all(_finite(value) for value in _tensors(output)):
                came = all(_finite(value) for value in _tensors(inputs))
                given = "whose input is finite" if came else "whose input is not finite either"
                self.first = f"{name or 'the task'} ({type(module).__name__}), {given}"

        return note

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Note the terms of a batch."""
        logged: Any = getattr(pl_module, "logged", {})
        terms = {name: float(value) for name, value in logged.items() if isinstance(value, Tensor)}
        self.terms.append({name.removeprefix("train/"): value for name, value in terms.items()})

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Note the gradients."""
        graded = {name: value.grad for name, value in pl_module.named_parameters() if value.grad is not None}
        finite = are_finite(list(graded.values())).tolist()
        self.bad = [name for name, good in zip(graded, finite, strict=True) if not good]


def _task(checkpoint: dict[str, Any], setting: Setting) -> pl.LightningModule:
    """Build the task of a run with the weights and buffers before the step."""
    model = _configured(setting, "model")
    options = model.get("init_args", {})
    options |= {name: None for name in STARTING_WEIGHTS if name in options}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(pl.LightningModule, "model")
    task: pl.LightningModule = parser.instantiate_classes(parser.parse_object({"model": model})).model
    task.on_load_checkpoint(checkpoint)
    task.load_state_dict(checkpoint["state_dict"])
    task.step_offset = setting.step_offset  # type: ignore[assignment]
    return task


def _configured(setting: Setting, name: str) -> dict[str, Any]:
    """Return a part of the run's configuration.

    Raises:
        CheckpointError: if the file has none.
    """
    try:
        return dict(parse_yaml(setting.config)[name])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"the step's configuration has no {name} ({error})",
            expected="the configuration of the run that left the file",
            fix="Take the file as the run left it",
        ) from error


def _compute(saved: Saved, witness: _Witness, precision: Any, anomaly: bool = False) -> None:
    """Take the step, by Lightning's own loop, as training did."""
    checkpoint, incident, setting, batches = saved
    options = _configured(setting, "trainer")
    there = setting.device == "cuda" and torch.cuda.is_available()
    tune_process()
    allow_tf32()
    with quiet_lightning(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        trainer = pl.Trainer(
            accelerator="cuda" if there else "cpu",
            devices=1,
            precision=precision or options.get("precision"),
            accumulate_grad_batches=len(batches),
            log_every_n_steps=options.get("log_every_n_steps"),
            max_steps=incident.step + 1,
            detect_anomaly=anomaly,
            logger=False,
            callbacks=[witness],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(_task(checkpoint, setting), DataLoader(batches, batch_size=None))  # type: ignore[arg-type]


def _operation(saved: Saved, precision: Any) -> str:
    """Name the operation in whose backward pass the first nan arose, and the line that called it."""
    _, incident, setting, _ = saved
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            _compute(saved, _Witness(incident.step, setting.alpha, watch=False), precision, anomaly=True)
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
            lines = re.findall(r'File ".*?(sketchembed/\S+\.py)", line (\d+), in (\S+)', _traceback(said))
            where = "".join(f"\n          called in {file}:{line}, {name}" for file, line, name in lines[-1:])
            return f"{error}{where}"
    return "no operation returned nan: the gradients are infinite, by overflow or by the loss"


def _traceback(said: list[warnings.WarningMessage]) -> str:
    texts = [str(one.message) for one in said]
    return next((text for text in texts if "forward call that caused the error" in text), "")


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [one for part in value for one in _tensors(part)] if isinstance(value, tuple | list) else []


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _shown(name: str, value: float) -> str:
    return f"{name} {value:.6g}" + ("" if math.isfinite(value) else " (not finite)")


run = command(replay, "replay")
