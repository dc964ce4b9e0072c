"""What a file says of the network whose weights it holds, and whether they are its weights.

The description is plain values, from anywhere: every size is held against what it may be before memory is
taken for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sketchembed._version import __version__
from sketchembed.errors import CheckpointError
from sketchembed.files.serialization import build
from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig
from sketchembed.networks.maml import MAML, MAMLConfig
from sketchembed.networks.protonet import ProtoNet, ProtoNetConfig
from sketchembed.networks.resnet import ResNet, ResNetConfig
from sketchembed.networks.sketchembednet import ModelConfig, SketchEmbedNet, SketchEncoder

MODEL_KEY = "sketchembed"
"""Where a checkpoint keeps the description of the model, and a weights file its header's JSON."""
MOST = {"image_size": 512, "max_length": 1024, "channels": 16, "inner_steps": 1000, "test_steps": 1000}
"""The largest sizes that no tensor answers for, in a description from anywhere."""
MOST_OF_OTHERS = 1 << 16
MOST_FACT = 1e9

Network = SketchEmbedNet | SketchEncoder | ProtoNet | MAML | ConvVAE | ResNet
KINDS: dict[str, tuple[type[Network], type]] = {
    SketchEmbedNet.kind: (SketchEmbedNet, ModelConfig),
    SketchEncoder.kind: (SketchEncoder, ModelConfig),
    ProtoNet.kind: (ProtoNet, ProtoNetConfig),
    MAML.kind: (MAML, MAMLConfig),
    ConvVAE.kind: (ConvVAE, ConvVAEConfig),
    ResNet.kind: (ResNet, ResNetConfig),
}
"""The networks that a checkpoint may hold, with the classes of their sizes."""


def describe(net: torch.nn.Module) -> dict[str, Any]:
    """Return plain values from which :func:`build_network` builds the model again."""
    assert isinstance(net, Network)
    facts = {name: float(getattr(net, name)) for name in net.facts}
    return {"kind": net.kind, "config": net.config.to_dict(), **facts, "version": __version__}


def build_network(path: Path, described: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Network:
    """Build a network by its description, with its weights.

    Args:
        path: where both come from, for messages.
        described: as :func:`describe` has it.
        weights: by the network's names.

    Raises:
        CheckpointError: if this version knows no such network, or the weights are another's.
    """
    network, config = _sizes(path, described)
    # First without memory, so that what a file claims is held against the weights that it has.
    try:
        with torch.device("meta"), torch.no_grad():
            claimed = network(config).eval()
            check_weights(claimed, weights, path)
            _show_image(claimed)
    except (RuntimeError, ValueError, ArithmeticError) as error:
        raise _unknown(path, described, str(error)) from error
    net = network(config)
    for name in net.facts:
        setattr(net, name, described.get(name, getattr(net, name)))
    load_weights(net, weights, path)
    return net


def _sizes(path: Path, described: Mapping[str, Any]) -> tuple[type[Network], Any]:
    """Return the class and the sizes of the network that a file describes.

    Raises:
        CheckpointError: if it is none that this version knows, or too large for any use.
    """
    kind = described.get("kind", SketchEmbedNet.kind)
    if not isinstance(kind, str) or kind not in KINDS:
        raise _unknown(path, described, f"kind {kind!a:.40}")
    network, sizes = KINDS[kind]
    given = described.get("config", {})
    known = {entry.name for entry in fields(sizes)}
    if isinstance(given, dict) and (extra := sorted(str(name)[:40] for name in given if name not in known)):
        raise _unknown(path, described, str(extra[:9]))
    try:
        config: Any = build(sizes, given)
    except ValueError as error:
        raise _unknown(path, described, str(error)) from error
    for name, value in config.to_dict().items():
        if isinstance(value, int) and not isinstance(value, bool):
            most = MOST.get(name, MOST_OF_OTHERS)
            if not 1 <= value <= most:
                raise _unknown(path, described, f"{name} is {str(value)[:20]}, not 1 to {most:,}")
        elif isinstance(value, float) and not abs(value) < MOST_FACT:  # nor what is no number
            raise _unknown(path, described, f"{name} is {value}")
    for name in network.facts:
        value = described.get(name, 1.0)
        if not isinstance(value, float) or not 0 < abs(value) < MOST_FACT:
            raise _unknown(path, described, f"{name} is {value!a:.40}")
    return network, config


def _show_image(net: Network) -> None:
    """Show a network images of its size: one that is pooled or shrunk to nothing raises a RuntimeError."""
    size = net.config.image_size
    images = torch.empty(2, net.config.channels, size, size)
    if isinstance(net, SketchEncoder | ConvVAE):
        net.encode(images)
    elif isinstance(net, MAML):
        net.encoder.conv4(images)
    else:
        net(images)


def _unknown(path: Path, described: Mapping[str, Any], what: str) -> CheckpointError:
    version = described.get("version")
    return CheckpointError(
        f"{path} describes a model with unknown settings: {(what.splitlines() or [''])[0][:160]}",
        expected=f"settings that version {__version__} knows",
        fix=f"Use version {version[:20] if isinstance(version, str) else 'that wrote it'} or a newer one",
    )


def load_weights(net: torch.nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a network, and say what differs where they don't fit.

    Raises:
        CheckpointError: see :func:`check_weights`.
    """
    check_weights(net, weights, path)
    net.load_state_dict(dict(weights))


def check_weights(net: torch.nn.Module, weights: Mapping[str, Tensor], path: Path | str) -> None:
    """Check that weights fit a network.

    Args:
        net: the network.
        weights: by the network's names.
        path: where they come from, for the message.

    Raises:
        CheckpointError: naming the first tensor that is missing, unknown or of another shape.
    """
    wanted = net.state_dict()
    for name, tensor in wanted.items():
        if name not in weights:
            raise misfit(path, f"has no '{name}'")
        found = weights[name]
        if not isinstance(found, Tensor) or found.layout != torch.strided or found.is_meta:
            raise misfit(path, f"has a '{name}' that is no plain tensor")
        if (
            found.is_quantized
            or found.is_complex()
            or found.is_floating_point() != tensor.is_floating_point()
        ):
            raise misfit(path, f"has '{name}' of type {found.dtype}, not {tensor.dtype}")
        if weights[name].shape != tensor.shape:
            raise misfit(path, f"has '{name}' of shape {list(weights[name].shape)}, not {list(tensor.shape)}")
    unknown = sorted(set(weights) - set(wanted))
    if unknown:
        raise misfit(path, f"has '{unknown[0]}', which the model lacks")


def unreadable(path: Path, error: Exception) -> CheckpointError:
    """Return the error for a file that is damaged, or holds more than plain values and tensors."""
    first = (str(error).splitlines() or [""])[0][:160]
    return CheckpointError(
        f"{path} cannot be read ({type(error).__name__}: {first})",
        expected="a whole checkpoint of plain values and tensors",
        fix="Take an older checkpoint of the same run, or train again",
    )


def foreign(path: Path) -> CheckpointError:
    """Return the error for a file that this package did not write."""
    return CheckpointError(
        f"{path} is no SketchEmbedNet",
        expected="a checkpoint or weights file that this package wrote",
        fix="Check the path",
    )


def misfit(path: Path | str, what: str) -> CheckpointError:
    """Return the error for weights of another model."""
    return CheckpointError(
        f"{path} {what}",
        expected="weights of the same model",
        fix="Use the configuration that the checkpoint was trained with",
    )
