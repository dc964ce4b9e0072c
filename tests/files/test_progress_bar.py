import os
import pty
import re
import subprocess
import sys
import time

import pytest

from sketchembed.files import progress_bar
from sketchembed.files.progress_bar import ProgressBar, track

LINE = re.compile(r"(.+): (?:([\d.,]+) of ([\d.,]+)( MB)? \((\d+)%\), )?(?:about )?0:00:\d\d (left|so far)")
TERMINAL = """
import time
from sketchembed.files.progress_bar import ProgressBar, track
with ProgressBar("Whole"):
    for number in track(range(4), "Reading [dots]"):
        time.sleep(0.3)
        print("printed", number)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Make lines due after 50 ms."""
    monkeypatch.setattr(progress_bar, "EVERY", 0.05)
    monkeypatch.setattr(progress_bar, "FIRST", 0.02)
    monkeypatch.setattr(progress_bar, "POLL", 0.005)


def lines(capsys):
    return [LINE.fullmatch(line).groups() for line in capsys.readouterr().err.splitlines()]


def test_log_reports_amount_and_time_of_the_innermost_bar(capsys):
    with ProgressBar("Whole"):
        time.sleep(0.15)
        with ProgressBar("Reading", 2000, done=500) as bar:
            bar.advance(500)
            time.sleep(0.15)
    outer, *_, inner = lines(capsys)
    assert outer == ("Whole", None, None, None, None, "so far")
    assert inner == ("Reading", "1,000", "2,000", None, "50", "left")


def test_remaining_time_is_extrapolated_from_the_steps_of_this_call(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: clock[0])
    with ProgressBar("Training", 100, done=60) as bar:
        clock[0] = 130.0
        bar.advance(10)
        assert bar.line == "Training: 70 of 100 (70%), about 0:01:30 left"
        bar.update(100)
        assert bar.line == "Training: 100 of 100 (100%), about 0:00:00 left"


def test_bytes_are_shown_as_megabytes():
    with ProgressBar("Downloading", in_bytes=True) as bar:
        assert bar.amount == ""
        bar.update(2_500_000)
        assert bar.amount == "2.5 MB"
        bar.update(2_500_000, 10_000_000)
        assert bar.amount == "2.5 of 10.0 MB (25%)"


def test_many_short_bars_are_not_silent(capsys):
    for number in range(30):
        with ProgressBar(f"Part {number}"):
            time.sleep(0.02)
    assert len(lines(capsys)) >= 4


def test_short_work_and_other_ranks_print_nothing(capsys, monkeypatch):
    assert list(track(range(3), "Short")) == [0, 1, 2]
    monkeypatch.setenv("LOCAL_RANK", "1")
    for _ in track(range(3), "Another rank"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_bar_is_closed_by_an_error_and_by_an_early_end():
    with pytest.raises(ZeroDivisionError):
        list(track((1 // number for number in range(3)), "Failing"))
    for _ in track(iter(range(3)), "Left early"):
        break
    assert progress_bar._display.bars == []


def test_terminal_shows_bars_and_keeps_printed_lines():
    master, end = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINAL], stdin=end, stdout=end, stderr=end, env=environment
    )
    os.close(end)
    shown = b""
    while True:
        try:
            shown += os.read(master, 4096)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert process.wait(timeout=60) == 0
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.decode())
    assert [f"printed {number}" in plain for number in range(4)] == [True] * 4
    assert "Whole" in plain
    assert re.search(r"Reading \[dots\] .* 2 of 4 \(50%\)\s+0:00:0\d", plain)
