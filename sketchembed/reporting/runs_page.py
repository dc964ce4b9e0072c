"""The page of all runs: one file that needs no network, with a table to sort and filter."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from sketchembed.files.reading import read_text
from sketchembed.files.serialization import parse_json
from sketchembed.files.writing import whole_file
from sketchembed.reporting.run_page import MAX_SAMPLE
from sketchembed.runs.folder import Run
from sketchembed.runs.metrics import finite_or_none, read_last_rows
from sketchembed.sketch.svg import path_data

SCRIPTS = ("page.js", "runs_page.js")
STYLES = ("page.css", "runs_page.css")
MARK = "<!-- the page of all runs -->"
"""What tells the page from anybody else's ``index.html``, which is left alone."""
SKETCHES = 6
"""Sketches shown of a run; half of them of classes that never trained, where there are such."""
LOSSES = ("pen", "stroke", "pixel", "loss", "accuracy")
"""Terms of the last validation that have columns."""
LABELS = {"sketchembednet": "SketchEmbedNet", "conv-vae": "Conv-VAE", "protonet": "ProtoNet", "maml": "MAML"}
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Row:
    """What the table says of a run.

    Attributes:
        name: of the folder.
        state: ``finished``, ``going on``, ``failed``, ``stopped`` or ``broken``.
        why: the state is what it is, where there is more to say.
        facts: text or number by column; numbers sort as such.
        values: of the last validation.
        scores: accuracies in per cent by data and setting, each with half of its interval.
        sketches: paths of SVG, each with what it shows.
        paged: whether the run has a page of its own.
    """

    name: str
    state: str = "broken"
    why: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    values: dict[str, float | int] = field(default_factory=dict)
    scores: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    sketches: list[tuple[str, str]] = field(default_factory=list)
    paged: bool = False


def write_runs_page(root: str | Path) -> Path:
    """Write ``index.html`` of a folder of runs.

    Args:
        root: the folder.

    Returns:
        the page's path.

    Raises:
        FileExistsError: if there is an ``index.html`` of somebody else's.
        OSError: if it cannot be written.
    """
    root = Path(root)
    path = root / "index.html"
    if path.exists() and MARK not in path.read_text("utf-8", errors="replace"):
        raise FileExistsError(f"{path} is not the page of runs, and is left alone")
    folders = sorted(folder for folder in root.iterdir() if _is_run(folder))
    text = page([_read(folder) for folder in folders], root)
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "replace"))
    return path


def update_runs_page(run: Path) -> None:
    """Write the page that a run is on anew; whatever is wrong with it, the run goes on.

    Args:
        run: the run's folder.
    """
    with contextlib.suppress(Exception):
        write_runs_page(run.resolve().parent)


# ---- reading -------------------------------------------------------------------------------------


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("run.json", "config.yaml", "metrics.jsonl"))


def _read(folder: Path) -> Row:
    """Return a run's row; of a broken folder, what can be read."""
    row = Row(folder.name, paged=(folder / "index.html").exists())
    try:
        _fill(row, folder)
    except Exception as error:  # whatever lies in there, the other runs are shown
        first, *_ = str(error).splitlines() or [""]
        row.state, row.why = "broken", f"it cannot be read ({type(error).__name__}: {first})"
    return row


def _fill(row: Row, folder: Path) -> None:
    run = Run(folder)
    facts, config = run.facts, _configuration(run.config)
    last, validation = _last_rows(*_stamped(run.metrics_file))
    row.values = {
        name: value
        for name in (*LOSSES, "reconstruction")
        if (value := validation.get(f"val/{name}")) is not None
    }
    kind = str(facts.get("kind") or "")
    steps = facts.get("steps") if facts.get("finished") else None
    if steps is None and finite_or_none(last.get("step")) is not None:
        steps = int(last["step"]) + 1
    row.facts = {
        "kind": LABELS.get(kind, kind),
        "preset": facts.get("preset"),
        "data": _part(facts, "data").get("source"),
        "seed": config.get("seed_everything"),
        "alpha": _part(config, "curriculum").get("alpha_max") if kind == "sketchembednet" else None,
        "steps": steps,
        "asked": facts.get("max_steps"),
        "created": facts.get("created"),
        "time": finite_or_none(last.get("time")),
    }
    for data, entry in run.scores.items():
        for score in entry["scores"]:
            row.scores[data, str(score["setting"])] = (float(score["mean"]), float(score["ci95"]))
    if not facts:
        row.why = "run.json is missing or cannot be read"
    elif facts.get("finished"):
        row.state = "finished"
    elif run.held:
        row.state = "going on"
    elif facts.get("failed"):
        row.state, row.why = "failed", str(facts["failed"])
    else:
        row.state = "stopped"
    row.sketches = _sketches(folder / "samples")


def _stamped(path: Path) -> tuple[Path, int]:
    """Return a file and when it was changed, by which what was read of it is kept."""
    return path, path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=4096)
def _last_rows(path: Path, changed: int) -> tuple[dict[str, Any], dict[str, float | int]]:
    return read_last_rows(path)


def _configuration(config: str | None) -> dict[str, Any]:
    found = yaml.load(config or "", Loader)
    return found if isinstance(found, dict) else {}


def _part(of: dict[str, Any], name: str) -> dict[str, Any]:
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def _sketches(folder: Path) -> list[tuple[str, str]]:
    """Return the newest samples, as paths of SVG in a box of 0 to 255, each with what it shows."""
    files = sorted(folder.glob("step-*.json"), reverse=True)
    return next((found for file in files if (found := _drawn_of(*_stamped(file)))), [])


