"""The folder of a training run, and how a command finds the run that it resumes.

A folder contains ``run.json`` (facts), ``config.yaml``, ``metrics.jsonl``, ``samples/``, ``checkpoints/`` and
the page ``index.html``; an evaluated run also has ``scores.json``.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal

from sketchembed._version import __version__
from sketchembed.errors import ConfigError, DataError
from sketchembed.files.locks import is_locked, try_lock
from sketchembed.files.reading import read_text
from sketchembed.files.serialization import parse_json, parse_yaml
from sketchembed.files.writing import whole_file
from sketchembed.hub.model_files import by_step
from sketchembed.runs.metrics import drop_steps
from sketchembed.runs.renamed import pop_added, pop_option, update_config

MILESTONES = "milestones"  # folder with weights from during the training
NOT_COMPARED = (
    *("run", "finite", "data.init_args.folder", "data.init_args.num_workers"),
    *("trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.logger"),
)
"""Settings that may change when a run is resumed."""
WandbMode = Literal["auto", "offline", "online", "disabled"]
_locks: set[IO[str]] = set()
"""Locks of this process. A forked child that kept them open would hold them after this process has died."""


def _close_locks() -> None:
    for lock in _locks:
        lock.close()
    _locks.clear()


os.register_at_fork(after_in_child=_close_locks)


@dataclass
class RunOptions:
    """Folder and tracking of a run.

    Attributes:
        root: folder of all runs.
        name: name of the run; by default made of the data, the preset and the seed.
        resume: ``auto`` resumes the unfinished run of the same name and configuration, if there is one;
            ``never`` always starts a new run.
        wandb: W&B mode. ``offline`` needs no account (`wandb sync` uploads the run later), ``online`` does,
            ``disabled`` does not use W&B. ``auto`` is ``WANDB_MODE``, else online in a sweep agent, else
            offline.
        project: W&B project.
    """

    root: str = "runs"
    name: str | None = None
    resume: Literal["auto", "never"] = "auto"
    wandb: WandbMode = "auto"
    project: str = "sketchembed"

    def wandb_mode(self) -> str:
        """Return ``offline``, ``online`` or ``disabled``."""
        if self.wandb != "auto":
            return self.wandb
        return os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_SWEEP_ID") else "offline")


class Run:
    """The folder of a run, with its `metrics_file` and its folder of `checkpoints`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics_file, self.checkpoints = path / "metrics.jsonl", path / "checkpoints"
        self._lock: IO[str] | None = None

    @classmethod
    def open(cls, root: str | Path, name: str, config: str, resume: str = "auto") -> Run:
        """Lock and return the unfinished run of this name and configuration, or a new run.

        The new run is called ``name-2``, ``name-3``, … if the name is taken by a finished run, another
        configuration (YAML), or a run that is locked by another process.
        """
        number = 0
        while True:
            number += 1
            run = cls(Path(root) / (name if number == 1 else f"{name}-{number}"))
            run.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                run.path.mkdir()
                new = True
            except FileExistsError:
                new = False
            if not new and (resume == "never" or not run.resumable(config)):
                continue
            if not run.hold():
                continue
            if not new and not run.resumable(config):  # changed by another process before the lock
                run.release()
                continue
            run.remove_partial_files()
            with whole_file(run.path / "config.yaml") as file:
                file.write(config.encode())
            if not run.facts:
                run.note(
                    name=run.path.name,
                    created=datetime.now().astimezone().isoformat(timespec="seconds"),
                    version=__version__,
                    finished=False,
                    wandb_id=uuid.uuid4().hex[:8],
                )
            return run

    def resumable(self, config: str) -> bool:
        """Return whether the folder is an unfinished run of a configuration, or an empty folder."""
        if self.config is None:
            return not any(path.name != ".lock" and path.suffix != ".part" for path in self.path.glob("*"))
        return not self.facts.get("finished") and trains_alike(self.config, config)

    def hold(self) -> bool:
        """Lock the folder until :meth:`release` or the end of the process; False if it is locked."""
        try:
            lock = (self.path / ".lock").open("w")
        except OSError:  # not a folder, or no permission
            return False
        locked = try_lock(lock)
        if not locked:  # `held` of another process locks the file for a moment
            time.sleep(0.1)
            locked = try_lock(lock)
        if not locked:
            lock.close()
            return False
        self._lock = lock
        _locks.add(lock)
        return True

    def release(self) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            _locks.discard(self._lock)
            self._lock.close()
            self._lock = None

    @property
    def held(self) -> bool:
        """Whether a process of this machine has locked the folder."""
        return is_locked(self.path / ".lock")

    def remove_partial_files(self) -> None:
        """Remove the unfinished files of processes that were killed."""
        for folder in (self.path, self.checkpoints, self.path / "samples"):
            for work in folder.glob(".*.part"):
                work.unlink(missing_ok=True)

    @property
    def facts(self) -> dict[str, Any]:
        """The content of ``run.json``; empty if it cannot be read."""
        return self._read_json("run.json")

    @property
    def tags(self) -> list[str]:
        """The preset, the data and the kind of network, as far as they are known."""
        facts = self.facts
        data = facts.get("data")
        source = data.get("source") if isinstance(data, dict) else None
        return [str(tag) for tag in (facts.get("preset"), source, facts.get("kind")) if tag]

    @property
    def scores(self) -> dict[str, Any]:
        """Results of evaluations by data set, from ``scores.json``; empty if there are none."""
        return self._read_json("scores.json")

    def _read_json(self, name: str) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            found = parse_json(read_text(self.path / name))
            if isinstance(found, dict):
                return found
        return {}

    @property
    def config(self) -> str | None:
        """The configuration of the run; None if it cannot be read."""
        return read_text(self.path / "config.yaml") or None

    @property
    def last_checkpoint(self) -> Path | None:
        """The checkpoint of the largest step, possibly damaged; None if there is none."""
        found = by_step(self.checkpoints)
        return found[-1] if found else None

    def note(self, **facts: Any) -> None:
        """Add facts to ``run.json``."""
        with whole_file(self.path / "run.json") as file:
            file.write(json.dumps(self.facts | facts, indent=1, default=str).encode())

    def check_data(self, facts: Mapping[str, Any]) -> None:
        """Check that a resumed run trains on the same data as before, possibly in another folder."""
        found = json.loads(json.dumps(dict(facts), default=str))
        for name, value in (self.facts.get("data") or {}).items():
            if name not in ("folder", "announcement") and name in found and found[name] != value:
                raise DataError(
                    f"{self.path} was started with other data: '{name}' was {value} and is {found[name]}",
                    expected="the same data",
                    fix="Restore the data, or start a new run with --run.resume never",
                )

    def rewind(self, step: int) -> None:
        """Remove the metrics and samples of all training steps after the first `step` steps."""
        drop_steps(self.metrics_file, step)
        for sample in (self.path / "samples").glob("step-*.json"):
            number = sample.stem.partition("-")[2]
            if number.isdecimal() and len(number) < 20 and int(number) > step:
                sample.unlink()


def trains_alike(one: str, other: str) -> bool:
    """Return whether two configurations (YAML) train the same model; old names are equal to current ones."""
    return bool(_compared(one) == _compared(other))


def _compared(config: str) -> Any:
    try:
        found = update_config(parse_yaml(config))
    except (ValueError, ConfigError):
        return config
    for path in NOT_COMPARED:
        pop_option(found, path)
    pop_added(found)
    return found
