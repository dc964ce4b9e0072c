"""`sketchembed evaluate fewshot`: what an embedding is worth in episodes of few examples."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Literal

from sketchembed.data.folders import data_folder
from sketchembed.data.sources import omniglot_images
from sketchembed.evaluation.fewshot.protocol import CURVE_EPISODES, UNTRAINED, DataName, FewShotProtocol
from sketchembed.evaluation.models import Model, default_model, models_of_run, newest_model
from sketchembed.evaluation.wandb_results import note_scores, track
from sketchembed.runs.folder import RunOptions
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
    """Measure few-shot classification in episodes, beside baselines and the paper's numbers.

    Args:
        checkpoint: a .ckpt or .safetensors file, or a run's folder; several with commas between them; the
            newest run in `runs` for such images if not given, or the package's model where there is none.
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
    models = _models(checkpoint, checkpoints, runs, 3 if data == "mini-imagenet" else 1)

    launch = cache(lambda: Ranks.launch(devices, accelerator))
    report = protocol.run(models, runs, data_folder(folder), launch, curves)
    if not launch().is_rank_zero:
        return
    print(report.markdown())
    written = report.write(out)
    for path in written:
        print(path)
    mode = RunOptions(wandb=wandb).wandb_mode()
    if where := track(report, written[-1], mode, project, out.parent):
        print(where)
    note_scores(report, mode, project)


def _models(checkpoint: str | None, checkpoints: str | None, runs: Path, channels: int) -> list[Model]:
    """Load the models that are asked for, or the newest run's that takes images of so many channels."""
    named = [Path(name) for name in (checkpoint or "").split(",") if name]
    series = [Path(name) for name in (checkpoints or "").split(",") if name]
    models = [model for run in series for model in models_of_run(run)] + [Model.load(path) for path in named]
    if named or series:
        return models
    model = newest_model(runs, channels)
    kind = "photos" if channels == 3 else "drawings"
    said = f"model   {model.path}, of the newest run" if model else ""
    if model is None:
        model = default_model(channels)
        missing = f"no run in {runs} takes {kind}"
        said = (
            f"model   {model.run}, of the package: {missing}"
            if model
            else f"{missing}: only baselines without training"
        )
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(said)
    return [model] if model else []
