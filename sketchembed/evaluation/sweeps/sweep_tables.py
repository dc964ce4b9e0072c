"""Tables of a sweep: accuracy by swept option, over seeds and over steps, with the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sketchembed.evaluation.sweeps.paper_sweeps import ALPHA_MAX, OVER_STEPS, SEEDS, PaperSeeds
from sketchembed.reporting.intervals import Interval, student_interval
from sketchembed.reporting.part import Cell, Table
from sketchembed.runs.metrics import last_value

ALPHA, SEED = "curriculum.alpha_max", "seed_everything"
STEP_SETTING = "20w1s"  # few-shot setting of tables 3 and 5


@dataclass
class EvaluatedRun:
    """A run of a sweep and its results. Accuracies are in percent.

    Attributes:
        point: swept options by name.
        curves: metrics over steps.
        scores: few-shot accuracy of the last checkpoint by setting; intervals are over episodes.
        over_steps: 20-way 1-shot accuracy, by training step.
        recognised: accuracy of classifiers on the run's drawings of seen and unseen classes.
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
    """The results of all runs of a sweep, with the data set of the episodes and the encoder."""

    name: str
    runs: list[EvaluatedRun]
    data: str = "omniglot"
    encoder: str = "conv4"

    @property
    def settings(self) -> list[str]:
        """The measured few-shot settings."""
        return list(dict.fromkeys(key for run in self.runs for key in run.scores))

    @property
    def varied(self) -> list[str]:
        """The swept options."""
        return list(dict.fromkeys(key for run in self.runs for key in run.point))

    @property
    def paper_alpha(self) -> dict[float, tuple[float, float]]:
        """The paper's table 3 if this sweep is comparable, else nothing."""
        return ALPHA_MAX if ALPHA in self.varied and self.data == "omniglot" else {}

    @property
    def paper_seeds(self) -> PaperSeeds | None:
        """The paper's table of seeds that is comparable with this sweep."""
        return SEEDS.get((self.data, self.encoder)) if self.varied == [SEED] else None

    @property
    def has_steps(self) -> bool:
        """Whether a run was evaluated at several steps."""
        return any(len(run.over_steps) > 1 for run in self.runs)

    def groups(self) -> dict[str, list[EvaluatedRun]]:
        """Return groups of runs that differ only in their seed, by label."""
        grouped: dict[str, list[EvaluatedRun]] = {}
        for run in self.runs:
            words = [f"{_short(key)} {_text(run.point.get(key))}" for key in self.varied if key != SEED]
            grouped.setdefault(", ".join(words) or "all seeds", []).append(run)
        return grouped

    def tables(self) -> list[Table]:
        """Return the tables of groups, of steps, and of all runs, as far as there are results."""
        tables = [self._summary()] if self.settings else []
        return [*tables, *([self._over_steps()] if self.has_steps else []), self._runs()]

    def _runs(self) -> Table:
        kinds = [kind for kind in ("seen", "unseen") if any(kind in run.recognised for run in self.runs)]
        rows: list[list[Cell]] = []
        for run in self.runs:
            row: list[Cell] = [run.name, *(_text(run.point.get(key)) for key in self.varied), run.state]
            losses = [last_value(run.curves, key) for key in ("train/loss", "val/loss")]
            row += [None if loss is None else f"{loss:.3f}" for loss in losses]
            row += [_percent(run.scores.get(key)) for key in self.settings]
            row += [f"{run.recognised[kind]:.1f}" if kind in run.recognised else None for kind in kinds]
            rows.append(row)
        columns = ["run", *map(_short, self.varied), "state", "train loss", "val loss", *self.settings]
        notes = []
        if self.settings:
            notes.append("Accuracy in percent with its 95 % interval over episodes.")
        if ALPHA in self.varied:
            notes.append("Losses with different alpha_max are not comparable.")
        if kinds:
            notes.append("Recognised: accuracy in percent of a classifier on the run's drawings.")
        done = sum(run.finished for run in self.runs)
        return Table(
            f"All runs: {done} of {len(self.runs)} are finished",
            [*columns, *(f"recognised, {kind}" for kind in kinds)],
            rows,
            note=" ".join(notes),
        )

    def _summary(self) -> Table:
        rows: list[list[Cell]] = []
        several = False
        for label, runs in self.groups().items():
            scored = [run for run in runs if run.scores]
            several |= len(scored) > 1
            by_setting = [[run.scores[key] for run in scored if key in run.scores] for key in self.settings]
            missing = f" ({len(runs) - len(scored)} missing)" if len(scored) < len(runs) else ""
            rows.append(
                [label, f"{len(scored)}{missing}", *(_percent(over_seeds(one)) for one in by_setting)]
            )
            if len(scored) > 1:
                best = (f"{max(score.mean for score in scores):.2f}" for scores in by_setting)
                rows.append([f"{label}, best", "", *best])
        over = (
            "seeds (Student's t); a single seed has the interval over its episodes" if several else "episodes"
        )
        note = f"Mean accuracy in percent with its 95 % interval over {over}."
        paper, number = self._paper_rows()
        if self.paper_seeds:
            five = ", computed for five seeds" if number == "Table 10" else ""
            note += f" The paper's intervals are 1.96 standard errors{five}."
        title = f"{number}: few-shot accuracy" if number else "Few-shot accuracy"
        return Table(title, ["runs", "seeds", *self.settings], rows, paper, note)

    def _paper_rows(self) -> tuple[list[list[Cell]], str]:
        """Return the paper's rows that are comparable with this sweep, and the number of their table."""
        if self.paper_alpha:
            return [
                [
                    f"alpha_max {alpha:g}",
                    "1",
                    *(_percent(Interval(*pair)) if key == STEP_SETTING else None for key in self.settings),
                ]
                for alpha, pair in self.paper_alpha.items()
            ], "Table 3"
        found = self.paper_seeds
        if found is None:
            return [], ""
        means = dict(zip(found.settings, map(Interval, found.means, found.halves), strict=True))
        columns = dict(zip(found.settings, zip(*found.rows, strict=True), strict=True))
        best = (f"{max(columns[key]):.2f}" if key in columns else None for key in self.settings)
        return [
            ["all seeds", "15", *(_percent(means.get(key)) for key in self.settings)],
            ["all seeds, best", "", *best],
        ], found.table

    def _over_steps(self) -> Table:
        steps = sorted({step for run in self.runs for step in run.over_steps})
        rows: list[list[Cell]] = []
        for label, runs in self.groups().items():
            means = mean_over_steps(runs)
            rows.append([label, *(f"{means[step].mean:.2f}" if step in means else None for step in steps)])
        paper: list[list[Cell]] = []
        note = "Mean accuracy over seeds in percent."
        if self.paper_alpha and len(steps) == len(next(iter(OVER_STEPS.values()))):
            paper = [
                [f"alpha_max {alpha:g}", *(f"{value:.2f}" for value in values)]
                for alpha, values in OVER_STEPS.items()
            ]
            note += " The paper's columns are multiples of 25,000 steps, up to 300,000."
        title = "Table 5: 20-way 1-shot accuracy" if ALPHA in self.varied else "20-way 1-shot accuracy"
        return Table(f"{title} over training steps", ["runs", *map(_steps, steps)], rows, paper, note)


def over_seeds(scores: Sequence[Interval]) -> Interval | None:
    """Return the mean over runs that differ in their seed, with its 95 % interval.

    For a single run, it is the run's own interval. *Source*: appendix G, which ignores the variance over
    episodes as well.
    """
    if not scores:
        return None
    return scores[0] if len(scores) == 1 else student_interval([score.mean for score in scores])


def mean_over_steps(runs: Sequence[EvaluatedRun]) -> dict[int, Interval]:
    """Return the mean accuracy over runs at each step at which one was evaluated."""
    steps = sorted({step for run in runs for step in run.over_steps})
    means = {
        step: over_seeds([run.over_steps[step] for run in runs if step in run.over_steps]) for step in steps
    }
    return {step: mean for step, mean in means.items() if mean}


def _percent(score: Interval | None) -> str | None:
    return None if score is None else f"{score.mean:.2f} ± {score.half:.2f}"


def _short(key: str) -> str:
    return "seed" if key == SEED else key.rpartition(".")[2]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _steps(step: int) -> str:
    return f"{step // 1000}k" if step >= 10_000 and step % 1000 == 0 else str(step)
