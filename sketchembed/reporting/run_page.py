"""A run's page: one file without network, with the curves and the sampled drawings to replay."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

MAX_POINTS = 600
"""Points of a curve; longer ones are thinned."""
MAX_SAMPLES = 40
"""Steps whose drawings are on the page; more are thinned, the first and last always there."""
DATA_MARK = "__RUN__"


def write_run_page(folder: str | Path) -> Path:
    """Write ``index.html`` of a run from what its folder holds so far.

    The page is written beside its place and renamed, so it can be written while it is looked at.

    Args:
        folder: the run's.

    Returns:
        the page's path.
    """
    folder = Path(folder)
    data = json.dumps(page_data(folder), separators=(",", ":"), allow_nan=False)
    # Within a script element only "</" can end it; escaped, any name of a class or run is harmless.
    data = data.replace("<", "\\u003c")
    template = resources.files("sketchembed.reporting").joinpath("run_page.html").read_text("utf-8")
    path, work = folder / "index.html", folder / ".index.html"
    work.write_text(template.replace(DATA_MARK, data), encoding="utf-8")
    os.replace(work, path)
    return path


def page_data(folder: Path) -> dict[str, Any]:
    """Return what the page shows: ``facts``, ``config``, ``curves`` by name, and ``samples`` by step.

    What is missing, or being written, is left out.
    """
    return {
        "facts": _read_json(folder / "run.json") or {"name": folder.name},
        "config": _read_text(folder / "config.yaml"),
        "curves": read_curves(folder / "metrics.jsonl"),
        "samples": _read_samples(folder / "samples"),
    }


def read_curves(path: Path) -> dict[str, dict[str, list[float | None]]]:
    """Return the curves of a metrics file: for each name its ``step`` and ``value`` lists, and ``time`` in s.

    Values that are not finite are None.
    """
    curves: dict[str, dict[str, list[float | None]]] = {}
    for line in _read_text(path).splitlines():
        try:
            row = json.loads(line)
            step, time = row.pop("step"), row.pop("time", None)
        except (ValueError, KeyError, AttributeError):
            continue  # the last line may be half written
        for name, value in row.items():
            curve = curves.setdefault(name, {"step": [], "value": [], "time": []})
            curve["step"].append(step)
            curve["time"].append(time)
            curve["value"].append(value if isinstance(value, int | float) and np.isfinite(value) else None)
    return {name: _thin(curve) for name, curve in curves.items()}


def _thin(curve: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    """Average neighbouring points so that at most `MAX_POINTS` remain, and keep the first and the last."""
    count = len(curve["step"])
    if count <= MAX_POINTS:
        return curve
    values = np.array([np.nan if value is None else value for value in curve["value"]])
    kept: dict[str, list[float | None]] = {"step": [], "value": [], "time": []}
    edges = np.linspace(0, count, MAX_POINTS + 1).round().astype(int)
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        part = values[first:last]
        mean = float(np.nanmean(part)) if np.isfinite(part).any() else None
        kept["value"].append(None if mean is None else float(f"{mean:.5g}"))
        for key in ("step", "time"):
            kept[key].append(curve[key][first])
    for key in kept:
        kept[key][0], kept[key][-1] = curve[key][0], curve[key][-1]
    return kept


def _read_samples(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("step-*.json"))
    if len(files) > MAX_SAMPLES:
        chosen = np.linspace(0, len(files) - 1, MAX_SAMPLES).round().astype(int)
        files = [files[index] for index in np.unique(chosen)]
    found = (_read_json(file) for file in files)
    return [sample for sample in found if sample and "items" in sample]


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
