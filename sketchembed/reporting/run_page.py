"""The page of a run: one HTML file with its curves, and its sampled drawings to replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sketchembed.files.reading import read_text
from sketchembed.files.serialization import parse_json
from sketchembed.reporting.runs_page import may_write_index
from sketchembed.reporting.samples import read_samples
from sketchembed.reporting.templates import write_page
from sketchembed.runs.metrics import finite_or_none, read_curves


def write_run_page(folder: str | Path) -> Path:
    """Write ``index.html`` of a run; a reader sees either the old file or the whole new one.

    Args:
        folder: folder of the run.

    Returns:
        the path of the page.

    Raises:
        OSError: if the folder is not writable.
    """
    folder = Path(folder)
    facts = _read_facts(folder / "run.json") or {"name": folder.name}
    return write_page(
        folder / "index.html",
        "run_page.html",
        title=str(facts.get("name") or "run"),
        has_index=may_write_index(folder.resolve().parent),
        data=_page_json(folder, facts),
    )


def _page_json(folder: Path, facts: dict[str, Any]) -> str:
    """Return the page's data as JSON: ``facts``, ``config``, ``curves`` by name and ``samples`` by step.

    Files that are missing, broken or incomplete are skipped.
    """
    head = json.dumps(
        {
            "facts": facts,
            "config": read_text(folder / "config.yaml"),
            "curves": read_curves(folder / "metrics.jsonl"),
        },
        separators=(",", ":"),
        allow_nan=False,
    )
    return f'{head[:-1]},"samples":[{",".join(read_samples(folder))}]}}'


def _read_facts(path: Path) -> dict[str, Any] | None:
    try:
        found = parse_json(
            read_text(path),
            parse_constant=lambda _: None,
            parse_float=lambda text: finite_or_none(float(text)),
        )
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
