"""The few-shot report: scores of several methods with the paper's, as Markdown, JSON and a figure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from sketchembed._version import __version__
from sketchembed.evaluation.fewshot.scores import Score
from sketchembed.files.serialization import parse_yaml
from sketchembed.files.writing import whole_file
from sketchembed.reporting.accuracy_figure import AccuracyRow, accuracy_figure
from sketchembed.reporting.figures import drawing_as_svg, svg
from sketchembed.reporting.intervals import Interval
from sketchembed.reporting.part import Cell, Figure, Part, Table

PAPER = parse_yaml(resources.files(__package__).joinpath("paper_fewshot.yaml").read_text("utf-8"))
PAPER_TABLES = {"vinyals": "Tables 1 and 8", "lake": "Table 6", "ravi": "Table 2"}
"""Tables of the paper by the split of the data."""


@dataclass
class FewShotReport:
    """Scores of several methods on the same episodes, by method and setting, with facts about each method.

    `curves` has, for each run with several scored checkpoints, the names of its methods by training step.
    """

    data: dict[str, Any]
    methods: dict[str, dict[str, Any]]
    scores: dict[str, dict[str, Score]] = field(default_factory=dict)
    curves: dict[str, dict[int, str]] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, method: str, score: Score) -> None:
        """Add a score of a method."""
        self.scores.setdefault(method, {})[str(score.setting)] = score

    @property
    def settings(self) -> list[str]:
        """The measured settings, in order."""
        return list(dict.fromkeys(key for row in self.scores.values() for key in row))

    @property
    def paper(self) -> dict[str, dict[str, float]]:
        """The paper's rows for these data."""
        table = PAPER.get(f"{self.data.get('data')}, {self.data.get('split')}", {"rows": {}})
        return {name: dict(zip(table["settings"], row, strict=True)) for name, row in table["rows"].items()}

    @property
    def title(self) -> str:
        """Title with data set, split and part."""
        names = [self.data.get(key) for key in ("data", "split", "part")]
        return "Few-shot classification on {}, {} split, {}".format(*names)

    def table(self, title: str = "") -> Table:
        """Return the accuracies in percent as a table, with the paper's rows."""
        settings = self.settings
        # Runs of Lake et al. consist of single trials, for which errors are usually counted.
        trials = self.data.get("trials")
        rows: list[list[Cell]] = []
        for name in self.methods:
            row = self.scores.get(name, {})
            scores = [row.get(key) for key in settings]
            cells = [f"{score.mean:.2f} ± {score.interval:.2f}" if score else "" for score in scores]
            if trials:
                error = 100 - row[settings[0]].mean
                cells += [f"{error:.1f} %", f"{round(error * trials / 100)} of {trials}"]
            rows.append([name, *cells])
        paper: list[list[Cell]] = [
            [name, *(f"{row[key]:.2f}" if key in row else None for key in settings)]
            for name, row in self.paper.items()
        ]
        columns = ["method", *settings, *(("error", "wrong trials") if trials else ())]
        return Table(title, columns, rows, paper)

    def markdown(self) -> str:
        """Return the report in Markdown: accuracies, episodes, and facts about data and methods."""
        episodes: list[list[Cell]] = []
        for key, score in next(iter(self.scores.values()), {}).items():
            facts = score.to_dict()
            seed = "published" if score.seed is None else score.seed
            episodes.append([key, f"{facts['episodes']}", f"{facts['query']}", seed, score.digest])
        columns = ["setting", "episodes", "queries per class", "seed", "digest"]
        facts_of_methods = [
            f"{name}: " + ", ".join(f"{key} {value}" for key, value in facts.items()) + "."
            for name, facts in self.methods.items()
        ]
        blocks = [
            f"### {self.title}",
            self.table().markdown(),
            *(["Rows in italics show the paper's numbers."] if self.paper else []),
            Table("", columns, episodes).markdown(),
            "; ".join(f"{key} {value}" for key, value in self.data.items()) + ".",
            *facts_of_methods,
            f"{self.seconds:.1f} s with sketchembed {__version__}.",
        ]
        return "\n\n".join(blocks) + "\n"

    def part(self) -> Part:
        """Return the report as a part of a larger report."""
        tables = PAPER_TABLES.get(str(self.data.get("split")), "Few-shot")
        table = self.table(f"{tables}: accuracy in percent ± half of the 95 % interval")
        table.note = "The paper's numbers are for 2,000 episodes per setting (mini-ImageNet: 1,000)."
        first = next(iter(self.scores.values()))
        counts = sorted({len(score.accuracies) for score in first.values()})
        facts = {**self.data, "methods": self.methods}
        for key, score in first.items():
            facts[f"episodes of {key}"] = (
                f"{len(score.accuracies)}, queries per class {score.to_dict()['query']}, "
                f"seed {'published' if score.seed is None else score.seed}, digest {score.digest}"
            )
        return Part(
            "fewshot",
            self.title,
            f"Accuracy over {' or '.join(f'{count:,}' for count in counts)} episodes per setting, drawn from "
            f"{self.data.get('classes', 'all')} classes. All methods are evaluated on the same episodes. In "
            "each episode, a classifier is fitted to the embeddings of the support images and predicts the "
            "classes of the query images.",
            [table],
            [
                Figure(
                    "fewshot-accuracies",
                    self.title,
                    accuracies(self),
                    "Dots: this evaluation, with 95 % intervals. Hollow diamonds: the paper's numbers.",
                )
            ],
            values={
                f"{name}/{key}": score.mean for name, row in self.scores.items() for key, score in row.items()
            },
            facts=facts,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values for JSON."""
        return {
            "version": __version__,
            "data": self.data,
            "seconds": round(self.seconds, 2),
            "rows": [
                {
                    "method": name,
                    "about": about,
                    "scores": [score.to_dict() for score in self.scores.get(name, {}).values()],
                }
                for name, about in self.methods.items()
            ],
            "curves": self.curves,
            "paper": self.paper,
        }

    def write(self, out: Path) -> list[Path]:
        """Write ``OUT.md``, ``OUT.json`` and the figure ``OUT.svg``; `out` is the path without a suffix."""
        figure = accuracy_over_steps(self) if self.curves else accuracies(self)
        texts = {".md": self.markdown(), ".json": json.dumps(self.to_dict(), indent=1), ".svg": figure}
        paths = [out.with_name(out.name + suffix) for suffix in texts]
        for path, text in zip(paths, texts.values(), strict=True):
            with whole_file(path) as file:
                file.write(text.encode())
        return paths


def accuracies(report: FewShotReport) -> str:
    """Return a figure of all accuracies with their intervals, and the paper's."""
    rows = [
        AccuracyRow(
            name,
            {key: Interval(score.mean, score.interval) for key, score in report.scores.get(name, {}).items()},
        )
        for name in report.methods
    ]
    for name, numbers in report.paper.items():
        rows.append(AccuracyRow(f"paper: {name}", paper={key: [value] for key, value in numbers.items()}))
    return accuracy_figure(report.settings, rows, report.title)


def accuracy_over_steps(report: FewShotReport) -> str:
    """Return a figure with a panel per setting: accuracy over training steps, a line per run.

    *Source*: table 5 and figure 10.
    """
    with drawing_as_svg() as pyplot:
        settings = report.settings
        size = (0.8 + 3.2 * len(settings), 3.4)
        figure, panels = pyplot.subplots(1, len(settings), squeeze=False, figsize=size)
        for panel, key in zip(panels[0], settings, strict=True):
            for run, steps in report.curves.items():
                scores = [report.scores[name][key] for name in steps.values()]
                means, halves = [one.mean for one in scores], [one.interval for one in scores]
                panel.errorbar(list(steps), means, yerr=halves, marker=".", capsize=2, label=run)
            panel.set(title=key, xlabel="training steps")
            panel.grid(color="0.9")
        panels[0][0].set_ylabel("accuracy, %")
        panels[0][-1].legend(fontsize="small")
        figure.suptitle(report.title)
        return svg(figure)
