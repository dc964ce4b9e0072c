"""The few-shot protocol: data, episodes, methods and baselines, as used by the command and by reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from sketchembed.data.episodes import Episodes
from sketchembed.data.folders import data_folder, prepared_folder
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources import mini_imagenet, omniglot_images
from sketchembed.data.sources.omniglot_runs import OneShotRuns
from sketchembed.errors import CheckpointError, ConfigError, check_known, check_range
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.fewshot.fewshot_table import FewShotReport
from sketchembed.evaluation.fewshot.finetuning import FromScratchMethod, MAMLMethod
from sketchembed.evaluation.fewshot.heads import HEADS
from sketchembed.evaluation.fewshot.methods import EmbeddingMethod, Method, invert, pixel_features
from sketchembed.evaluation.fewshot.scores import EpisodeSetting, measure
from sketchembed.evaluation.models import Model, trained_baselines
from sketchembed.evaluation.wandb_results import save_scores
from sketchembed.networks.conv4 import Conv4, for_inference
from sketchembed.networks.maml import MAML
from sketchembed.networks.network import Network
from sketchembed.networks.protonet import ProtoNet
from sketchembed.reporting.part import Part
from sketchembed.runs.ranks import Ranks

DataName = Literal["omniglot", "mini-imagenet"]
SETTINGS = {"omniglot": "5w1s,5w5s,20w1s,20w5s", "mini-imagenet": "5w1s,5w5s,5w20s,5w50s"}
EPISODES = {"omniglot": 2000, "mini-imagenet": 1000}
"""Number of episodes per setting in the released code."""
CURVE_EPISODES = 500  # number of episodes per checkpoint of a run in the released code
BASELINES = ("pixels", "neighbours", "random", "scratch", "trained")
UNTRAINED = "pixels,neighbours,random"


@dataclass(frozen=True)
class FewShotProtocol:
    """Settings of a few-shot evaluation.

    Args:
        data: omniglot or mini-imagenet.
        split: split of Omniglot: vinyals, lake, lake-pooled or lake-runs.
        part: part of the split: train, val or test.
        source: images of Omniglot: rasterized strokes, or the published images.
        settings: such as 5w1s,20w5s; the paper's if not given.
        episodes: number of episodes per setting; as in the released code if not given.
        query: number of queries per class, or all.
        seed: seed of the episodes.
        head: head on top of embeddings.
        baselines: comma-separated names, all or none.

    Raises:
        ConfigError: if a head or baseline is unknown, or the number of episodes is out of range.
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
        """Check the values that need no data."""
        check_known("head", self.head, HEADS)
        _ = self.baseline_names
        check_range("episodes", self.count, 1)

    @property
    def count(self) -> int:
        """Number of episodes per setting."""
        return EPISODES[self.data] if self.episodes is None else self.episodes

    @property
    def baseline_names(self) -> list[str]:
        """Names of the baselines."""
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
        """Measure models and baselines on the same episodes.

        `launch` starts the ranks, after everything has been checked. With `curves`, models are checkpoints of
        runs, for the accuracy over training steps.

        Raises:
            CheckpointError: if a model takes other images.
            ConfigError: if a setting is not possible.
            DataError: if the data are missing or damaged.
        """
        begun = time.perf_counter()
        images = self._load_images(folder, models)
        for model in models:
            check_images(model.network, images)
        trained = trained_baselines(runs) if "trained" in self.baseline_names else []
        known = {model.path for model in models}
        models = [
            *models,
            *(model for model in trained if takes_images(model.network, images) and model.path not in known),
        ]
        # All settings are checked before the first network runs.
        tasks = self._tasks(images, folder)
        ranks = launch()
        report = FewShotReport(images.about, {})
        methods = []
        for model in models:
            method = method_of(model, self.head, ranks.device)
            if curves and model.step is not None:
                method.name = f"{model.name}, step {model.step}"
                report.curves.setdefault(model.run, {})[model.step] = method.name
            methods.append(method)
        methods += untrained_baselines(images, self.head, ranks.device, self.baseline_names)
        report.methods = {method.name: method.about for method in methods}
        for method in methods:
            method.prepare(images, ranks)
        for task in tasks:
            count = len(task) if isinstance(task, OneShotRuns) else self.count
            for method, score in zip(methods, measure(methods, task, count, ranks), strict=True):
                report.add(method.name, score)
        report.seconds = time.perf_counter() - begun
        return report

    def _load_images(self, folder: Path, models: Sequence[Model]) -> ImageSet:
        """Load the images, in the size that the first model for them takes."""
        prepared = prepared_folder(folder)
        if self.data == "mini-imagenet":
            return mini_imagenet.load_mini_imagenet(
                folder / "mini_imagenet", prepared, self.part, mini_imagenet.SIZE
            )
        configs = [model.network.config for model in models]
        size = next((config.image_size for config in configs if config.channels == 1), 28)
        images = omniglot_images.load_omniglot(folder / "omniglot", prepared, self.source, size)
        split = "lake" if self.split == "lake-runs" else self.split
        chosen = omniglot_images.select_part(images, split, self.part)
        chosen.about["split"] = self.split
        return chosen

    def _tasks(self, images: ImageSet, folder: Path) -> list[Episodes] | list[OneShotRuns]:
        """Return the episodes of each setting, or Lake's published runs."""
        if self.query != "all" and not (self.query.isdigit() and int(self.query)):
            raise ConfigError(
                f"query is '{self.query}'", expected="all, or a number of 1 or more", fix="Correct --query"
            )
        query = None if self.query == "all" else int(self.query)
        if self.split == "lake-runs":
            runs = OneShotRuns(images, folder / "omniglot", prepared_folder(folder))
            images.about.update(runs=len(runs), trials=runs.trials)
            return [runs]
        texts = (self.settings or SETTINGS[self.data]).split(",")
        settings = [EpisodeSetting.parse(text) for text in texts]
        within = self.split == "lake"
        return [Episodes(images, one.way, one.shot, query, self.seed, within) for one in settings]


