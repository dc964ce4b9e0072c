"""Figures as SVG: text stays text, and the same numbers give the same file."""

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
    """Hand out ``matplotlib.pyplot`` in the project's style, without a screen, and close what was drawn."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    with matplotlib.rc_context(STYLE):
        try:
            yield pyplot
        finally:
            pyplot.close("all")


def svg(figure: Any) -> str:
    """Return a figure as the text of an SVG file."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    # A hundredth of a point is nothing to see, and six decimals of it are half of the file.
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), out.getvalue())
