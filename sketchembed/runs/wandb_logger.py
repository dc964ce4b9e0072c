"""Lightning's logger for W&B, over a session that the network cannot break."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import _DummyExperiment, rank_zero_experiment
from pytorch_lightning.loggers import WandbLogger

from sketchembed.runs.wandb_session import Session


class Tracker(WandbLogger):
    """Logs a training to W&B; where that fails, the training goes on.

    Args:
        mode: ``online`` or ``offline``.
        folder: the run's, for W&B's files.
        say: prints a line.
        name: of the run.
        project: of W&B.
        id: W&B's of the run, by which a run that goes on is one with itself.

    Raises:
        ModuleNotFoundError: if W&B is not installed.
    """

    def __init__(
        self, mode: str, folder: Path, say: Callable[[str], None], *, name: str, project: str, id: str | None
    ) -> None:
        super().__init__(name=name, project=project, save_dir=str(folder), id=id)
        self._open = partial(Session, mode, folder, say, name=name, project=project, id=id, resume="allow")
        self._session: Session | None = None

    _experiment: Any

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """W&B's run, on the first process; something that takes everything and does nothing on the others."""
        if self._experiment is None:
            self._session = self._open()
            self._session.attempt(_over_steps, self._session.run)
            self._experiment = self._session.run or _nothing()
        return self._experiment

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers or media of a step."""
        self._attempt(super().log_metrics, metrics, step)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log the configuration."""
        self._attempt(super().log_hyperparams, params)

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Log pictures."""
        self._attempt(super().log_image, key, images, step, **kwargs)

    def finalize(self, status: str) -> None:
        """Send what is left and close the run."""
        if self._session is not None:
            self._session.finish(0 if status == "success" else 1)
            self._experiment = _nothing()

    def _attempt(self, action: Callable[..., Any], *args: Any, **options: Any) -> None:
        _ = self.experiment
        if self._session is None:  # not the first process
            return
        self._session.attempt(action, *args, **options)
        if self._session.run is None:
            self._experiment = _nothing()


def _nothing() -> Any:
    """Return what takes every call and does nothing."""
    return _DummyExperiment()  # type: ignore[no-untyped-call]


def _over_steps(run: Any) -> None:
    """Let every curve run over the training's steps; W&B's own count goes up with every call."""
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
