"""Quick, Draw!: its classes, the paper's split of them, and the preparation of a store.

*Source*: Ha and Eck 2018 for the data; paper section 4 and the released code's lists for the split.
"""

from __future__ import annotations

import hashlib
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

from sketchembed.data.sources.quickdraw_formats import READERS, read_class
from sketchembed.data.sources.splits import read_names
from sketchembed.data.store import FORMAT_VERSION, DrawingStore, exclusion_summary, open_if_current
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError, nearest
from sketchembed.files.array_cache import fingerprint
from sketchembed.sketch import Sketch

READER_VERSION = 1  # increase it if the same files give other drawings; stores are then prepared again
PUBLISHED_LENGTH = 1000  # most points of a drawing before a further simplification; published ones have fewer
PARALLEL_BYTES = 32 << 20  # size of the source files from which several processes read them

_PREFIXES = re.compile(r"^(sketchrnn|full_simplified|full_binary)[_-]")
_DEPTH = 3


def class_names(which: Literal["all", "seen", "unseen"] = "all") -> list[str]:
    """Return names of classes from the lists in the package.

    Args:
        which: all 345 classes; the 45 ``unseen`` ones, which are held out of training; or 45 of the 300
            training classes (``seen``), with which the paper compares the unseen ones.
    """
    return read_names(f"quickdraw_{which}")


def check_classes(names: Sequence[str]) -> None:
    """Raise a DataError for the first name that is not a class of Quick, Draw!."""
    known = class_names()
    for name in names:
        if name not in set(known):
            raise DataError(
                f"there is no Quick, Draw! class '{name}'",
                expected="one of the 345 class names",
                fix=f"Did you mean {nearest(name, known)}?",
            )


