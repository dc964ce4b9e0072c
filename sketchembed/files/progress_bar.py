"""Show the progress of long work: bars with the remaining time on a terminal, lines in a log."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import suppress
from datetime import timedelta
from typing import Any, TextIO, TypeVar

EVERY = 10.0  # seconds between two lines in a log
FIRST = 3.0  # seconds of work before its first line, so that short work has none
POLL = 0.5  # seconds between two checks whether a line is due
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""Environment variables that are 0, or not set, in the only process that shows progress."""

Value = TypeVar("Value")


class ProgressBar:
    """The progress of a piece of work, from its construction to :meth:`close`; a context manager.

    A terminal shows all open bars. In a log, a line every :data:`EVERY` seconds reports the innermost one.

    Args:
        title: what is done, such as ``Preparing quickdraw``.
        total: number of steps; None if it is not known.
        done: number of steps that were done before.
        in_bytes: whether the steps are bytes, which are shown as MB.
    """

    def __init__(self, title: str, total: int | None = None, done: int = 0, in_bytes: bool = False) -> None:
        self.title, self.total, self.done, self.in_bytes = title, total, done, in_bytes
        self._first, self._begun = done, time.monotonic()
        _display.add(self)

    def __enter__(self) -> ProgressBar:
        """Return the bar."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar."""
        self.close()

    def advance(self, steps: int = 1) -> None:
        """Count further steps."""
        self.update(self.done + steps)

    def update(self, done: int, total: int | None = None) -> None:
        """Set the number of steps that are done, and the total if it is known now."""
        self.done, self.total = done, self.total if total is None else total
        _display.redraw(self)

    def close(self) -> None:
        """Remove the bar; a second call does nothing."""
        _display.remove(self)

    @property
    def amount(self) -> str:
        """The number of steps, such as ``12 of 345 (3%)``; empty if neither it nor the total is known."""
        done, total = (self.done, self.total or 0) if self.total or self.done else (0, 0)
        if self.in_bytes:
            texts = [f"{number / 1e6:.1f}" for number in (done, total)]
        else:
            texts = [f"{number:,}" for number in (done, total)]
        unit = " MB" if self.in_bytes else ""
        if total:
            return f"{texts[0]} of {texts[1]}{unit} ({100 * done // total}%)"
        return texts[0] + unit if done else ""

    @property
    def line(self) -> str:
        """The progress as a line of a log."""
        elapsed, steps = time.monotonic() - self._begun, self.done - self._first
        known = self.total is not None and steps > 0
        seconds = elapsed / steps * max((self.total or 0) - self.done, 0) if known else elapsed
        span = timedelta(seconds=round(seconds))
        parts = [self.amount, f"about {span} left" if known else f"{span} so far"]
        return f"{self.title}: {', '.join(part for part in parts if part)}"


def track(items: Iterable[Value], title: str, total: int | None = None) -> Iterator[Value]:
    """Yield items, and show how many of them have been processed; see :class:`ProgressBar`."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with ProgressBar(title, total) as bar:
        for item in items:
            yield item
            bar.advance()


def print_line(line: str, file: TextIO | None = None) -> None:
    """Print a line at once; the next line of progress is due :data:`EVERY` seconds later.

    Unlike `print`, it writes the line with its end, so that lines of two threads are never joined.
    """
    file = file or sys.stdout
    file.write(f"{line}\n")
    file.flush()
    _display.last = time.monotonic()


class _Display:
    """What the open bars share: Rich's display on a terminal, otherwise a thread that prints lines."""

    def __init__(self) -> None:
        self.bars: list[ProgressBar] = []
        self.last = 0.0  # time of the last line
        self._rich: Any = None
        self._tasks: dict[ProgressBar, Any] = {}
        self._ended, self._thread = threading.Event(), threading.Thread()

    def add(self, bar: ProgressBar) -> None:
        if any(os.environ.get(name, "0") != "0" for name in RANKS):
            return
        self.bars.append(bar)
        if len(self.bars) == 1:
            self._start()
        if self._rich:
            task = self._rich.add_task(bar.title, total=bar.total, completed=bar.done, amount=bar.amount)
            self._tasks[bar] = task

    def _start(self) -> None:
        # Rich sends printed lines to its own stream, so that a log of only one of the two would lose them.
        if sys.stdout.isatty() and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            text = TextColumn("{task.description}", markup=False)
            columns = (text, BarColumn(), TextColumn("{task.fields[amount]}"), TimeRemainingColumn())
            self._rich = Progress(*columns, console=Console(stderr=True), transient=True)
            self._rich.start()
            return
        if time.monotonic() - self.last >= EVERY:
            self.last = time.monotonic() - EVERY + FIRST
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._report, args=(self._ended,), daemon=True)
        self._thread.start()

    def _report(self, ended: threading.Event) -> None:
        while not ended.wait(POLL):
            self._print_if_due()

    def _print_if_due(self) -> None:
        if time.monotonic() - self.last >= EVERY:
            # The last bar may be closed now, and the stream at the end of the process.
            with suppress(IndexError, ValueError, OSError):
                print_line(self.bars[-1].line, sys.stderr)

    def redraw(self, bar: ProgressBar) -> None:
        if bar in self._tasks:
            shown = {"completed": bar.done, "total": bar.total, "amount": bar.amount}
            self._rich.update(self._tasks[bar], **shown)

    def remove(self, bar: ProgressBar) -> None:
        if bar not in self.bars:
            return
        if not self._rich:
            self._print_if_due()  # the thread may not have had time to see a short bar
        self.bars.remove(bar)
        if bar in self._tasks:
            self._rich.remove_task(self._tasks.pop(bar))
        if self.bars:
            return
        if self._rich:
            self._rich.stop()
            self._rich = None
        else:
            self._ended.set()
            self._thread.join()


_display = _Display()
