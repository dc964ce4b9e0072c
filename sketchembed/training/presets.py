"""Presets: names for stacks of configuration files, each laid over those before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from sketchembed.errors import check_known

_CPU = ["quickdraw.yaml", "simple.yaml", "cpu.yaml"]
PRESETS = {
    "paper": ["quickdraw.yaml"],
    "cpu": _CPU,
    "cpu-long": [*_CPU, "long.yaml"],
    "cpu-embedding": [*_CPU, "long.yaml", "embedding.yaml"],
    "gpu-embedding": [*_CPU, "long.yaml", "embedding.yaml", "gpu.yaml"],
    "gpu-large": [*_CPU, "long.yaml", "embedding.yaml", "gpu.yaml", "paper-decoder.yaml"],
    "resnet12": ["quickdraw.yaml", "resnet12.yaml"],
    "resnet12-cpu": [*_CPU, "long.yaml", "embedding.yaml", "resnet12-cpu.yaml"],
    "omniglot": ["quickdraw.yaml", "omniglot.yaml"],
    "omniglot-cpu": ["quickdraw.yaml", "omniglot.yaml", "cpu.yaml", "embedding.yaml"],
    "sketchy": ["quickdraw.yaml", "sketchy.yaml"],
    "sketchy-cpu": ["quickdraw.yaml", "sketchy.yaml", "sketchy-cpu.yaml"],
    "traced": ["quickdraw.yaml", "sketchy.yaml", "traced.yaml"],
    "traced-cpu": ["quickdraw.yaml", "sketchy.yaml", "sketchy-cpu.yaml", "traced.yaml", "traced-cpu.yaml"],
    "protonet": ["protonet.yaml"],
    "vae": ["vae.yaml"],
    "vae-omniglot": ["vae.yaml", "omniglot.yaml"],
    "vae-mini-imagenet": ["vae.yaml", "mini-imagenet.yaml"],
    "vae-sketchy": ["vae.yaml", "vae-sketchy.yaml"],
    "protonet-mini-imagenet": ["protonet.yaml", "episodes-mini-imagenet.yaml", "protonet-mini-imagenet.yaml"],
    "maml": ["maml.yaml"],
    "maml-mini-imagenet": ["maml.yaml", "episodes-mini-imagenet.yaml"],
    "classifier": ["classifier.yaml"],
    "classifier-cpu": ["classifier.yaml", "classifier-cpu.yaml"],
    "debug": [*_CPU, "debug.yaml"],
}
AUTO = {"auto": ("paper", "cpu"), "auto-sketchy": ("sketchy", "sketchy-cpu")}
"""What stands for a preset: the one for a CUDA device, and the one without."""


def conf_folder() -> Path:
    """Return the folder of the configuration files: of the checkout, or of the installed package."""
    package = Path(__file__).parents[1]
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def expand_preset(name: str) -> tuple[str, list[str], str]:
    """Return the preset that `name` means, its ``--config`` arguments, and why it was chosen.

    Args:
        name: of a preset; or ``auto``, or ``auto-sketchy`` for photos: the paper's configuration on a CUDA
            device, else the CPU preset.

    Raises:
        SketchEmbedError: if there is no such preset.
    """
    why = "as asked"
    if name in AUTO:
        cuda = torch.cuda.is_available()
        name = AUTO[name][not cuda]
        why = f"{torch.cuda.get_device_name()} found" if cuda else "no CUDA device found"
    check_known("preset", name, (*AUTO, *PRESETS))
    arguments = [part for file in PRESETS[name] for part in ("--config", str(conf_folder() / file))]
    return name, arguments, why


def read_preset(name: str) -> dict[str, Any]:
    """Return what the files of a preset say together.

    Args:
        name: one of :data:`PRESETS`.
    """
    together: dict[str, Any] = {}
    for file in PRESETS[name]:
        together = _laid_over(together, yaml.safe_load((conf_folder() / file).read_text("utf-8")))
    return together


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    out = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _laid_over(out[key], value) if both else value
    return out