def split_classes(split: str, classes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split classes into training classes and held-out classes.

    Args:
        split: ``paper`` for the released lists of 300 and 45 classes, or the number of random training
            classes. Classes are ranked by a digest of their names. A larger training set therefore contains
            every smaller one, and an additional class changes nothing else.
        classes: the available classes.

    Returns:
        The training classes and the held-out classes, each in the order of `classes`.

    Raises:
        DataError: if the split is neither, or the number exceeds the number of classes.
    """
    if split == "paper":
        held = set(class_names("unseen"))
    elif split.isascii() and split.isdecimal() and 1 <= int(split) <= len(classes):
        ranked = sorted(classes, key=lambda known: hashlib.sha256(os.fsencode(f"0:{known}")).digest())
        held = set(ranked[int(split) :])
    else:
        raise DataError(
            f"there is no split '{split}' of {len(classes)} classes",
            expected=f"'paper', or the number of training classes, 1 to {len(classes)}",
            fix="Choose one of these, or get more classes",
        )
    return [known for known in classes if known not in held], [known for known in classes if known in held]


def find_class_files(folder: str | Path) -> dict[str, Path]:
    """Find the class files in a folder, in any published layout.

    Searches `folder` and its folder ``quickdraw`` three levels deep. If a class has several files, ``.npz``
    is preferred to ``.ndjson`` and that to ``.bin``, then a file in ``quickdraw`` to one elsewhere, then
    ``cat.npz`` to ``cat.full.npz``. Raw (not simplified) files are skipped.

    Args:
        folder: folder of the data sets, or of Quick, Draw! alone.

    Returns:
        The file of each class, in the order of the class list; empty if there are none.
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


def store_name(
    max_length: int, per_class: int | None = None, epsilon: float | int = 0, classes: Sequence[str] = ()
) -> str:
    """Return the name of the folder of a prepared store; `classes` if it has not all classes of the files."""
    name = f"quickdraw-t{max_length}" + (f"-n{per_class}" if per_class else "")
    name += f"-e{epsilon:g}" if epsilon else ""
    return name + (f"-{len(classes)}-classes-{fingerprint(sorted(classes))[:8]}" if classes else "")


def prepare_quickdraw(
    sources: Mapping[str, Path],
    destination: str | Path,
    *,
    max_length: int = 64,
    per_class: int | None = None,
    epsilon: float | int = 0,
) -> DrawingStore:
    """Prepare a store of all classes, or open it if it was made of the same files with the same options.

    Files are compared by name, size and time. Several processes read a large set of text files, or one that
    is simplified; the store has the same bytes.

    Args:
        sources: file of each class, from :func:`find_class_files`.
        destination: folder of the store.
        max_length: drawings with more points are excluded (the released code: 64).
        per_class: most drawings of each class; all by default.
        epsilon: tolerance of a further simplification, before long drawings are excluded, in the files' unit
            (the larger side of a drawing is 255); 0 keeps the published drawings.

    Raises:
        DataError: if there is no source, a source is damaged, or the store cannot be written.
    """
    if not sources:
        raise DataError(
            f"there are no Quick, Draw! files to prepare {destination} from",
            expected="class files such as quickdraw/sketchrnn/cat.npz",
            fix="Download them, or set SKETCHEMBED_DATA to their folder",
        )
    if max_length < 2 or (per_class is not None and per_class < 1):
        raise DataError(
            f"drawings of at most {max_length} points and {per_class} drawings per class leave nothing",
            expected="at least 2 points and 1 drawing",
            fix="Raise the two limits",
        )
    check_classes(list(sources))
    facts = [FORMAT_VERSION, READER_VERSION, max_length, per_class, epsilon]
    digest = fingerprint([*facts, *_file_facts(sources)])
    if (existing := open_if_current(destination, {"fingerprint": digest})) is not None:
        return existing
    began = time.perf_counter()
    store = write_store(
        destination,
        _read_all(sources, max_length, per_class, epsilon),
        source="quickdraw",
        max_length=max_length,
        about={"fingerprint": digest, "per_class": per_class, "epsilon": epsilon},
        total=len(sources),
    )
    print(f"{summary(store)}; {time.perf_counter() - began:.1f} s", file=sys.stderr)
    return store


def summary(store: DrawingStore) -> str:
    """Return one line with the numbers of kept and excluded drawings, and the reasons."""
    kept = f"{store.source}: {len(store):,} drawings of {len(store.classes)} classes kept"
    return f"{kept}, {exclusion_summary(store)}"


def _file_facts(sources: Mapping[str, Path]) -> list[list[object]]:
    """Return class, name, size and time of each file."""
    facts: list[list[object]] = []
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
    return facts


def _read_all(
    sources: Mapping[str, Path], max_length: int, per_class: int | None, epsilon: float | int
) -> Iterator[ClassDrawings]:
    """Read one class after the other, in several processes if that is faster.

    Published drawings are read from arrays in less time than it takes to send them to another process.
    """
    slow = epsilon or any(path.suffix == ".ndjson" for path in sources.values())
    large = sum(path.stat().st_size for path in sources.values()) >= PARALLEL_BYTES
    processes = min(joblib.cpu_count(), len(sources)) if slow and large else 1
    # A process starts its next class only while few classes wait to be written, which bounds the memory.
    # Idle processes end soon, because training needs the cores.
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
        return _simplify(read_class(path, name, PUBLISHED_LENGTH, per_class), epsilon, max_length)
    return read_class(path, name, max_length, per_class)


def _simplify(made: ClassDrawings, epsilon: float | int, max_length: int) -> ClassDrawings:
    """Simplify each drawing, and exclude drawings that are still too long."""
    kept = []
    for partition, rows in made.drawings:
        simple = Sketch.from_stroke3(rows).simplified(epsilon).to_stroke3()
        if len(simple) <= max_length:
            kept.append((partition, simple.round().astype(np.int16)))
    rejected = dict(made.rejected)
    if len(kept) < len(made.drawings):
        rejected["too long"] = rejected.get("too long", 0) + len(made.drawings) - len(kept)
    return ClassDrawings(made.name, kept, rejected)
