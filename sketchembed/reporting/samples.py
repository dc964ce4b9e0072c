"""Read the sample files of a run: drawings of the same inputs at several training steps."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from sketchembed.files.reading import read_text
from sketchembed.files.serialization import parse_json
from sketchembed.sketch.svg import path_data

MAX_BYTES = 1 << 20  # a larger file is skipped
MAX_STEPS = 40
"""Steps whose samples are read; of more, evenly spaced ones are chosen, with the first and the last."""
THUMBNAILS = 6  # of a run; half of them show unseen classes if there are enough


def read_samples(run: Path) -> list[str]:
    """Return the samples of each step of a run as JSON text, without the files that cannot be read."""
    files = sorted((run / "samples").glob("step-*.json"))
    if len(files) > MAX_STEPS:
        files = [files[at] for at in np.linspace(0, len(files) - 1, MAX_STEPS).round().astype(int)]
    found = (_strict_json(read_text(file, MAX_BYTES)) for file in files)
    return [text for text in found if text is not None]


def _strict_json(text: str) -> str | None:
    """Return samples as JSON without NaN and infinity; None if the text does not contain samples."""
    constants: list[str] = []
    try:
        found = parse_json(text, parse_constant=constants.append)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("items"), list):
        return None
    # Encoding takes four times as long as parsing, so that text without NaN is returned as it is.
    return json.dumps(found, separators=(",", ":")) if constants else text


def thumbnails(run: Path) -> list[tuple[str, str]]:
    """Return the newest drawings of a run as SVG path data in a box from 0 to 255, with their labels."""
    files = sorted((run / "samples").glob("step-*.json"), reverse=True)
    return next((found for file in files if (found := _thumbnails(file, file.stat().st_mtime_ns))), [])


@lru_cache(maxsize=4096)
def _thumbnails(file: Path, modified: int) -> list[tuple[str, str]]:
    """Return the drawings of a file at the lowest temperature; `modified` is part of the key of the cache."""
    with suppress(OSError, ValueError, KeyError, TypeError, IndexError, OverflowError):
        found = parse_json(read_text(file, MAX_BYTES))
        unseen = [item for item in found["items"] if item.get("seen") is False]
        seen = [item for item in found["items"] if item.get("seen") is not False]
        chosen = [*seen[: max(THUMBNAILS // 2, THUMBNAILS - len(unseen))], *unseen][:THUMBNAILS]
        return [
            (
                "".join(path_data(stroke, 0) for stroke in item["samples"][0]["strokes"]),
                f"{item['class']}, step {found['step']}",
            )
            for item in chosen
        ]
    return []
