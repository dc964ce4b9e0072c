"""Lake's official one-shot runs: the published folders in which people and programs were compared.

*Source*: Lake et al. 2015: 20 runs of 20 trials, each within an alphabet: which of 20 characters, each seen
once, is this one by another drawer? A run's folder, ``runNN``, holds ``training``, ``test`` and
``class_labels.txt``, whose lines pair a test image with the training image of its class.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sketchembed.data.episodes import DIGEST_LENGTH, EpisodeBatch
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources.omniglot import published_files
from sketchembed.errors import DataError
from sketchembed.files.array_cache import cached, fingerprint
from sketchembed.files.images import open_image
from sketchembed.files.reading import ZIP_ERRORS, read_file, read_member

LABELS = "class_labels.txt"
FORMAT = 1
"""Of the prepared file."""
FILE_LIMIT = 1 << 16
"""The largest file that is read, in bytes; a published image has a few hundred."""
MOST_RUNS, MOST_FILES = 100, 100
"""In one zip; there are 20 runs of 41 files."""


class OneShotRuns:
    """The runs as episodes of 20-way 1-shot, one query a class.

    The published images are copies of Omniglot's own, so each is found among those by its pixels; a drawing
    is then shown as all others are, from its strokes or from its picture.

    Args:
        data: upright images of the evaluation set (``lake``).
        folder: of Omniglot's published files: ``*runs*.zip`` and ``images_evaluation``, or the runs unpacked.
        prepared: folder for the prepared file.

    Attributes:
        way: classes in a run.
        names: of the runs.

    Raises:
        DataError: if there are no runs, one is not whole, or an image is none of Omniglot's.
    """

    shot = 1
    query = 1
    seed = None

    def __init__(self, data: ImageSet, folder: Path, prepared: Path) -> None:
        sources = _sources(folder)
        key = f"{FORMAT} {fingerprint([*sources, folder / 'images_evaluation.zip'])}"
        found = cached(
            prepared / "omniglot-one-shot-runs.npz",
            key,
            lambda: _read(folder, sources, set(data.class_names)),
            _sound,
        )
        self.names = [str(name) for name in found["names"]]
        row = {
            f"{data.class_names[label]}/{name}": at
            for at, (label, name) in enumerate(zip(data.labels, data.names, strict=True))
        }
        try:
            support, query = (
                np.array([[row[str(name)] for name in run] for run in found[part]], dtype=np.int64)
                for part in ("support", "query")
            )
        except KeyError as error:
            raise DataError(
                f"the runs show {error.args[0]}, which is not among the images",
                expected="the characters of Lake's evaluation set",
                fix="Fetch images_evaluation.zip again",
            ) from None
        self.data, self.way = data, support.shape[1]
        self._support, self._query, self._labels = support, query, found["labels"].astype(np.int64)

    def __len__(self) -> int:
        """Return the number of runs; 20 were published."""
        return len(self.names)

    @property
    def trials(self) -> int:
        """Images asked about in all runs together."""
        return int(self._query.size)

    def batch(self, ids: Sequence[int] | range) -> EpisodeBatch:
        """Return the runs of these numbers."""
        rows = np.asarray(list(ids), dtype=np.int64)
        support = self._support[rows]
        return EpisodeBatch(support, self._query[rows], self._labels[rows], self.data.labels[support])

    def digest(self, count: int) -> str:
        """Return a digest of the first `count` runs, by the names of their images."""
        state = hashlib.sha256(self.data.digest().encode())
        for part in (self._support, self._query, self._labels):
            state.update(np.ascontiguousarray(part[:count], dtype="<i4").tobytes())
        return state.hexdigest()[:DIGEST_LENGTH]


def _sources(folder: Path) -> list[Path]:
    """Return the zip files and folders that hold runs."""
    found = sorted(folder.glob("*runs*.zip"))
    found += sorted({path.parent for path in folder.glob(f"**/run*/{LABELS}")})
    if not found:
        raise DataError(
            f"there are no one-shot runs in {folder}",
            expected="all_runs.zip (github.com/brendenlake/omniglot, python/one-shot-classification)",
            fix="Put it there, or unpack it there",
        )
    return found


def _read(folder: Path, sources: list[Path], characters: set[str]) -> dict[str, np.ndarray]:
    names = {
        _pixels(content, f"{character}/{name}.png"): f"{character}/{name}"
        for character, name, content in published_files(folder, "images")
        if character in characters
    }
    support, query, labels = [], [], []
    runs = {name: files for source in sources for name, files in _files(source).items()}
    for name, files in sorted(runs.items()):
        known, asked, answers = _run(name, files)
        found = [
            [names.get(_pixels(files[file], f"{name}/{file}")) for file in part] for part in (known, asked)
        ]
        strange = [
            file for file, match in zip([*known, *asked], [*found[0], *found[1]], strict=True) if not match
        ]
        if strange:
            raise DataError(
                f"{name}/{strange[0]} is none of Omniglot's images",
                expected="a copy of one of images_evaluation",
                fix="Fetch the runs again",
            )
        support.append(found[0])
        query.append(found[1])
        labels.append(answers)
    if not runs or not support[0] or not query[0]:
        raise DataError(
            f"there is no whole run in {sources[0]}",
            expected="folders run01 to run20 with training and test images",
            fix="Fetch the runs again",
        )
    if len({len(run) for run in support}) > 1 or len({len(run) for run in query}) > 1:
        raise DataError(
            "the runs are of different sizes",
            expected="as many classes and trials in each",
            fix="Fetch the runs again",
        )
    return {
        "names": np.array(sorted(runs)),
        "support": np.array(support),
        "query": np.array(query),
        "labels": np.array(labels, dtype=np.int32),
    }


def _sound(arrays: dict[str, np.ndarray]) -> bool:
    """Return whether arrays from a file are runs."""
    names, support, query, labels = (arrays[name] for name in ("names", "support", "query", "labels"))
    return (
        names.ndim == 1
        and len(names) > 0
        and support.ndim == query.ndim == 2
        and names.dtype.kind == support.dtype.kind == query.dtype.kind == "U"
        and len(names) == len(support) == len(query)
        and labels.shape == query.shape
        and labels.dtype.kind == "i"
        and 0 <= int(labels.min()) <= int(labels.max()) < support.shape[1]
    )


def _run(name: str, files: dict[str, bytes]) -> tuple[list[str], list[str], list[int]]:
    """Return a run's training files, its test files, and the place of each one's class among the former."""
    known = sorted(file for file in files if file.startswith("training/"))
    pairs = [
        line.split() for line in files[LABELS].decode("utf-8", errors="replace").splitlines() if line.strip()
    ]
    for number, pair in enumerate(pairs, 1):
        wanted = [part.partition("/")[2] for part in pair]
        if len(pair) != 2 or any(file not in files for file in wanted) or wanted[1] not in known:
            raise DataError(
                f"line {number} of {name}/{LABELS} is '{' '.join(pair)[:80]}'",
                expected=f"a test image and a training image that are there, as in {name}/test/item01.png "
                f"{name}/training/class01.png",
                fix="Fetch the runs again",
            )
    if not pairs:
        raise DataError(f"{name}/{LABELS} is empty", expected="a line a trial", fix="Fetch the runs again")
    asked, answers = zip(*pairs, strict=True)
    places = {file: place for place, file in enumerate(known)}
    return (
        known,
        [file.partition("/")[2] for file in asked],
        [places[file.partition("/")[2]] for file in answers],
    )


def _files(source: Path) -> dict[str, dict[str, bytes]]:
    """Return the files of the runs in a zip, or of the one run in a folder, by the run and the path in it."""
    runs: dict[str, dict[str, bytes]] = {}
    if source.is_dir():
        for path in [*sorted(source.glob("*/*.png")), source / LABELS]:
            name = path.relative_to(source).as_posix()
            runs.setdefault(source.name, {})[name] = read_file(
                path,
                f"{source.name}/{name}",
                expected="a file of a run",
                fix="Fetch the runs again",
                most=FILE_LIMIT,
            )
        return runs
    try:
        with zipfile.ZipFile(source) as archive:
            for entry in archive.namelist():
                match = re.search(rf"(run\d+)/((?:training|test)/[^/]+\.png|{LABELS})$", entry)
                if match:
                    if len(runs) > MOST_RUNS or len(runs.get(match[1], ())) > MOST_FILES:
                        raise ValueError(f"more than {MOST_RUNS} runs of {MOST_FILES} files")
                    runs.setdefault(match[1], {})[match[2]] = read_member(archive, entry, FILE_LIMIT)
    except ZIP_ERRORS as error:
        raise DataError(
            f"{source} cannot be read ({error})", expected="the published zip of runs", fix="Fetch it again"
        ) from error
    for name, files in runs.items():
        if LABELS not in files:
            raise DataError(
                f"{name} of {source} has no {LABELS}", expected="a whole run", fix="Fetch the runs again"
            )
    return runs


def _pixels(content: bytes, name: str) -> str:
    """Return a digest of an image's pixels."""
    image = open_image(content, name, expected="a PNG of 105 x 105 pixels", fix="Fetch the archive again")
    return hashlib.sha256(f"{image.size}".encode() + image.convert("1").tobytes()).hexdigest()
