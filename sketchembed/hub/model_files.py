"""Load and save models: training checkpoints, published weights and packaged weights.

A training checkpoint (``.ckpt``) is Lightning's, with a description of the model under `MODEL_KEY`. It
contains only plain values and tensors and is read with ``weights_only=True``. Published weights
(``.safetensors``) contain the model alone, with its description in the metadata.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from sketchembed.errors import CheckpointError
from sketchembed.files.checkpoint_archive import check_archive
from sketchembed.files.serialization import parse_json
from sketchembed.files.writing import whole_file
from sketchembed.hub.packaged import MODELS
from sketchembed.hub.registry import MODEL_KEY, build_network, check_weights, describe
from sketchembed.networks.network import Network
from sketchembed.networks.sketchembednet import SketchEmbedNet

PROVENANCE_KEY = "origin"  # key of the provenance in the metadata of published weights
PREFIX = "net."
PACKAGED = Path(__file__).parent / "weights"  # the models of the package, by file name
# safetensors raises various errors for tensors of types that PyTorch lacks.
_RAISED = (SafetensorError, OSError, ValueError, LookupError, AttributeError, TypeError, RuntimeError)
_STARTS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"<": "an SVG or HTML document",
    b"version https://git-lfs": "a Git LFS pointer",
}
"""First bytes of files that are given by mistake."""


def load(path: str | Path, device: str | torch.device = "cpu") -> SketchEmbedNet:
    """Load a model that embeds and draws, in evaluation mode.

    Args:
        path: a checkpoint (``.ckpt``), published weights (``.safetensors``), the folder of a run (its last
            checkpoint is loaded), or the name of a model in the package.
        device: device of the model.

    Raises:
        CheckpointError: if the file does not exist, or is not a SketchEmbedNet.
    """
    net = load_network(path, device)
    if not isinstance(net, SketchEmbedNet):
        raise CheckpointError(
            f"{path} is a {net.kind}, which cannot draw",
            expected="a SketchEmbedNet",
            fix="Choose another model, or load this one with sketchembed.load_network",
        )
    return net


def load_network(path: str | Path, device: str | torch.device = "cpu") -> Network:
    """Load a network of any kind in evaluation mode; for arguments and errors see :func:`load`."""
    path = find(path)
    described, weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    return build_network(path, described, weights).to(device).eval()


def copy_weights(path: str | Path, net: torch.nn.Module) -> None:
    """Copy the weights of a trained model into a network of the same sizes; others are a CheckpointError."""
    weights = load_network(path).state_dict()
    check_weights(net, weights, find(path))
    net.load_state_dict(weights)


def save(
    net: Network,
    path: str | Path,
    dtype: torch.dtype | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write a network as published weights: a safetensors file that contains its description.

    A file that exists is replaced only when the new one is complete.

    Args:
        net: the network.
        path: the file.
        dtype: type of the floating-point weights, such as ``torch.float16`` for half the size.
        provenance: how the model was trained, see :func:`sketchembed.runs.provenance.provenance`.
    """
    tensors = {
        name: (value.to(dtype) if dtype is not None and value.is_floating_point() else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in net.state_dict().items()
    }
    metadata = {MODEL_KEY: json.dumps(describe(net))}
    if provenance:
        metadata[PROVENANCE_KEY] = json.dumps(dict(provenance))
    path = Path(path)
    with whole_file(path) as file:
        file.write(to_bytes(tensors, metadata=metadata))
    return path


def find(path: str | Path) -> Path:
    """Return the file of a model: `path` itself, the last checkpoint of a run, or a model in the package.

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
    elif str(path) in MODELS:
        raise CheckpointError(
            f"the model '{path}' is not in this installation, because the wheel contains only "
            + ", ".join(name for name, model in MODELS.items() if model.in_wheel),
            expected="one of these, or the path of a file",
            fix=f"Get sketchembed/hub/weights/{path}.safetensors from the source repository and name it",
        )
    raise CheckpointError(
        f"there is no checkpoint at {path}",
        expected="a .ckpt or .safetensors file, the folder of a run, or the name of a packaged model: "
        + ", ".join(sorted(file.stem for file in PACKAGED.glob("*.safetensors"))),
        fix="Train a model first (`make train-quickdraw`), or check the path",
    )


def by_step(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, sorted by training step."""
    files = [file for file in folder.glob("*.ckpt") if file.is_file()]
    return sorted(files, key=lambda file: (step_of(file) or 0, file.stat().st_mtime))


def step_of(file: Path) -> int | None:
    """Return the training step in a name such as ``step-2000.ckpt``; None for other names."""
    match = re.fullmatch(r"step-(\d+)", file.stem)
    return int(match[1]) if match else None


def read_provenance(path: Path) -> dict[str, Any]:
    """Return the provenance in published weights; empty if there is none."""
    try:
        with safe_open(path, framework="pt") as file:
            found = parse_json((file.metadata() or {}).get(PROVENANCE_KEY, "null"))
    except _RAISED as error:
        raise _unreadable(path, error) from error
    return found if isinstance(found, dict) else {}


def read_raw(path: Path) -> dict[str, Any]:
    """Read the plain values and tensors of a checkpoint. Nothing in it is executed.

    Raises:
        CheckpointError: if the checkpoint is damaged, or contains anything else.
    """
    try:
        check_archive(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged files
        raise _unreadable(path, error) from error
    if not isinstance(checkpoint, dict):
        raise _foreign(path)
    return checkpoint


def network_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by the names that the network uses."""
    state = {name: value for name, value in checkpoint["state_dict"].items() if isinstance(name, str)}
    return {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = parse_json(metadata.get(MODEL_KEY, "null"))
    except _RAISED as error:
        raise _unreadable(path, error) from error
    if not isinstance(described, dict):
        raise _foreign(path)
    return described, weights


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    checkpoint = read_raw(path)
    if not isinstance(checkpoint.get(MODEL_KEY), dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise _foreign(path)
    return checkpoint[MODEL_KEY], network_weights(checkpoint)


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    start = b""
    if path.is_file():  # a pipe without a writer would never open
        with contextlib.suppress(OSError), path.open("rb") as file:
            start = file.read(32)
    kind = next((kind for known, kind in _STARTS.items() if start.startswith(known)), None)
    if not kind and start.isascii() and b"\0" not in start and not start.startswith(b"PK"):
        kind = f"a text that begins with {start.decode()!r}" if start else "an empty file"
    if kind:
        return CheckpointError(
            f"{path} cannot be read as a model: it is {kind}",
            expected="a .ckpt or .safetensors file",
            fix="Check the path, and the order of the arguments",
        )
    first = (str(error).splitlines() or [""])[0][:160]
    return CheckpointError(
        f"{path} cannot be read ({type(error).__name__}: {first})",
        expected="a complete checkpoint of plain values and tensors",
        fix="Use an older checkpoint of the same run, or train again",
    )


def _foreign(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a SketchEmbedNet",
        expected="a checkpoint or weights file that this package wrote",
        fix="Check the path",
    )
