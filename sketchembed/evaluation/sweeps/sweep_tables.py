"""A sweep's tables and figures: accuracy by what was swept, over seeds and over steps, beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sketchembed.evaluation.sweeps.paper_sweeps import ALPHA_MAX, OVER_STEPS, SEEDS
from sketchembed.reporting.figures import drawing_as_svg, svg
from sketchembed.reporting.intervals import Interval, student_interval
from sketchembed.reporting.part import Cell, Figure, Table

ALPHA, SEED = "curriculum.alpha_max", "seed_everything"
STEP_SETTING = "20w1s"
"""Few-shot setting of tables 3 and 5."""


@dataclass
class JudgedRun:
    """What is known of a run of a sweep.

    Attributes:
        name: of the run.
        point: its swept parameters.
        state: how far it is.
        finished: whether it is.
        curves: its metrics over steps.
        scores: few-shot accuracy of its last checkpoint, in per cent, by setting; the interval is that of the
            episodes.
        over_steps: the same of 20-way 1-shot, by the training step.
        recognised: what classifiers recognise of its drawings, in per cent, of seen and of unseen classes.
    """

    name: str
    point: dict[str, Any]
    state: str
    finished: bool
    curves: Mapping[str, Any] = field(default_factory=dict)
    scores: dict[str, Interval] = field(default_factory=dict)
    over_steps: dict[int, Interval] = field(default_factory=dict)
    recognised: dict[str, float] = field(default_factory=dict)


@dataclass
class SweepResults:
    """The runs of a sweep, judged.

    Attributes:
        name: of the sweep.
        runs: see there.
        data: of the episodes: omniglot or mini-imagenet.
        encoder: of the models.
    """

    name: str
    runs: list[JudgedRun]
    data: str = "omniglot"
    encoder: str = "conv4"

    @property
    def settings(self) -> list[str]:
        """The few-shot settings that were measured."""
        return list(dict.fromkeys(key for run in self.runs for key in run.scores))

    @property
    def varied(self) -> list[str]:
        """The swept parameters."""
        return list(dict.fromkeys(key for run in self.runs for key in run.point))

    def groups(self) -> dict[str, list[JudgedRun]]:
        """Return the runs that differ in nothing but their seed, by what they are."""
        grouped: dict[str, list[JudgedRun]] = {}
        for run in self.runs:
            words = [f"{_short(key)} {_text(run.point.get(key))}" for key in self.varied if key != SEED]
            grouped.setdefault(", ".join(words) or "all seeds", []).append(run)
        return grouped

    # ---- tables ----------------------------------------------------------------------------------------

    def tables(self) -> list[Table]:
        """Return what there is to tell: of every run, of the groups, and over steps."""
        tables = [self._summary()] if self.settings else []
        if any(len(run.over_steps) > 1 for run in self.runs):
            tables.append(self._over_steps())
        return [*tables, self._runs()]

    def _runs(self) -> Table:
        judged = [which for which in ("seen", "unseen") if any(which in run.recognised for run in self.runs)]
        rows: list[list[Cell]] = []
        for run in self.runs:
            row: list[Cell] = [run.name, *(_text(run.point.get(key)) for key in self.varied), run.state]
            for key in ("train/loss", "val/loss"):
                values = [value for value in run.curves.get(key, {}).get("value", ()) if value is not None]
                row.append(f"{values[-1]:.3f}" if values else None)
            row += [_percent(run.scores.get(key)) for key in self.settings]
            row += [f"{run.recognised[which]:.1f}" if which in run.recognised else None for which in judged]
            rows.append(row)
        done = sum(run.finished for run in self.runs)
        columns = ["run", *map(_short, self.varied), "state", "train loss", "val loss", *self.settings]
        note = "Losses with another alpha are other losses, and not to be compared." if self._alpha else ""
        if self.settings:
            note = f"Accuracy in per cent, with the 95 % interval of its episodes. {note}".strip()
        if judged:
            note += " Recognised: the share of its drawings whose class a classifier names, in per cent."
        return Table(
            f"Every run: {done} of {len(self.runs)} are done",
            [*columns, *(f"recognised, {which}" for which in judged)],
            rows,
            note=note,
        )

    @property
    def _alpha(self) -> bool:
        return ALPHA in self.varied

    def _summary(self) -> Table:
        rows: list[list[Cell]] = []
        several = False
        for label, runs in self.groups().items():
            scored = [run for run in runs if run.scores]
            many = len(scored)
            several |= many > 1
            means = [
                over_seeds([run.scores[key] for run in scored if key in run.scores]) for key in self.settings
            ]
            missing = f" ({len(runs) - many} missing)" if many < len(runs) else ""
            rows.append([label, f"{many}{missing}", *map(_percent, means)])
            if many > 1:
                best = [
                    max(run.scores[key].mean for run in scored if key in run.scores) for key in self.settings
                ]
                rows.append([f"{label}, best", "", *(f"{value:.2f}" for value in best)])
        paper, number = self._paper()
        note = "Mean accuracy in per cent with the 95 % interval "
        note += (
            "over seeds (Student's t); of one seed, that of its episodes." if several else "of the episodes."
        )
        if number in ("Table 9", "Table 10", "Table 11"):
            note += " The paper's intervals are 1.96 standard errors" + (
                ", here as if of five seeds." if number == "Table 10" else "."
            )
        return Table(
            f"{number}: few-shot accuracy" if number else "Few-shot accuracy",
            ["runs", "seeds", *self.settings],
            rows,
            paper,
            note,
        )

    def _paper(self) -> tuple[list[list[Cell]], str]:
        """Return the paper's rows for such a sweep, and their table's name."""
        if self._alpha and self.data == "omniglot":
            rows: list[list[Cell]] = [
                [
                    f"alpha_max {alpha:g}",
                    "1",
                    *(f"{mean:.2f} ± {half:.2f}" if key == STEP_SETTING else None for key in self.settings),
                ]
                for alpha, (mean, half) in ALPHA_MAX.items()
            ]
            return rows, "Table 3"
        found = SEEDS.get((self.data, self.encoder))
        if found is None or self.varied != [SEED]:
            return [], ""
        at = {key: place for place, key in enumerate(found.settings)}
        means = [
            f"{found.means[at[key]]:.2f} ± {found.halves[at[key]]:.2f}" if key in at else None
            for key in self.settings
        ]
        best = [
            f"{max(row[at[key]] for row in found.rows):.2f}" if key in at else None for key in self.settings
        ]
        return [["all seeds", "15", *means], ["all seeds, best", "", *best]], found.table

    def _over_steps(self) -> Table:
        steps = sorted({step for run in self.runs for step in run.over_steps})
        rows: list[list[Cell]] = []
        for label, runs in self.groups().items():
            cells = [
                over_seeds([run.over_steps[step] for run in runs if step in run.over_steps]) for step in steps
            ]
            rows.append([label, *(f"{cell.mean:.2f}" if cell else None for cell in cells)])
        paper: list[list[Cell]] = []
        note = "Mean accuracy over the seeds, in per cent."
        if self._alpha and self.data == "omniglot" and len(steps) == len(next(iter(OVER_STEPS.values()))):
            paper = [
                [f"alpha_max {alpha:g}", *(f"{value:.2f}" for value in values)]
                for alpha, values in OVER_STEPS.items()
            ]
            note += " The paper's steps are the twelve parts of 300,000."
        title = "Table 5: 20-way 1-shot accuracy" if self._alpha else "20-way 1-shot accuracy"
        return Table(f"{title} over training steps", ["runs", *map(_steps, steps)], rows, paper, note)

    # ---- figures ---------------------------------------------------------------------------------------

    def figures(self) -> list[Figure]:
        """Return the tables as pictures, and the losses of all runs."""
        made = []
        if self.settings:
            made.append(
                Figure(
                    "sweep-accuracies",
                    "Few-shot accuracy",
                    self._draw_accuracies(),
                    "Small dots: runs. Large dots: their mean with the 95 % interval over seeds, or of the "
                    "episodes of a single run. Hollow diamonds: the paper's.",
                )
            )
        if any(len(run.over_steps) > 1 for run in self.runs):
            made.append(
                Figure(
                    "sweep-steps",
                    "20-way 1-shot accuracy over training steps",
                    self._draw_steps(),
                    "As figure 10: a line is the mean over seeds; thin ones are the runs.",
                )
            )
        if any("val/loss" in run.curves for run in self.runs):
            made.append(
                Figure(
                    "sweep-losses", "Validation loss", self._draw_losses(), "A line is a run, a colour a row."
                )
            )
        return made

    def _draw_accuracies(self) -> str:
        groups = list(self.groups().items())
        paper = self._paper_points()
        names = [label for label, _ in groups] + [name for name, _ in paper]
        with drawing_as_svg() as figures:
            figure, panels = figures.subplots(
                1,
                len(self.settings),
                sharey=True,
                squeeze=False,
                figsize=(2.5 + 2.2 * len(self.settings), 1.2 + 0.32 * len(names)),
            )
            for panel, key in zip(panels[0], self.settings, strict=True):
                for place, (_, runs) in enumerate(groups):
                    scores = [run.scores[key] for run in runs if key in run.scores]
                    mean = over_seeds(scores)
                    if mean is None:
                        continue
                    if len(scores) > 1:
                        means = [score.mean for score in scores]
                        panel.plot(
                            means, [place - 0.25] * len(scores), "o", color="C0", alpha=0.5, markersize=3
                        )
                    panel.errorbar(mean.mean, place, xerr=mean.half, fmt="o", color="C0", capsize=2)
                for place, (_, points) in enumerate(paper, start=len(groups)):
                    values = points.get(key, [])
                    panel.plot(
                        values, [place] * len(values), "D", color="0.45", fillstyle="none", markersize=5
                    )
                # Intervals of two or three seeds may reach beyond what an accuracy can be.
                low, high = panel.get_xlim()
                panel.set_xlim(max(low, 0), min(high, 100.5))
                panel.set_title(key)
                panel.set_xlabel("accuracy, %")
                panel.grid(axis="x", color="0.9")
            panels[0][0].set_yticks(range(len(names)), names)
            panels[0][0].set_ylim(len(names) - 0.4, -0.6)
            return svg(figure)

    def _paper_points(self) -> list[tuple[str, dict[str, Sequence[float]]]]:
        if self._alpha and self.data == "omniglot":
            return [
                (f"the paper's: alpha_max {alpha:g}", {STEP_SETTING: [mean]})
                for alpha, (mean, _) in ALPHA_MAX.items()
            ]
        found = SEEDS.get((self.data, self.encoder))
        if found is None or self.varied != [SEED]:
            return []
        return [
            ("the paper's 15 seeds", dict(zip(found.settings, zip(*found.rows, strict=True), strict=True)))
        ]

    def _draw_steps(self) -> str:
        with drawing_as_svg() as figures:
            figure, panel = figures.subplots(figsize=(6.5, 3.6))
            for number, (label, runs) in enumerate(self.groups().items()):
                runs = [run for run in runs if run.over_steps]
                for run in runs if len(runs) > 1 else []:
                    means = [one.mean for one in run.over_steps.values()]
                    panel.plot(list(run.over_steps), means, color=f"C{number}", alpha=0.35, linewidth=0.8)
                steps = sorted({step for run in runs for step in run.over_steps})
                lines = [
                    over_seeds([run.over_steps[step] for run in runs if step in run.over_steps])
                    for step in steps
                ]
                panel.plot(
                    steps, [line.mean for line in lines if line], ".-", color=f"C{number}", label=label
                )
            panel.set_xlabel("steps")
            panel.set_ylabel("accuracy, %")
            panel.grid(color="0.9")
            panel.legend(fontsize="small")
            return svg(figure)

    def _draw_losses(self) -> str:
        with drawing_as_svg() as figures:
            figure, panel = figures.subplots(figsize=(6.5, 3.4))
            for number, (label, runs) in enumerate(self.groups().items()):
                drawn = [run.curves["val/loss"] for run in runs if run.curves.get("val/loss")]
                for place, curve in enumerate(drawn):
                    values = [np.nan if value is None else value for value in curve["value"]]
                    # One entry of the legend for all runs of a colour.
                    named = {} if place else {"label": label}
                    panel.plot(
                        curve["step"], values, ".-", color=f"C{number}", linewidth=0.9, markersize=3, **named
                    )
            panel.set_xlabel("steps")
            panel.set_ylabel("validation loss")
            panel.grid(color="0.9")
            panel.legend(fontsize="small")
            return svg(figure)


def over_seeds(scores: Sequence[Interval]) -> Interval | None:
    """Return the mean of several runs with its 95 % interval; of one, its own; None of none.

    *Source*: appendix G, which leaves the episodes' variance out, too.

    Args:
        scores: of runs that differ in their seed.
    """
    if not scores:
        return None
    return scores[0] if len(scores) == 1 else student_interval([score.mean for score in scores])


def _percent(score: Interval | None) -> Cell:
    return None if score is None else f"{score.mean:.2f} ± {score.half:.2f}"


def _short(key: str) -> str:
    return "seed" if key == SEED else key.rpartition(".")[2]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _steps(step: int) -> str:
    return f"{step // 1000}k" if step >= 10_000 and step % 1000 == 0 else str(step)
