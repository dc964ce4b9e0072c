"""Lake's official one-shot runs: the published folders on which people and programs were compared.

*Source*: Lake et al. 2015. There are 20 runs of 20 trials, each within an alphabet. A trial classifies an
image among 20 characters, each with one training image by another drawer. The folder ``runNN`` contains
``training``, ``test`` and ``class_labels.txt``, with a test image and its training image in each line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sketchembed.data.episodes import DIGEST_LENGTH, EpisodeBatch
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources.omniglot import published_files
from sketchembed.errors import DataError
from sketchembed.files.array_cache import cached, file_fingerprint
from sketchembed.files.images import open_image
from sketchembed.files.reading import read_file, zip_files

LABELS = "class_labels.txt"
FORMAT = 1  # version of the prepared file
FILE_LIMIT = 1 << 16  # largest file in bytes; published images have a few hundred
MOST_FILES = 4_000  # most files of a zip; the published one has 20 runs of 41 files
AGAIN = "Download the runs again"


class OneShotRuns:
    """The runs as episodes of 20-way 1-shot, with one query per class.

    The published images are copies of Omniglot's images and are identified by their pixels. A model therefore
    sees these drawings in the same form as all others: as rasters of their strokes, or as images.

    Args:
        data: upright images of the evaluation set (``lake``).
        folder: folder of ``*runs*.zip`` or unpacked runs, and ``images_evaluation``.
        prepared: folder for the cached file.

    Raises:
        DataError: if there are no runs, a run is incomplete, or an image is not one of Omniglot's.
    """

    shot = 1
    query = 1
    seed = None

    def __init__(self, data: ImageSet, folder: Path, prepared: Path) -> None:
        sources = _sources(folder)
        key = f"{FORMAT} {file_fingerprint([*sources, folder / 'images_evaluation.zip'])}"
        path, characters = prepared / "omniglot-one-shot-runs.npz", set(data.class_names)
        found = cached(path, key, lambda: _read_runs(folder, sources, characters), _is_valid)
        self.names = found["names"].tolist()
        row = {
            f"{data.class_names[label]}/{name}": at
            for at, (label, name) in enumerate(zip(data.labels, data.names, strict=True))
        }
        try:
            support, query = (
                np.array([[row[name] for name in run] for run in found[part].tolist()], dtype=np.int64)
                for part in ("support", "query")
            )
        except KeyError as error:
            raise DataError(
                f"the runs show {error.args[0]}, which is not among the images",
                expected="the characters of Lake's evaluation set",
                fix="Download images_evaluation.zip again",
            ) from None
        self.data, self.way = data, support.shape[1]
        self._support, self._query, self._labels = support, query, found["labels"].astype(np.int64)

    def __len__(self) -> int:
        """Return the number of runs; 20 are published."""
        return len(self.names)

    @property
    def trials(self) -> int:
        """Number of queries in all runs."""
        return int(self._query.size)

    def batch(self, ids: Sequence[int] | range) -> EpisodeBatch:
        """Return the runs with these indices."""
        rows = np.asarray(list(ids), dtype=np.int64)
        support = self._support[rows]
        return EpisodeBatch(support, self._query[rows], self._labels[rows], self.data.labels[support])

    def digest(self, count: int) -> str:
        """Return a digest of the first `count` runs, based on the names of their images."""
        state = hashlib.sha256(self.data.digest().encode())
        for part in (self._support, self._query, self._labels):
            state.update(np.ascontiguousarray(part[:count], dtype="<i4").tobytes())
        return state.hexdigest()[:DIGEST_LENGTH]


def _sources(folder: Path) -> list[Path]:
    """Return the zip files of runs, and the folders of unpacked runs."""
    found = sorted(folder.glob("*runs*.zip"))
    found += sorted({path.parent for path in folder.glob(f"**/run*/{LABELS}")})
    if not found:
        raise DataError(
            f"there are no one-shot runs in {folder}",
            expected="all_runs.zip (github.com/brendenlake/omniglot, python/one-shot-classification)",
            fix="Put it there, or unpack it there",
        )
    return found


def _read_runs(folder: Path, sources: list[Path], characters: set[str]) -> dict[str, np.ndarray]:
    names = {
        _pixel_digest(content, f"{character}/{name}.png"): f"{character}/{name}"
        for character, name, content in published_files(folder, "images")
        if character in characters
    }
    support, query, labels = [], [], []
    runs = {name: files for source in sources for name, files in _run_files(source).items()}

    def identify(run: str, part: Sequence[str]) -> list[str]:
        found = [(file, names.get(_pixel_digest(runs[run][file], f"{run}/{file}"))) for file in part]
        if unknown := [file for file, name in found if not name]:
            raise DataError(
                f"{run}/{unknown[0]} is none of Omniglot's images",
                expected="a copy of one of images_evaluation",
                fix=AGAIN,
            )
        return [name for _, name in found if name]

    for run, files in sorted(runs.items()):
        training, tests, answers = _read_answers(run, files)
        support.append(identify(run, training))
        query.append(identify(run, tests))
        labels.append(answers)
    if not runs or not support[0] or not query[0]:
        what = f"there is no complete run in {sources[0]}"
        expected = "folders run01 to run20 with training and test images"
        raise DataError(what, expected=expected, fix=AGAIN)
    if len({len(run) for run in support}) > 1 or len({len(run) for run in query}) > 1:
        raise DataError(
            "the runs are of different sizes", expected="equally many classes and trials in each", fix=AGAIN
        )
    return {
        "names": np.array(sorted(runs)),
        "support": np.array(support),
        "query": np.array(query),
        "labels": np.array(labels, dtype=np.int32),
    }


def _is_valid(arrays: dict[str, np.ndarray]) -> bool:
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


def _read_answers(name: str, files: dict[str, bytes]) -> tuple[list[str], list[str], list[int]]:
    """Return a run's training files, its test files, and the index of the training file of each test file."""
    training = sorted(file for file in files if file.startswith("training/"))
    tests, answers = [], []
    for number, line in enumerate(files[LABELS].decode("utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        pair = [word.partition("/")[2] for word in line.split()]
        if len(pair) != 2 or pair[0] not in files or pair[1] not in training:
            raise DataError(
                f"line {number} of {name}/{LABELS} is '{' '.join(line.split())[:80]}'",
                expected="an existing test image and training image, as in "
                f"{name}/test/item01.png {name}/training/class01.png",
                fix=AGAIN,
            )
        tests.append(pair[0])
        answers.append(training.index(pair[1]))
    if not tests:
        raise DataError(f"{name}/{LABELS} is empty", expected="a line for each trial", fix=AGAIN)
    return training, tests, answers


def _run_files(source: Path) -> dict[str, dict[str, bytes]]:
    """Return the files of the runs in a zip, or of the run in a folder, by run and path in the run."""
    if source.is_dir():
        expected, files = "a file of a run", {}
        for path in [*sorted(source.glob("*/*.png")), source / LABELS]:
            name = path.relative_to(source).as_posix()
            where = f"{source.name}/{name}"
            files[name] = read_file(path, where, expected=expected, fix=AGAIN, most=FILE_LIMIT)
        return {source.name: files}
    runs: dict[str, dict[str, bytes]] = {}
    pattern = re.compile(rf"(run\d+)/((?:training|test)/[^/]+\.png|{LABELS})$")
    found = zip_files(source, pattern.search, expected="the published zip of runs", most=FILE_LIMIT)
    for count, (entry, content) in enumerate(found):
        if count >= MOST_FILES:
            raise DataError(f"{source} has too many files", expected=f"at most {MOST_FILES:,}", fix=AGAIN)
        if match := pattern.search(entry):
            runs.setdefault(match[1], {})[match[2]] = content
    for name, files in runs.items():
        if LABELS not in files:
            raise DataError(f"{name} of {source} has no {LABELS}", expected="a whole run", fix=AGAIN)
    return runs


def _pixel_digest(content: bytes, name: str) -> str:
    """Return a digest of an image's pixels."""
    image = open_image(content, name, expected="a PNG of 105 x 105 pixels", fix="Download the archive again")
    return hashlib.sha256(f"{image.size}".encode() + image.convert("1").tobytes()).hexdigest()
