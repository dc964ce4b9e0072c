"""The folder of a sweep: its runs, ``sweep.json``, what they are, and ``sweep.md``, how far they are.

A folder without ``sweep.json``, in which agents of W&B's have left runs, is read by what their
configurations differ in.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from sketchembed.errors import ConfigError
from sketchembed.files.reading import read_text
from sketchembed.files.serialization import build, parse_json, parse_yaml
from sketchembed.files.writing import whole_file
from sketchembed.reporting.part import Cell, Table
from sketchembed.runs.folder import Run
from sketchembed.runs.metrics import last_step, last_value, read_curves
from sketchembed.runs.sweep_space import Point

FILE = "sweep.json"
MAX_SWEEP = 16 << 20
"""Bytes of a sweep's file."""
LOCK_WAIT = 60.0
"""Seconds that the runs of a sweep that was killed may take to end."""
FOLLOWING = re.compile(r"-\d+")
NOT_SWEPT = ("run", "model.init_args.seed", "data.init_args.seed", "ckpt_path", "checkpoint.dirpath")
"""What differs without being swept: where a run's files are, and what a seed is linked to."""


@dataclass
class SweepRun:
    """A run of a sweep.

    Attributes:
        name: of the run, and of its folder.
        point: its swept parameters.
        words: what follows ``sketchembed fit`` on its command line; empty for runs of W&B's agents.
        message: why the last attempt failed; empty if it did not.
        seconds: that its attempts took.
    """

    name: str
    point: Point
    words: list[str] = field(default_factory=list)
    message: str = ""
    seconds: float = 0.0