def fewshot(
    context: EvaluationContext,
    data: DataName = "omniglot",
    split: str = "vinyals",
    settings: str | None = None,
    episodes: int = CURVE_EPISODES,
    baselines: str = UNTRAINED,
) -> Part:
    """Few-shot classification in episodes, with baselines (tables 1, 2, 6 and 8).

    Args:
        context: the models and the data.
        data: omniglot or mini-imagenet.
        split: split of Omniglot: vinyals, lake (episodes within an alphabet), lake-pooled, or lake-runs.
        settings: such as 5w1s,20w5s; the paper's if not given.
        episodes: number of episodes per setting; the paper has 2000, which take four times as long.
        baselines: of pixels, neighbours, random, scratch, trained, separated by commas; all or none.
    """
    protocol = FewShotProtocol(
        data, split, settings=settings, episodes=episodes, seed=context.seed, baselines=baselines
    )
    report = protocol.run(context.models, context.runs, data_folder(context.folder), lambda: context.ranks)
    if context.ranks.is_rank_zero:
        save_scores(report, context.wandb, context.project)
    return report.part()


def method_of(model: Model, head: str, device: torch.device) -> Method:
    """Return the few-shot method of a trained network; `head` is not used for a ProtoNet and for MAML."""
    network = model.network.to(device).eval()
    if isinstance(network, MAML):
        return MAMLMethod(model.name, network, about=model.facts)
    network = for_inference(network)
    proto = isinstance(network, ProtoNet)
    return EmbeddingMethod(
        model.name, network.embed, "centroid" if proto else head, normalise=not proto, about=model.facts
    )


def untrained_baselines(
    images: ImageSet, head: str, device: torch.device, names: Sequence[str]
) -> list[Method]:
    """Return the named baselines that are not trained before the episodes."""
    raw = EmbeddingMethod("Raw pixels", pixel_features, head)
    methods: dict[str, Method] = {
        "pixels": raw,
        "neighbours": EmbeddingMethod(
            "k-nearest neighbours",
            pixel_features,
            "neighbour",
            about={"k": 1, "features": "raw pixels"},
            shared=raw if "pixels" in names else None,
        ),
        "scratch": FromScratchMethod(),
    }
    if "random" in names:
        torch.manual_seed(0)
        network = for_inference(Conv4(images.channels, size=images.size).to(device).eval())
        # Images are inverted, so that the zero padding of convolutions continues the paper.
        methods["random"] = EmbeddingMethod(
            "Random CNN (Conv4)",
            lambda batch: network(invert(batch)),
            head,
            about={"seed": 0, "input": "ink"},
        )
    return [methods[name] for name in ("pixels", "neighbours", "random", "scratch") if name in names]


def takes_images(network: Network, images: ImageSet) -> bool:
    """Return whether a network takes images of this size and number of channels."""
    return (network.config.channels, network.config.image_size) == (images.channels, images.size)


def check_images(network: Network, images: ImageSet) -> None:
    """Raise a CheckpointError unless a network takes images of this size and number of channels."""
    if not takes_images(network, images):
        config = network.config
        raise CheckpointError(
            f"the checkpoint takes images of {config.channels} x {config.image_size} x {config.image_size}",
            expected=f"a model for the data's {images.channels} x {images.size} x {images.size}",
            fix="Choose the other data set, or another checkpoint",
        )
