"""The page of results in Markdown: models, and their numbers with the paper's, each with its command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from sketchembed._version import __version__
from sketchembed.files.reading import digest
from sketchembed.reporting.intervals import student_interval
from sketchembed.reporting.part import Cell, Table
from sketchembed.runs.provenance import provenance

MODEL_COLUMNS = [
    *("model", "preset", "training data", "drawings", "data digest", "seed", "steps", "training time"),
    *("size", "SHA-256"),
]


def model_facts(name: str, path: Path) -> list[Cell]:
    """Return the row of a model file in the table of models."""
    known = provenance(path)
    initial = re.search(r"^ *init_from: (?!null$)(\S+)$", known.get("config") or "", re.MULTILINE)
    seconds = known.get("seconds")
    device = f"{known.get('processes', 1)} × {known['device']}" if "device" in known else None
    return [
        f"`{name}`",
        str(known.get("preset") or "?") + (f", initialised from {initial[1]}" if initial else ""),
        known.get("source"),
        f"{known['drawings']:,}" if isinstance(known.get("drawings"), int) else None,
        known.get("data_digest"),
        known.get("seed"),
        f"{known['step']:,}" if isinstance(known.get("step"), int) else None,
        f"{seconds / 3600:.2f} h, {device}" if isinstance(seconds, int | float) else None,
        f"{path.stat().st_size / 1e6:.1f} MB",
        digest(path)[:16],
    ]


def results_page(about: str, models: Sequence[Sequence[Cell]], sections: Sequence[str]) -> str:
    """Return the page from an introduction, the rows of :func:`model_facts`, and sections in Markdown."""
    origin = (
        f"`sketchembed results` (version {__version__}) wrote this page. The command below a table computes"
        " the table again, with the packaged weights and the named data. Rows in italics show the paper's"
        " numbers."
    )
    parts = [
        "# Results",
        about.strip(),
        "\n".join(wrap(origin, 120)),
        Table("Models", MODEL_COLUMNS, [list(row) for row in models]).markdown(),
        *sections,
    ]
    return "\n\n".join(parts) + "\n"


def fewshot_tables(
    report: Mapping[str, Any], means: Mapping[str, Sequence[str]]
) -> tuple[list[Table], dict[str, Any]]:
    """Return the table of a few-shot report, and facts about the episodes.

    Args:
        report: content of ``fewshot.json``.
        means: models by the name of a row that contains their mean, with its interval over the models.
    """
    found = {
        row["method"]: {score["setting"]: score for score in row["scores"]}
        for row in report["rows"]
        if row["scores"]
    }
    settings = list(next(iter(found.values())))
    rows: list[list[Cell]] = [
        [name, *(f"{scores[key]['mean']:.2f} ± {scores[key]['ci95']:.2f}" for key in settings)]
        for name, scores in found.items()
    ]
    for name, models in means.items():
        ends = tuple(f"({model})" for model in models)
        members = [scores for method, scores in found.items() if method.endswith(ends)]
        if len(members) != len(models):
            wanted = ", ".join(models)
            raise ValueError(f"the mean {name} is over {wanted}, but {len(members)} of them have scores")
        over = [student_interval([scores[key]["mean"] for scores in members]) for key in settings]
        cells = [f"{each.mean:.2f} ± {each.half:.2f}" for each in over]
        rows.append([f"{name}, mean of {len(models)} seeds", *cells])
    paper: list[list[Cell]] = [
        [name, *(f"{numbers[key]:.2f}" if key in numbers else None for key in settings)]
        for name, numbers in report["paper"].items()
    ]
    first = next(iter(found.values()))
    facts = {
        "episodes": first[settings[0]]["episodes"],
        "seed": first[settings[0]]["seed"],
        "digests": ", ".join(f"{key} {first[key]['digest']}" for key in settings),
        "seconds": round(report["seconds"]),
    }
    title = "Accuracy in percent with 95 % intervals over episodes"
    return [Table(title, ["", *settings], rows, paper)], facts
