"""What is asked in few-shot episodes, and of whom; the command and a checkpoint's report ask the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from sketchembed.data.episodes import Episodes
from sketchembed.data.folders import prepared_folder
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources import mini_imagenet, omniglot_images
from sketchembed.data.sources.omniglot_runs import OneShotRuns
from sketchembed.errors import CheckpointError, ConfigError, check_known
from sketchembed.evaluation.fewshot import heads
from sketchembed.evaluation.fewshot.fewshot_table import FewShotReport
from sketchembed.evaluation.fewshot.finetuning import Adapting, Scratch
from sketchembed.evaluation.fewshot.methods import Embedding, Method, ink, pixels
from sketchembed.evaluation.fewshot.scores import Setting, measure
from sketchembed.evaluation.models import Model, trained_baselines
from sketchembed.networks.conv4 import Conv4, for_inference
from sketchembed.networks.maml import MAML
from sketchembed.networks.network import Network
from sketchembed.networks.protonet import ProtoNet
from sketchembed.runs.ranks import Ranks

DataName = Literal["omniglot", "mini-imagenet"]
SETTINGS = {"omniglot": "5w1s,5w5s,20w1s,20w5s", "mini-imagenet": "5w1s,5w5s,5w20s,5w50s"}
EPISODES = {"omniglot": 2000, "mini-imagenet": 1000}
"""As the released code."""
BASELINES = ("pixels", "neighbours", "random", "scratch", "trained")
UNTRAINED = "pixels,neighbours,random"


@dataclass(frozen=True)
class FewShotProtocol:
    """Episodes that several methods answer.

    Attributes:
        data: omniglot or mini-imagenet.
        split: of Omniglot: vinyals, lake, lake-pooled or lake-runs.
        part: of the split: train, val or test.
        source: of Omniglot: rasters of the strokes, or the published images.
        settings: as 5w1s,20w5s; the paper's if not given.
        episodes: of each setting; the released code's if not given.
        query: images asked about a class: a number, or all.
        seed: of the episodes.
        head: for embeddings.
        baselines: names with commas between them; all or none.
    """

    data: DataName = "omniglot"
    split: str = "vinyals"
    part: str = "test"
    source: omniglot_images.Kind = "strokes"
    settings: str | None = None
    episodes: int | None = None
    query: str = "all"
    seed: int = 0
    head: str = "logistic"
    baselines: str = UNTRAINED

    def __post_init__(self) -> None:
        """Check what is written before anything costs time.

        Raises:
            ConfigError: if a head, a baseline or a number is none.
        """
        heads.head(self.head)
        _ = self.wanted
        if self.count < 1:
            raise ConfigError(
                f"episodes is {self.count}", expected="1 or more", fix="The released code's is 2000"
            )

    @property
    def count(self) -> int:
        """Episodes of each setting."""
        return EPISODES[self.data] if self.episodes is None else self.episodes

    @property
    def wanted(self) -> list[str]:
        """The baselines' names."""
        text = self.baselines
        names = {"all": BASELINES, "none": ()}.get(text, tuple(name for name in text.split(",") if name))
        for name in names:
            check_known("baseline", name, (*BASELINES, "all", "none"))
        return list(names)

    def run(
        self,
        models: Sequence[Model],
        runs: Path,
        folder: Path,
        launch: Callable[[], Ranks],
        curves: bool = False,
    ) -> FewShotReport:
        """Ask all methods all episodes.

        Args:
            models: to ask, beside the baselines.
            runs: folder of the runs, for baselines that are trained.
            folder: of the data sets.
            launch: starts the processes, once everything is checked.
            curves: whether the models are the checkpoints of runs, whose accuracy over steps is the question.

        Raises:
            CheckpointError: if a model takes other images.
            ConfigError: if there are no such episodes.
            DataError: if the data are not there, or damaged.
        """
        begun = time.perf_counter()
        trained = trained_baselines(runs) if "trained" in self.wanted else []
        images = _images(
            self.data, self.split, self.part, self.source, folder, _image_size(models, self.data)
        )
        for model in models:
            check_fit(model.network, images)
        known = {model.path for model in models}
        models = [
            *models,
            *(model for model in trained if fits(model.network, images) and model.path not in known),
        ]
        # Every setting is checked before a network embeds anything.
        settings = self.settings or SETTINGS[self.data]
        tasks = _tasks(images, self.split, settings, _query(self.query), self.seed, folder)
        ranks = launch()
        report = FewShotReport(images.about, {})
        methods = []
        for model in models:
            method = as_method(model, self.head, ranks.device)
            if curves and model.step is not None:
                method.name = f"{model.name}, step {model.step}"
                report.curves.setdefault(model.run, {})[model.step] = method.name
            methods.append(method)
        methods += untrained(images, self.head, ranks.device, self.wanted)
        report.methods = {method.name: method.about for method in methods}
        for method in methods:
            method.prepare(images, ranks)
        for task in tasks:
            asked = len(task) if isinstance(task, OneShotRuns) else self.count
            for method, score in zip(methods, measure(methods, task, asked, ranks), strict=True):
                report.add(method.name, score)
        report.seconds = time.perf_counter() - begun
        return report


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
    raw = Embedding("Raw pixels", pixels, head)
    methods: dict[str, Method] = {
        "pixels": raw,
        "neighbours": Embedding(
            "k-nearest neighbours",
            pixels,
            "neighbour",
            about={"k": 1, "features": "raw pixels"},
            beside=raw if "pixels" in wanted else None,
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


def _image_size(models: Sequence[Model], data: str) -> int:
    if data == "mini-imagenet":
        return mini_imagenet.SIZE
    sizes = [model.network.config.image_size for model in models if model.network.config.channels == 1]
    return sizes[0] if sizes else 28


def _images(
    data: str, split: str, part: str, source: omniglot_images.Kind, folder: Path, size: int
) -> ImageSet:
    prepared = prepared_folder(folder)
    if data == "mini-imagenet":
        return mini_imagenet.load_mini_imagenet(folder / "mini_imagenet", prepared, part, size)
    images = omniglot_images.load_omniglot(folder / "omniglot", prepared, source, size)
    chosen = omniglot_images.select_part(images, "lake" if split == "lake-runs" else split, part)
    chosen.about["split"] = split
    return chosen


def _query(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise ConfigError(f"query is '{text}'", expected="all, or a number of 1 or more", fix="Correct it")
    return int(text)


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


CURVE_EPISODES = 500
"""As the released code's, of each checkpoint of a run."""
