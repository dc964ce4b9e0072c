"""The table of a sweep, ``sweep.md``: parameters, state and losses of each run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sketchembed.files.writing import whole_file
from sketchembed.reporting.part import Cell, Table
from sketchembed.runs.metrics import last_value, read_curves
from sketchembed.runs.sweep_folder import SweepFolder

LOSSES = ("train", "val", "unseen")


def sweep_table(sweep: SweepFolder) -> Table:
    """Return the table of a sweep, one row per run."""
    varied = sweep.varied()
    rows: list[list[Cell]] = []
    for name, run in sweep.runs.items():
        found = sweep.run(name)
        curves = read_curves(found.metrics_file) if found else {}
        losses: list[Cell] = [last_value(curves, f"{part}/loss") for part in LOSSES]
        rows.append([name, *(_cell(run.point.get(key)) for key in varied), sweep.state(name), *losses])
    done = sum(sweep.finished(name) is not None for name in sweep.runs)
    return Table(
        f"{sweep.name}: {done} of {len(sweep.runs)} runs are done",
        ["run", *varied, "state", *(f"{part} loss" for part in LOSSES)],
        rows,
    )


def write_sweep_table(sweep: SweepFolder) -> Path:
    """Write ``sweep.md`` into the folder of a sweep, and return its path."""
    path = sweep.path / "sweep.md"
    with whole_file(path) as file:
        file.write(f"{sweep_table(sweep).markdown()}\n".encode("utf-8", errors="replace"))
    return path


def _cell(value: Any) -> Cell:
    return value if isinstance(value, str | int | float) or value is None else str(value)
