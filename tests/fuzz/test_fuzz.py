"""Every reader with a few hundred broken files; ``python -m tests.fuzz`` gives it many more."""

from __future__ import annotations

import subprocess
import threading

import pytest

from .__main__ import all_readers
from .engine import Escaped, run, watched

READERS = all_readers()
INPUTS = {"config": 12, "download": 60, "omniglot-images": 100, "sketchy": 150, "checkpoint": 150}
"""Of readers that take longer; 200 of the others."""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", READERS)
def test_whatever_a_file_holds_the_answer_is_right_or_one_clear_error(name):
    inputs = INPUTS.get(name, 200)
    found = run(READERS[name], inputs, seed=1)
    assert found.inputs == inputs
    assert not found.uncaught, found.uncaught[0][1]
    assert found.grown < 512
    # It reaches what lies behind the first check: some are read, and others are refused for many reasons.
    assert found.answered > inputs / 40
    assert found.answered == inputs or len(found.refused) >= 1


def test_a_reader_that_writes_elsewhere_or_starts_a_program_is_found(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    go = threading.Event()

    def other():
        go.wait(10)
        outside.with_suffix(".log").write_text("another's")

    thread = threading.Thread(target=other)
    thread.start()
    with watched(inside):
        (inside / "a").write_text("its own")
        go.set()
        thread.join()
    assert outside.with_suffix(".log").exists()
    for escape in (lambda: outside.write_text("x"), lambda: subprocess.run(["true"], check=True)):
        with pytest.raises(Escaped), watched(inside):
            escape()
    assert not outside.exists()
