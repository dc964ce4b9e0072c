"""``python -m tests.fuzz.guided READER SECONDS``: fuzz with guidance by coverage.

Atheris (``pip install atheris``) keeps inputs that reach new lines of the package. It mutates them further,
with the same mutations for each format.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any


def guide(name: str, seconds: int) -> None:
    """Fuzz one reader until it fails or the time is over.

    Args:
        name: name of the reader. If a case has several files, only the first one is mutated.
        seconds: time limit.
    """
    import atheris

    with atheris.instrument_imports(include=["sketchembed"]):
        from .__main__ import all_readers

        reader = all_readers()[name]
    from .archives import change_content
    from .engine import watched, write_case

    seeds = reader.seeds()
    main = sorted(seeds[0])[0]
    place = Path(tempfile.mkdtemp()).resolve()
    corpus = place / "corpus"
    corpus.mkdir()
    for number, case in enumerate(seeds):
        if main in case:
            (corpus / str(number)).write_bytes(case[main])

    def change(data: bytes, limit: int, seed: int) -> bytes:
        random = Random(seed)
        case = seeds[0] | {main: data}
        with contextlib.suppress(Exception):
            return (
                reader.change(case, random)[main][:limit] if reader.change else _changed(data, random, limit)
            )
        return _changed(data, random, limit)

    def _changed(data: bytes, random: Random, limit: int) -> bytes:
        return change_content(main, data, random)[:limit]

    def read(data: bytes) -> Any:
        folder = place / "case"
        write_case(seeds[0] | {main: data}, folder)
        output = io.StringIO()
        try:
            with watched(place), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                reader.read(folder)
        except reader.refusals:
            pass
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    options = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=4096", "-max_len=1000000"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], read, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    guide(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 300)