@dataclass
class SweepFolder:
    """A sweep on disk.

    Attributes:
        path: of the folder.
        name: of the sweep.
        runs: by name.
    """

    path: Path
    name: str
    runs: dict[str, SweepRun]

    @classmethod
    def read(cls, path: Path) -> SweepFolder:
        """Read a sweep's folder.

        Raises:
            ConfigError: if there is no sweep.
        """
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found = parse_json(read_text(path / FILE, MAX_SWEEP))
            runs = [build(SweepRun, run) for run in found["runs"]]
            # A name is a folder's, and leads to no other place.
            if isinstance(found["name"], str) and all(Path(run.name).name == run.name for run in runs):
                return cls(path, found["name"], {run.name: run for run in runs})
        points = _differing(path)
        if not points:
            raise ConfigError(
                f"{path} holds no sweep",
                expected=f"{FILE}, or the folders of runs",
                fix="Name a sweep's folder",
            )
        return cls(path, path.name, {name: SweepRun(name, point) for name, point in points.items()})

    def write(self) -> None:
        """Write ``sweep.json`` and ``sweep.md``, each whole."""
        plain = {"name": self.name, "runs": [asdict(run) for run in self.runs.values()]}
        texts = {FILE: json.dumps(plain, indent=1), "sweep.md": self.table().markdown() + "\n"}
        for name, text in texts.items():
            with whole_file(self.path / name) as file:
                file.write(text.encode("utf-8", errors="replace"))

    def check_same(self) -> None:
        """Check that what lies in the folder already is of this sweep, with these options.

        Raises:
            ConfigError: if it is another's.
        """
        if not (self.path / FILE).exists():
            return
        before = SweepFolder.read(self.path)
        for name, run in before.runs.items():
            mine = self.runs.get(name)
            if (
                mine is None
                or self.run(name) is None
                or (before.name == self.name and mine.words == run.words)
            ):
                continue
            more = [word for word in run.words if word not in mine.words]
            less = [word for word in mine.words if word not in run.words]
            raise ConfigError(
                f"{self.path} holds runs of {before.name} with other options "
                f"(then {' '.join(more) or 'none'}, now {' '.join(less) or 'none'})",
                expected="the same command as before, which goes on",
                fix="Give the same options, or another folder with --run.root",
            )
        for name, run in before.runs.items():
            if name in self.runs:
                self.runs[name].message, self.runs[name].seconds = run.message, run.seconds

    def hold(self) -> IO[str]:
        """Claim the folder for this process and those that inherit the file that is returned.

        Raises:
            ConfigError: if others have it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = (self.path / ".lock").open("a+")
        until, told = time.monotonic() + LOCK_WAIT, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if time.monotonic() < until:
                    if not told:
                        print(f"waiting for another process to leave {self.path}", flush=True)
                    told = True
                    time.sleep(0.2)
                    continue
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                lock.close()
                raise ConfigError(
                    f"{self.path} is being worked on by another process ({holder})",
                    expected="one sweep at a time in a folder",
                    fix="Wait for it, or stop it and start again",
                ) from error
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            return lock

    # ---- the runs --------------------------------------------------------------------------------------

    def run(self, name: str) -> Run | None:
        """Return the folder of a run, the finished one if there are several; None if there is none yet."""
        others = set(self.runs) - {name}
        found = [
            Run(path)
            for path in self.path.glob(f"{name}*")
            if path.name not in others
            and (path.name == name or FOLLOWING.fullmatch(path.name.removeprefix(name)))
            and (path / "run.json").exists()
        ]
        found.sort(key=lambda run: (bool(run.facts.get("finished")), (run.path / "run.json").stat().st_mtime))
        return found[-1] if found else None

    def finished(self, name: str) -> Path | None:
        """Return the folder of a finished run."""
        run = self.run(name)
        return run.path if run is not None and run.facts.get("finished") else None

    def state(self, name: str) -> str:
        """Return how far a run is, for people."""
        run = self.run(name)
        facts = run.facts if run else {}
        if facts.get("finished"):
            return "done"
        if self.runs[name].message:
            return f"failed: {self.runs[name].message}"
        if run is None:
            return "not begun"
        step = last_step(run.metrics_file)
        return f"step {step:,} of {facts.get('max_steps', 0):,}" if step else "begun"

    def table(self) -> Table:
        """Return what is done, a row a run."""
        varied = self.varied()
        rows: list[list[Cell]] = []
        for name, run in self.runs.items():
            found = self.run(name)
            curves = read_curves(found.metrics_file) if found else {}
            losses: list[Cell] = [
                last_value(curves, key) for key in ("train/loss", "val/loss", "unseen/loss")
            ]
            rows.append([name, *(_cell(run.point.get(key)) for key in varied), self.state(name), *losses])
        done = sum(self.finished(name) is not None for name in self.runs)
        return Table(
            f"{self.name}: {done} of {len(self.runs)} runs are done",
            ["run", *varied, "state", "train loss", "val loss", "unseen loss"],
            rows,
        )

    def varied(self) -> list[str]:
        """Return the names of the swept parameters."""
        return list(dict.fromkeys(key for run in self.runs.values() for key in run.point))


def _cell(value: Any) -> Cell:
    return value if isinstance(value, str | int | float) or value is None else str(value)


def _differing(path: Path) -> dict[str, Point]:
    """Return, of the runs in a folder, in which options their configurations differ."""
    leaves: dict[str, Point] = {}
    for file in sorted(path.glob("*/config.yaml")):
        with contextlib.suppress(OSError, ValueError):
            if (file.parent / "run.json").exists():
                leaves[file.parent.name] = _leaves(parse_yaml(read_text(file)))
    keys = dict.fromkeys(key for point in leaves.values() for key in point)
    varied = [key for key in keys if len({str(point.get(key)) for point in leaves.values()}) > 1]
    return {name: {key: point.get(key) for key in varied} for name, point in leaves.items()}


def _leaves(tree: Any, above: str = "") -> Point:
    if not isinstance(tree, dict):
        return {above: tree}
    found: Point = {}
    for key, value in tree.items():
        name = f"{above}.{key}" if above else str(key)
        if name not in NOT_SWEPT:
            found |= _leaves(value, name)
    return found
