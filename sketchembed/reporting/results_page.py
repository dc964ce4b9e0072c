"""The page of results, Markdown: the models, and their numbers beside the paper's, each with its command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import Any

from sketchembed._version import __version__
from sketchembed.files.reading import digest
from sketchembed.reporting.intervals import student_interval
from sketchembed.reporting.part import Cell, Table
from sketchembed.runs.provenance import origin


@dataclass
class Measured:
    """A section of the page.

    Attributes:
        title: heading.
        evaluate: the command, behind ``sketchembed evaluate``.
        note: what a reader must know to compare.
        tables: what was found; none if it was not measured.
        facts: seeds, digests, seconds.
    """

    title: str
    evaluate: str
    note: str = ""
    tables: list[Table] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """Return heading, tables, note, facts and command."""
        facts = "; ".join(f"{key} {value}" for key, value in self.facts.items() if value is not None)
        tables = [table.markdown() for table in self.tables] or ["*Not measured yet.*"]
        command = f"`sketchembed evaluate {self.evaluate}`"
        blocks = [f"## {self.title}", *tables, self.note.strip(), f"{command}  \n{facts}"]
        return "\n\n".join(block for block in blocks if block)


def model_facts(name: str, path: Path) -> list[Cell]:
    """Return a model's row of the table of models.

    Args:
        name: of the packaged model, or the path that was named.
        path: of its file.
    """
    known = origin(path)
    begun = re.search(r"^ *init_from: (?!null$)(\S+)$", known.get("config") or "", re.MULTILINE)
    seconds = known.get("seconds")
    where = f"{known.get('processes', 1)} × {known['device']}" if "device" in known else None
    return [
        f"`{name}`",
        str(known.get("preset") or "?") + (f", begun with {begun[1]}" if begun else ""),
        known.get("source"),
        f"{known['drawings']:,}" if isinstance(known.get("drawings"), int) else None,
        known.get("data_digest"),
        known.get("seed"),
        f"{known['step']:,}" if isinstance(known.get("step"), int) else None,
        f"{seconds / 3600:.2f} h, {where}" if isinstance(seconds, int | float) else None,
        f"{path.stat().st_size / 1e6:.1f} MB",
        digest(path)[:16],
    ]


MODEL_COLUMNS = [
    *("model", "preset", "trained on", "drawings", "their digest", "seed", "steps", "training", "file"),
    "SHA-256",
]


def results_page(about: str, models: Sequence[Sequence[Cell]], sections: Sequence[Measured]) -> str:
    """Return the page.

    Args:
        about: what to say first.
        models: rows of :func:`model_facts`.
        sections: in order.
    """
    table = Table("The models", MODEL_COLUMNS, [list(row) for row in models])
    again = (
        f"Written by `sketchembed results` (version {__version__}). Each table can be had again by the"
        " command under it, from the weights of the package and the data that it names. Rows in italics are"
        " the paper's."
    )
    parts = [
        "# Results",
        about.strip(),
        "\n".join(wrap(again, 120)),
        table.markdown(),
        *(each.markdown() for each in sections),
    ]
    return "\n\n".join(parts) + "\n"


def fewshot_tables(
    report: Mapping[str, Any], means: Mapping[str, Sequence[str]]
) -> tuple[list[Table], dict[str, Any]]:
    """Return the table of a few-shot report, and facts for the line under it.

    Args:
        report: as ``fewshot.json`` has it.
        means: rows that are means over several models, by the rows' names; the interval is over seeds.
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
            raise ValueError(f"of {', '.join(models)} in the mean {name} {len(members)} were measured")
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
    return [
        Table("Accuracy in per cent, with 95 % intervals over episodes", ["", *settings], rows, paper)
    ], facts