@lru_cache(maxsize=4096)
def _drawn_of(file: Path, changed: int) -> list[tuple[str, str]]:
    """Return a file's samples at the lowest temperature; none if it cannot be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError, OverflowError):
        found = parse_json(read_text(file, MAX_SAMPLE))
        unseen = [item for item in found["items"] if item.get("seen") is False]
        seen = [item for item in found["items"] if item.get("seen") is not False]
        chosen = seen[: max(SKETCHES // 2, SKETCHES - len(unseen))] + unseen
        return [
            (
                "".join(path_data(stroke, 0) for stroke in item["samples"][0]["strokes"]),
                f"{item['class']}, step {found['step']}",
            )
            for item in chosen[:SKETCHES]
        ]
    return []


# ---- writing -------------------------------------------------------------------------------------


def page(rows: list[Row], root: Path) -> str:
    """Return the page.

    Args:
        rows: of the runs.
        root: their folder.
    """
    package = resources.files("sketchembed.reporting.web")
    now = datetime.now().astimezone()
    count = f"{len(rows)} run{'s' if len(rows) != 1 else ''}"
    body = [
        MARK,
        f'<header><h1>Runs</h1><p class="soft">{count} in {escape(str(root))}; written {now:%Y-%m-%d %H:%M}. '
        "<code>sketchembed runs</code> writes it anew.</p></header>",
        '<div class="bar" id="bar"></div>',
        _table(rows) if rows else '<p class="soft">There are no runs yet.</p>',
    ]
    values = {
        "TITLE": "runs",
        "STYLE": "\n".join(package.joinpath(name).read_text("utf-8") for name in STYLES),
        "BODY": "\n".join(body),
        "DRAWINGS": "[]",
        "SCRIPT": "\n".join(package.joinpath(name).read_text("utf-8") for name in SCRIPTS),
    }
    template = package.joinpath("report_page.html").read_text("utf-8")
    return re.sub(r"__([A-Z]+)__", lambda found: values[found[1]], template)


def _table(rows: list[Row]) -> str:
    terms = [term for term in (*LOSSES, "reconstruction") if any(term in row.values for row in rows)]
    scores = sorted({key for row in rows for key in row.scores}, key=_order)
    heads = [
        *(("run", ""), ("state", ""), ("sketches", "plain"), ("kind", ""), ("data", "")),
        *(("seed", "number"), ("α max", "number"), ("steps", "number")),
        *((f"val {term}", "number") for term in terms),
        *((f"{setting} {data}", "number") for data, setting in scores),
        *(("preset", ""), ("begun", ""), ("time", "number")),
    ]
    shown = "".join(
        f'<th scope="col" class="{kind}">{_two_lines(name)}</th>' if kind else f'<th scope="col">{name}</th>'
        for name, kind in heads
    )
    names = [name for name, _ in heads]
    body = "".join(_row(row, names, terms, scores) for row in rows)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Runs"><table id="runs">'
        f"<thead><tr>{shown}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: Row, names: list[str], terms: list[str], scores: list[tuple[str, str]]) -> str:
    facts = row.facts
    steps, asked = facts.get("steps"), facts.get("asked")
    of = f" of {asked:,}" if isinstance(asked, int) and asked > 0 and asked != steps else ""
    seconds = facts.get("time")
    why = f'<small class="why">{escape(row.why)}</small>' if row.why else ""
    cells = [
        (f'<span class="state {row.state.replace(" ", "-")}">{row.state}</span>{why}', row.state, ""),
        (_drawn(row.sketches), "", "sketches"),
        *((escape(str(facts.get(key) or "")), None, "") for key in ("kind", "data")),
        *((_plain(facts.get(key)), facts.get(key), "number") for key in ("seed", "alpha")),
        (f"{steps:,}{of}" if steps is not None else "", steps, "number"),
        *((_plain(row.values.get(term)), row.values.get(term), "number") for term in terms),
    ]
    for key in scores:
        mean, half = row.scores.get(key, (None, None))
        cells.append(("" if mean is None else f"{mean:.2f} <small>± {half:.2f}</small>", mean, "number"))
    cells += [
        (escape(str(facts.get("preset") or "")), None, ""),
        (_moment(str(facts.get("created") or "")), facts.get("created"), ""),
        (_duration(seconds) if seconds else "", seconds, "number"),
    ]
    shown = "".join(
        f'<td data-name="{escape(name)}"'
        + (f' data-value="{escape(str(value))}"' if value is not None else "")
        + (f' class="{kind}"' if kind else "")
        + f">{text}</td>"
        for name, (text, value, kind) in zip(names[1:], cells, strict=True)
    )
    link = escape(row.name)
    if row.paged:
        link = f'<a href="{quote(row.name)}/index.html">{link}</a>'
    return f'<tr><th scope="row" data-value="{escape(row.name)}">{link}</th>{shown}</tr>'


def _drawn(sketches: list[tuple[str, str]]) -> str:
    return "".join(
        f'<svg viewBox="-8 -8 271 271" role="img"><title>{escape(label)}</title><path d="{path}"/></svg>'
        for path, label in sketches
    )


def _order(key: tuple[str, str]) -> tuple[str, list[int]]:
    """Sort settings by their numbers, 5w1s before 20w1s."""
    return key[0], [int(number) for number in re.findall(r"\d+", key[1])]


def _two_lines(name: str) -> str:
    first, _, rest = name.partition(" ")
    return f"{escape(first)} <small>{escape(rest)}</small>" if rest else escape(first)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return "" if value is None else escape(str(value))


def _moment(text: str) -> str:
    """Return an ISO time on the clock of the machine that ran."""
    return escape(text[:16].replace("T", " "))


def _duration(seconds: float | int) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"
