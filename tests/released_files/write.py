"""Write the files of the current version: a tiny run, and its weights. See README.md."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import torch
from packaging.version import Version

from sketchembed import __version__
from sketchembed.cli import main

COMMAND = (
    *("fit", "--preset", "debug", "--steps", "3", "--data", "DoodlesDataModule", "--model", "DrawingTask"),
    *("--data.init_args.folder", "data", "--data.init_args.per_class", "4", "--run.name", "tiny"),
    *("--model.init_args.network.hidden", "16", "--trainer.accelerator", "cpu"),
    *("--trainer.precision", "32-true"),
)


def write(out: Path) -> None:
    """Write the folder."""
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        main([*COMMAND])
        main(["export", "runs/tiny", "weights.safetensors"])
        shutil.copytree("runs/tiny", out / "runs" / "tiny", ignore=shutil.ignore_patterns("*.html", ".lock"))
        shutil.copy("weights.safetensors", out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(Path(__file__).resolve().parent / Version(__version__).base_version)
