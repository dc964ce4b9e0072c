"""Figures of a sweep: accuracies, accuracy over steps, and validation losses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sketchembed.evaluation.sweeps.sweep_tables import STEP_SETTING, SweepResults, mean_over_steps, over_seeds
from sketchembed.reporting.accuracy_figure import AccuracyRow, accuracy_figure
from sketchembed.reporting.figures import drawing_as_svg, svg
from sketchembed.reporting.part import Figure


def sweep_figures(results: SweepResults) -> list[Figure]:
    """Return the figures for which there are results."""
    made = []
    if results.settings:
        caption = (
            "Small dots: runs. Large dots: their mean with its 95 % interval over seeds; for a single run, "
            "over episodes. Hollow diamonds: the paper's numbers."
        )
        figure = accuracy_figure(results.settings, _accuracy_rows(results))
        made.append(Figure("sweep-accuracies", "Few-shot accuracy", figure, caption))
    if results.has_steps:
        title = "20-way 1-shot accuracy over training steps"
        caption = "As figure 10. Thick lines: mean over seeds. Thin lines: runs."
        made.append(Figure("sweep-steps", title, _steps(results), caption))
    if any("val/loss" in run.curves for run in results.runs):
        caption = "One line per run. Runs that differ only in their seed have the same colour."
        made.append(Figure("sweep-losses", "Validation loss", _losses(results), caption))
    return made


def _accuracy_rows(results: SweepResults) -> list[AccuracyRow]:
    rows = []
    for label, runs in results.groups().items():
        row = AccuracyRow(label)
        for key in results.settings:
            scores = [run.scores[key] for run in runs if key in run.scores]
            if mean := over_seeds(scores):
                row.measured[key] = mean
                row.runs[key] = [score.mean for score in scores] if len(scores) > 1 else ()
        rows.append(row)
    for alpha, (accuracy, _) in results.paper_alpha.items():
        rows.append(AccuracyRow(f"paper: alpha_max {alpha:g}", paper={STEP_SETTING: [accuracy]}))
    if found := results.paper_seeds:
        columns = {
            key: list(column)
            for key, column in zip(found.settings, zip(*found.rows, strict=True), strict=True)
        }
        rows.append(AccuracyRow("paper: 15 seeds", paper=columns))
    return rows


def _steps(results: SweepResults) -> str:
    with _line_figure("accuracy, %") as (figure, panel):
        for number, (label, runs) in enumerate(results.groups().items()):
            runs = [run for run in runs if run.over_steps]
            for run in runs if len(runs) > 1 else []:
                means = [one.mean for one in run.over_steps.values()]
                panel.plot(list(run.over_steps), means, color=f"C{number}", alpha=0.35, linewidth=0.8)
            over = mean_over_steps(runs)
            panel.plot(list(over), [one.mean for one in over.values()], ".-", color=f"C{number}", label=label)
        panel.legend(fontsize="small")
        return svg(figure)


def _losses(results: SweepResults) -> str:
    with _line_figure("validation loss") as (figure, panel):
        for number, (label, runs) in enumerate(results.groups().items()):
            curves = [run.curves["val/loss"] for run in runs if run.curves.get("val/loss")]
            for place, curve in enumerate(curves):
                values = [np.nan if value is None else value for value in curve["value"]]
                style = {"color": f"C{number}", "linewidth": 0.9, "markersize": 3}
                # Matplotlib leaves labels that begin with an underscore out of the legend.
                panel.plot(curve["step"], values, ".-", label="_" if place else label, **style)
        panel.legend(fontsize="small")
        return svg(figure)


@contextmanager
def _line_figure(quantity: str) -> Iterator[tuple[Any, Any]]:
    """Yield a figure and its panel for lines over training steps."""
    with drawing_as_svg() as pyplot:
        figure, panel = pyplot.subplots(figsize=(6.5, 3.5))
        panel.set(xlabel="training steps", ylabel=quantity)
        panel.grid(color="0.9")
        yield figure, panel
