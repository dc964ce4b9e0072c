"""Make the figure of the README, and the example pictures of the documentation.

``python docs/figures.py samples`` writes ``docs/samples.svg``; it needs Quick, Draw! and Omniglot in the data
folder. ``python docs/figures.py pictures`` writes ``docs/pictures`` and ``docs/classes`` from doodles.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from sketchembed.data.doodles import generate
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.generation.generation_inputs import gather
from sketchembed.reporting.grid import Content, Tile, grid_svg

DOCS = Path(__file__).parent
MODEL = "quickdraw-drawer-conv4"
COUNT = 4  # inputs of each kind
TEMPERATURES = (0.0, 0.2)
TITLES = {
    "seen": "training classes, new drawings",
    "unseen": "unseen classes",
    "omniglot": "Omniglot (unseen)",
}
PICTURES = ("cat", "envelope", "house", "star")
CLASSES = ("car", "cat", "fish", "house", "star")
EACH = 8


def samples() -> None:
    """Draw inputs that a fixed seed chooses, one attempt each; none is left out."""
    context = EvaluationContext(MODEL, vae="none", accelerator="cpu")
    kinds, _ = gather(context, COUNT, COUNT)
    rows: list[list[Tile | Content]] = [[] for _ in range(1 + len(TEMPERATURES))]
    heads: list[str] = []
    for kind in kinds:
        if rows[0]:
            for row in rows:
                row.append(None)
            heads.append("")
        z = context.embed(context.model, kind.images)
        names = [name.replace("\n", " ") if kind.key != "omniglot" else "" for name in kind.names]
        rows[0] += [
            Tile(strokes, shaded=True, label=name) for strokes, name in zip(kind.strokes, names, strict=True)
        ]
        for row, temperature in zip(rows[1:], TEMPERATURES, strict=True):
            row += context.decode(z, temperature)
        heads += [TITLES[kind.key]] * len(kind)
    names = ["input", *(f"drawn, τ = {temperature:g}" for temperature in TEMPERATURES)]
    (DOCS / "samples.svg").write_text(grid_svg(rows, heads=heads, names=names, size=66), "utf-8")


def pictures() -> None:
    """Write doodles as PNG files: one of each of a few classes, and a folder of several per class."""
    for number, name in enumerate(PICTURES):
        path = DOCS / "pictures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        generate.doodle(name, np.random.default_rng(number)).to_png(path, 192)
    for name in CLASSES:
        random = np.random.default_rng([7, *name.encode()])
        for number in range(EACH):
            path = DOCS / "classes" / name.replace(" ", "-") / f"{number + 1}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            generate.doodle(name, random).to_png(path, 128)


if __name__ == "__main__":
    {"samples": samples, "pictures": pictures}[sys.argv[1]]()
