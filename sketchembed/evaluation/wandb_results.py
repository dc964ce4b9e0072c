"""Results of evaluations as W&B runs, and in the summaries of the trainings that they evaluate."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.fewshot.fewshot_table import FewShotReport
from sketchembed.files.writing import whole_file
from sketchembed.reporting.part import Cell, Part
from sketchembed.reporting.runs_page import update_runs_page
from sketchembed.runs import wandb_artifacts
from sketchembed.runs.folder import Run, RunOptions, WandbMode
from sketchembed.runs.wandb_session import Session


class Evaluated(NamedTuple):
    """Name and tags of an evaluation, the files of the models, and the files with the results."""

    name: str
    tags: Sequence[str]
    weights: Sequence[Path]
    files: Sequence[Path]


def track_fewshot(report: FewShotReport, files: Sequence[Path], context: EvaluationContext) -> None:
    """Log a few-shot report as a W&B run: table, figure, and all numbers in the summary.

    `files` are those of the report, of which the last is the figure.
    """

    def log(wandb: Any, run: Any) -> None:
        table = wandb.Table(columns=["method", "setting", "accuracy", "ci95", "episodes", "digest"])
        for method, scores in report.scores.items():
            for setting, score in scores.items():
                table.add_data(
                    method, setting, score.mean, score.interval, len(score.accuracies), score.digest
                )
                run.summary[f"fewshot/{method}/{setting}"] = score.mean
        run.log({"fewshot/table": table, "fewshot/figure": wandb.Html(files[-1].read_text())})
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

    names = [str(report.data[key]) for key in ("data", "split", "part") if report.data.get(key)]
    config = {"data": report.data, "methods": report.methods}
    weights = [Path(str(facts["checkpoint"])) for facts in report.methods.values() if "checkpoint" in facts]
    evaluated = Evaluated(" ".join(["fewshot", *names]), ["fewshot", *names], weights, files)
    _log_run(log, evaluated, config, context, context.out.parent)


def track_parts(
    name: str, parts: Sequence[Part], context: EvaluationContext, weights: Sequence[Path]
) -> None:
    """Log parts of a report as one W&B run: tables, figures, and all numbers in the summary.

    `weights` are the files of the evaluated models.
    """

    def log(wandb: Any, run: Any) -> None:
        for part in parts:
            for number, table in enumerate(part.tables, start=1):
                rows = [[_text(cell) for cell in row] for row in table.rows]
                rows += [[f"paper: {_text(row[0])}", *map(_text, row[1:])] for row in table.paper]
                run.log({f"{part.name}/table-{number}": wandb.Table(columns=table.columns, data=rows)})
            for figure in part.figures:
                run.log({f"{part.name}/{figure.name}": wandb.Html(figure.svg)})
            run.summary.update({f"{part.name}/{key}": value for key, value in part.values.items()})

    names = [part.name for part in parts]
    files = [context.out / f"{each}.json" for each in names]
    config = {part.name: part.facts for part in parts}
    _log_run(log, Evaluated(name, names, weights, files), config, context, context.out)


def save_scores(report: FewShotReport, wandb: WandbMode, project: str) -> None:
    """Save few-shot scores with the runs that trained the models.

    They are written to ``scores.json`` of the run's folder, which the page of all runs shows, and to the W&B
    summary of the training as ``fewshot/DATA-SPLIT-PART/SETTING``. If several checkpoints of a run were
    evaluated, the scores of the last one are saved.
    """
    names = [str(report.data[key]) for key in ("data", "split", "part") if report.data.get(key)]
    latest: dict[Path, tuple[int, str]] = {}
    for name, facts in report.methods.items():
        checkpoint = Path(str(facts.get("checkpoint", "")))
        if checkpoint.parent.name == "checkpoints" and name in report.scores:
            entry = (int(facts.get("step") or 0), name)
            folder = checkpoint.parents[1]
            latest[folder] = max(entry, latest.get(folder, entry))
    for folder, (step, name) in latest.items():
        scores = report.scores[name]
        saved = Run(folder).scores | {
            " ".join(names): {"step": step, "scores": [score.to_dict() for score in scores.values()]}
        }
        with whole_file(folder / "scores.json") as file:
            file.write(json.dumps(saved, indent=1).encode())
        update_runs_page(folder)
        key = re.sub(r"[^a-z0-9]+", "-", " ".join(names).lower())
        values = {f"fewshot/{key}/{setting}": score.mean for setting, score in scores.items()}
        _update_summary(folder, values, wandb, project)


def _update_summary(folder: Path, values: dict[str, float], wandb: WandbMode, project: str) -> None:
    """Add values to the W&B summary of a training, if it was tracked and is finished."""
    mode = RunOptions(wandb=wandb).wandb_mode()
    facts = Run(folder).facts
    if mode == "disabled" or not facts.get("finished") or not (folder / "wandb").is_dir():
        return
    options = {"project": project, "name": folder.name, "id": facts.get("wandb_id"), "resume": "allow"}
    options |= {"job_type": "training", "tags": Run(folder).tags}
    try:
        session = Session(mode, folder, print, **options)
    except ModuleNotFoundError:
        return
    session.attempt(lambda: session.run.summary.update(values))
    session.finish()


def _log_artifacts(run: Any, evaluated: Evaluated) -> None:
    """Record the weights as inputs of an evaluation and its files as the output."""
    for file in dict.fromkeys(evaluated.weights):
        wandb_artifacts.use(run, wandb_artifacts.weights_artifact(file))
    run.log_artifact(wandb_artifacts.scores_artifact(evaluated.name, evaluated.files))


def _text(cell: Cell) -> str:
    """Return a cell as text, because the columns of a W&B table have one type."""
    return "" if cell is None else str(cell)


def _log_run(
    log: Callable[[Any, Any], None],
    evaluated: Evaluated,
    config: dict[str, Any],
    context: EvaluationContext,
    folder: Path,
) -> None:
    """Open a W&B run, let `log` write to it, add its artifacts, close it, and print where it is."""
    mode = RunOptions(wandb=context.wandb).wandb_mode()
    if mode == "disabled":
        return
    lines: list[str] = []
    options = {"project": context.project, "name": evaluated.name, "config": config}
    options |= {"job_type": "evaluation", "tags": list(evaluated.tags)}
    try:
        import wandb as module

        session = Session(mode, folder, lines.append, **options)
    except ModuleNotFoundError as error:
        print(f"W&B is not used: {error}. `pip install wandb` installs it; the report does not need it.")
        return
    session.attempt(log, module, session.run)
    session.attempt(_log_artifacts, session.run, evaluated)
    session.finish()
    for line in lines:
        print(line)
