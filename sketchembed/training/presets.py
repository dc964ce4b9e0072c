"""Presets: named lists of configuration files, of which later files override earlier ones."""

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
    "released": ["quickdraw.yaml", "released.yaml"],
    "released-omniglot": ["quickdraw.yaml", "omniglot.yaml", "released.yaml", "released-omniglot.yaml"],
    "released-sketchy": ["quickdraw.yaml", "sketchy.yaml", "released.yaml", "released-sketchy.yaml"],
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
    "contrastive": ["contrastive.yaml"],
    "contrastive-mini-imagenet": ["contrastive.yaml", "contrastive-mini-imagenet.yaml"],
    "protonet-mini-imagenet": ["protonet.yaml", "episodes-mini-imagenet.yaml", "protonet-mini-imagenet.yaml"],
    "maml": ["maml.yaml"],
    "maml-mini-imagenet": ["maml.yaml", "episodes-mini-imagenet.yaml", "maml-mini-imagenet.yaml"],
    "classifier": ["classifier.yaml"],
    "classifier-cpu": ["classifier.yaml", "classifier-cpu.yaml"],
    "debug": [*_CPU, "debug.yaml"],
}
ABOUT = {
    "paper": "the paper's model of drawings, for a GPU",
    "cpu": "a small model of drawings; 15 minutes on two cores",
    "cpu-long": "twice the steps and stronger augmentation; half an hour",
    "cpu-embedding": "a better embedding, and less exact drawings",
    "gpu-embedding": "cpu-embedding with three times the steps, for a GPU",
    "gpu-large": "gpu-embedding with a decoder of the paper's size",
    "resnet12": "the paper's ResNet12 encoder, for a GPU",
    "resnet12-cpu": "a small ResNet12 encoder",
    "released": "the released program with its errors, exactly, for a GPU",
    "released-omniglot": "the same, trained on Omniglot's strokes",
    "released-sketchy": "the same, trained on photos and sketches",
    "omniglot": "the paper's model, trained on Omniglot's strokes",
    "omniglot-cpu": "a small model, trained on Omniglot's strokes",
    "sketchy": "the paper's model of photos and sketches, for a GPU",
    "sketchy-cpu": "a small model of photos and sketches; 10 minutes on two cores",
    "traced": "photos without sketches: their contours are drawn",
    "traced-cpu": "the same with a small model",
    "protonet": "supervised baseline on Omniglot",
    "vae": "pixel baseline, a Conv-VAE, on Quick, Draw!",
    "vae-omniglot": "the same on Omniglot",
    "vae-mini-imagenet": "the same on mini-ImageNet",
    "vae-sketchy": "the same on the photos of Sketchy",
    "contrastive": "contrastive baseline, SimCLR, on Quick, Draw!",
    "contrastive-mini-imagenet": "the same on mini-ImageNet",
    "protonet-mini-imagenet": "supervised baseline on mini-ImageNet",
    "maml": "supervised baseline on Omniglot",
    "maml-mini-imagenet": "supervised baseline on mini-ImageNet",
    "classifier": "ResNet-101 that scores generated drawings, for a GPU",
    "classifier-cpu": "a small classifier; three minutes",
    "debug": "a tiny model and six steps, for tests",
}
"""One line about each preset."""
AUTO = {"auto": ("paper", "cpu"), "auto-sketchy": ("sketchy", "sketchy-cpu")}
"""Names that mean one of two presets: the first with a CUDA device, the second without."""


def conf_folder() -> Path:
    """Return the folder of the configuration files, in the installed package or in the checkout."""
    package = Path(__file__).parents[1]
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def expand_preset(name: str) -> tuple[str, list[str], str]:
    """Return the name of a preset, its ``--config`` arguments, and the reason for the choice.

    ``auto`` (``auto-sketchy`` for photos) is the paper's configuration on a CUDA device and the CPU preset
    otherwise. A name that does not exist is a ConfigError.
    """
    why = "as requested"
    if name in AUTO:
        cuda = torch.cuda.is_available()
        name = AUTO[name][not cuda]
        why = f"{torch.cuda.get_device_name()} found" if cuda else "no CUDA device found"
    check_known("preset", name, (*AUTO, *PRESETS))
    arguments = [part for file in PRESETS[name] for part in ("--config", str(conf_folder() / file))]
    return name, arguments, why


def read_preset(name: str) -> dict[str, Any]:
    """Return the merged configuration of a preset, one of :data:`PRESETS`."""
    together: dict[str, Any] = {}
    for file in PRESETS[name]:
        together = _merged(together, yaml.safe_load((conf_folder() / file).read_text("utf-8")))
    return together


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    out = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merged(out[key], value) if both else value
    return out
