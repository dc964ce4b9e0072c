"""`sketchembed embed`: the embeddings of a folder of pictures as a table."""

from __future__ import annotations

import json
import shutil
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sketchembed.cli.parser import command
from sketchembed.errors import DataError
from sketchembed.files.array_cache import fingerprint
from sketchembed.files.embedding_table import EmbeddingTable, check_suffix
from sketchembed.files.progress_bar import ProgressBar
from sketchembed.files.reading import digest
from sketchembed.files.writing import check_output, whole_file
from sketchembed.hub.model_files import find, load_network
from sketchembed.networks.model_inputs import image_files
from sketchembed.networks.network import Network
from sketchembed.runs.process import find_device

BLOCK = 256  # files that are embedded together and kept on disk until the table is complete
MAX_REASONS = 10  # skipped files that are named


def embed(images: Path, checkpoint: Path, out: Path = Path("embeddings.npz"), device: str = "auto") -> None:
    """Embed every picture of a folder and its folders, and write a table with path, embedding and model.

    A file that is no picture, or is blank, is skipped. The same command resumes after it was stopped.

    Args:
        images: a folder of PNG, JPEG, BMP, GIF, WEBP and TIFF files, or one such file.
        checkpoint: a .ckpt or .safetensors file, a run's folder, or the name of a packaged model: {models}.
        out: table to write: NAME.parquet (needs PyArrow), NAME.npz or NAME.csv.
        device: auto, cpu, cuda, cuda:1, ...; auto is a GPU if there is one.
    """
    check_suffix(out)
    check_output(out.parent)
    begun = time.perf_counter()
    table, skipped, again = embed_folder(images, checkpoint, device, out.with_name(f"{out.name}.parts"))
    table.write(out)
    shutil.rmtree(out.with_name(f"{out.name}.parts"), ignore_errors=True)
    report_skipped(skipped)
    count, features = table.z.shape
    rate = f"{(count + len(skipped) - again) / (time.perf_counter() - begun):.0f} pictures per second"
    resumed = f", {again:,} of them before" if again else ""
    print(
        f"{out}: {count:,} embeddings of {features} numbers{resumed}; {len(skipped):,} files skipped; {rate}"
    )


def embed_folder(
    images: Path, checkpoint: Path, device: str = "auto", kept: Path | None = None
) -> tuple[EmbeddingTable, dict[str, str], int]:
    """Embed the pictures of a folder, in blocks of 256 files.

    Args:
        images: the folder, or one picture.
        checkpoint: the model.
        device: see :func:`find_device`.
        kept: folder of the finished blocks, from which a later call resumes with the same result.

    Returns:
        the table; the messages of the skipped files by path; and the number of files of resumed blocks.

    Raises:
        DataError: if there is no picture that can be read.
    """
    files = image_files(images, recursive=True)
    net = load_network(checkpoint, find_device(device))
    model = digest(find(checkpoint))
    paths: list[str] = []
    vectors: list[np.ndarray] = []
    skipped: dict[str, str] = {}
    again = 0
    with ProgressBar(f"Embedding {images}", len(files)) as bar:
        for first in range(0, len(files), BLOCK):
            block = files[first : first + BLOCK]
            part = kept / f"{first:09d}-{_key(block, model, net)}.npz" if kept else None
            found = _read_block(part) if part else None
            again += len(block) if found else 0
            if found is None:
                found = _embed_block(net, block, part)
            z, places, reasons = found
            vectors += [z] if len(z) else []
            paths += [str(block[place]) for place in places]
            skipped |= {str(block[int(place)]): why for place, why in reasons.items()}
            bar.update(first + len(block))
    check_any(net, images, files, skipped)
    return EmbeddingTable(paths, np.concatenate(vectors), model), skipped, again


Embedded = tuple[np.ndarray, list[int], dict[str, str]]
"""Embeddings, the places of their files in the block, and the messages of the other files by place."""


def _embed_block(net: Network, files: Sequence[Path], part: Path | None) -> Embedded:
    found = net.embed_files(files, batch_size=BLOCK)
    place = {path: at for at, path in enumerate(files)}
    z, places = found.z.numpy(), [place[path] for path in found.files]
    reasons = {str(place[path]): why for path, why in found.skipped.items()}
    if part is not None:
        with whole_file(part) as file:
            about = np.array(json.dumps(reasons))
            np.savez(file, z=z, places=np.array(places, dtype=np.int64), reasons=about)
    return z, places, reasons


def _read_block(part: Path) -> Embedded | None:
    """Return a block that was computed before; None if there is none."""
    try:
        with np.load(part, allow_pickle=False) as arrays:
            return arrays["z"], arrays["places"].tolist(), json.loads(str(arrays["reasons"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _key(files: Sequence[Path], model: str, net: Network) -> str:
    """Return a digest of all that the embeddings of a block depend on."""
    facts = [[str(path), *_size_and_time(path)] for path in files]
    device = next(net.parameters()).device.type
    return fingerprint([model, device, *facts])[:16]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # such as a link to nothing, which is skipped later
        return 0, 0
    return status.st_size, status.st_mtime_ns


def check_any(net: Network, source: Path, files: Sequence[Path], skipped: dict[str, str]) -> None:
    """Raise an error if all files of a source were skipped; that of a single file is its own message."""
    if len(files) == 1 and skipped:
        net.embed(files[0])
    if len(skipped) == len(files):
        why = f" ({next(iter(skipped.values()))})" if skipped else ""
        fix = "Check the path"
        raise DataError(
            f"none of {len(files)} files in {source} can be read{why}", expected="pictures", fix=fix
        )


def report_skipped(skipped: dict[str, str]) -> None:
    """Print which files were skipped and why, at most ten of them, to the error stream."""
    for why in list(skipped.values())[:MAX_REASONS]:
        print(f"skipped: {why}", file=sys.stderr)
    if len(skipped) > MAX_REASONS:
        print(f"skipped: {len(skipped) - MAX_REASONS:,} more files", file=sys.stderr)


run = command(embed, "embed")
