"""The page of a run: one HTML file with its curves, and its sampled drawings to replay."""

from __future__ import annotations

import json
from pathlib import Path

from sketchembed.reporting.runs_page import may_write_index
from sketchembed.reporting.samples import read_samples
from sketchembed.reporting.templates import finite_json, write_page
from sketchembed.runs.folder import Run
from sketchembed.runs.metrics import read_curves


def write_run_page(folder: str | Path, live: bool = False) -> Path:
    """Write ``index.html`` of a run and return its path; files that cannot be read are skipped.

    Browsers reload a `live` page every minute.
    """
    run = Run(Path(folder))
    facts = finite_json(run.facts) or {"name": run.path.name}
    shown = {"facts": facts, "config": run.config or "", "curves": read_curves(run.metrics_file)}
    head = json.dumps(shown, separators=(",", ":"), allow_nan=False)
    return write_page(
        run.path / "index.html",
        "run_page.html",
        title=str(facts.get("name") or "run"),
        live=live,
        has_index=may_write_index(run.path.resolve().parent),
        # Samples are JSON texts already.
        data=f'{head[:-1]},"samples":[{",".join(read_samples(run.path))}]}}',
    )
