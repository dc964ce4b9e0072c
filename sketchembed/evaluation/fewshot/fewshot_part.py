"""Few-shot classification as a part of a report."""

from __future__ import annotations

from sketchembed.data.folders import data_folder
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.fewshot.fewshot_table import FewShotReport, accuracies
from sketchembed.evaluation.fewshot.protocol import (
    CURVE_EPISODES,
    UNTRAINED,
    DataName,
    FewShotProtocol,
)
from sketchembed.evaluation.wandb_results import save_scores
from sketchembed.reporting.part import Figure, Part

PAPER_TABLES = {"vinyals": "Tables 1 and 8", "lake": "Table 6", "ravi": "Table 2"}
"""Tables of the paper by the split of the data."""


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
    return part_of(report)


def part_of(report: FewShotReport) -> Part:
    """Return a few-shot report as a part of a larger report."""
    tables = PAPER_TABLES.get(str(report.data.get("split")), "Few-shot")
    table = report.table(f"{tables}: accuracy in percent ± half of the 95 % interval")
    table.note = "The paper's numbers are for 2,000 episodes per setting (mini-ImageNet: 1,000)."
    first = next(iter(report.scores.values()))
    counts = sorted({len(score.accuracies) for score in first.values()})
    facts = {**report.data, "methods": report.methods}
    for key, score in first.items():
        facts[f"episodes of {key}"] = (
            f"{len(score.accuracies)}, queries per class {score.to_dict()['query']}, "
            f"seed {'published' if score.seed is None else score.seed}, digest {score.digest}"
        )
    return Part(
        "fewshot",
        report.title,
        f"Accuracy over {' or '.join(f'{count:,}' for count in counts)} episodes per setting, drawn from "
        f"{report.data.get('classes', 'all')} classes. All methods are evaluated on the same episodes. In "
        "each episode, a classifier is fitted to the embeddings of the support images and predicts the "
        "classes of the query images.",
        [table],
        [
            Figure(
                "fewshot-accuracies",
                report.title,
                accuracies(report),
                "Dots: this evaluation, with 95 % intervals. Hollow diamonds: the paper's numbers.",
            )
        ],
        values={
            f"{name}/{key}": score.mean for name, row in report.scores.items() for key, score in row.items()
        },
        facts=facts,
    )
