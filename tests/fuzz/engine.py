"""Read mutated files with a reader, and record the outcomes, times and memory."""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from sketchembed.errors import SketchEmbedError

from .archives import change_content
from .bytewise import change_bytes

Case = dict[str, bytes]
"""Maps the paths of files to their content."""
TIME_LIMIT = 10.0
"""Processor seconds that one input may take."""
EXTRA_MEMORY = 4 << 30
"""Bytes of address space that the process may add, so that a fault does not exhaust the machine."""


@dataclass(frozen=True)
class Reader:
    """A reader under test.

    Attributes:
        name: name of the reader.
        seeds: returns valid cases, which are then mutated.
        read: reads the case in a folder and uses the result. An AssertionError means a wrong result.
        change: mutates a case. By default, its files are mutated according to their suffixes.
        refusals: exceptions that count as a clear error.
    """

    name: str
    seeds: Callable[[], list[Case]]
    read: Callable[[Path], object]
    change: Callable[[Case, Random], Case] | None = None
    refusals: tuple[type[BaseException], ...] = (SketchEmbedError,)


@dataclass
class Result:
    """Results of all inputs."""

    reader: str
    inputs: int = 0
    answered: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    uncaught: list[tuple[int, str]] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    grown: float = 0.0
    largest: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0


class Slow(BaseException):
    """An input took too long."""


class Escaped(BaseException):
    """A file made the reader start a program or write outside its folder."""


def change_case(case: Case, random: Random) -> Case:
    """Return a case with one or two of its files mutated according to their suffixes."""
    case = dict(case)
    for _ in range(random.choice((1, 1, 1, 2))):
        name = random.choice(sorted(case))
        what = random.random()
        if what < 0.02:
            del case[name]
            if not case:
                return {name: b""}
        elif what < 0.04:
            case[name] = b""
        elif what < 0.12:
            case[name] = change_bytes(case[name], random)
        else:
            case[name] = change_content(name, case[name], random)
    return case


def write_case(case: Case, folder: Path) -> None:
    for name, content in case.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def kind_of(error: BaseException) -> str:
    """Return the message of an error without the parts that differ between inputs."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"|b'[^']*'", "…", str(error).partition("; expected")[0])
    text = re.sub(r"/\S+", "FILE", text)
    return re.sub(r"-?\d[\d.,e+]*", "#", text)[:70].strip()


# ---- forbidden actions -----------------------------------------------------------------------------------

_watched_folders: list[Path] = []
_other_threads: set[int | None] = set()
"""Threads that already ran, such as a tracker's in an earlier test. Their writes are allowed."""
_found: list[str] = []
_RUNS = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if not _watched_folders or threading.get_ident() in _other_threads:
        return
    if event in _RUNS:
        _found.append(f"{event} {args[:2]}")
        raise Escaped(event)
    if (
        event == "open"
        and isinstance(args[0], str | bytes)
        and args[2]
        and args[2] & (os.O_WRONLY | os.O_RDWR)
    ):
        path = os.fsdecode(args[0])
        if not os.path.realpath(path).startswith((str(_watched_folders[0]), "/dev/null", "/proc/")):
            _found.append(f"writes {path}")
            raise Escaped(path)


_hooked = False


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Raise :class:`Escaped` if a program is started or a file outside a folder is written."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_watch)
        _hooked = True
    _other_threads.clear()
    _other_threads.update({thread.ident for thread in threading.enumerate()} - {threading.get_ident()})
    _found.clear()  # of an earlier use that raised
    _watched_folders.append(folder)
    try:
        yield
    finally:
        _watched_folders.clear()
    if _found:
        what = _found.pop()
        _found.clear()
        raise Escaped(what)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`Slow` after this processor time, or after ten times as much real time."""

    def stop(*_: object) -> None:
        raise Slow(f"more than {seconds:g} s")

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, seconds),
        signal.SIGALRM: (signal.ITIMER_REAL, 10 * seconds),
    }
    before = {number: signal.signal(number, stop) for number in timers}
    for timer, limit in timers.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def reset_peak() -> None:
    """Reset the peak resident size, which includes the creation of inputs. This works on Linux only."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Return the peak resident size of this process since the last reset, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def limit_memory() -> None:
    """Limit the address space, so that very large allocations fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + EXTRA_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


# ---- the run ---------------------------------------------------------------------------------------------


def case_of(reader: Reader, seeds: list[Case], seed: int, number: int) -> Case:
    """Return an input by its number. The first inputs are the unchanged seeds."""
    if number < len(seeds):
        return seeds[number]
    random = Random(f"{reader.name} {seed} {number}")
    case = random.choice(seeds)
    try:
        return (reader.change or change_case)(case, random)
    except Exception:  # the format cannot store the mutated value
        name = random.choice(sorted(case))
        return case | {name: change_bytes(case[name], random)}


def run(
    reader: Reader,
    inputs: int,
    seconds: float = 0.0,
    seed: int = 0,
    keep: Path | None = None,
    only: int | None = None,
    log: Path | None = None,
) -> Result:
    """Read inputs until both minimums are reached.

    Args:
        reader: reader under test.
        inputs: minimum number of inputs.
        seconds: minimum time.
        seed: seed of the mutations.
        keep: folder for inputs that failed, took long or took much memory.
        only: number of the only input to read. Its error is raised.
        log: file that gets the number of the current input, for the parent process.
    """
    seeds = reader.seeds()
    out = Result(reader.name)
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)).resolve()
    try:
        for case in seeds:  # triggers lazy imports, and checks that the seeds are read
            _read(reader, case, place)
        reset_peak()
        before = highest = peak()
        began = time.monotonic()
        number = 0 if only is None else only
        while only is not None or out.inputs < inputs or time.monotonic() - began < seconds:
            case = case_of(reader, seeds, seed, number)
            if log:
                log.write_text(str(number))
            reset_peak()
            start = time.process_time()
            failed = False
            try:
                _read(reader, case, place)
                out.answered += 1
            except reader.refusals as error:
                kind = kind_of(error)
                out.refused[kind] = out.refused.get(kind, 0) + 1
            except BaseException as error:
                if only is not None or isinstance(error, KeyboardInterrupt):
                    raise
                out.uncaught.append((number, "".join(traceback.format_exception(error)[-4:])))
                failed = True
            took = time.process_time() - start
            out.slowest = max(out.slowest, (took, number))
            now = peak()
            if now > highest + 32:
                out.largest.append((number, now - before))
                failed = True
            highest = max(highest, now)
            if keep and (failed or took > TIME_LIMIT / 2):
                write_case(case, keep / f"{reader.name}-{number}")
            out.inputs += 1
            number += 1
            if only is not None:
                break
        out.seconds, out.grown = time.monotonic() - began, highest - before
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return out


def _read(reader: Reader, case: Case, place: Path) -> None:
    folder = place / "case"
    with contextlib.suppress(OSError, ValueError):  # an invalid file name
        write_case(case, folder)
    output = io.StringIO()
    try:
        with (
            time_limit(TIME_LIMIT),
            watched(place),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            reader.read(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
