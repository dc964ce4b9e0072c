"""`sketchembed export`: write a model as a safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from sketchembed.cli.parser import command
from sketchembed.errors import ConfigError
from sketchembed.files.writing import check_output
from sketchembed.hub.model_files import find, load, load_network, save
from sketchembed.runs.provenance import provenance


def export(
    checkpoint: Path,
    out: Path,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    encoder: bool = False,
) -> None:
    """Write the network of a checkpoint as a safetensors file that contains its configuration and provenance.

    Args:
        checkpoint: a .ckpt file, a run's folder, or the name of a packaged model: {models}.
        out: file to write, NAME.safetensors.
        dtype: data type of the weights.
        encoder: write only the encoder of a SketchEmbedNet, which embeds images but cannot draw.
    """
    if out.suffix != ".safetensors":
        raise ConfigError(
            f"out is {out}", expected="a name that ends in .safetensors", fix="Name the file so"
        )
    check_output(out.parent)
    net = load(checkpoint).encoder_only() if encoder else load_network(checkpoint)
    path = save(net, out, getattr(torch, dtype), provenance(find(checkpoint)))
    print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


run = command(export, "export")
