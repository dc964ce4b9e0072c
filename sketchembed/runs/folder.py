"""A run's folder: its name, what is in it, and whether a command starts it or goes on with it.

A folder holds ``run.json`` (facts), ``config.yaml``, ``metrics.jsonl``, ``samples/``, ``checkpoints/`` and
``index.html``, the page to look at; once evaluated, ``scores.json``.
"""

from __future__ import annotations

import contextlib
import fcntl
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
from sketchembed.errors import DataError
from sketchembed.files.reading import read_text
from sketchembed.files.serialization import parse_json, parse_yaml
from sketchembed.files.writing import whole_file
from sketchembed.hub.model_files import by_step
from sketchembed.runs.metrics import drop_steps

MILESTONES = "milestones"
"""Folder in a run's, of the weights that are kept along the way."""
WHERE = (
    *("run", "finite", "data.init_args.folder", "data.init_args.num_workers"),
    *("trainer.devices", "trainer.num_nodes", "trainer.strategy"),
)
"""Settings that say where a run trains and how it is watched, and not what comes out."""
_held: set[IO[str]] = set()
"""The locks of this process, which processes forked from it must not keep alive after its death."""


def _let_go() -> None:
    for lock in _held:
        lock.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


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
            if not new and (resume == "never" or not run.goes_on(config)):
                continue
            if not run.hold():
                continue
            if not new and not run.goes_on(config):  # another process was quicker, between the lines
                run.release()
                continue
            run.tidy()
            with whole_file(run.path / "config.yaml") as file:
                file.write(config.encode())
            if not run.facts:
                created = datetime.now().astimezone().isoformat(timespec="seconds")
                run.note(
                    name=run.path.name,
                    created=created,
                    version=__version__,
                    finished=False,
                    wandb_id=uuid.uuid4().hex[:8],
                )
            return run

    def goes_on(self, config: str) -> bool:
        """Return whether the folder is an unfinished run of a configuration, or one that has hardly begun."""
        if self.config is None:
            return not any(path.name != ".lock" and path.suffix != ".part" for path in self.path.glob("*"))
        return not self.facts.get("finished") and trains_alike(self.config, config)

    def hold(self) -> bool:
        """Claim the folder for this process; False if another one has it.

        The system lets go of it when the process ends, however it ends.
        """
        try:
            lock = (self.path / ".lock").open("w")
        except OSError:  # not a folder, or not ours
            return False
        for patience in (0.1, 0.0):  # who only looks whether it is held is gone at once
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(patience)
            except OSError:  # a file system without locks
                break
        else:
            lock.close()
            return False
        self._lock = lock
        _held.add(lock)
        return True

    def release(self) -> None:
        """Let other processes have the folder."""
        if self._lock is not None:
            _held.discard(self._lock)
            self._lock.close()
            self._lock = None

    def tidy(self) -> None:
        """Remove the unfinished files of writers that were killed."""
        for folder in (self.path, self.checkpoints, self.path / "samples"):
            for work in folder.glob(".*.part"):
                work.unlink(missing_ok=True)

    @property
    def facts(self) -> dict[str, Any]:
        """What ``run.json`` says; empty if it says nothing."""
        return self._plain("run.json")

    @property
    def scores(self) -> dict[str, Any]:
        """What evaluations have written of the run to ``scores.json``, by data; empty if nothing."""
        return self._plain("scores.json")

    def _plain(self, name: str) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            found = parse_json(read_text(self.path / name))
            if isinstance(found, dict):
                return found
        return {}

    @property
    def held(self) -> bool:
        """Whether a process of this machine has the folder."""
        try:
            with (self.path / ".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @property
    def metrics_file(self) -> Path:
        """The file of logged values; see :mod:`sketchembed.runs.metrics`."""
        return self.path / "metrics.jsonl"

    def note(self, **facts: Any) -> None:
        """Add to ``run.json``."""
        with whole_file(self.path / "run.json") as file:
            file.write(json.dumps(self.facts | facts, indent=1, default=str).encode())

    def check_data(self, facts: Mapping[str, Any]) -> None:
        """Check that a run goes on with the data that it began with, wherever they lie now.

        Args:
            facts: what the data say of themselves.

        Raises:
            DataError: if they are others, which would make the run neither one nor the other.
        """
        found = json.loads(json.dumps(dict(facts), default=str))
        for name, value in (self.facts.get("data") or {}).items():
            if name not in ("folder", "announcement") and name in found and found[name] != value:
                raise DataError(
                    f"{self.path} was begun with other data: their '{name}' was {value} and is {found[name]}",
                    expected="the same data to go on with",
                    fix="Put them back, or start anew with --run.resume never",
                )

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
        """The checkpoint of the last step, if there is any, whole or not."""
        found = by_step(self.checkpoints)
        return found[-1] if found else None

    def rewind(self, step: int) -> None:
        """Drop the metrics and samples that came after the first `step` steps, where the run goes on."""
        drop_steps(self.metrics_file, step)
        for sample in (self.path / "samples").glob("step-*.json"):
            number = sample.stem.partition("-")[2]
            if number.isdecimal() and len(number) < 20 and int(number) > step:
                sample.unlink()


def trains_alike(one: str, other: str) -> bool:
    """Return whether two configurations, as YAML, train the same model in the same way.

    What :data:`WHERE` names may differ: a run that was copied to another machine goes on there, on as many
    devices as there are, and one that stopped at a step that is not finite goes on past it.
    """
    return bool(_what_trains(one) == _what_trains(other))


def _what_trains(config: str) -> Any:
    try:
        found = parse_yaml(config)
    except ValueError:
        return config
    for path in WHERE:
        *groups, name = path.split(".")
        inner = found
        for group in groups:
            inner = inner.get(group) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner.pop(name, None)
    return found
