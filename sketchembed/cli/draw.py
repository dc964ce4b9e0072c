"""`sketchembed draw`: draw images with a trained model."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from sketchembed.cli.embed import check_any, report_skipped
from sketchembed.cli.parser import command
from sketchembed.errors import ConfigError, check_range
from sketchembed.files.progress_bar import ProgressBar
from sketchembed.files.writing import check_output
from sketchembed.hub.model_files import load
from sketchembed.networks.model_inputs import image_files, read_image
from sketchembed.networks.sketchembednet import SketchEmbedNet
from sketchembed.reporting.grid import Content, Tile, fit_text, grid_svg
from sketchembed.runs.process import find_device
from sketchembed.sketch import Sketch, cairosvg

BATCH = 64  # images that are drawn together
SHEET, SHEET_SIZE, SHEET_COLUMNS, MAX_SHEET = "contact-sheet", 84, 12, 200
"""Contact sheet: name, side of a drawing in pixels, number of columns, and most images."""


def draw(
    images: Path,
    checkpoint: Path,
    out: Path = Path("drawings"),
    temperature: float = 0.0,
    samples: int = 1,
    size: int = 256,
    seed: int = 0,
    device: str = "cpu",
    show_input: bool = False,
    sheet: bool = False,
    gif: bool = False,
    animate: bool = False,
) -> None:
    """Draw an image, or every image of a folder and its folders, stroke by stroke, as SVG and PNG.

    An image that cannot be read is skipped. No image is overwritten, and no drawing of another image: if the
    names of two images differ only at their end, it becomes a part of the names of their drawings.

    Args:
        images: a PNG, JPEG, BMP, GIF, WEBP or TIFF file, or a folder of such files: photos for a model that
            was trained on photos, else pictures of drawings, dark on light or light on dark.
        checkpoint: a .ckpt or .safetensors file, a run's folder, or the name of a packaged model: {models}.
        out: folder to write to: ``NAME.svg`` and ``NAME.png``, or ``NAME-1.svg``, … for several samples.
        temperature: sampling temperature; 0 is greedy.
        samples: drawings per image.
        size: side of the drawings in pixels.
        seed: seed of the sampling.
        device: auto, cpu, cuda, cuda:1, ...
        show_input: write what the model sees of an image as ``NAME-input.png``.
        sheet: write a contact sheet of all images and drawings.
        gif: write ``NAME.gif``, which draws itself.
        animate: write SVG files that draw themselves; the strokes are the same.
    """
    check_range("temperature", temperature, 0, 100)
    check_range("samples", samples, 1, 1000)
    check_range("size", size, 8, 4096)
    check_output(out)
    files = _inputs(images, out)
    net = load(checkpoint, find_device(device))
    root = images if images.is_dir() else images.parent
    outputs = Outputs(out, samples, show_input, gif, animate, size)
    names = outputs.names([file.relative_to(root) for file in files], files)
    skipped: dict[str, str] = {}
    shown: list[tuple[str, np.ndarray, list[Sketch]]] = []
    for path, sketches in _drawings(net, files, samples, temperature, seed, skipped):
        outputs.write(names[path], sketches)
        if show_input or sheet:
            seen = read_image(path, net.config.image_size, net.config.channels).numpy()
            outputs.write_input(names[path], seen)
            shown += [(path.name, seen, sketches)] if len(shown) < MAX_SHEET else []
    check_any(net, images, files, skipped)
    report_skipped(skipped)
    if sheet:
        _write_sheet(out / SHEET, shown)
    if len(files) > 1:
        print(f"{len(files) - len(skipped):,} images drawn, {len(skipped):,} skipped", file=sys.stderr)


def _drawings(
    net: SketchEmbedNet,
    files: Sequence[Path],
    samples: int,
    temperature: float,
    seed: int,
    skipped: dict[str, str],
) -> Iterator[tuple[Path, list[Sketch]]]:
    """Yield each image with its drawings; add those that cannot be read to `skipped`, with the reason."""
    with ProgressBar("Drawing", len(files)) as bar:
        for first in range(0, len(files), BATCH):
            block = files[first : first + BATCH]
            drawn: dict[Path, list[Sketch]] = {}
            for number in range(samples):
                found = net.draw_files(block, temperature, seed + number + first, batch_size=BATCH)
                skipped |= {str(path): why for path, why in found.skipped.items()}
                for path, sketch in zip(found.files, found.sketches, strict=True):
                    drawn.setdefault(path, []).append(sketch)
            yield from drawn.items()
            bar.update(first + len(block))


def _inputs(images: Path, out: Path) -> list[Path]:
    """Return the images without those in the output folder, which are drawings of an earlier call."""
    if images.is_dir() and images.resolve() == out.resolve():
        raise ConfigError(
            f"the images and their drawings are in the same folder, {images}",
            expected="an output folder of its own, possibly within the other",
            fix="Change --out",
        )
    files = image_files(images, recursive=True)
    inner = images.is_dir() and out.resolve().is_relative_to(images.resolve())
    return [file for file in files if not (inner and file.resolve().is_relative_to(out.resolve()))]


@dataclass
class Outputs:
    """Writes the drawings of images to a folder, under names that no image and no other drawing has."""

    folder: Path
    samples: int
    show_input: bool
    gif: bool
    animate: bool
    size: int
    taken: set[str] = field(default_factory=set)

    def names(self, relative: Sequence[Path], files: Sequence[Path]) -> dict[Path, Path]:
        """Return the path of the drawings of each image, without a suffix."""
        self.taken = {_key(file) for file in files}
        self.taken |= {_key(self.folder / f"{SHEET}{suffix}") for suffix in (".svg", ".png")}
        stems = Counter(_key(name.with_suffix("")) for name in relative)
        found = {}
        for name, file in zip(relative, files, strict=True):
            stem = name.with_suffix("")
            if stems[_key(stem)] > 1:
                stem = stem.with_name(f"{stem.name}-{name.suffix[1:]}")
            tries = [stem, *(stem.with_name(f"{stem.name}-drawing{more}") for more in ("", *range(2, 99)))]
            free = [one for one in tries if not self.taken.intersection(map(_key, self._files(one)))]
            found[file] = self.folder / free[0]
            self.taken.update(map(_key, self._files(free[0])))
        return found

    def _files(self, stem: Path) -> list[Path]:
        """Return all files of an image."""
        endings = [f"{number}{suffix}" for number in self._numbers() for suffix in (".svg", ".png", ".gif")]
        return [self.folder / f"{stem}{ending}" for ending in [*endings, "-input.png"]]

    def _numbers(self) -> list[str]:
        return [""] if self.samples == 1 else [f"-{number + 1}" for number in range(self.samples)]

    def write(self, stem: Path, sketches: Sequence[Sketch]) -> None:
        """Write the drawings of an image, and print their paths."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        for number, sketch in zip(self._numbers(), sketches, strict=True):
            path = stem.with_name(f"{stem.name}{number}")
            svg = sketch.to_svg(self.size, seconds=4 if self.animate else None)
            Path(f"{path}.svg").write_text(svg)
            print(f"{path}.svg")
            sketch.to_png(f"{path}.png", self.size)
            print(f"{path}.png")
            if self.gif:
                sketch.to_gif(f"{path}.gif", self.size)
                print(f"{path}.gif")

    def write_input(self, stem: Path, image: np.ndarray) -> None:
        """Write the input of the model, ``[channels, size, size]`` in [0, 1], if that is wanted."""
        if not self.show_input:
            return
        pixels = np.round(image * 255).astype(np.uint8).transpose(1, 2, 0)
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        picture.resize((self.size, self.size), Image.Resampling.NEAREST).save(f"{stem}-input.png")
        print(f"{stem}-input.png")


def _key(path: Path) -> str:
    """Return the absolute path in lower case, as file systems may not distinguish it."""
    return str(path.resolve()).casefold()


def _write_sheet(path: Path, shown: Sequence[tuple[str, np.ndarray, list[Sketch]]]) -> None:
    """Write the inputs (shaded) with their drawings as SVG and PNG."""
    width = 2 + len(shown[0][2])  # cells of an image, with an empty one
    blocks: list[list[Tile | Content]] = [
        [Tile(seen, label=fit_text(name, SHEET_SIZE), shaded=True), *sketches, None]
        for name, seen, sketches in shown
    ]
    each = max(1, SHEET_COLUMNS // width)
    rows = [list(chain(*blocks[first : first + each])) for first in range(0, len(blocks), each)]
    svg = grid_svg(rows, size=SHEET_SIZE)
    Path(f"{path}.svg").write_text(svg)
    cairosvg().svg2png(bytestring=svg.encode(), write_to=f"{path}.png", scale=2)
    print(f"{path}.svg\n{path}.png")


run = command(draw, "draw")
