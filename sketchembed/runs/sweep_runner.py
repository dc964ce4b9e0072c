"""Run the unfinished runs of a sweep on this machine, each as a process."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sketchembed.errors import check_range
from sketchembed.files.progress_bar import ProgressBar
from sketchembed.runs.metrics import last_step, last_value, read_curves
from sketchembed.runs.sweep_folder import SweepFolder, SweepRun
from sketchembed.runs.watchdog import PIPE_VARIABLE

FIT = [sys.executable, "-m", "sketchembed", "fit"]
POLL = 0.1
PROGRESS_EVERY = 60.0  # seconds between lines with the progress of the runs
PATIENCE = 60.0
"""Seconds that stopped runs may take to save and end."""


@dataclass
class Attempt:
    """A process that executes a run.

    It is the leader of a process group; ``slot`` is its number among the simultaneous runs, from 0.
    """

    run: SweepRun
    process: subprocess.Popen[bytes]
    log: Path
    start: float  # on the monotonic clock
    slot: int


class LocalSweep:
    """Executes the unfinished runs of a sweep.

    The runs end when this process ends, even if it is killed: they watch a pipe whose other end this process
    holds. They inherit the lock of the folder, so that another sweep cannot start before all of them have
    ended. At most `jobs` run at the same time; `on_change` is called when the state of a run has changed.
    """

    def __init__(self, folder: SweepFolder, jobs: int, on_change: Callable[[SweepFolder], object]) -> None:
        check_range("jobs", jobs, 1)
        self.folder, self.jobs, self.on_change = folder, jobs, on_change
        self._attempts: list[Attempt] = []
        self._shown: dict[str, int] = {}

    def run(self) -> dict[str, str]:
        """Execute all unfinished runs, and return the error messages of those that failed, by name.

        Raises:
            KeyboardInterrupt: if stopped by Ctrl-C or SIGTERM, after the runs have ended.
        """
        lock = self.folder.hold()
        watched, held = os.pipe()
        try:
            title = f"Sweep {self.folder.name}"
            with _sigterm_interrupts(), ProgressBar(title, len(self.folder.runs)) as bar:
                self._run_all(watched, lock.fileno(), bar)
        except BaseException:
            self._stop()
            raise
        finally:
            self._save()
            for end in (watched, held):
                os.close(end)
            lock.close()
        return {name: run.message for name, run in self.folder.runs.items() if run.message}

    def _run_all(self, watched: int, lock: int, bar: ProgressBar) -> None:
        waiting = []
        for name, run in self.folder.runs.items():
            if self.folder.finished(name):
                run.message = ""
                self._say(name, "done before")
                bar.advance()
            else:
                waiting.append(run)
        self._save()
        last_progress = time.monotonic()
        while waiting or self._attempts:
            # The first run starts alone, because it prepares the data for all.
            jobs = self.jobs if any(self.folder.run(name) for name in self.folder.runs) else 1
            if waiting and len(self._attempts) < jobs:
                self._start(waiting.pop(0), watched, lock)
                continue
            time.sleep(POLL)
            for attempt in [one for one in self._attempts if one.process.poll() is not None]:
                self._end(attempt)
                bar.advance()
            if time.monotonic() - last_progress > PROGRESS_EVERY:
                last_progress = time.monotonic()
                for attempt in self._attempts:
                    self._say_progress(attempt.run.name)
                self._save()

    def _save(self) -> None:
        self.folder.write()
        self.on_change(self.folder)

    def _start(self, run: SweepRun, watched: int, lock: int) -> None:
        slot = min(set(range(self.jobs)) - {attempt.slot for attempt in self._attempts})
        environment = os.environ | self._share(slot) | {PIPE_VARIABLE: str(watched)}
        log = self.folder.path / "logs" / f"{run.name}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as file:
            file.write(f"$ {shlex.join(['sketchembed', 'fit', *run.words])}\n".encode())
            file.flush()
            process = subprocess.Popen(
                [*FIT, *run.words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(watched, lock),
                process_group=0,
            )
        run.message = ""
        self._attempts.append(Attempt(run, process, log, time.monotonic(), slot))
        self._say(run.name, f"started; its output is in {log}")
        self._save()

    def _share(self, slot: int) -> dict[str, str]:
        """Return environment variables that give a run its share of the GPUs and threads."""
        if self.jobs == 1:
            return {}
        import torch

        share = {}
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        devices = visible.split(",") if visible else list(map(str, range(torch.cuda.device_count())))
        if torch.cuda.is_available() and devices:
            mine = devices[slot :: self.jobs] or [devices[slot % len(devices)]]
            share["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        if "OMP_NUM_THREADS" not in os.environ:
            share["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // self.jobs))
        return share

    def _end(self, attempt: Attempt) -> None:
        self._attempts.remove(attempt)
        run, code = attempt.run, attempt.process.returncode
        if code:
            _kill(attempt.process, signal.SIGKILL)  # other ranks may be left
        run.seconds = round(run.seconds + time.monotonic() - attempt.start, 1)
        if code == 0 and self.folder.finished(run.name):
            self._say(run.name, f"done in {run.seconds:.0f} s")
        else:
            how = f"exit status {code}" if code >= 0 else f"killed by signal {-code}"
            run.message = f"{_last_line(attempt.log) or 'no output'} ({how})"
            self._say(run.name, f"failed: {run.message}")
        self._save()

    def _stop(self) -> None:
        """Make all processes save and end; kill those that take too long."""
        deadline = time.monotonic() + PATIENCE
        for attempt in self._attempts:
            _kill(attempt.process, signal.SIGTERM)  # background jobs of a shell ignore SIGINT
        with contextlib.suppress(KeyboardInterrupt):
            for attempt in self._attempts:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    attempt.process.wait(max(deadline - time.monotonic(), 0))
        for attempt in self._attempts:
            _kill(attempt.process, signal.SIGKILL)
            attempt.process.wait()
            attempt.run.seconds = round(attempt.run.seconds + time.monotonic() - attempt.start, 1)

    def _say_progress(self, name: str) -> None:
        """Print the state of a run if it has logged new steps."""
        run = self.folder.run(name)
        step = last_step(run.metrics_file) if run else 0
        if run and step > self._shown.get(name, 0):
            self._shown[name] = step
            loss = last_value(read_curves(run.metrics_file), "train/loss")
            self._say(name, self.folder.state(name) + (f", loss {loss:.4g}" if loss is not None else ""))

    def _say(self, name: str, what: str) -> None:
        number = list(self.folder.runs).index(name) + 1
        print(f"[{number}/{len(self.folder.runs)}] {name}: {what}", flush=True)


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _kill(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to the process group of a run."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _last_line(log: Path) -> str:
    """Return the last line of a log, which says why a run failed."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 4000, 0))
        lines = file.read().decode("utf-8", "replace").splitlines()
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("$ ")]
    return lines[-1].removeprefix("sketchembed: ")[:300] if lines else ""
