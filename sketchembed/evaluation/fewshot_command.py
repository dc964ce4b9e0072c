"""`sketchembed evaluate fewshot`: what an embedding is worth in episodes of few examples."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from sketchembed.checkpoints import Network
from sketchembed.data import mini_imagenet, omniglot_images
from sketchembed.data.drawings import data_folder
from sketchembed.data.episodes import Episodes
from sketchembed.data.image_set import ImageSet
from sketchembed.data.modules import prepared_folder
from sketchembed.data.one_shot_runs import OneShotRuns
from sketchembed.errors import CheckpointError, ConfigError, check_known
from sketchembed.evaluation import heads
from sketchembed.evaluation.adapting import Adapting, Scratch
from sketchembed.evaluation.fewshot import Setting, measure
from sketchembed.evaluation.methods import Embedding, Method, ink, pixels
from sketchembed.evaluation.models import Model, along, newest, trained_baselines
from sketchembed.evaluation.sharing import Sharing
from sketchembed.evaluation.tracking import track
from sketchembed.networks.conv4 import Conv4, for_inference
from sketchembed.networks.maml import MAML
from sketchembed.networks.protonet import ProtoNet
from sketchembed.process import tune_process
from sketchembed.reporting.fewshot_report import FewShotReport
from sketchembed.runs import RunOptions

SETTINGS = {"omniglot": "5w1s,5w5s,20w1s,20w5s", "mini-imagenet": "5w1s,5w5s,5w20s,5w50s"}
EPISODES = {"omniglot": 2000, "mini-imagenet": 1000}
"""As the released code."""
CURVE_EPISODES = 500
BASELINES = ("pixels", "neighbours", "random", "scratch", "trained")
UNTRAINED = "pixels,neighbours,random"


def fewshot(
    checkpoint: str | None = None,
    checkpoints: str | None = None,
    data: Literal["omniglot", "mini-imagenet"] = "omniglot",
    split: str = "vinyals",
    part: str = "test",
    source: omniglot_images.Kind = "strokes",
    settings: str | None = None,
    episodes: int | None = None,
    query: str = "all",
    seed: int = 0,
    head: str = "logistic",
    baselines: str = UNTRAINED,
    runs: Path = Path("runs"),
    out: Path = Path("results/fewshot"),
    folder: str | None = None,
    devices: str = "1",
    accelerator: str = "auto",
    wandb: Literal["auto", "offline", "online", "disabled"] = "auto",
    project: str = "sketchembed",
) -> None:
    """Measure few-shot classification in episodes, beside baselines and the paper's numbers.

    Args:
        checkpoint: a .ckpt or .safetensors file, or a run's folder; several with commas between them; the
            newest run in `runs` if not given, and the baselines alone where there is none.
        checkpoints: a run's folder, every checkpoint of which is scored for the accuracy over its steps
            (table 5, figure 10); several with commas between them. There are 500 episodes then, as in the
            released code, and no baselines, if not asked for.
        data: omniglot or mini-imagenet.
        split: of Omniglot: vinyals, lake (episodes within an alphabet), lake-pooled, or lake-runs (the
            published one-shot runs, which leave no choice of settings, episodes and queries).
        part: of the split: train, val or test.
        source: of Omniglot: rasters of the strokes, or the published images.
        settings: as 5w1s,20w5s; the paper's if not given.
        episodes: of each setting; 2000 of Omniglot and 1000 of mini-ImageNet if not given.
        query: images asked about a class: a number, or all the rest, as in the released code.
        seed: of the episodes.
        head: logistic, centroid, neighbour, or logistic-sklearn, the slow reference.
        baselines: of pixels, neighbours, random (a Conv4 that never trained), scratch (one trained on the
            support images of each episode: slow), trained (those that lie in `runs`); all or none.
        runs: folder of the runs to find models in.
        out: the report's path, without a suffix.
        folder: of the data sets; SKETCHEMBED_DATA, else data, if not given.
        devices: processes, each with a device of its own; auto for every GPU.
        accelerator: auto, cpu or cuda.
        wandb: offline (needs no account), online or disabled; auto is what WANDB_MODE says, else offline.
        project: of W&B.
    """
    begun = time.perf_counter()
    tune_process()
    heads.head(head)
    curves = bool(checkpoints)
    wanted = _baselines("none" if curves and baselines == UNTRAINED else baselines)
    count = (CURVE_EPISODES if curves else EPISODES[data]) if episodes is None else episodes
    if count < 1:
        raise ConfigError(f"episodes is {count}", expected="1 or more", fix="The paper's is 2000")
    models = _models(checkpoint, checkpoints, runs)
    trained = trained_baselines(runs) if "trained" in wanted else []
    images = _images(data, split, part, source, data_folder(folder), _image_size(models, data))
    for model in models:
        check_fit(model.network, images)
    models += [model for model in trained if fits(model.network, images)]
    # Every setting is checked before a network embeds anything.
    tasks = _tasks(images, split, settings or SETTINGS[data], _query(query), seed, data_folder(folder))
    sharing = Sharing.launch(devices, accelerator)
    if not models and sharing.first:
        print(f"no checkpoint was given and there is none in {runs}: only baselines that need no training")
    report = FewShotReport(images.about, {})
    methods = []
    for model in models:
        method = as_method(model, head, sharing.device)
        if curves and model.step is not None:
            method.name = f"{model.name}, step {model.step}"
            report.curves.setdefault(model.run, {})[model.step] = method.name
        methods.append(method)
    methods += untrained(images, head, sharing.device, wanted)
    report.methods = {method.name: method.about for method in methods}
    for method in methods:
        method.prepare(images, sharing)
    for task in tasks:
        asked = len(task) if isinstance(task, OneShotRuns) else count
        for method, score in zip(methods, measure(methods, task, asked, sharing), strict=True):
            report.add(method.name, score)
    report.seconds = time.perf_counter() - begun
    if sharing.first:
        print(report.markdown())
        written = report.write(out)
        for path in written:
            print(path)
        mode = RunOptions(wandb=wandb).wandb_mode()
        if where := track(report, written[-1], mode, project, out.parent):
            print(where)


def as_method(model: Model, head: str, device: torch.device) -> Method:
    """Return how a network answers episodes.

    Args:
        model: the network.
        head: for embeddings.
        device: where to compute.
    """
    network = model.network.to(device).eval()
    if isinstance(network, MAML):
        return Adapting(model.name, network, about=model.facts)
    network = for_inference(network)
    # A prototypical network brings its own head: class means of embeddings as they are.
    proto = isinstance(network, ProtoNet)
    return Embedding(
        model.name, network.embed, "centroid" if proto else head, normalise=not proto, about=model.facts
    )


def untrained(images: ImageSet, head: str, device: torch.device, wanted: Sequence[str]) -> list[Method]:
    """Return the baselines that need no training.

    Args:
        images: that episodes will be drawn from.
        head: of the ones that have one.
        device: where to compute.
        wanted: their names.
    """
    torch.manual_seed(0)
    network = for_inference(Conv4(images.channels, size=images.size).to(device).eval())
    methods: dict[str, Method] = {
        "pixels": Embedding("Raw pixels", pixels, head),
        "neighbours": Embedding(
            "k-nearest neighbours", pixels, "neighbour", about={"k": 1, "features": "raw pixels"}
        ),
        # Zero padding is paper to it only if paper is zero.
        "random": Embedding(
            "Random CNN (Conv4)", lambda batch: network(ink(batch)), head, about={"seed": 0, "input": "ink"}
        ),
        "scratch": Scratch(),
    }
    return [method for name, method in methods.items() if name in wanted]


def fits(network: Network, images: ImageSet) -> bool:
    """Return whether a network takes these images."""
    config = network.config
    return (config.channels, config.image_size) == (images.channels, images.size)


def check_fit(net: Network, images: ImageSet) -> None:
    """Check that a model takes these images.

    Raises:
        CheckpointError: if it was made for others.
    """
    if not fits(net, images):
        config = net.config
        raise CheckpointError(
            f"the checkpoint takes images of {config.channels} x {config.image_size} x {config.image_size}",
            expected=f"a model for the data's {images.channels} x {images.size} x {images.size}",
            fix="Choose the other data set, or another checkpoint",
        )


def _models(checkpoint: str | None, checkpoints: str | None, runs: Path) -> list[Model]:
    """Load the models that are asked for, or the newest run's."""
    named = [Path(name) for name in (checkpoint or "").split(",") if name]
    series = [Path(name) for name in (checkpoints or "").split(",") if name]
    models = [model for run in series for model in along(run)] + [Model.load(path) for path in named]
    if named or series:
        return models
    model = newest(runs)
    if model is not None and os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"model   {model.path}, of the newest run")
    return [model] if model else []


