"""Quick, Draw!: its classes, the paper's split of them, and the preparation of a store.

*Source*: Ha and Eck 2018 for the data; paper section 4 and the released code's lists for the split.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import joblib
import numpy as np
from rich.console import Console
from rich.progress import Progress

from sketchembed.data.sources.quickdraw_formats import READERS, read_class
from sketchembed.data.sources.splits import read_names
from sketchembed.data.store import FORMAT_VERSION, DrawingStore, left_out, open_store
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError, nearest
from sketchembed.sketch import Sketch

READER_VERSION = 1
"""Raised when the same files give other drawings; stores prepared before are then prepared again."""

_PREFIXES = re.compile(r"^(sketchrnn|full_simplified|full_binary)[_-]")
_DEPTH = 3
PUBLISHED_LENGTH = 1000
"""Points that a drawing may have before it is simplified further; the published files stay below."""
PARALLEL_BYTES = 32 << 20
"""Of source files; fewer are read by one process, before others would have started."""


def class_names(which: Literal["all", "seen", "unseen"] = "all") -> list[str]:
    """Return names of classes from the lists that come with the package.

    Args:
        which: ``all`` 345; the 45 ``unseen`` ones that are held out of training; or the 45 ``seen`` ones,
            among the 300 that train, with which the paper compares those.
    """
    return read_names(f"quickdraw_{which}")


def check_classes(names: Sequence[str]) -> None:
    """Check that names are Quick, Draw! classes.

    Raises:
        DataError: for the first that is none, with those most like it.
    """
    known = class_names()
    for name in names:
        if name not in set(known):
            raise DataError(
                f"there is no Quick, Draw! class '{name}'",
                expected="one of the 345 class names",
                fix=f"Did you mean {nearest(name, known)}?",
            )


def split(name: str, classes: Sequence[str], seed: int = 0) -> tuple[list[str], list[str]]:
    """Split classes into those that train and those that are held out.

    Args:
        name: ``paper`` for the released lists, 300 and 45 (of which those in `classes` are returned), or
            a number, for that many training classes drawn at random.
        classes: those there are.
        seed: of the random split. Classes are ranked by a digest of seed and name, so that a larger
            training set holds every smaller one, and a class more or less changes nothing else.

    Returns:
        The training classes and the held-out classes, each in the order of `classes`.

    Raises:
        DataError: if the name is neither, or the number is not 1 to the number of classes.
    """
    if name == "paper":
        held = set(class_names("unseen"))
    elif name.isascii() and name.isdecimal() and 1 <= int(name) <= len(classes):
        ranked = sorted(classes, key=lambda known: hashlib.sha256(os.fsencode(f"{seed}:{known}")).digest())
        held = set(ranked[int(name) :])
    else:
        raise DataError(
            f"there is no split '{name}' of {len(classes)} classes",
            expected=f"'paper', or how many classes train: 1 to {len(classes)}",
            fix="Choose one of these, or get more classes",
        )
    return [known for known in classes if known not in held], [known for known in classes if known in held]


def find_sources(folder: str | Path) -> dict[str, Path]:
    """Find the class files in a folder, in any layout in which they are published.

    Looked through are `folder` and its ``quickdraw`` folder, three levels deep. Where a class is there
    more than once, ``.npz`` goes before ``.ndjson`` before ``.bin``, what lies under ``quickdraw`` before
    what does not, and ``cat.npz`` before ``cat.full.npz``. Raw (not simplified) files are passed over.

    Args:
        folder: of the data sets, or of Quick, Draw! alone.

    Returns:
        The file of each class, in the order of the class list; empty if there is none.
    """
    folder = Path(folder)
    known = {name: number for number, name in enumerate(class_names())}
    ranking = list(READERS)
    found: dict[str, tuple[tuple[int, bool, bool, str], Path]] = {}
    for inside, root in ((True, folder / "quickdraw"), (False, folder)):
        for path in _walk(root, _DEPTH):
            if path.suffix not in ranking:
                continue
            stem = unquote(_PREFIXES.sub("", path.name.removesuffix(path.suffix)))
            name = stem.removesuffix(".full")
            name = name if name in known else name.replace("_", " ")
            rank = (ranking.index(path.suffix), not inside, stem != stem.removesuffix(".full"), str(path))
            if name in known and (name not in found or rank < found[name][0]):
                found[name] = (rank, path)
    return {name: found[name][1] for name in sorted(found, key=known.__getitem__)}


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_file():
            yield Path(entry.path)
        elif depth > 1 and entry.name != "raw" and entry.is_dir(follow_symlinks=depth == _DEPTH):
            yield from _walk(Path(entry.path), depth - 1)


def prepare(
    sources: Mapping[str, Path],
    destination: str | Path,
    *,
    max_length: int = 64,
    per_class: int | None = None,
    epsilon: float | int = 0,
    progress: bool = True,
) -> DrawingStore:
    """Prepare a store of all classes, or open the one that is there if it was made of the same.

    The same means: names, sizes and times of the files, `max_length`, `per_class`, `epsilon`, and the versions of the store's format and of the readers. Where a large set is simplified or is parsed from
    text, one process for each core reads a class at a time; the store is the same to the byte.

    Args:
        sources: file of each class, as from :func:`find_sources`.
        destination: folder of the store.
        max_length: drawings of more points are left out (the released code: 64).
        per_class: keep at most so many drawings of each class; all if not given.
        epsilon: tolerance of a further simplification, in the files' unit (the larger side of a drawing is
            255), before the drawings' lengths are compared; 0 leaves them as published.
        progress: show a bar where there is a terminal, and a line when done.

    Raises:
        DataError: if there is no source, a source is damaged, or the store cannot be written.
    """
    if not sources:
        raise DataError(
            f"there are no Quick, Draw! files to prepare {destination} from",
            expected="class files such as quickdraw/sketchrnn/cat.npz",
            fix="Download them, or set SKETCHEMBED_DATA to the folder that holds them",
        )
    if max_length < 2 or (per_class is not None and per_class < 1):
        raise DataError(
            f"drawings of at most {max_length} points and {per_class} drawings a class leave nothing",
            expected="at least 2 points and 1 drawing",
            fix="Raise the two limits",
        )
    check_classes(list(sources))
    fingerprint = _fingerprint(sources, max_length, per_class, epsilon)
    if (there := open_store(destination, fingerprint)) is not None:
        return there
    console = Console(stderr=True)
    began = time.perf_counter()
    with Progress(console=console, transient=True, disable=not (progress and sys.stderr.isatty())) as bar:
        task = bar.add_task("Preparing Quick, Draw!", total=len(sources))
        store = write_store(
            destination,
            _read_all(sources, max_length, per_class, epsilon),
            source="quickdraw",
            max_length=max_length,
            about={"fingerprint": fingerprint, "per_class": per_class, "epsilon": epsilon},
            progress=lambda _: bar.advance(task),
        )
    if progress:
        seconds = time.perf_counter() - began
        console.print(f"{summary(store)}; {seconds:.1f} s", highlight=False, soft_wrap=True)
    return store


def summary(store: DrawingStore) -> str:
    """Say in one line how many drawings a store keeps, and how many were left out and why."""
    kept = f"{store.source}: {len(store):,} drawings of {len(store.classes)} classes kept"
    return f"{kept}, {left_out(store)}"


def _read_all(
    sources: Mapping[str, Path], max_length: int, per_class: int | None, epsilon: float | int
) -> Iterator[ClassDrawings]:
    """Read class after class, in the order of the sources, with as many processes as pay.

    A drawing as published is read from arrays in less time than it takes to hand it to another process.
    """
    slow = epsilon or any(path.suffix == ".ndjson" for path in sources.values())
    large = sum(path.stat().st_size for path in sources.values()) >= PARALLEL_BYTES
    processes = min(joblib.cpu_count(), len(sources)) if slow and large else 1
    # A process begins with the next class only while few wait to be written, so memory stays bounded. Those
    # that are done end soon, as training needs the cores.
    ends_soon = {"backend": "loky", "idle_worker_timeout": 5} if processes > 1 else {}
    pool = joblib.Parallel(processes, return_as="generator", pre_dispatch="n_jobs + 1", **ends_soon)
    made: Iterator[ClassDrawings] = pool(
        joblib.delayed(_read)(name, path, max_length, per_class, epsilon) for name, path in sources.items()
    )
    return made


def _read(
    name: str, path: Path, max_length: int, per_class: int | None, epsilon: float | int
) -> ClassDrawings:
    if epsilon:
        return _simplified(read_class(path, name, PUBLISHED_LENGTH, per_class), epsilon, max_length)
    return read_class(path, name, max_length, per_class)


def _simplified(made: ClassDrawings, epsilon: float | int, max_length: int) -> ClassDrawings:
    """Simplify each drawing, and leave out those that are too long all the same."""
    kept = []
    for partition, rows in made.drawings:
        simple = Sketch.from_stroke3(rows).simplified(epsilon).to_stroke3()
        if len(simple) <= max_length:
            kept.append((partition, simple.round().astype(np.int16)))
    rejected = dict(made.rejected)
    if len(kept) < len(made.drawings):
        rejected["too long"] = rejected.get("too long", 0) + len(made.drawings) - len(kept)
    return ClassDrawings(made.name, kept, rejected)


def _fingerprint(
    sources: Mapping[str, Path], max_length: int, per_class: int | None, epsilon: float | int
) -> str:
    facts: list[object] = [FORMAT_VERSION, READER_VERSION, max_length, per_class, epsilon]
    for name, path in sources.items():
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(
                f"{path} cannot be read ({error.strerror or error})",
                expected=f"the file of class '{name}'",
                fix="Check the path and its permissions",
            ) from error
        facts.append([name, path.name, status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
