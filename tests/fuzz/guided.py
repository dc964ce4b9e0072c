"""``python -m tests.fuzz.guided READER SECONDS``: guided by coverage, by Atheris (``pip install atheris``).

What reaches new lines of the package is kept and changed further, by the same changes that know the formats.
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
    """Fuzz one reader until it fails, or so many seconds are over.

    Args:
        name: of the reader; of a case with several files the first one is changed.
        seconds: to go on.
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

    def change(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        case = seeds[0] | {main: data}
        with contextlib.suppress(Exception):
            return reader.change(case, random)[main][:most] if reader.change else _changed(data, random, most)
        return _changed(data, random, most)

    def _changed(data: bytes, random: Random, most: int) -> bytes:
        return change_content(main, data, random)[:most]

    def read(data: bytes) -> Any:
        folder = place / "case"
        write_case(seeds[0] | {main: data}, folder)
        says = io.StringIO()
        try:
            with watched(place), contextlib.redirect_stdout(says), contextlib.redirect_stderr(says):
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
