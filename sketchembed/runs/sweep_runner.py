"""The runs of a sweep on this machine: each a process of its own, some at a time, until all are done."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sketchembed.errors import check_range
from sketchembed.runs.metrics import last_step, last_value, read_curves
from sketchembed.runs.sweep_folder import SweepFolder, SweepRun
from sketchembed.runs.watchdog import PIPE_VARIABLE

FIT = [sys.executable, "-m", "sketchembed", "fit"]
POLL = 0.1
BEAT = 60.0
"""Seconds between lines that say how far the runs are."""
PATIENCE = 60.0
"""Seconds that stopped runs may take to end."""


@dataclass
class Attempt:
    """A run that is going on.

    Attributes:
        run: of the sweep.
        process: its process, the first of a group of its own.
        log: what it prints.
        begun: by the monotonic clock.
        slot: of those that run at a time.
    """

    run: SweepRun
    process: subprocess.Popen[bytes]
    log: Path
    begun: float
    slot: int


class LocalSweep:
    """Runs what is not done of a sweep.

    The runs end when this process does, even by ``kill -9``: each watches a pipe whose other end only this
    process has. And each holds the folder's lock, so that no other sweep begins before all have ended.

    Args:
        folder: of the sweep, with the command line of each run.
        jobs: runs at a time.
    """

    def __init__(self, folder: SweepFolder, jobs: int = 1) -> None:
        check_range("jobs", jobs, 1)
        self.folder, self.jobs = folder, jobs
        self._attempts: list[Attempt] = []
        self._shown: dict[str, int] = {}

    def run(self) -> dict[str, str]:
        """Run them all.

        Returns:
            why runs failed, by their names.

        Raises:
            KeyboardInterrupt: if it was stopped by Ctrl-C or SIGTERM; the runs have ended by then.
        """
        lock = self.folder.hold()
        watched, held = os.pipe()
        try:
            with _interruptible():
                self._run_all(watched, lock.fileno())
        except BaseException:
            self._stop()
            raise
        finally:
            self.folder.write()
            for end in (watched, held):
                os.close(end)
            lock.close()
        return {name: run.message for name, run in self.folder.runs.items() if run.message}

    def _run_all(self, watched: int, lock: int) -> None:
        waiting = []
        for name, run in self.folder.runs.items():
            if self.folder.finished(name):
                run.message = ""
                self._say(name, "done before")
            else:
                waiting.append(run)
        self.folder.write()
        beat = time.monotonic()
        while waiting or self._attempts:
            # The first run prepares the data, while others would do the same beside it.
            room = self.jobs if any(self.folder.run(name) for name in self.folder.runs) else 1
            if waiting and len(self._attempts) < room:
                self._start(waiting.pop(0), watched, lock)
                continue
            time.sleep(POLL)
            for attempt in [one for one in self._attempts if one.process.poll() is not None]:
                self._end(attempt)
            if time.monotonic() - beat > BEAT:
                beat = time.monotonic()
                for attempt in self._attempts:
                    self._tell(attempt.run.name)
                self.folder.write()

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
        self._say(run.name, f"started; what it prints is in {log}")
        self.folder.write()

    def _share(self, slot: int) -> dict[str, str]:
        """Return what gives a run its part of the machine: GPUs and threads."""
        if self.jobs == 1:
            return {}
        import torch

        share = {}
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        devices = (
            visible.split(",") if visible else [str(device) for device in range(torch.cuda.device_count())]
        )
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
            _kill(attempt.process, signal.SIGKILL)  # what it may have left behind: other ranks, say
        run.seconds = round(run.seconds + time.monotonic() - attempt.begun, 1)
        finished = self.folder.finished(run.name)
        if code == 0 and finished:
            self._say(run.name, f"done in {run.seconds:.0f} s")
        else:
            how = f"exit status {code}" if code >= 0 else f"killed by signal {-code}"
            run.message = f"{_last_line(attempt.log) or 'it said nothing'} ({how})"
            self._say(run.name, f"failed: {run.message}")
        self.folder.write()

    def _stop(self) -> None:
        """Ask what is going on to save and stop, and wait for it."""
        until = time.monotonic() + PATIENCE
        for attempt in self._attempts:
            _kill(attempt.process, signal.SIGTERM)  # a Ctrl-C may be ignored in a shell's background
        with contextlib.suppress(KeyboardInterrupt):
            for attempt in self._attempts:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    attempt.process.wait(max(until - time.monotonic(), 0))
        for attempt in self._attempts:
            _kill(attempt.process, signal.SIGKILL)
            attempt.process.wait()
            attempt.run.seconds = round(attempt.run.seconds + time.monotonic() - attempt.begun, 1)

    def _tell(self, name: str) -> None:
        """Say how far a run is, if it is farther than it was."""
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
def _interruptible() -> Iterator[None]:
    """Let SIGTERM stop a sweep as Ctrl-C does."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _kill(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a run's processes; they are a group by the first one's number."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _last_line(log: Path) -> str:
    """Return the last line of a log, which says why a run failed."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 4000, 0))
        lines = file.read().decode("utf-8", "replace").splitlines()
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("$ ")]
    return lines[-1].removeprefix("sketchembed: ")[:300] if lines else ""
