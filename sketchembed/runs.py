"""A run's folder: its name, what is in it, and whether a command starts it or goes on with it.

A folder holds ``run.json`` (facts), ``config.yaml``, ``metrics.jsonl``, ``samples/``, ``checkpoints/`` and
``index.html``, the page to look at.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import shutil
import uuid
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.loggers.logger import Logger

from sketchembed._version import __version__
from sketchembed.files import read_text
from sketchembed.plain import parse_json


@dataclass
class RunOptions:
    """Where a run's files go, and how it is tracked.

    Attributes:
        root: folder of all runs.
        name: of the run; made of the preset, the data and the seed if not given.
        resume: ``auto`` goes on with the newest unfinished run of the same configuration, if there is one;
            ``never`` starts anew.
        wandb: ``offline`` needs no account (`wandb sync` sends it later), ``online`` does, ``disabled``
            leaves W&B out; ``auto`` is what ``WANDB_MODE`` says, online under a sweep agent, else offline.
        project: of W&B.
    """

    root: str = "runs"
    name: str | None = None
    resume: Literal["auto", "never"] = "auto"
    wandb: Literal["auto", "offline", "online", "disabled"] = "auto"
    project: str = "sketchembed"

    def wandb_mode(self) -> str:
        """Return ``offline``, ``online`` or ``disabled``."""
        if self.wandb != "auto":
            return self.wandb
        return os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_SWEEP_ID") else "offline")


class Run:
    """A run's folder, held by this process until it ends.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: Any = None

    @classmethod
    def open(cls, root: str | Path, name: str, config: str, resume: str = "auto") -> Run:
        """Return the unfinished run of this name and configuration, or a new one.

        A name that is taken (by a finished run, by another configuration, or by a run that is going on
        elsewhere) gets a number: ``name-2``, ``name-3``, …

        Args:
            root: folder of all runs.
            name: of the run.
            config: the whole configuration as YAML; what makes two runs the same.
            resume: ``auto`` or ``never``.
        """
        number = 1
        while True:
            run = cls(Path(root) / (name if number == 1 else f"{name}-{number}"))
            number += 1
            exists = run.path.exists()
            if exists and (resume == "never" or run.facts.get("finished") or run.config != config):
                continue
            run.path.mkdir(parents=True, exist_ok=True)
            if not run.hold():
                continue
            if run.last_checkpoint is None:
                run.clear()
            if not exists or run.last_checkpoint is None:
                (run.path / "config.yaml").write_text(config)
                created = datetime.now().astimezone().isoformat(timespec="seconds")
                run.note(
                    name=run.path.name,
                    created=created,
                    version=__version__,
                    finished=False,
                    wandb_id=uuid.uuid4().hex[:8],
                )
            return run

    def hold(self) -> bool:
        """Claim the folder for this process; False if another one has it."""
        self._lock = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            return False
        return True

    def release(self) -> None:
        """Let other processes have the folder."""
        if self._lock is not None:
            self._lock.close()
            (self.path / ".lock").unlink(missing_ok=True)
            self._lock = None

    def clear(self) -> None:
        """Remove what an attempt without a checkpoint has left."""
        for item in ("metrics.jsonl", "index.html"):
            (self.path / item).unlink(missing_ok=True)
        shutil.rmtree(self.path / "samples", ignore_errors=True)

    @property
    def facts(self) -> dict[str, Any]:
        """What ``run.json`` says; empty if it says nothing."""
        with contextlib.suppress(OSError, ValueError):
            found = parse_json(read_text(self.path / "run.json"))
            if isinstance(found, dict):
                return found
        return {}

    def note(self, **facts: Any) -> None:
        """Add to ``run.json``."""
        work = self.path / ".run.json"
        work.write_text(json.dumps(self.facts | facts, indent=1, default=str))
        os.replace(work, self.path / "run.json")

    @property
    def config(self) -> str | None:
        """The configuration that the folder was made with."""
        return read_text(self.path / "config.yaml") or None

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint, if there is any."""
        files = [file for file in self.checkpoints.glob("*.ckpt") if file.is_file()]
        found = sorted(files, key=lambda file: file.stat().st_mtime)
        return found[-1] if found else None

    def rewind(self, step: int) -> None:
        """Drop the metrics and samples that came after the first `step` steps, where the run goes on."""
        file = self.path / "metrics.jsonl"
        kept = []
        with contextlib.suppress(OSError):
            for line in file.read_text("utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    row = parse_json(line)
                    # A training step is logged by the number of steps before it, a validation by those
                    # it follows.
                    if row["step"] < step + (not any(name.startswith("train/") for name in row)):
                        kept.append(line)
            file.write_text("".join(line + "\n" for line in kept))
        for sample in (self.path / "samples").glob("step-*.json"):
            number = sample.stem.partition("-")[2]
            if number.isdecimal() and len(number) < 20 and int(number) > step:
                sample.unlink()


class RunLogger(Logger):
    """Writes a run's metrics to ``metrics.jsonl``, one JSON object a line, as they come.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self._file: Any = None
        self._before, self._start = 0.0, datetime.now()

    @property
    def name(self) -> str:
        """The folder of all runs."""
        return self.run.path.parent.name

    @property
    def version(self) -> str:
        """The run's name."""
        return self.run.path.name

    @property
    def save_dir(self) -> str:
        """The folder of all runs."""
        return str(self.run.path.parent)

    @property
    def log_dir(self) -> str:
        """The run's folder."""
        return str(self.run.path)

    @property
    def experiment(self) -> Run:
        """The run."""
        return self.run

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the folder's ``config.yaml`` has them all."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a line."""
        if self._file is None:
            path = self.run.path / "metrics.jsonl"
            lines = path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []
            if lines:
                # The last one may be half written.
                with contextlib.suppress(ValueError, TypeError, KeyError, OverflowError):
                    before = float(parse_json(lines[-1])["time"])
                    self._before = before if math.isfinite(before) else 0.0
            self._file = path.open("a", buffering=1)
        elapsed = self._before + (datetime.now() - self._start).total_seconds()
        values = {
            key: float(f"{value:.6g}") if math.isfinite(value) else None
            for key, value in metrics.items()
            if key != "epoch"
        }
        self._file.write(json.dumps({"step": step, "time": round(elapsed, 2)} | values) + "\n")

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
