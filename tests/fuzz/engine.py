"""Feeds a reader with broken files, and keeps the books: outcomes, seconds, memory."""

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
"""The content of files by their paths."""
PATIENCE = 10.0
"""Seconds that one input may take."""
ROOM = 4 << 30
"""Bytes of address space that a reader may ask for on top, so that a fault does not take the machine."""


@dataclass(frozen=True)
class Reader:
    """A reader under test.

    Attributes:
        name: of the reader.
        seeds: makes whole cases, which are then broken.
        read: reads the case in a folder and uses what came of it; an AssertionError is a wrong answer.
        change: breaks a case; by the names of its files if not given.
        refusals: what counts as a clear error.
    """

    name: str
    seeds: Callable[[], list[Case]]
    read: Callable[[Path], object]
    change: Callable[[Case, Random], Case] | None = None
    refusals: tuple[type[BaseException], ...] = (SketchEmbedError,)


@dataclass
class Result:
    """What came of all inputs."""

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
    """A file made the reader start a program, connect, or write outside of its folder."""


def change_case(case: Case, random: Random) -> Case:
    """Return a case with one or two of its files changed by what their names say they are."""
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
    """Return a message without what differs from input to input."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"|b'[^']*'", "…", str(error).partition("; expected")[0])
    text = re.sub(r"/\S+", "FILE", text)
    return re.sub(r"-?\d[\d.,e+]*", "#", text)[:70].strip()


# ---- what must not happen --------------------------------------------------------------------------------

_armed: list[Path] = []
_others: set[int | None] = set()
"""Threads that were there before, such as a tracker's of an earlier test: what they write is theirs."""
_found: list[str] = []
_RUNS = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if not _armed or threading.get_ident() in _others:
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
        if not os.path.realpath(path).startswith((str(_armed[0]), "/dev/null", "/proc/")):
            _found.append(f"writes {path}")
            raise Escaped(path)


_hooked = False


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Let nothing be started, and nothing be written outside of a folder."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_watch)
        _hooked = True
    _others.clear()
    _others.update({thread.ident for thread in threading.enumerate()} - {threading.get_ident()})
    _armed.append(folder)
    try:
        yield
    finally:
        _armed.clear()
    if _found:
        what = _found.pop()
        _found.clear()
        raise Escaped(what)


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Interrupt what takes too long."""

    def stop(*_: object) -> None:
        raise Slow(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def reset_peak() -> None:
    """Forget the largest resident size so far, which making an input has a part in; where Linux lets us."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Return the largest resident size of this process since it was forgotten, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def limit_memory() -> None:
    """Let allocations fail that no reader has a reason for."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


# ---- the run ---------------------------------------------------------------------------------------------


def case_of(reader: Reader, seeds: list[Case], seed: int, number: int) -> Case:
    """Return an input by its number: the first ones are the whole files."""
    if number < len(seeds):
        return seeds[number]
    random = Random(f"{reader.name} {seed} {number}")
    case = random.choice(seeds)
    try:
        return (reader.change or change_case)(case, random)
    except Exception:  # a value that its format cannot hold
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
    """Read until there were so many inputs and so many seconds.

    Args:
        reader: under test.
        inputs: at least.
        seconds: at least.
        seed: of the changes.
        keep: folder for inputs that were answered wrongly, took long or took memory.
        only: just this input, whose error is raised.
        log: file that has the number of the input that is being read, for the process that looks on.
    """
    seeds = reader.seeds()
    out = Result(reader.name)
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)).resolve()
    try:
        for case in seeds:  # imports what is imported late, and shows that the whole files are read
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
            start = time.perf_counter()
            troubled = False
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
                troubled = True
            took = time.perf_counter() - start
            out.slowest = max(out.slowest, (took, number))
            now = peak()
            if now > highest + 32:
                out.largest.append((number, now - before))
                troubled = True
            highest = max(highest, now)
            if keep and (troubled or took > PATIENCE / 2):
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
    with contextlib.suppress(OSError, ValueError):  # a name that no file can have
        write_case(case, folder)
    says = io.StringIO()
    try:
        with (
            patience(PATIENCE),
            watched(place),
            contextlib.redirect_stdout(says),
            contextlib.redirect_stderr(says),
        ):
            reader.read(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
