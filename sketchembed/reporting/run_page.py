"""A run's page: one file that needs no network, with the curves, and the sampled drawings to replay."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from sketchembed.files.reading import read_text
from sketchembed.files.serialization import parse_json
from sketchembed.files.writing import whole_file
from sketchembed.runs.metrics import finite_or_none, read_curves

MAX_SAMPLE = 1 << 20
"""Bytes of a file of samples; a larger one is left out."""
MAX_SAMPLES = 40
"""Steps whose drawings are on the page; more are thinned, the first and last always there."""
SCRIPTS = ("page.js", "run_page.js", "page_drawings.js", "run_page_drawings.js", "run_page_curves.js")
"""The page's scripts, in the order in which they run."""
STYLES = ("page.css", "run_page.css")


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
            read_text(path),
            parse_constant=lambda _: None,
            parse_float=lambda text: finite_or_none(float(text)),
        )
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
