"""`sketchembed evaluate fewshot`: few-shot classification with embeddings."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

from sketchembed.cli.parser import OneLineErrorParser, normalize_options, rename_device
from sketchembed.data.folders import data_folder
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.fewshot.protocol import CURVE_EPISODES, UNTRAINED, FewShotProtocol
from sketchembed.evaluation.models import Model, default_model, models_of_run, newest_model
from sketchembed.evaluation.wandb_results import save_scores, track_fewshot
from sketchembed.files.progress_bar import ProgressBar
from sketchembed.files.writing import check_output
from sketchembed.runs.process import tune_process


def run(args: list[str]) -> None:
    """Evaluate models on the same episodes, write a report and track it."""
    parser = _parser()
    given = parser.instantiate(parser.parse_args(rename_device(normalize_options(args)))).as_dict()
    tune_process()
    options = {field.name: given.pop(field.name) for field in fields(FewShotProtocol)}
    checkpoint, checkpoints = given.pop("checkpoint"), given.pop("checkpoints")
    context = EvaluationContext(**given)
    check_output(context.out.parent)
    if checkpoints:
        if options["episodes"] is None:
            options["episodes"] = CURVE_EPISODES
        if options["baselines"] == UNTRAINED:
            options["baselines"] = "none"
    protocol = FewShotProtocol(**options)
    channels = 3 if protocol.data == "mini-imagenet" else 1
    models = _load_models(checkpoint, checkpoints, context.runs, channels)
    root = data_folder(context.folder)
    with ProgressBar("Evaluating fewshot"):
        report = protocol.run(models, context.runs, root, lambda: context.ranks, bool(checkpoints))
    if context.ranks.is_rank_zero:
        print(report.markdown())
        written = report.write(context.out)
        print(*written, sep="\n")
        track_fewshot(report, written, context)
        save_scores(report, context.wandb, context.project)


def _parser() -> OneLineErrorParser:
    parser = OneLineErrorParser(
        prog="sketchembed evaluate fewshot",
        description="Few-shot classification in episodes, with baselines and the paper's numbers. Splits of "
        "Omniglot are vinyals, lake (episodes within an alphabet), lake-pooled and lake-runs (the published "
        "one-shot runs, for which settings, episodes and query are fixed). Heads are logistic, centroid, "
        "neighbour, and two slow ones: logistic-sklearn, the reference, and logistic-released, which stops "
        "where the released program did. Baselines are pixels, neighbours, random (an untrained Conv4), "
        "scratch (a Conv4 trained on the support images of each episode: slow) and trained (baselines "
        "in `runs`).",
    )
    parser.add_argument(
        "--checkpoint",
        type=str | None,
        default=None,
        help="a .ckpt or .safetensors file, a run's folder, or the name of a packaged model; several "
        "separated by commas; by default the newest run in `runs` for such images, else a packaged model",
    )
    parser.add_argument(
        "--checkpoints",
        type=str | None,
        default=None,
        help="a run's folder, whose checkpoints are all evaluated, for the accuracy over training steps "
        "(table 5, figure 10); several separated by commas; by default with 500 episodes, as in the released "
        "code, and without baselines",
    )
    default = Path("results/fewshot")
    parser.add_argument("--out", type=Path, default=default, help="path of the report without a suffix")
    parser.add_class_arguments(FewShotProtocol)
    parser.add_class_arguments(EvaluationContext, skip={"checkpoint", "vae", "seed", "out", "classifier"})
    return parser


def _load_models(checkpoint: str | None, checkpoints: str | None, runs: Path, channels: int) -> list[Model]:
    """Load the given models, else the newest one for images with so many channels, else a packaged one."""
    named = [Path(name) for name in (checkpoint or "").split(",") if name]
    series = [Path(name) for name in (checkpoints or "").split(",") if name]
    if named or series:
        models = [model for run in series for model in models_of_run(run)]
        return models + [Model.load(path) for path in named]
    model = newest_model(runs, channels)
    if model:
        line = f"model   {model.path}, of the newest run"
    else:
        model = default_model(channels)
        missing = f"no run in {runs} takes {'photos' if channels == 3 else 'drawings'}"
        line = f"model   {model.run}, a packaged model: {missing}" if model else f"{missing}: baselines only"
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(line)
    return [model] if model else []
