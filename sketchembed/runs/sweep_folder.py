"""The folder of a sweep: its runs, and ``sweep.json``, which lists them.

A folder without ``sweep.json``, which W&B agents have filled with runs, is read too: the swept parameters are
those in which the runs' configurations differ.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from sketchembed.errors import ConfigError
from sketchembed.files.locks import try_lock
from sketchembed.files.reading import read_text
from sketchembed.files.serialization import dataclass_from_dict, parse_json, parse_yaml
from sketchembed.files.writing import whole_file
from sketchembed.runs.folder import Run
from sketchembed.runs.metrics import last_step
from sketchembed.runs.sweep_space import Point

FILE = "sweep.json"
MAX_SWEEP = 16 << 20  # bytes
LOCK_WAIT = 60.0
"""Seconds to wait for the runs of a sweep that was killed to end."""
NUMBERED = re.compile(r"-\d+")  # follows the name of a run that was started more than once
# These differ between the runs of every sweep: paths, and seeds linked to `seed_everything`.
NOT_SWEPT = ("run", "model.init_args.seed", "data.init_args.seed", "ckpt_path", "checkpoint.dirpath")


@dataclass
class SweepRun:
    """A run of a sweep.

    Attributes:
        point: values of the swept parameters.
        words: its command line after ``sketchembed fit``; empty for the runs of W&B agents.
        message: why the last attempt failed; empty if it did not.
        seconds: duration of all attempts.
    """

    name: str
    point: Point
    words: list[str] = field(default_factory=list)
    message: str = ""
    seconds: float = 0.0


@dataclass
class SweepFolder:
    """A sweep on disk, with its runs by name."""

    path: Path
    name: str
    runs: dict[str, SweepRun]

    @classmethod
    def read(cls, path: Path) -> SweepFolder:
        """Read the folder of a sweep; raise a ConfigError if it contains none."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found = parse_json(read_text(path / FILE, MAX_SWEEP))
            runs = [dataclass_from_dict(SweepRun, run) for run in found["runs"]]
            # A name must be a file name, so that it cannot lead out of the folder.
            if isinstance(found["name"], str) and all(Path(run.name).name == run.name for run in runs):
                return cls(path, found["name"], {run.name: run for run in runs})
        points = _read_points(path)
        if not points:
            raise ConfigError(
                f"{path} holds no sweep",
                expected=f"{FILE}, or the folders of runs",
                fix="Name the folder of a sweep",
            )
        return cls(path, path.name, {name: SweepRun(name, point) for name, point in points.items()})

    def write(self) -> None:
        """Write ``sweep.json``."""
        content = {"name": self.name, "runs": [asdict(run) for run in self.runs.values()]}
        with whole_file(self.path / FILE) as file:
            file.write(json.dumps(content, indent=1).encode())

    def check_same(self) -> None:
        """Check that the folder contains runs of this sweep with the same options; keep their messages."""
        if not (self.path / FILE).exists():
            return
        before = SweepFolder.read(self.path)
        for name, old in before.runs.items():
            new = self.runs.get(name)
            same = new is not None and before.name == self.name and new.words == old.words
            if new is None or same or self.run(name) is None:
                continue
            removed = [word for word in old.words if word not in new.words]
            added = [word for word in new.words if word not in old.words]
            raise ConfigError(
                f"{self.path} contains runs of {before.name} with other options "
                f"(then {' '.join(removed) or 'none'}, now {' '.join(added) or 'none'})",
                expected="the same command as before, which resumes the sweep",
                fix="Give the same options, or another folder with --run.root",
            )
        for name, old in before.runs.items():
            if name in self.runs:
                self.runs[name].message, self.runs[name].seconds = old.message, old.seconds

    def hold(self) -> IO[str]:
        """Lock the folder until the returned file is closed, here and in the processes that inherit it."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = (self.path / ".lock").open("a+")
        deadline = time.monotonic() + LOCK_WAIT
        if not try_lock(lock):
            print(f"waiting for another process to leave {self.path}", flush=True)
        while not try_lock(lock):
            if time.monotonic() > deadline:
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                lock.close()
                raise ConfigError(
                    f"{self.path} is in use by another process ({holder})",
                    expected="one sweep at a time in a folder",
                    fix="Wait for it, or stop it and run the command again",
                )
            time.sleep(0.2)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    def run(self, name: str) -> Run | None:
        """Return the folder of a run, preferably a finished one; None if the run was not started."""
        others = set(self.runs) - {name}
        found = [
            Run(path)
            for path in self.path.glob(f"{name}*")
            if path.name not in others
            and (path.name == name or NUMBERED.fullmatch(path.name.removeprefix(name)))
            and (path / "run.json").exists()
        ]
        found.sort(key=lambda run: (bool(run.facts.get("finished")), (run.path / "run.json").stat().st_mtime))
        return found[-1] if found else None

    def finished(self, name: str) -> Path | None:
        """Return the folder of a run if the run is finished."""
        run = self.run(name)
        return run.path if run is not None and run.facts.get("finished") else None

    def state(self, name: str) -> str:
        """Return a description of a run's progress."""
        run = self.run(name)
        facts = run.facts if run else {}
        if facts.get("finished"):
            return "done"
        if self.runs[name].message:
            return f"failed: {self.runs[name].message}"
        if run is None:
            return "not started"
        step = last_step(run.metrics_file)
        return f"step {step:,} of {facts.get('max_steps', 0):,}" if step else "started"

    def varied(self) -> list[str]:
        """Return the names of the swept parameters."""
        return list(dict.fromkeys(key for run in self.runs.values() for key in run.point))


def _read_points(path: Path) -> dict[str, Point]:
    """Return the settings in which the runs of a folder differ, by the name of the run."""
    settings: dict[str, Point] = {}
    for file in sorted(path.glob("*/config.yaml")):
        with contextlib.suppress(OSError, ValueError):
            if (file.parent / "run.json").exists():
                settings[file.parent.name] = _flatten(parse_yaml(read_text(file)))
    keys = dict.fromkeys(key for point in settings.values() for key in point)
    varied = [key for key in keys if len({str(point.get(key)) for point in settings.values()}) > 1]
    return {name: {key: point.get(key) for key in varied} for name, point in settings.items()}


def _flatten(tree: Any, prefix: str = "") -> Point:
    """Return the leaves of nested settings by their dotted names."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    leaves: Point = {}
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if name not in NOT_SWEPT:
            leaves |= _flatten(value, name)
    return leaves
