"""`sketchembed search`: the pictures of a folder that are most similar to a picture."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sketchembed.cli.embed import embed_folder, report_skipped
from sketchembed.cli.parser import command
from sketchembed.errors import ConfigError, SketchEmbedError, check_range
from sketchembed.evaluation.retrieval.ranking import similarities
from sketchembed.files.embedding_table import SUFFIXES, EmbeddingTable
from sketchembed.files.images import open_image
from sketchembed.files.reading import digest
from sketchembed.files.writing import check_output
from sketchembed.hub.model_files import find, load_network
from sketchembed.reporting.grid import Content, Tile, fit_text, grid_svg
from sketchembed.runs.process import find_device
from sketchembed.sketch import cairosvg

COLUMNS, SIZE = 6, 96
"""Columns of the contact sheet, and side of its pictures in pixels."""
LARGE = 500  # pictures from which a table of embeddings is suggested


def search(
    picture: Path,
    images: Path,
    checkpoint: Path,
    nearest: int = 12,
    out: Path = Path("nearest.png"),
    device: str = "auto",
) -> None:
    """List the pictures with the nearest embeddings, and draw a contact sheet of them.

    Args:
        picture: the picture to search for.
        images: a folder of pictures, or a table of their embeddings that `sketchembed embed` has written.
        checkpoint: a .ckpt or .safetensors file, a run's folder, or the name of a packaged model: {models}.
        nearest: number of pictures to list.
        out: contact sheet to write, NAME.png or NAME.svg.
        device: auto, cpu, cuda, cuda:1, ...; auto is a GPU if there is one.
    """
    check_range("nearest", nearest, 1)
    if out.suffix not in (".png", ".svg"):
        raise ConfigError(f"out is {out}", expected="a name that ends in .png or .svg", fix="Change --out")
    check_output(out.parent)
    table = _table(images, checkpoint, device)
    query = load_network(checkpoint, find_device(device)).embed(picture).cpu()
    cosines = similarities(query, torch.from_numpy(table.z))[0]
    same = [os.path.realpath(path) == os.path.realpath(picture) for path in table.paths]
    cosines[torch.tensor(same)] = -torch.inf  # a picture of the folder does not find itself
    best = cosines.topk(min(nearest, len(same) - sum(same)))
    found = [
        (table.paths[place], cosine) for cosine, place in zip(*map(torch.Tensor.tolist, best), strict=True)
    ]
    for path, cosine in found:
        print(f"{cosine:.4f}  {path}")
    sheet = contact_sheet(picture, found)
    if out.suffix == ".svg":
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(sheet)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        cairosvg().svg2png(bytestring=sheet.encode(), write_to=str(out), scale=2)
    print(out)
    if images.is_dir() and len(same) > LARGE:
        print(f"the next search is faster in a table: sketchembed embed {images} {checkpoint} --out z.npz")


def _table(images: Path, checkpoint: Path, device: str) -> EmbeddingTable:
    """Embed a folder, or read a table and check that it is of the same model."""
    if images.is_dir() or images.suffix not in SUFFIXES:
        table, skipped, _ = embed_folder(images, checkpoint, device)
        report_skipped(skipped)
        return table
    table = EmbeddingTable.read(images)
    if table.model != digest(find(checkpoint)):
        raise ConfigError(
            f"{images} has embeddings of another model than {checkpoint}",
            expected=f"embeddings of the weights {digest(find(checkpoint))[:12]}, not {table.model[:12]}",
            fix=f"Name the model that wrote the table, or run `sketchembed embed` with {checkpoint}",
        )
    return table


def contact_sheet(picture: Path, found: list[tuple[str, float]]) -> str:
    """Return an SVG of a picture (shaded) and of the found ones, with their names and cosines."""
    tiles: list[Tile | Content] = [Tile(_thumbnail(picture), label=_label(picture), shaded=True)]
    for path, cosine in found:
        tiles.append(Tile(_thumbnail(Path(path)), label=f"{_label(Path(path))}\n{cosine:.3f}"))
    rows = [tiles[first : first + COLUMNS] for first in range(0, len(tiles), COLUMNS)]
    return grid_svg(rows, size=SIZE)


def _label(path: Path) -> str:
    return fit_text(path.name, SIZE)


def _thumbnail(path: Path) -> np.ndarray | str:
    """Return a picture as RGB ``[3, h, w]`` in [0, 1]; a question mark if it cannot be read any more."""
    try:
        picture = open_image(path, str(path))
    except SketchEmbedError:
        return "?"
    picture.thumbnail((2 * SIZE, 2 * SIZE), Image.Resampling.LANCZOS)
    return np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 255


run = command(search, "search")
