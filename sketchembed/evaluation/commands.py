"""`sketchembed evaluate`: what a trained model's embedding is worth."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from sketchembed.checkpoints import Network, load_network
from sketchembed.data import mini_imagenet, omniglot_images
from sketchembed.data.drawings import data_folder
from sketchembed.data.episodes import Episodes
from sketchembed.data.image_set import ImageSet
from sketchembed.data.modules import prepared_folder
from sketchembed.errors import CheckpointError, ConfigError
from sketchembed.evaluation import heads
from sketchembed.evaluation.adapting import Adapting
from sketchembed.evaluation.fewshot import Setting, measure
from sketchembed.evaluation.methods import Embedding, Method, pixels
from sketchembed.evaluation.sharing import Sharing
from sketchembed.networks.conv4 import Conv4
from sketchembed.networks.maml import MAML
from sketchembed.networks.protonet import ProtoNet
from sketchembed.process import tune_process
from sketchembed.reporting.fewshot_report import FewShotReport

SETTINGS = {"omniglot": "5w1s,5w5s,20w1s,20w5s", "mini-imagenet": "5w1s,5w5s,5w20s,5w50s"}
EPISODES = {"omniglot": 2000, "mini-imagenet": 1000}
"""As the released code."""


def fewshot(
    checkpoint: Path | None = None,
    data: Literal["omniglot", "mini-imagenet"] = "omniglot",
    split: str = "vinyals",
    part: str = "test",
    source: omniglot_images.Kind = "strokes",
    settings: str | None = None,
    episodes: int | None = None,
    query: str = "all",
    seed: int = 0,
    head: str = "logistic",
    baselines: bool = True,
    runs: Path = Path("runs"),
    out: Path = Path("results/fewshot"),
    folder: str | None = None,
    devices: str = "1",
    accelerator: str = "auto",
) -> None:
    """Measure few-shot classification in episodes, beside baselines and the paper's numbers.

    Args:
        checkpoint: a .ckpt or .safetensors file, or a run's folder; the newest run in `runs` if not given,
            and the baselines alone where there is none.
        data: omniglot or mini-imagenet.
        split: of Omniglot: vinyals, lake (episodes within an alphabet) or lake-pooled.
        part: of the split: train, val or test.
        source: of Omniglot: rasters of the strokes, or the published images.
        settings: as 5w1s,20w5s; the paper's if not given.
        episodes: of each setting; 2000 of Omniglot and 1000 of mini-ImageNet if not given.
        query: images asked about a class: a number, or all the rest, as in the released code.
        seed: of the episodes.
        head: logistic, centroid, neighbour, or logistic-sklearn, the slow reference.
        baselines: whether the same episodes are put to baselines that need no training.
        runs: folder of the runs to find the newest in.
        out: the report's path, without a suffix.
        folder: of the data sets; SKETCHEMBED_DATA, else data, if not given.
        devices: processes, each with a device of its own; auto for every GPU.
        accelerator: auto, cpu or cuda.
    """
    begun = time.perf_counter()
    tune_process()
    heads.head(head)
    wanted = [Setting.parse(text) for text in (settings or SETTINGS[data]).split(",")]
    count = EPISODES[data] if episodes is None else episodes
    if count < 1:
        raise ConfigError(f"episodes is {count}", expected="1 or more", fix="The paper's is 2000")
    asked = _query(query)
    net = _network(checkpoint, runs)
    images = _images(data, split, part, source, data_folder(folder), _image_size(net, data))
    if net is not None:
        check_fit(net[1], images)
    # Every setting is checked before a network embeds anything.
    tasks = [
        Episodes(images, setting.way, setting.shot, asked, seed, within_groups=split == "lake")
        for setting in wanted
    ]
    sharing = Sharing.launch(devices, accelerator)
    if net is None and sharing.first:
        print(f"no checkpoint was given and there is none in {runs}: only baselines that need no training")
    methods: list[Method] = []
    if net is not None:
        network = net[1].to(sharing.device).eval()
        about = {"checkpoint": str(net[0]), "parameters": sum(p.numel() for p in network.parameters())}
        if isinstance(network, MAML):
            methods.append(Adapting("MAML, supervised", network, about=about))
        else:
            # A prototypical network brings its own head: class means of embeddings as they are.
            proto = isinstance(network, ProtoNet)
            name = "ProtoNet, supervised" if proto else "SketchEmbedding"
            own = "centroid" if proto else head
            methods.append(Embedding(name, network.embed, own, normalise=not proto, about=about))
    if baselines:
        methods += untrained(images, head, sharing.device)
    for method in methods:
        method.prepare(images, sharing)
    report = FewShotReport(images.about, {method.name: method.about for method in methods})
    for task in tasks:
        for method, score in zip(methods, measure(methods, task, count, sharing), strict=True):
            report.add(method.name, score)
    report.seconds = time.perf_counter() - begun
    if sharing.first:
        print(report.markdown())
        for path in report.write(out):
            print(path)


def untrained(images: ImageSet, head: str, device: torch.device) -> list[Method]:
    """Return the baselines that need no training.

    Args:
        images: that episodes will be drawn from.
        head: of the ones that have one.
        device: where to compute.
    """
    torch.manual_seed(0)
    network = Conv4(images.channels, size=images.size).to(device).eval()
    return [
        Embedding("Raw pixels", pixels, head),
        Embedding("k-nearest neighbours", pixels, "neighbour", about={"k": 1, "features": "raw pixels"}),
        Embedding("Random CNN (Conv4)", network, head, about={"seed": 0}),
    ]


def check_fit(net: Network, images: ImageSet) -> None:
    """Check that a model takes these images.

    Raises:
        CheckpointError: if it was made for others.
    """
    config = net.config
    if (config.channels, config.image_size) != (images.channels, images.size):
        raise CheckpointError(
            f"the checkpoint takes images of {config.channels} x {config.image_size} x {config.image_size}",
            expected=f"a model for the data's {images.channels} x {images.size} x {images.size}",
            fix="Choose the other data set, or another checkpoint",
        )


def _network(checkpoint: Path | None, runs: Path) -> tuple[Path, Network] | None:
    """Load the model that is asked for, or the newest run's; None where there is no run."""
    if checkpoint is None:
        found = sorted(runs.glob("*/checkpoints/*.ckpt"), key=lambda file: file.stat().st_mtime)
        if not found:
            return None
        checkpoint = found[-1].parents[1]
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"model   {checkpoint}, the newest run")
    return checkpoint, load_network(checkpoint)


def _image_size(net: tuple[Path, Network] | None, data: str) -> int:
    if data == "omniglot" and net is not None and net[1].config.channels == 1:
        return net[1].config.image_size
    return 28 if data == "omniglot" else mini_imagenet.SIZE


def _images(
    data: str, split: str, part: str, source: omniglot_images.Kind, folder: Path, size: int
) -> ImageSet:
    prepared = prepared_folder(folder)
    if data == "mini-imagenet":
        return mini_imagenet.load(folder / "mini_imagenet", prepared, part, size)
    images = omniglot_images.load(folder / "omniglot", prepared, source, size)
    return omniglot_images.split(images, split, part)


def _query(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise ConfigError(f"query is '{text}'", expected="all, or a number of 1 or more", fix="Correct it")
    return int(text)


COMMANDS: dict[str, Callable[..., None]] = {"fewshot": fewshot}
