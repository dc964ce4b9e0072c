"""Checkpoints and published weights: whole or absent on disk, and plain values inside.

A training checkpoint (``.ckpt``) is Lightning's, with a description of the model beside its weights; it
holds numbers and strings only and is read with ``weights_only=True``. Published weights
(``.safetensors``) hold the model alone, its description in the header. Both load by :func:`load`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sketchembed.errors import CheckpointError
from sketchembed.files.checkpoint_archive import check_archive
from sketchembed.files.serialization import parse_json
from sketchembed.files.writing import whole_file
from sketchembed.hub.registry import (
    MODEL_KEY,
    Network,
    build_network,
    describe,
    foreign,
    load_weights,
    unreadable,
)
from sketchembed.networks.sketchembednet import SketchEmbedNet

ORIGIN_KEY = "origin"
"""Where a weights file keeps what it was trained on."""
PREFIX = "net."
_RAISED = (OSError, ValueError, LookupError, AttributeError, TypeError, RuntimeError)
"""What reading weights of types that PyTorch lacks raises."""
PACKAGED = Path(__file__).parent / "weights"
"""The models that come with the package, each by the name of its file."""


def load(path: str | Path, device: str | torch.device = "cpu") -> SketchEmbedNet:
    """Load a model, ready to embed and draw.

    Args:
        path: a checkpoint (``.ckpt``), published weights (``.safetensors``), a run's folder, whose last
            checkpoint is taken, or the name of a model that comes with the package.
        device: where to.

    Raises:
        CheckpointError: if there is no such file, or it is not a SketchEmbedNet's.
    """
    net = load_network(path, device)
    if not isinstance(net, SketchEmbedNet):
        raise CheckpointError(
            f"{path} is a {net.kind}, which cannot draw",
            expected="a SketchEmbedNet",
            fix="Choose another; sketchembed.hub.model_files.load_network loads networks of any kind",
        )
    return net


def load_network(path: str | Path, device: str | torch.device = "cpu") -> Network:
    """Load a network of any kind, in evaluation mode.

    Args:
        path: as for :func:`load`.
        device: where to.

    Raises:
        CheckpointError: if there is no such file, or this package did not write it.
    """
    path = find(path)
    described, weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    net = build_network(path, described, weights)
    return net.to(device).eval()


def copy_weights(path: str | Path, net: torch.nn.Module) -> None:
    """Copy the weights of a trained model into another of the same sizes.

    Args:
        path: as for :func:`load`.
        net: the other.

    Raises:
        CheckpointError: if there is no such file, or the sizes differ.
    """
    load_weights(net, load_network(path).state_dict(), find(path))


def save(
    net: Network,
    path: str | Path,
    dtype: torch.dtype | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Path:
    """Write published weights: a safetensors file with the model's description inside.

    Args:
        net: the model.
        path: where to; written beside and renamed, so the file is whole or absent.
        dtype: of the floating-point weights, such as ``torch.float16`` for half the size; as they are if
            not given.
        origin: where the model is from, see :func:`sketchembed.runs.provenance.provenance`.
    """
    from safetensors.torch import save as to_bytes

    tensors = {
        name: (value.to(dtype) if dtype is not None and value.is_floating_point() else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in net.state_dict().items()
    }
    path = Path(path)
    with whole_file(path) as file:
        metadata = {MODEL_KEY: json.dumps(describe(net))}
        if origin:
            metadata[ORIGIN_KEY] = json.dumps(dict(origin))
        file.write(to_bytes(tensors, metadata=metadata))
    return path


def find(path: str | Path) -> Path:
    """Return the checkpoint that `path` means: itself, a run's last one, or a model of the package.

    Raises:
        CheckpointError: if there is none.
    """
    path = Path(path)
    packaged = PACKAGED / f"{path}.safetensors"
    if path.name == str(path) and not path.exists() and packaged.is_file():
        return packaged
    if path.is_dir():
        folder = path / "checkpoints" if (path / "checkpoints").is_dir() else path
        found = by_step(folder)
        if found:
            return found[-1]
    elif path.is_file():
        return path
    raise CheckpointError(
        f"there is no checkpoint at {path}",
        expected="a .ckpt or .safetensors file, the folder of a run, or the name of a packaged model: "
        + ", ".join(sorted(file.stem for file in PACKAGED.glob("*.safetensors"))),
        fix="Train a model first (`make train-quickdraw`), or check the path",
    )


def by_step(folder: Path) -> list[Path]:
    """Return a folder's checkpoints, the last step's last, whatever the order in which they were copied."""
    files = [file for file in folder.glob("*.ckpt") if file.is_file()]
    return sorted(files, key=lambda file: (step_of(file) or 0, file.stat().st_mtime))


def step_of(file: Path) -> int | None:
    """Return the training step that ``step-2000.ckpt`` says; None for another name."""
    match = re.fullmatch(r"step-(\d+)", file.stem)
    return int(match[1]) if match else None


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = parse_json(metadata.get(MODEL_KEY, "null"))
    except (SafetensorError, *_RAISED) as error:
        raise unreadable(path, error) from error
    if not isinstance(described, dict):
        raise foreign(path)
    wide = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    return described, wide


def read_origin(path: Path) -> dict[str, Any]:
    """Return what published weights say of where they are from; empty if they say nothing."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found = parse_json((file.metadata() or {}).get(ORIGIN_KEY, "null"))
    except (SafetensorError, *_RAISED) as error:
        raise unreadable(path, error) from error
    return found if isinstance(found, dict) else {}


def read_raw(path: Path) -> dict[str, Any]:
    """Read a checkpoint's plain values and tensors; nothing in it is executed.

    The zip is looked through first: that nothing in it is packed, so that it takes no more memory than the
    file has bytes, that it is whole, and that its pickle names nothing but tensors and their parts.

    Raises:
        CheckpointError: if it is damaged, or holds anything else.
    """
    try:
        check_archive(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files
        raise unreadable(path, error) from error
    if not isinstance(checkpoint, dict):
        raise foreign(path)
    return checkpoint


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    checkpoint = read_raw(path)
    if not isinstance(checkpoint.get(MODEL_KEY), dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise foreign(path)
    return checkpoint[MODEL_KEY], network_weights(checkpoint)


def network_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return a checkpoint's weights by the network's own names."""
    state = {name: value for name, value in checkpoint["state_dict"].items() if isinstance(name, str)}
    return {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
