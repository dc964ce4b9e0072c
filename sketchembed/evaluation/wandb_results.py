"""Evaluations on the W&B dashboard, beside the trainings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sketchembed.evaluation.fewshot.fewshot_table import FewShotReport
from sketchembed.files.writing import whole_file
from sketchembed.reporting.part import Cell, Part
from sketchembed.reporting.runs_page import update_runs_page
from sketchembed.runs.folder import Run
from sketchembed.runs.wandb_session import Session


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

    def log(wandb: Any, run: Any) -> None:
        table = wandb.Table(columns=["method", "setting", "accuracy", "ci95", "episodes", "digest"])
        for method, scores in report.scores.items():
            for setting, score in scores.items():
                table.add_data(
                    method, setting, score.mean, score.interval, len(score.accuracies), score.digest
                )
                run.summary[f"fewshot/{method}/{setting}"] = score.mean
        run.log({"fewshot/table": table, "fewshot/figure": wandb.Html(figure.read_text())})
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

    names = " ".join(str(report.data.get(key)) for key in ("data", "split", "part"))
    config = {"data": report.data, "methods": report.methods}
    return _logged(log, f"fewshot {names}", mode, project, folder, config)


def note_scores(report: FewShotReport, mode: str, project: str) -> None:
    """Write the scores of trained models to their runs.

    They are kept in ``scores.json`` of the run's folder, for the page of all runs, and in W&B's summary of
    the training, as ``fewshot/DATA-SPLIT-PART/SETTING``, if it was tracked and has ended. Of a run whose
    checkpoints were all scored, the last one counts.

    Args:
        report: with scores.
        mode: ``offline``, ``online`` or ``disabled``.
        project: of W&B.
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
        kept = Run(folder).scores | {
            " ".join(names): {"step": step, "scores": [score.to_dict() for score in scores.values()]}
        }
        with whole_file(folder / "scores.json") as file:
            file.write(json.dumps(kept, indent=1).encode())
        update_runs_page(folder)
        key = re.sub(r"[^a-z0-9]+", "-", " ".join(names).lower())
        _to_training(
            folder, {f"fewshot/{key}/{one}": score.mean for one, score in scores.items()}, mode, project
        )


def _to_training(folder: Path, values: dict[str, float], mode: str, project: str) -> None:
    """Add to the summary of a training on W&B, if it is there and has ended."""
    facts = Run(folder).facts
    if mode == "disabled" or not facts.get("finished") or not (folder / "wandb").is_dir():
        return
    options = {"project": project, "name": folder.name, "id": facts.get("wandb_id"), "resume": "allow"}
    try:
        session = Session(mode, folder, print, **options)
    except ModuleNotFoundError:
        return
    session.attempt(lambda: session.run.summary.update(values))
    session.finish()


def track_parts(name: str, parts: Sequence[Part], mode: str, project: str, folder: Path) -> str:
    """Log parts of a report as one W&B run: tables, figures, and each number in the summary.

    Args:
        name: of the run.
        parts: see there.
        mode: ``offline``, ``online`` or ``disabled``.
        project: of W&B.
        folder: for W&B's files.

    Returns:
        a line that says where it is; empty if W&B is disabled.
    """

    def log(wandb: Any, run: Any) -> None:
        for part in parts:
            for number, table in enumerate(part.tables):
                rows = [[_text(cell) for cell in row] for row in table.rows]
                rows += [[f"paper: {_text(row[0])}", *map(_text, row[1:])] for row in table.paper]
                logged = wandb.Table(columns=table.columns, data=rows)
                run.log({f"{part.name}/table-{number + 1}": logged})
            for figure in part.figures:
                run.log({f"{part.name}/{figure.name}": wandb.Html(figure.svg)})
            run.summary.update({f"{part.name}/{name}": value for name, value in part.values.items()})

    return _logged(log, name, mode, project, folder, {part.name: part.facts for part in parts})


def _text(cell: Cell) -> str:
    """Return a cell as text: a column of W&B's has one type, and these have texts and numbers together."""
    return "" if cell is None else str(cell)


def _logged(
    log: Callable[[Any, Any], None],
    name: str,
    mode: str,
    project: str,
    folder: Path,
    config: dict[str, Any],
) -> str:
    """Open a W&B run, let `log` write to it, and say where it is."""
    if mode == "disabled":
        return ""
    said: list[str] = []
    try:
        import wandb

        session = Session(
            mode, folder, said.append, project=project, name=name, job_type="evaluation", config=config
        )
    except ModuleNotFoundError as error:
        return f"W&B is left out: {error}. `pip install wandb` brings it; the report needs nothing."
    session.attempt(log, wandb, session.run)
    session.finish()
    return "\n".join(said)
