"""Fuzz the readers of weights: training checkpoints and published weights."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path
from random import Random

import torch

from sketchembed.hub.model_files import PREFIX, load_network, save
from sketchembed.hub.registry import MODEL_KEY, describe
from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig
from sketchembed.networks.maml import MAML, MAMLConfig
from sketchembed.networks.protonet import ProtoNet, ProtoNetConfig
from sketchembed.networks.resnet import ResNet, ResNetConfig
from sketchembed.networks.simclr import SimCLR, SimCLRConfig
from sketchembed.networks.sketchembednet import ModelConfig, SketchEmbedNet

from .archives import change_zip, zip_of
from .engine import Case, Reader
from .structured import change_pickle, change_value


@cache
def networks() -> list[torch.nn.Module]:
    torch.manual_seed(0)
    sizes = {
        "width": 4,
        "latent": 6,
        "hidden": 10,
        "hyper": 6,
        "embedding": 2,
        "mixtures": 3,
        "max_length": 4,
    }
    return [
        SketchEmbedNet(ModelConfig(**sizes), 12.5),
        SketchEmbedNet(
            ModelConfig(
                **sizes, encoder="resnet12", decoder="lstm", channels=3, start="centre", pool="flatten"
            )
        ),
        ConvVAE(ConvVAEConfig(width=4, latent=6)),
        SimCLR(SimCLRConfig(width=4, hidden=6, projection=4)),
        ProtoNet(ProtoNetConfig(width=4)),
        MAML(MAMLConfig(width=4)),
        ResNet(ResNetConfig(depth=18, width=4, classes=3, stem="small", labels=["a", "b", "c"])),
    ]


def use(net: torch.nn.Module) -> object:
    """Run a network on an image, and generate a drawing if the network can draw."""
    config = net.config
    size = int(config.image_size)
    with torch.no_grad():
        image = torch.rand(1, config.channels, size, size)
        if isinstance(net, SketchEmbedNet):
            for sketch in net.draw(image, 0.5, seed=0):
                sketch.to_svg()
        elif isinstance(net, ResNet):
            net(image)
    return net


def read_ckpt(folder: Path) -> object:
    return use(load_network(folder / "step-1.ckpt"))


def read_weights(folder: Path) -> object:
    return use(load_network(folder / "net.safetensors"))


def checkpoint(net: torch.nn.Module) -> dict:
    optimizer = torch.optim.Adam(net.parameters())
    return {
        "state_dict": {PREFIX + name: value for name, value in net.state_dict().items()},
        MODEL_KEY: describe(net),
        "global_step": 1,
        "optimizer_states": [optimizer.state_dict()],
        "pytorch-lightning_version": "2.6.6",
    }


def saved(value: object) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def ckpt_seeds() -> list[Case]:
    return [{"step-1.ckpt": saved(checkpoint(net))} for net in networks()]


def weight_seeds() -> list[Case]:
    import tempfile

    out = []
    with tempfile.TemporaryDirectory() as folder:
        for number, net in enumerate(networks()):
            path = save(net, Path(folder) / "net.safetensors", torch.float16 if number % 2 else None)
            out.append({"net.safetensors": path.read_bytes()})
    return out


def change_ckpt(case: Case, random: Random) -> Case:
    """Change the description, the pickle, the tensors, or the zip."""
    chance = random.random()
    if chance < 0.4:
        net = random.choice(networks())
        value = checkpoint(net)
        where = random.choice((MODEL_KEY, MODEL_KEY, MODEL_KEY, "state_dict", None))
        if where == MODEL_KEY:
            value[where] = change_value(value[where], random)
        elif where is None:
            value = change_value({key: one for key, one in value.items() if key != "state_dict"}, random)
            if isinstance(value, dict):
                value["state_dict"] = checkpoint(net)["state_dict"]
        else:
            name = random.choice(list(value[where]))
            tensor = value[where][name]
            value[where][name] = random.choice(
                (
                    lambda: 1,
                    lambda: None,
                    lambda: tensor[..., None],
                    lambda: tensor.double(),
                    lambda: tensor.to(torch.complex64),
                    lambda: tensor.bool(),
                    lambda: tensor.to_sparse(),
                    lambda: torch.empty_like(tensor, device="meta"),
                    lambda: torch.zeros(1).expand(10**6, 10**5),
                    lambda: torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else tensor,
                    lambda: torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor,
                    lambda: tensor.to(torch.bfloat16),
                )
            )()
        try:
            return {"step-1.ckpt": saved(value)}
        except Exception:
            return case
    if chance < 0.8:
        with zipfile.ZipFile(io.BytesIO(case["step-1.ckpt"])) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        name = next(name for name in files if name.endswith("data.pkl"))
        files[name] = change_pickle(files[name], random)
        return {"step-1.ckpt": zip_of(files, zipfile.ZIP_STORED)}
    return {"step-1.ckpt": change_zip(case["step-1.ckpt"], random)}


READERS = (
    Reader("checkpoint", ckpt_seeds, read_ckpt, change_ckpt),
    Reader("safetensors", weight_seeds, read_weights),
)
