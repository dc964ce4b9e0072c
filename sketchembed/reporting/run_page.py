"""A run's page: one file that needs no network, with the curves, and the sampled drawings to replay."""

from __future__ import annotations

import contextlib
import json
import math
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from sketchembed.files.reading import read_text
from sketchembed.files.serialization import parse_json
from sketchembed.files.writing import whole_file

MAX_POINTS = 600
"""Points of a curve; longer ones are thinned."""
MAX_CURVES = 1000
"""Names of curves; those that come after are left out."""
MAX_METRICS, MAX_SAMPLE = 32 << 20, 1 << 20
"""Bytes of a file of metrics, and of one of samples; a larger one is left out."""
MAX_SAMPLES = 40
"""Steps whose drawings are on the page; more are thinned, the first and last always there."""
SCRIPTS = ("page.js", "run_page.js", "page_drawings.js", "run_page_drawings.js", "run_page_curves.js")
"""The page's scripts, in the order in which they run."""
STYLES = ("page.css", "run_page.css")

Curve = dict[str, list[float | int | None]]
"""``step``, ``time`` (s since the run's start) and ``value``; once thinned also ``low`` and ``high``."""


def write_run_page(folder: str | Path) -> Path:
    """Write ``index.html`` of a run from what its folder holds so far.

    The page is written beside its place and renamed, so it can be written while it is looked at.

    Args:
        folder: the run's.

    Returns:
        the page's path.

    Raises:
        OSError: if the folder cannot be written to.
    """
    folder = Path(folder)
    package = resources.files("sketchembed.reporting.web")
    page = package.joinpath("run_page.html").read_text("utf-8")
    for mark, names in (("__STYLE__", STYLES), ("__SCRIPT__", SCRIPTS)):
        page = page.replace(mark, "\n".join(package.joinpath(name).read_text("utf-8") for name in names))
    # The run's own texts come last, so that nothing in them is taken for a mark; and in a script element
    # only "<" can start what ends it, so that no name of a class or run does harm.
    page = page.replace("__RUN__", page_json(folder).replace("<", "\\u003c"))
    # Two processes may write at once: a run, and somebody who asks for its page.
    path = folder / "index.html"
    with whole_file(path) as file:
        file.write(page.encode())
    return path


def page_json(folder: Path) -> str:
    """Return what the page shows, as JSON: ``facts``, ``config``, ``curves`` by name, ``samples`` by step.

    What is missing, broken, or being written is left out.

    Args:
        folder: the run's.
    """
    head = json.dumps(
        {
            "facts": _read_facts(folder / "run.json") or {"name": folder.name},
            "config": read_text(folder / "config.yaml"),
            "curves": read_curves(folder / "metrics.jsonl"),
        },
        separators=(",", ":"),
        allow_nan=False,
    )
    return f'{head[:-1]},"samples":[{",".join(_read_samples(folder / "samples"))}]}}'


# ---- curves --------------------------------------------------------------------------------------


def read_curves(path: Path) -> dict[str, Curve]:
    """Return the curves of a metrics file by name, each thinned to at most `MAX_POINTS` points.

    Values that are not finite are None. Lines that are no metrics (the last one may be half written)
    are skipped.

    Args:
        path: a file of one JSON object a line; missing is as good as empty.
    """
    curves: dict[str, Curve] = {}
    for line in read_text(path, MAX_METRICS).splitlines():
        try:
            row = parse_json(line)
            step, time = _finite(row.pop("step")), _finite(row.pop("time", None))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if step is None:
            continue
        for name, value in row.items():
            if name not in curves and len(curves) == MAX_CURVES:
                continue
            curve = curves.setdefault(name, {"step": [], "time": [], "value": []})
            curve["step"].append(step)
            curve["time"].append(time)
            curve["value"].append(_finite(value))
    return {name: _thin(curve) for name, curve in curves.items()}


def _finite(value: Any) -> float | int | None:
    """Return a finite number as it is, and None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with contextlib.suppress(OverflowError):
        return value if math.isfinite(value) else None
    return None


def _thin(curve: Curve) -> Curve:
    """Put the mean, smallest and largest value in place of neighbouring points, but for the two ends.

    A mean alone would hide the spikes that one looks for in a loss or a gradient.
    """
    count = len(curve["step"])
    if count <= MAX_POINTS:
        return curve
    inner = np.linspace(1, count - 1, MAX_POINTS - 1).round().astype(int)
    starts = np.concatenate([[0], inner])
    values = np.array([np.nan if value is None else value for value in curve["value"]], dtype=np.float64)
    there = np.isfinite(values)
    with np.errstate(invalid="ignore"):  # a group without any finite value has none of the three
        sums = np.add.reduceat(np.where(there, values, 0.0), starts)
        means = sums / np.add.reduceat(there.astype(np.float64), starts)
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    # A group stands at its middle.
    middles = (starts + np.append(starts[1:], count) - 1) // 2
    return {
        "step": [curve["step"][at] for at in middles],
        "time": [curve["time"][at] for at in middles],
        "value": _rounded(means),
        "low": _rounded(low),
        "high": _rounded(high),
    }


def _rounded(values: np.ndarray) -> list[float | int | None]:
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values]


# ---- files ---------------------------------------------------------------------------------------


def _read_samples(folder: Path) -> list[str]:
    """Return each step's samples as the JSON text that its file holds, evenly thinned."""
    files = sorted(folder.glob("step-*.json"))
    if len(files) > MAX_SAMPLES:
        files = [files[at] for at in np.linspace(0, len(files) - 1, MAX_SAMPLES).round().astype(int)]
    found = (_checked(read_text(file, MAX_SAMPLE)) for file in files)
    return [text for text in found if text is not None]


def _checked(text: str) -> str | None:
    """Return JSON that a browser can read, or None if these are no samples."""
    constants: list[str] = []
    try:
        found = parse_json(text, parse_constant=constants.append)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("items"), list):
        return None
    # To write it anew takes four times as long as to read it; only NaN and Infinity, which are no JSON
    # and are None by now, make it necessary.
    return json.dumps(found, separators=(",", ":")) if constants else text


def _read_facts(path: Path) -> dict[str, Any] | None:
    try:
        found = parse_json(
            read_text(path), parse_constant=lambda _: None, parse_float=lambda text: _finite(float(text))
        )
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
