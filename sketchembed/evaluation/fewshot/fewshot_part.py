"""Few-shot classification as a part of a checkpoint's report."""

from __future__ import annotations

from sketchembed.data.folders import data_folder
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.fewshot.fewshot_table import FewShotReport, accuracies
from sketchembed.evaluation.fewshot.protocol import UNTRAINED, DataName, FewShotProtocol
from sketchembed.evaluation.wandb_results import save_scores
from sketchembed.reporting.part import Cell, Figure, Part, Table

PRINTED = {"vinyals": "Tables 1 and 8", "lake": "Table 6", "ravi": "Table 2"}
"""Where the paper has the numbers, by the split of the data."""


def fewshot(
    context: EvaluationContext,
    data: DataName = "omniglot",
    split: str = "vinyals",
    settings: str | None = None,
    episodes: int = 500,
    baselines: str = UNTRAINED,
) -> Part:
    """Few-shot classification in episodes, beside baselines (tables 1, 2, 6 and 8).

    Args:
        context: the model, and the Conv-VAE beside it.
        data: omniglot or mini-imagenet.
        split: of Omniglot: vinyals, lake (episodes within an alphabet), lake-pooled, or lake-runs.
        settings: as 5w1s,20w5s; the paper's if not given.
        episodes: of each setting; the paper's 2000 take four times as long.
        baselines: of pixels, neighbours, random, scratch, trained; all or none.
    """
    protocol = FewShotProtocol(
        data, split, settings=settings, episodes=episodes, seed=context.seed, baselines=baselines
    )
    report = protocol.run(context.both, context.runs, data_folder(context.folder), lambda: context.ranks)
    if context.ranks.is_rank_zero:
        save_scores(report, context.wandb, context.project)
    return as_part(report)


def as_part(report: FewShotReport) -> Part:
    """Return a few-shot report as a part of a larger one.

    Args:
        report: with scores.
    """
    settings = report.settings
    printed = PRINTED.get(str(report.data.get("split")), "Few-shot")
    rows: list[list[Cell]] = [
        [
            name,
            *(f"{row[key].mean:.2f} ± {row[key].interval:.2f}" if key in row else None for key in settings),
        ]
        for name, row in ((name, report.scores.get(name, {})) for name in report.methods)
    ]
    paper: list[list[Cell]] = [
        [name, *(f"{row[key]:.2f}" if key in row else None for key in settings)]
        for name, row in report.paper.items()
    ]
    first = next(iter(report.scores.values()))
    counts = sorted({len(score.accuracies) for score in first.values()})
    many = " or ".join(f"{count:,}" for count in counts)
    facts = {**report.data, "methods": report.methods}
    for key, score in first.items():
        told = score.to_dict()
        facts[f"episodes of {key}"] = (
            f"{told['episodes']}, queries a class {told['query']}, "
            f"seed {'published' if score.seed is None else score.seed}, digest {score.digest}"
        )
    return Part(
        "fewshot",
        report.title,
        f"{many} episodes of each setting, the same for every method, on "
        f"{report.data.get('classes', 'all')} classes. In each episode a classifier is fitted to the "
        "embeddings of the support images and asked about the other images of the classes.",
        [
            Table(
                f"{printed}: accuracy in per cent ± half of the 95 % interval",
                ["method", *settings],
                rows,
                paper,
                "The paper's numbers are of 2,000 episodes of each setting (mini-ImageNet: 1,000).",
            )
        ],
        [
            Figure(
                "fewshot-accuracies",
                report.title,
                accuracies(report),
                "Dots: measured here, with the 95 % interval. Hollow diamonds: the paper's numbers.",
            )
        ],
        values={
            f"{name}/{key}": score.mean for name, row in report.scores.items() for key, score in row.items()
        },
        facts=facts,
    )
