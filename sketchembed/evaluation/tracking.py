"""Evaluations on the W&B dashboard, beside the trainings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sketchembed.reporting.fewshot_report import FewShotReport


def track(report: FewShotReport, figure: Path, mode: str, project: str, folder: Path) -> str:
    """Log a few-shot report as a W&B run of its own: its table, its figure, and each number in the summary.

    Args:
        report: the report.
        figure: its SVG.
        mode: ``offline``, ``online`` or ``disabled``.
        project: of W&B.
        folder: for W&B's files.

    Returns:
        a line that says where it is; empty if W&B is disabled.
    """
    if mode == "disabled":
        return ""
    try:
        import wandb
    except ModuleNotFoundError as error:
        return f"W&B is left out: {error}. `pip install wandb` brings it; the report needs nothing."
    os.environ.setdefault("WANDB_SILENT", "true")
    names = " ".join(str(report.data.get(key)) for key in ("data", "split", "part"))
    run = wandb.init(
        project=project,
        name=f"fewshot {names}",
        job_type="evaluation",
        dir=str(folder),
        mode="online" if mode == "online" else "offline",
        config={"data": report.data, "methods": report.methods},
    )
    table = wandb.Table(columns=["method", "setting", "accuracy", "ci95", "episodes", "digest"])
    for method, scores in report.scores.items():
        for setting, score in scores.items():
            table.add_data(method, setting, score.mean, score.interval, len(score.accuracies), score.digest)
            run.summary[f"fewshot/{method}/{setting}"] = score.mean
    logged: dict[str, Any] = {"fewshot/table": table, "fewshot/figure": wandb.Html(figure.read_text())}
    run.log(logged)
    for setting in report.settings if report.curves else ():
        for run_name, steps in report.curves.items():
            points = [[step, report.scores[name][setting].mean] for step, name in steps.items()]
            line = wandb.plot.line(
                wandb.Table(data=points, columns=["step", "accuracy"]),
                "step",
                "accuracy",
                title=f"{run_name}, {setting}",
            )
            run.log({f"fewshot/{run_name}/{setting}": line})
    where = run.dir
    run.finish()
    return f"wandb   offline in {Path(where).parent}; `wandb sync` sends it" if mode == "offline" else ""