def _image_size(models: list[Model], data: str) -> int:
    if data == "mini-imagenet":
        return mini_imagenet.SIZE
    sizes = [model.network.config.image_size for model in models if model.network.config.channels == 1]
    return sizes[0] if sizes else 28


def _images(
    data: str, split: str, part: str, source: omniglot_images.Kind, folder: Path, size: int
) -> ImageSet:
    prepared = prepared_folder(folder)
    if data == "mini-imagenet":
        return mini_imagenet.load(folder / "mini_imagenet", prepared, part, size)
    images = omniglot_images.load(folder / "omniglot", prepared, source, size)
    chosen = omniglot_images.split(images, "lake" if split == "lake-runs" else split, part)
    chosen.about["split"] = split
    return chosen


def _query(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise ConfigError(f"query is '{text}'", expected="all, or a number of 1 or more", fix="Correct it")
    return int(text)


def _baselines(text: str) -> list[str]:
    names = {"all": BASELINES, "none": ()}.get(text, tuple(name for name in text.split(",") if name))
    for name in names:
        check_known("baseline", name, (*BASELINES, "all", "none"))
    return list(names)


def _tasks(
    images: ImageSet, split: str, settings: str, query: int | None, seed: int, folder: Path
) -> list[Episodes] | list[OneShotRuns]:
    if split == "lake-runs":
        runs = OneShotRuns(images, folder / "omniglot", prepared_folder(folder))
        images.about.update(runs=len(runs), trials=runs.trials)
        return [runs]
    wanted = [Setting.parse(text) for text in settings.split(",")]
    within = split == "lake"
    return [Episodes(images, setting.way, setting.shot, query, seed, within) for setting in wanted]
