"""Lightning's logger for ``metrics.jsonl``."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.loggers.logger import Logger

from sketchembed.runs.folder import Run
from sketchembed.runs.metrics import format_row, last_time


class RunLogger(Logger):
    """Appends metrics to a run's ``metrics.jsonl``; see :mod:`sketchembed.runs.metrics`."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self._file: Any = None
        self._before, self._start = 0.0, datetime.now()

    @property
    def name(self) -> str:
        """The name of the folder of all runs."""
        return self.run.path.parent.name

    @property
    def version(self) -> str:
        """The run's name."""
        return self.run.path.name

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: ``config.yaml`` contains the hyperparameters."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row."""
        if self._file is None:
            self._before = last_time(self.run.metrics_file) or 0.0
            self._file = self.run.metrics_file.open("a", buffering=1)
        elapsed = self._before + (datetime.now() - self._start).total_seconds()
        self._file.write(format_row(step, elapsed, metrics))

    @rank_zero_only
    def save(self) -> None:
        """Sync the file to the disk; called before a checkpoint is written."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file, self._start = None, datetime.now()


def logged_run(trainer: pl.Trainer) -> Run | None:
    """Return the run that a trainer logs to; None if it logs to none."""
    return next((logger.run for logger in trainer.loggers if isinstance(logger, RunLogger)), None)
