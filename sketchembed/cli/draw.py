"""`sketchembed draw`: draw images with a trained model."""

from __future__ import annotations

from pathlib import Path

import torch

from sketchembed.cli.parser import command
from sketchembed.hub.model_files import load
from sketchembed.networks.model_inputs import image_files, read_drawing, read_photo


def draw(
    images: Path,
    checkpoint: Path,
    out: Path = Path("drawings"),
    temperature: float = 0.0,
    samples: int = 1,
    size: int = 256,
    seed: int = 0,
) -> None:
    """Draw an image, or every image of a folder, stroke by stroke, as SVG and PNG.

    Args:
        images: a PNG, JPEG, BMP, GIF, WEBP or TIFF file, or a folder of such files: photos for a model that
            was trained on photos, else pictures of drawings, dark on light or light on dark.
        checkpoint: a .ckpt or .safetensors file, a run's folder, or the name of a packaged model.
        out: folder to write to: ``NAME.svg`` and ``NAME.png``, or ``NAME-1.svg``, … for several samples.
        temperature: sampling temperature; 0 is greedy.
        samples: drawings per image.
        size: side of the drawings in pixels.
        seed: seed of the sampling.
    """
    files = image_files(images)
    net = load(checkpoint)
    read = read_photo if net.config.takes_photos else read_drawing
    inputs = torch.stack([read(path, net.config.image_size) for path in files])
    out.mkdir(parents=True, exist_ok=True)
    for number in range(samples):
        for path, sketch in zip(files, net.draw(inputs, temperature, seed + number), strict=True):
            stem = path.stem if samples == 1 else f"{path.stem}-{number + 1}"
            (out / f"{stem}.svg").write_text(sketch.to_svg(size))
            print(out / f"{stem}.svg")
            sketch.to_png(out / f"{stem}.png", size)
            print(out / f"{stem}.png")


run = command(draw, "draw")
