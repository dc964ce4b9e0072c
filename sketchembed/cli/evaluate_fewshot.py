"""`sketchembed evaluate fewshot`: few-shot classification with embeddings."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Literal

from sketchembed.data.folders import data_folder
from sketchembed.data.sources import omniglot_images
from sketchembed.evaluation.fewshot.protocol import CURVE_EPISODES, UNTRAINED, DataName, FewShotProtocol
from sketchembed.evaluation.models import Model, along, newest, standing_in
from sketchembed.evaluation.wandb_results import save_scores, track_fewshot
from sketchembed.runs.process import tune_process
from sketchembed.runs.ranks import Ranks


def fewshot(
    checkpoint: str | None = None,
    checkpoints: str | None = None,
    data: DataName = "omniglot",
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
    """Evaluate few-shot classification in episodes, with baselines and the paper's numbers.

    Args:
        checkpoint: a .ckpt or .safetensors file, a run's folder, or the name of a packaged model; several
            separated by commas. Default: the newest run in `runs` for such images, else a packaged model.
        checkpoints: a run's folder; every checkpoint of it is evaluated for the accuracy over training steps
            (table 5, figure 10). Several separated by commas. By default with 500 episodes, as in the
            released code, and without baselines.
        data: omniglot or mini-imagenet.
        split: of Omniglot: vinyals, lake (episodes within an alphabet), lake-pooled, or lake-runs (the
            published one-shot runs, for which settings, episodes and query are fixed).
        part: of the split: train, val or test.
        source: of Omniglot: rasters of the strokes, or the published images.
        settings: such as 5w1s,20w5s; by default those of the paper.
        episodes: per setting; by default 2000 for Omniglot and 1000 for mini-ImageNet.
        query: query images per class: a number, or all the remaining ones, as in the released code.
        seed: of the episodes.
        head: logistic, centroid, neighbour, or logistic-sklearn, the slow reference.
        baselines: pixels, neighbours, random (an untrained Conv4), scratch (a Conv4 trained on the support
            images of each episode: slow), trained (baselines in `runs`), separated by commas; all or none.
        runs: folder of runs with models.
        out: path of the report without a suffix.
        folder: of the data sets; by default SKETCHEMBED_DATA, else data.
        devices: number of processes, each with its own device; auto for all GPUs.
        accelerator: auto, cpu or cuda.
        wandb: offline (needs no account), online or disabled; auto is WANDB_MODE, else offline.
        project: W&B project.
    """
    tune_process()
    curves = bool(checkpoints)
    protocol = FewShotProtocol(
        data,
        split,
        part,
        source,
        settings,
        CURVE_EPISODES if curves and episodes is None else episodes,
        query,
        seed,
        head,
        "none" if curves and baselines == UNTRAINED else baselines,
    )
    models = _load_models(checkpoint, checkpoints, runs, 3 if data == "mini-imagenet" else 1)

    launch = cache(lambda: Ranks.launch(devices, accelerator))
    report = protocol.run(models, runs, data_folder(folder), launch, curves)
    if launch().is_rank_zero:
        print(report.markdown())
        written = report.write(out)
        for path in written:
            print(path)
        track_fewshot(report, written[-1], wandb, project, out.parent)
        save_scores(report, wandb, project)


def _load_models(checkpoint: str | None, checkpoints: str | None, runs: Path, channels: int) -> list[Model]:
    """Load the given models, else the newest one for images with so many channels, else a packaged one."""
    named = [Path(name) for name in (checkpoint or "").split(",") if name]
    series = [Path(name) for name in (checkpoints or "").split(",") if name]
    if named or series:
        return [model for run in series for model in along(run)] + [Model.load(path) for path in named]
    model = newest(runs, channels)
    if model:
        line = f"model   {model.path}, of the newest run"
    else:
        model = standing_in(channels)
        missing = f"no run in {runs} takes {'photos' if channels == 3 else 'drawings'}"
        line = f"model   {model.run}, a packaged model: {missing}" if model else f"{missing}: baselines only"
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(line)
    return [model] if model else []
