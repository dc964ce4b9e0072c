"""Many image files in batches: files that cannot be read are skipped and reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sketchembed.errors import DataError
from sketchembed.networks.model_inputs import image_files, read_image
from sketchembed.sketch import Sketch

Progress = Callable[[int, int], None]
"""Called after each batch with the number of files that are done and the number of all files."""


@dataclass(frozen=True, eq=False)
class EmbeddedFiles:
    """The embeddings of image files.

    Attributes:
        files: the files that were embedded, in the order given.
        z: their embeddings, on the CPU, float32 ``[files, features]``.
        skipped: each file that could not be read, with the reason.
    """

    files: list[Path]
    z: Tensor
    skipped: dict[Path, str]

    def __repr__(self) -> str:
        """Return the numbers of files."""
        return f"EmbeddedFiles({len(self.files)} files, {len(self.skipped)} skipped)"


@dataclass(frozen=True, eq=False)
class DrawnFiles:
    """The drawings of image files.

    Attributes:
        files: the files that were drawn, in the order given.
        sketches: one drawing of each.
        skipped: each file that could not be read, with the reason.
    """

    files: list[Path]
    sketches: list[Sketch]
    skipped: dict[Path, str]

    def __repr__(self) -> str:
        """Return the numbers of files."""
        return f"DrawnFiles({len(self.files)} files, {len(self.skipped)} skipped)"


@dataclass(frozen=True, eq=False)
class FileBatch:
    """Files that were read as inputs of a network.

    Attributes:
        start: index of the first file of the batch among all files, including the skipped ones.
        files: the files that could be read.
        inputs: their inputs, ``[files, channels, size, size]``.
    """

    start: int
    files: list[Path]
    inputs: Tensor


def file_batches(
    files: str | Path | Iterable[str | Path],
    config: Any,
    batch_size: int,
    skipped: dict[Path, str],
    progress: Progress | None,
) -> Iterator[FileBatch]:
    """Yield files in batches, as inputs for `config`, and add those that cannot be read to `skipped`.

    `progress` is called when the consumer asks for the next batch, that is, after it has processed the last.
    """
    if isinstance(files, str | Path):
        files = image_files(Path(files), recursive=True)
    paths = [Path(file) for file in files]
    for start in range(0, len(paths), batch_size):
        kept, inputs = [], []
        for path in paths[start : start + batch_size]:
            try:
                inputs.append(read_image(path, config.image_size, config.channels))
                kept.append(path)
            except DataError as error:
                skipped[path] = str(error)
        if kept:
            yield FileBatch(start, kept, torch.stack(inputs))
        if progress is not None:
            progress(min(start + batch_size, len(paths)), len(paths))
