"""A figure of accuracies: one panel per setting, one line per method or group of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sketchembed.reporting.figures import drawing_as_svg, svg
from sketchembed.reporting.intervals import Interval


@dataclass
class AccuracyRow:
    """A line of the figure; accuracies are in percent and listed by setting.

    Attributes:
        measured: dot with its interval.
        runs: small dots of single runs.
        paper: hollow diamonds.
    """

    name: str
    measured: dict[str, Interval] = field(default_factory=dict)
    runs: dict[str, Sequence[float]] = field(default_factory=dict)
    paper: Mapping[str, Sequence[float]] = field(default_factory=dict)


def accuracy_figure(settings: Sequence[str], rows: Sequence[AccuracyRow], title: str = "") -> str:
    """Return the figure as SVG.

    Args:
        settings: few-shot settings or sets of classes, from left to right.
        rows: lines, from top to bottom.
        title: title of the figure.
    """
    with drawing_as_svg() as pyplot:
        size = (4 + 2.1 * len(settings), 1.2 + 0.32 * len(rows))
        figure, panels = pyplot.subplots(1, len(settings), sharey=True, squeeze=False, figsize=size)
        for panel, key in zip(panels[0], settings, strict=True):
            for place, row in enumerate(rows):
                runs, paper = row.runs.get(key, ()), row.paper.get(key, ())
                panel.plot(runs, [place - 0.25] * len(runs), "o", color="C0", alpha=0.5, markersize=3)
                panel.plot(paper, [place] * len(paper), "D", color="0.45", fillstyle="none", markersize=5)
                if key in row.measured:
                    mean, half = row.measured[key]
                    panel.errorbar(mean, place, xerr=half, fmt="o", color="C0", capsize=2)
            # Intervals over two or three seeds may exceed the range of an accuracy.
            low, high = panel.get_xlim()
            panel.set(xlim=(max(low, 0), min(high, 100.5)), title=key, xlabel="accuracy, %")
            panel.grid(axis="x", color="0.9")
        panels[0][0].set_yticks(range(len(rows)), [row.name for row in rows])
        panels[0][0].set_ylim(len(rows) - 0.4, -0.6)
        if title:
            figure.suptitle(title)
        return svg(figure)
