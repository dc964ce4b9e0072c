"""Matplotlib figures as reproducible SVG with text elements."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sketchembed",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}


@contextmanager
def drawing_as_svg() -> Iterator[Any]:
    """Yield ``matplotlib.pyplot`` with the project's style and the SVG backend; close all figures on exit."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    with matplotlib.rc_context(STYLE):
        try:
            yield pyplot
        finally:
            pyplot.close("all")


def svg(figure: Any) -> str:
    """Return a figure as an SVG document."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    # Two decimals of a point suffice, and six of them take half of the file.
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), out.getvalue())
