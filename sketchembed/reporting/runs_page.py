"""The page of all runs: one HTML file with a table that can be sorted and filtered."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from sketchembed.reporting.part import TableHead
from sketchembed.reporting.samples import thumbnails
from sketchembed.reporting.templates import write_page
from sketchembed.runs.folder import Run
from sketchembed.runs.metrics import finite_or_none, read_last_rows

MARK = "<!-- the page of all runs -->"
"""Comment that identifies the page; any other ``index.html`` is never replaced."""
# Terms of the last validation, one column each.
LOSSES = ("pen", "stroke", "pixel", "loss", "accuracy", "reconstruction")
KINDS = {
    "sketchembednet": "SketchEmbedNet",
    "conv-vae": "Conv-VAE",
    "simclr": "SimCLR",
    "protonet": "ProtoNet",
    "maml": "MAML",
}
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class RunCell:
    """A cell of the table.

    ``note`` is text in small print, ``kind`` the CSS class of the column. The column is sorted by ``value``,
    or by the text if it is None.
    """

    text: str = ""
    note: str = ""
    value: Any = None
    kind: str = ""


@dataclass
class RunRow:
    """What the table shows of a run.

    Attributes:
        state: ``finished``, ``running``, ``failed``, ``stopped`` or ``broken``.
        reason: reason of the state, if there is more to say.
        facts: text or number by name.
        values: values of the last validation by term.
        scores: few-shot accuracy in percent and half of its interval, by data set and setting.
        sketches: SVG path data of drawings, with labels.
        link: address of the run's page; empty if there is none.
    """

    name: str
    state: str = "broken"
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    values: dict[str, float | int] = field(default_factory=dict)
    scores: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    sketches: list[tuple[str, str]] = field(default_factory=list)
    link: str = ""

    def cells(self, terms: list[str], scores: list[tuple[str, str]]) -> dict[str, RunCell]:
        """Return the cells by the names of their columns; all of `terms` and `scores` have a column."""
        facts = self.facts
        steps, planned, seconds = facts.get("steps"), facts.get("planned"), facts.get("time")
        created = _text(facts.get("created"))
        of = f" of {planned:,}" if isinstance(planned, int) and planned > 0 and planned != steps else ""
        cells = {
            "state": RunCell(self.state, self.reason, kind="state"),
            "sketches": RunCell(kind="sketches"),
            "kind": RunCell(_text(facts.get("kind")), _text(facts.get("preset"))),
            "data": RunCell(_text(facts.get("data"))),
            "seed": _number_cell(facts.get("seed")),
            "α max": _number_cell(facts.get("alpha")),
            "steps": RunCell("" if steps is None else f"{steps:,}{of}", value=steps, kind="number"),
            # Before the scores, because many of them do not fit on a screen of 1,280 pixels.
            "started": RunCell(created[:10], created[11:16], created or None),
            "time": RunCell(_duration(seconds) if seconds else "", value=seconds, kind="number"),
        }
        cells |= {f"val {term}": _number_cell(self.values.get(term)) for term in terms}
        for data, setting in scores:
            cells[f"{setting} {data}"] = RunCell(kind="number")
            if found := self.scores.get((data, setting)):
                mean, half = found
                cells[f"{setting} {data}"] = RunCell(f"{mean:.2f}", f"± {half:.2f}", mean, "number")
        return cells


def write_runs_page(root: str | Path) -> Path:
    """Write ``index.html`` of a folder of runs, and return its path.

    Raises:
        FileExistsError: if there is an ``index.html`` that is not a page of runs.
        OSError: if the folder is not readable or writable.
    """
    root = Path(root)
    page = root / "index.html"
    if not may_write_index(root):
        raise FileExistsError(f"{page} is not a page of runs, so it is not replaced")
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir())
    rows = [_read_row(folder) for folder in folders if is_run(folder)]
    terms = [term for term in LOSSES if any(term in row.values for row in rows)]
    scores = sorted({key for row in rows for key in row.scores}, key=_score_order)
    table = [(row, row.cells(terms, scores)) for row in rows]
    names = table[0][1].items() if table else ()
    return write_page(
        page,
        "runs_page.html",
        title="runs",
        mark=MARK,
        root=str(root),
        written=f"{datetime.now().astimezone():%Y-%m-%d %H:%M}",
        has_index=_is_runs_page(root.resolve().parent / "index.html"),
        live=any(row.state == "running" for row in rows),
        heads=[TableHead("run"), *(_head(name, cell.kind) for name, cell in names)],
        rows=table,
        groups=[group for folder in folders if not is_run(folder) and (group := _read_group(folder))],
        data="[]",
    )


def update_runs_page(run: Path) -> None:
    """Write the page of the folder that a run is in, and that of the folder above it; ignore all errors."""
    root = run.resolve().parent
    with contextlib.suppress(Exception):
        write_runs_page(root)
        # The runs of a sweep have a folder of their own, which the page above it lists.
        if _is_runs_page(root.parent / "index.html"):
            write_runs_page(root.parent)


def may_write_index(root: Path) -> bool:
    """Return whether ``index.html`` of a folder is missing or a page of runs."""
    return not (root / "index.html").exists() or _is_runs_page(root / "index.html")


def _is_runs_page(page: Path) -> bool:
    with contextlib.suppress(OSError):
        return MARK in page.read_text("utf-8", errors="replace")
    return False


def is_run(folder: Path) -> bool:
    """Return whether a folder has a file of a run."""
    return any((folder / name).exists() for name in ("run.json", "config.yaml", "metrics.jsonl"))


def _read_group(folder: Path) -> tuple[str, str, str] | None:
    """Return name, link and progress of a folder of runs, such as a sweep; None if it contains no runs."""
    with contextlib.suppress(OSError):
        runs = [Run(path) for path in folder.iterdir() if is_run(path)]
        if runs:
            finished = sum(bool(run.facts.get("finished")) for run in runs)
            link = f"{quote(folder.name)}/index.html" if _is_runs_page(folder / "index.html") else ""
            return folder.name, link, f"{finished} of {len(runs)} runs finished"
    return None


def _read_row(folder: Path) -> RunRow:
    """Return the row of a run; if the folder is broken, with what can be read."""
    row = RunRow(folder.name)
    try:
        if (folder / "index.html").exists():
            row.link = f"{quote(folder.name)}/index.html"
        _fill(row, folder)
    except Exception as error:  # a broken folder must not hide the other runs
        first, *_ = str(error).splitlines() or [""]
        row.state, row.reason = "broken", f"cannot be read ({type(error).__name__}: {first})"
    return row


def _fill(row: RunRow, folder: Path) -> None:
    run = Run(folder)
    facts, config = run.facts, _mapping(yaml.load(run.config or "", Loader))
    file = run.metrics_file
    last, validation = _last_rows(file, file.stat().st_mtime_ns if file.exists() else 0)
    row.values = {term: validation[f"val/{term}"] for term in LOSSES if f"val/{term}" in validation}
    kind = str(facts.get("kind") or "")
    steps = facts.get("steps") if facts.get("finished") else None
    if steps is None and finite_or_none(last.get("step")) is not None:
        steps = int(last["step"]) + 1
    row.facts = {
        "kind": KINDS.get(kind, kind),
        "preset": facts.get("preset"),
        "data": _mapping(facts.get("data")).get("source"),
        "seed": config.get("seed_everything"),
        "alpha": _mapping(config.get("curriculum")).get("alpha_max") if kind == "sketchembednet" else None,
        "steps": steps,
        "planned": facts.get("max_steps"),
        "created": facts.get("created"),
        "time": finite_or_none(last.get("time")),
    }
    for data, entry in run.scores.items():
        for score in entry["scores"]:
            row.scores[data, str(score["setting"])] = (float(score["mean"]), float(score["ci95"]))
    row.sketches = thumbnails(folder)
    if not facts:
        row.reason = "run.json is missing or cannot be read"
    elif facts.get("finished"):
        row.state = "finished"
    elif run.held:
        row.state = "running"
    elif facts.get("failed"):
        row.state, row.reason = "failed", str(facts["failed"])
    else:
        row.state = "stopped"


@lru_cache(maxsize=4096)
def _last_rows(path: Path, modified: int) -> tuple[dict[str, Any], dict[str, float | int]]:
    """Read the end of a file of metrics; `modified` is part of the key of the cache."""
    return read_last_rows(path)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _head(name: str, kind: str) -> TableHead:
    first, _, rest = name.partition(" ")
    return TableHead(first, kind, rest)


def _score_order(key: tuple[str, str]) -> tuple[str, list[int]]:
    """Sort settings by their numbers, 5w1s before 20w1s."""
    return key[0], [int(number) for number in re.findall(r"\d+", key[1])]


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _number_cell(value: Any) -> RunCell:
    text = _text(value)
    if isinstance(value, float):
        text = f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return RunCell(text, value=value, kind="number")


def _duration(seconds: float | int) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"
