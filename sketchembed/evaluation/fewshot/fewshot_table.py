"""The few-shot report: a table beside the paper's, for people and for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sketchembed._version import __version__
from sketchembed.evaluation.fewshot.scores import Score
from sketchembed.reporting.figures import drawing_as_svg, svg

PAPER: dict[tuple[str, str], dict[str, dict[str, float]]] = {
    # Tables 1 and 8.
    ("Omniglot", "vinyals"): {
        "SketchEmbedding (Conv4, Quick, Draw!, mean of 15 seeds)": {
            "5w1s": 96.37,
            "5w5s": 99.43,
            "20w1s": 90.69,
            "20w5s": 98.07,
        },
        "SketchEmbedding (Conv4, Omniglot)": {"5w1s": 94.88, "5w5s": 99.01, "20w1s": 86.18, "20w5s": 96.69},
        "Conv-VAE (Conv4, Omniglot)": {"5w1s": 77.83, "5w5s": 92.91, "20w1s": 62.59, "20w5s": 84.01},
        "Conv-VAE (Conv4, Quick, Draw!)": {"5w1s": 81.49, "5w5s": 94.09, "20w1s": 66.24, "20w5s": 86.02},
        "Random CNN (Conv4)": {"5w1s": 67.96, "5w5s": 83.85, "20w1s": 44.39, "20w5s": 60.87},
        "Training from scratch (Hsu et al. 2019)": {
            "5w1s": 52.50,
            "5w5s": 74.78,
            "20w1s": 24.91,
            "20w5s": 47.62,
        },
        "ProtoNet, supervised": {"5w1s": 98.35, "5w5s": 99.58, "20w1s": 95.31, "20w5s": 98.81},
        "MAML, supervised": {"5w1s": 94.46, "5w5s": 98.83, "20w1s": 84.60, "20w5s": 96.29},
    },
    # Table 6.
    ("Omniglot", "lake"): {
        "SketchEmbedding (Conv4, Quick, Draw!)": {
            "5w1s": 89.16,
            "5w5s": 97.12,
            "20w1s": 74.24,
            "20w5s": 89.87,
        },
        "Conv-VAE (Conv4, Quick, Draw!)": {"5w1s": 73.12, "5w5s": 88.50, "20w1s": 53.45, "20w5s": 73.62},
    },
    # Table 2.
    ("mini-ImageNet", "ravi"): {
        "SketchEmbedding (ResNet12, Sketchy, mean of 15 seeds)": {
            "5w1s": 38.55,
            "5w5s": 54.39,
            "5w20s": 65.14,
            "5w50s": 69.70,
        },
        "Conv-VAE (Conv4, mini-ImageNet)": {"5w1s": 28.68, "5w5s": 35.30, "5w20s": 39.45, "5w50s": 41.46},
        "Random CNN (Conv4)": {"5w1s": 26.85, "5w5s": 33.37, "5w20s": 38.51, "5w50s": 41.41},
    },
}
"""Accuracies in per cent as the paper prints them."""


@dataclass
class FewShotReport:
    """Scores of several methods on the same episodes.

    Attributes:
        data: facts about the images.
        methods: facts about each method by its name, in the order of the rows.
        scores: of each method, by setting.
        curves: of each run whose checkpoints were scored, the steps and the methods' names.
        seconds: that everything took.
    """

    data: dict[str, Any]
    methods: dict[str, dict[str, Any]]
    scores: dict[str, dict[str, Score]] = field(default_factory=dict)
    curves: dict[str, dict[int, str]] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, method: str, score: Score) -> None:
        """Enter a score."""
        self.scores.setdefault(method, {})[str(score.setting)] = score

    @property
    def settings(self) -> list[str]:
        """The settings that were measured, in order."""
        return list(dict.fromkeys(key for row in self.scores.values() for key in row))

    @property
    def paper(self) -> dict[str, dict[str, float]]:
        """The paper's rows for these data."""
        return PAPER.get((self.data.get("data", ""), self.data.get("split", "")), {})

    @property
    def title(self) -> str:
        """What was measured, on what."""
        return (
            f"Few-shot classification on {self.data.get('data')}, {self.data.get('split')} split, "
            f"{self.data.get('part')}"
        )

    def markdown(self) -> str:
        """Return a table of mean ± half of the 95 % interval in per cent, and what was asked."""
        settings = self.settings
        runs = self.data.get("trials")
        lines = [f"### {self.title}", ""]
        lines.append(
            "| method | " + " | ".join(settings) + (" | error | wrong of trials |" if runs else " |")
        )
        lines.append("|---|" + "---|" * (len(settings) + (2 if runs else 0)))
        for name in self.methods:
            row = self.scores.get(name, {})
            cells = [
                f"{row[key].mean:.2f} ± {row[key].interval:.2f}" if key in row else "" for key in settings
            ]
            if runs:
                error = 100 - row[settings[0]].mean
                cells += [f"{error:.1f} %", f"{round(error * runs / 100)} of {runs}"]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        for name, numbers in self.paper.items():
            cells = [f"{numbers[key]:.2f}" if key in numbers else "" for key in settings]
            lines.append(f"| *the paper's:* {name} | " + " | ".join(cells) + " |")
        lines += ["", "| setting | episodes | queries a class | seed | digest |", "|---|---|---|---|---|"]
        first = next(iter(self.scores.values()), {})
        for key, score in first.items():
            facts = score.to_dict()
            seed = "published" if score.seed is None else score.seed
            lines.append(f"| {key} | {facts['episodes']} | {facts['query']} | {seed} | {facts['digest']} |")
        lines += ["", "; ".join(f"{key} {value}" for key, value in self.data.items()) + "."]
        for name, about in self.methods.items():
            lines.append(f"{name}: " + ", ".join(f"{key} {value}" for key, value in about.items()) + ".")
        return "\n".join([*lines, "", f"{self.seconds:.1f} s with sketchembed {__version__}.", ""])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
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
        """Write ``OUT.md``, ``OUT.json`` and the figure ``OUT.svg``, each whole or absent.

        Args:
            out: the path without a suffix.
        """
        out.parent.mkdir(parents=True, exist_ok=True)
        figure = accuracy_over_steps(self) if self.curves else accuracies(self)
        texts = {".md": self.markdown(), ".json": json.dumps(self.to_dict(), indent=1), ".svg": figure}
        written = []
        for suffix, text in texts.items():
            path = out.with_name(out.name + suffix)
            work = path.with_name(f".{path.name}.part")
            work.write_text(text)
            os.replace(work, path)
            written.append(path)
        return written


