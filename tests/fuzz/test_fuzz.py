"""Fuzz every reader with up to 100 inputs. ``python -m tests.fuzz`` reads many more."""

from __future__ import annotations

import subprocess
import threading

import pytest

from .__main__ import all_readers
from .engine import Escaped, run, watched

READERS = all_readers()
INPUTS = {"config": 12, "download": 60, "omniglot-images": 80}
"""Number of inputs for slow readers. Other readers get 100."""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", READERS)
def test_reader_gives_a_right_answer_or_a_clear_error(name):
    inputs = INPUTS.get(name, 100)
    found = run(READERS[name], inputs, seed=1)
    assert found.inputs == inputs
    assert not found.uncaught, found.uncaught[0][1]
    assert found.grown < 512
    # The inputs pass the first checks: some are read, and others give a clear error.
    assert found.answered > inputs / 40
    assert found.answered == inputs or len(found.refused) >= 1


def test_outside_writes_and_started_programs_are_detected(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    start = threading.Event()

    def other():
        start.wait(10)
        outside.with_suffix(".log").write_text("another's")

    thread = threading.Thread(target=other)
    thread.start()
    with watched(inside):
        (inside / "a").write_text("its own")
        start.set()
        thread.join()
    assert outside.with_suffix(".log").exists()
    for escape in (lambda: outside.write_text("x"), lambda: subprocess.run(["true"], check=True)):
        with pytest.raises(Escaped), watched(inside):
            escape()
    assert not outside.exists()
