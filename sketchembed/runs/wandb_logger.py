"""Lightning's W&B logger, on top of a session that no network failure can break."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import _DummyExperiment, rank_zero_experiment
from pytorch_lightning.loggers import WandbLogger

from sketchembed.runs import wandb_artifacts
from sketchembed.runs.folder import Run
from sketchembed.runs.wandb_session import Session


class Tracker(WandbLogger):
    """Logs a training to W&B; if W&B fails, the training continues without it.

    `folder` is that of the run. The other arguments are those of :class:`Session` and of :func:`wandb.init`.
    A resumed run keeps its `id`. The weights of a finished run become an artifact.
    """

    def __init__(
        self, mode: str, folder: Path, say: Callable[[str], None], *, name: str, project: str, id: str | None
    ) -> None:
        super().__init__(name=name, project=project, save_dir=str(folder), id=id)
        about = {"name": name, "project": project, "id": id, "resume": "allow", "job_type": "training"}
        self._open, self._run = partial(Session, mode, folder, say, **about), Run(folder)
        self._session: Session | None = None

    _experiment: Any

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run on rank zero; a dummy on the other ranks and after W&B has failed."""
        if self._experiment is None:
            self._session = self._open(tags=self._run.tags)
            self._session.attempt(_plot_over_steps, self._session.run)
            self._experiment = self._session.run or _dummy()
        return self._experiment

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers or media of a step."""
        self._attempt(super().log_metrics, metrics, step)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log the configuration."""
        self._attempt(super().log_hyperparams, params)

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Log images."""
        self._attempt(super().log_image, key, images, step, **kwargs)

    def use_data(self, facts: Mapping[str, Any]) -> None:
        """Record the data of the training as an artifact."""
        self._attempt(lambda: wandb_artifacts.use(self.experiment, wandb_artifacts.data_artifact(facts)))

    def finalize(self, status: str) -> None:
        """Log the weights of a finished run, upload what is left and close the run."""
        if self._session is not None:
            if status == "success" and (last := self._run.last_checkpoint):
                self._attempt(lambda: self.experiment.log_artifact(wandb_artifacts.weights_artifact(last)))
            self._session.finish(0 if status == "success" else 1)
            self._experiment = _dummy()

    def _attempt(self, action: Callable[..., Any], *args: Any, **options: Any) -> None:
        _ = self.experiment
        if self._session is None:  # not rank zero
            return
        self._session.attempt(action, *args, **options)
        if self._session.run is None:
            self._experiment = _dummy()


def _dummy() -> Any:
    """Return an object whose methods do nothing."""
    return _DummyExperiment()  # type: ignore[no-untyped-call]


def _plot_over_steps(run: Any) -> None:
    """Plot every curve over training steps instead of W&B's own count of log calls."""
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
