"""The description of a network in a file, and checks that weights belong to it.

A file may come from anyone. Every size is therefore checked before memory is allocated for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sketchembed._version import __version__
from sketchembed.errors import CheckpointError
from sketchembed.files.serialization import dataclass_from_dict
from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig
from sketchembed.networks.maml import MAML, MAMLConfig
from sketchembed.networks.network import Network, NetworkConfig
from sketchembed.networks.protonet import ProtoNet, ProtoNetConfig
from sketchembed.networks.resnet import ResNet, ResNetConfig
from sketchembed.networks.simclr import SimCLR, SimCLRConfig
from sketchembed.networks.sketchembednet import ModelConfig, SketchEmbedNet, SketchEncoder

MODEL_KEY = "sketchembed"  # key of the description in a checkpoint, and in the metadata of a weights file
MAX_SIZES = {"image_size": 512, "max_length": 1024, "channels": 16, "inner_steps": 1000, "test_steps": 1000}
"""Largest sizes, where the shape of no tensor limits them."""
MAX_SIZE = 1 << 16
MAX_NUMBER = 1e9

KINDS: dict[str, tuple[type[Network], type[NetworkConfig]]] = {
    SketchEmbedNet.kind: (SketchEmbedNet, ModelConfig),
    SketchEncoder.kind: (SketchEncoder, ModelConfig),
    ProtoNet.kind: (ProtoNet, ProtoNetConfig),
    MAML.kind: (MAML, MAMLConfig),
    ConvVAE.kind: (ConvVAE, ConvVAEConfig),
    SimCLR.kind: (SimCLR, SimCLRConfig),
    ResNet.kind: (ResNet, ResNetConfig),
}
"""Class and configuration class of each kind of network."""


def describe(net: nn.Module) -> dict[str, Any]:
    """Return plain values from which :func:`build_network` rebuilds a network."""
    assert isinstance(net, Network)
    facts = {name: float(getattr(net, name)) for name in net.facts}
    return {"kind": net.kind, "config": net.config.to_dict(), **facts, "version": __version__}


def build_network(path: Path, described: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Network:
    """Build a network from its weights and its description, see :func:`describe`.

    Raises:
        CheckpointError: if this version does not know the network, or the weights do not fit.
    """
    network, config = _sizes(path, described)
    try:
        # The meta device allocates nothing, so the weights are compared with the sizes first.
        with torch.device("meta"), _NoInitialisation():
            net = network(config)
    except (RuntimeError, ValueError, ArithmeticError) as error:
        raise _unknown(path, described, str(error)) from error
    check_weights(net, weights, path)
    # Copied to keep the types and the memory formats (channels-last) of the network.
    copies = {
        name: torch.empty_strided(like.shape, like.stride(), dtype=like.dtype).copy_(weights[name])
        for name, like in net.state_dict().items()
    }
    net.load_state_dict(copies, assign=True)
    for name in net.facts:
        setattr(net, name, described.get(name, getattr(net, name)))
    return net


class _NoInitialisation(TorchFunctionMode):
    """Skip the initialisation of weights, because loaded weights replace them.

    On the meta device it would also import torch._dynamo, which takes longer than importing torch.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        random = func in (Tensor.normal_, Tensor.uniform_)
        if random or getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _sizes(path: Path, described: Mapping[str, Any]) -> tuple[type[Network], Any]:
    """Return the class and the checked configuration of the network that a file describes."""
    kind = described.get("kind", SketchEmbedNet.kind)
    if not isinstance(kind, str) or kind not in KINDS:
        raise _unknown(path, described, f"kind {kind!a:.40}")
    network, sizes = KINDS[kind]
    try:
        config = dataclass_from_dict(sizes, described.get("config", {}))
    except ValueError as error:
        raise _unknown(path, described, str(error)) from error
    for name, value in config.to_dict().items():
        if isinstance(value, int) and not isinstance(value, bool):
            most = MAX_SIZES.get(name, MAX_SIZE)
            if not 1 <= value <= most:
                raise _unknown(path, described, f"{name} is {str(value)[:20]}, not 1 to {most:,}")
        elif isinstance(value, float) and not abs(value) < MAX_NUMBER:  # also refuses NaN
            raise _unknown(path, described, f"{name} is {value}")
    for name in network.facts:
        value = described.get(name, 1.0)
        if not isinstance(value, float) or not 0 < abs(value) < MAX_NUMBER:
            raise _unknown(path, described, f"{name} is {value!a:.40}")
    return network, config


def _unknown(path: Path, described: Mapping[str, Any], what: str) -> CheckpointError:
    version = described.get("version")
    return CheckpointError(
        f"{path} describes a model with unknown settings: {(what.splitlines() or [''])[0][:160]}",
        expected=f"settings that version {__version__} knows",
        fix=f"Use version {version[:20] if isinstance(version, str) else 'that wrote it'} or a newer one",
    )


def check_weights(net: nn.Module, weights: Mapping[str, Tensor], path: Path | str) -> None:
    """Check that weights fit a network; `path` is their file, for the message.

    Raises:
        CheckpointError: naming the first tensor that is missing, unknown, or of another type or shape.
    """
    expected = net.state_dict()
    for name, tensor in expected.items():
        if name not in weights:
            raise misfit(path, f"has no '{name}'")
        found = weights[name]
        if not isinstance(found, Tensor) or found.layout != torch.strided or found.is_meta:
            raise misfit(path, f"has a '{name}' that is not a plain tensor")
        floating = found.is_floating_point() == tensor.is_floating_point()
        if found.is_quantized or found.is_complex() or not floating:
            raise misfit(path, f"has '{name}' of type {found.dtype}, not {tensor.dtype}")
        if found.shape != tensor.shape:
            raise misfit(path, f"has '{name}' of shape {list(found.shape)}, not {list(tensor.shape)}")
    unknown = sorted(set(weights) - set(expected))
    if unknown:
        raise misfit(path, f"has '{unknown[0]}', which the model lacks")


def misfit(path: Path | str, what: str) -> CheckpointError:
    """Return the error for weights of another model."""
    return CheckpointError(
        f"{path} {what}",
        expected="weights of the same model",
        fix="Use the configuration that the checkpoint was trained with",
    )
