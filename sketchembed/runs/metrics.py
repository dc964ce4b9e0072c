"""The format of a run's ``metrics.jsonl``, and every function that reads it.

Each line is a JSON object: ``step`` (training steps before it), ``time`` (s of training since the start of
the run) and values by name. A value that is not finite is null. Readers skip lines that they cannot parse,
such as a last line that was cut off.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sketchembed.files.reading import read_text
from sketchembed.files.serialization import parse_json
from sketchembed.files.writing import whole_file

MAX_POINTS = 600
"""Points of a curve; a longer one is thinned."""
MAX_CURVES = 1000  # further names are skipped
MAX_METRICS = 32 << 20  # bytes of a file; the curves of a larger one are not read
TAIL = 1 << 17  # bytes at the end of a file in which the last row is searched first

Curve = dict[str, list[float | int | None]]
"""Lists ``step``, ``time`` (s) and ``value``; a thinned curve also has ``low`` and ``high``."""


def format_row(step: int | None, seconds: float | int, values: Mapping[str, float | int]) -> str:
    """Return one line of the file with its newline; the value ``epoch`` is skipped."""
    rounded = {
        name: float(f"{value:.6g}") if math.isfinite(value) else None
        for name, value in values.items()
        if name != "epoch"
    }
    return json.dumps({"step": step, "time": round(seconds, 2)} | rounded) + "\n"


def read_curves(path: Path) -> dict[str, Curve]:
    """Return the curves of a file by name, each thinned to at most :data:`MAX_POINTS` points."""
    curves: dict[str, Curve] = {}
    for line in read_text(path, MAX_METRICS).splitlines():
        try:
            row = parse_json(line)
            step, time = finite_or_none(row.pop("step")), finite_or_none(row.pop("time", None))
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
            curve["value"].append(finite_or_none(value))
    return {name: _thin(curve) for name, curve in curves.items()}


def last_value(curves: Mapping[str, Curve], name: str) -> float | None:
    """Return the last value of a curve; None if there is none."""
    values = [value for value in curves.get(name, {}).get("value", ()) if value is not None]
    return float(values[-1]) if values else None


def last_step(path: Path) -> int:
    """Return the number of training steps that a file has logged."""
    curve = read_curves(path).get("train/loss")
    return int(curve["step"][-1] or 0) + 1 if curve and curve["step"] else 0


def last_time(path: Path) -> float | None:
    """Return the training time up to the last row in seconds; None if it is not known."""
    times = (finite_or_none(row.get("time")) for row in _rows_from_end(path, TAIL))
    return next((float(seconds) for seconds in times if seconds is not None), None)


def read_last_rows(path: Path) -> tuple[dict[str, Any], dict[str, float | int]]:
    """Return the last row of a file, and the finite values of its last validation."""
    last: dict[str, Any] = {}
    for limit in (TAIL, MAX_METRICS):
        for number, row in enumerate(_rows_from_end(path, limit)):
            last = row if number == 0 else last
            if any(name.startswith("val/") for name in row):
                values = {name: finite_or_none(value) for name, value in row.items()}
                return last, {name: value for name, value in values.items() if value is not None}
    return last, {}


def drop_steps(path: Path, step: int) -> None:
    """Remove the rows of all training steps after the first `step` steps, and the validations after them."""
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().decode(errors="replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if parse_json(line)["step"] < step:
                kept.append(line + "\n")
    with whole_file(path) as file:
        file.write("".join(kept).encode())


def finite_or_none(value: Any) -> float | int | None:
    """Return a finite number unchanged, and None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with contextlib.suppress(OverflowError):
        return value if math.isfinite(value) else None
    return None


def _rows_from_end(path: Path, limit: int) -> Iterator[dict[str, Any]]:
    """Yield the rows in the last `limit` bytes, the last one first."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - limit, 0))
            lines = file.read(limit).splitlines()
    except OSError:
        return
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            if isinstance(row := parse_json(line), dict):
                yield row


def _thin(curve: Curve) -> Curve:
    """Replace neighbouring points, except the two ends, by their mean, minimum and maximum.

    The mean alone would hide spikes of a loss or a gradient.
    """
    count = len(curve["step"])
    if count <= MAX_POINTS:
        return curve
    inner = np.linspace(1, count - 1, MAX_POINTS - 1).round().astype(int)
    starts = np.concatenate([[0], inner])
    values = np.array([np.nan if value is None else value for value in curve["value"]], dtype=np.float64)
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):  # groups without a finite value become NaN
        sums = np.add.reduceat(np.where(finite, values, 0.0), starts)
        means = sums / np.add.reduceat(finite.astype(np.float64), starts)
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
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
