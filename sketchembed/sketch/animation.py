"""Drawings that draw themselves: the animation of SVG strokes, and the frames of a GIF."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

MAX_FRAMES = 60  # of a GIF
HELD = 0.25  # part of the duration in which the complete drawing is shown
SHARPNESS = 3  # factor by which a frame is drawn larger, and then reduced


def stroke_animations(strokes: Sequence[np.ndarray], width: float | int, seconds: float | int) -> list[str]:
    """Return SVG attributes and an element for each stroke that draw it after the strokes before it.

    A stroke takes a share of the duration that is proportional to its points. The animation repeats. Viewers
    that do not animate show the complete drawing.

    Args:
        strokes: absolute points, each ``[n, 2]``.
        width: line width in the unit of the points.
        seconds: duration of the animation.
    """
    total = sum(map(len, strokes)) / (1 - HELD)
    clock, begun, parts = f'dur="{seconds:g}s" repeatCount="indefinite"', 0, []
    for stroke in strokes:
        # A dash as long as the stroke, which moves in from its end.
        length = f"{np.hypot(*np.diff(stroke, axis=0).T).sum() + width:.2f}"
        first, last = begun / total, (begun + len(stroke)) / total
        begun += len(stroke)
        drawn = (
            f'<animate attributeName="stroke-dashoffset" values="{length};{length};0;0" '
            f'keyTimes="0;{first:.4f};{last:.4f};1" {clock}/>'
        )
        # A dash of no length has round caps, so that a stroke is hidden before its turn.
        hidden = (
            f'<animate attributeName="visibility" values="hidden;visible" keyTimes="0;{first:.4f}" '
            f'calcMode="discrete" {clock}/>'
        )
        parts.append(f'stroke-dasharray="{length}">{drawn}{hidden if first else ""}')
    return parts


def gif_frames(strokes: Sequence[np.ndarray], size: int, width: float | int) -> list[Image.Image]:
    """Return grey images of a drawing that grows by an equal number of points from one to the next.

    Args:
        strokes: absolute points in pixels, each ``[n, 2]``.
        size: side in pixels.
        width: line width in pixels.
    """
    canvas = Image.new("L", (size * SHARPNESS, size * SHARPNESS), 255)
    pen, radius = ImageDraw.Draw(canvas), width * SHARPNESS / 2
    segments = [(stroke[max(at - 1, 0)], stroke[at]) for stroke in strokes for at in range(len(stroke))]
    frames = []
    for part in np.array_split(np.arange(len(segments)), max(1, min(MAX_FRAMES, len(segments)))):
        for number in part:
            start, end = (tuple((point * SHARPNESS - 0.5).tolist()) for point in segments[number])
            pen.line([start, end], fill=0, width=round(2 * radius))
            for x, y in (start, end):
                pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=0)
        frames.append(canvas.resize((size, size), Image.Resampling.LANCZOS))
    return frames