# ---- figures -------------------------------------------------------------------------------------------


def accuracies(report: FewShotReport) -> str:
    """Return an SVG with a panel a setting: each method's accuracy with its interval, the paper's hollow."""
    names = [*report.methods, *(f"the paper's: {name}" for name in report.paper)]
    rows: list[Mapping[str, Score | float]] = [
        *(report.scores.get(name, {}) for name in report.methods),
        *(report.paper.values()),
    ]
    with drawing_as_svg() as figures:
        settings = report.settings
        figure, panels = figures.subplots(
            1,
            len(settings),
            sharey=True,
            squeeze=False,
            figsize=(4 + 2.1 * len(settings), 1.1 + 0.3 * len(names)),
        )
        for panel, key in zip(panels[0], settings, strict=True):
            for place, row in enumerate(rows):
                value = row.get(key)
                if isinstance(value, Score):
                    panel.errorbar(value.mean, place, xerr=value.interval, fmt="o", color="C0", capsize=2)
                elif value is not None:
                    panel.plot(value, place, "D", color="0.45", fillstyle="none")
            panel.set_title(key)
            panel.set_xlabel("accuracy, %")
            panel.grid(axis="x", color="0.9")
        panels[0][0].set_yticks(range(len(names)), names)
        panels[0][0].invert_yaxis()
        figure.suptitle(report.title)
        return svg(figure)


def accuracy_over_steps(report: FewShotReport) -> str:
    """Return an SVG with a panel a setting: accuracy over steps, a line a run (table 5, figure 10)."""
    with drawing_as_svg() as figures:
        settings = report.settings
        figure, panels = figures.subplots(
            1, len(settings), squeeze=False, figsize=(0.8 + 3.2 * len(settings), 3.4)
        )
        for panel, key in zip(panels[0], settings, strict=True):
            for run, steps in report.curves.items():
                scores = [report.scores[name][key] for name in steps.values()]
                panel.errorbar(
                    list(steps),
                    [score.mean for score in scores],
                    yerr=[score.interval for score in scores],
                    marker=".",
                    capsize=2,
                    label=run,
                )
            panel.set_title(key)
            panel.set_xlabel("steps")
            panel.grid(color="0.9")
        panels[0][0].set_ylabel("accuracy, %")
        panels[0][-1].legend(fontsize="small")
        figure.suptitle(report.title)
        return svg(figure)
