"""Strokes traced along the contours of a photo, so that photos without sketches can train the decoder.

Not in the paper. A trace is not a human sketch: the method finds edges, not objects. It also draws shadows,
patterns and backgrounds of high contrast.

An edge is where the gradient is largest along its own direction (Canny 1986), located by the zero crossing of
the second derivative in that direction (Lindeberg 1998). Marching squares follow it as a line with subpixel
accuracy, so no thinning or chaining of pixels is needed. Edges in texture are weakened by the mean gradient
around them (Grigorescu, Petkov and Westenberg 2004).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.measure import find_contours

from sketchembed.sketch import Sketch
from sketchembed.sketch.simplify import rdp

# All constants were chosen by eye on photos of 84 pixels.
MAX_POINTS = 60
SIGMA = 1.75  # σ in pixels of the Gaussian derivatives; larger values give fewer details
EPSILON = 1.2
SURROUND = 7.0  # σ in pixels of the neighbourhood whose mean gradient measures texture
SUPPRESSED = 0.6  # share of this mean that is subtracted from an edge
FAINTEST = 1.0  # weakest gradient of an edge, in levels of 255 per pixel; smoothed JPEG noise is weaker
WEAK, STRONG = 0.65, 0.9  # quantiles of the gradients: an edge ends below WEAK and must reach STRONG
FRAME = 2  # width in pixels of the border where nothing is drawn, because some photos have a frame
GAP = 6.0  # largest gap in pixels between two ends that are joined if one line continues the other
TOUCHING = 3.0  # largest gap in pixels between two ends that are joined at a corner
TAIL = 4  # points, about 0.7 pixels apart, over which the direction of an end is measured
SHORTEST = 10.0  # shortest stroke in pixels
BORDER_WEIGHT = 0.4  # weight of a pixel at the border, relative to one in the centre, where most objects are
LEAST = 0.1  # lowest salience of a stroke, as a share of the highest one
READING = (1.0, 1.0)  # direction of reading; a stroke starts where the projection on it is smallest


def trace(photo: np.ndarray, max_points: int = MAX_POINTS, epsilon: float | int = EPSILON) -> Sketch:
    """Draw the most salient contours of a photo.

    The salience of a contour is the sum of the gradient along it, with a higher weight in the centre. Strokes
    are sorted by salience, and the least salient are omitted if there are too many points. An open stroke
    starts at the end closer to the upper left (smaller x + y). A closed one starts at its point closest to
    the upper left, runs clockwise and ends at its start. The result is deterministic.

    Args:
        photo: uint8 ``[3, height, width]``. The constants suit sides of 84 pixels; scale larger photos first.
        max_points: most points in total. Strokes are never cut.
        epsilon: tolerance of :func:`~sketchembed.sketch.simplify.rdp` in pixels.

    Returns:
        The sketch in pixels, with (0, 0) at the centre of the upper left pixel; empty if there are no
        contours.
    """
    height, width = photo.shape[1:]
    if min(height, width) <= 2 * FRAME + 1:
        return Sketch.from_strokes([])
    strength, lines = _edges(_main_colour(photo))
    ranked = []
    for line in _joined(lines):
        steps = _length(np.diff(line, axis=0))
        if steps.sum() >= SHORTEST:
            off = np.abs(line / [(width - 1) / 2, (height - 1) / 2] - 1).max(axis=1)
            weight = 1 - (1 - BORDER_WEIGHT) * off**2
            ranked.append((float((_sampled(strength, line) * weight)[1:] @ steps), line))
    ranked.sort(key=lambda pair: -pair[0])
    strokes, left = [], max_points
    for salience, line in ranked:
        if salience < LEAST * ranked[0][0]:
            break
        stroke = rdp(_directed(line), epsilon, "segment")
        if len(stroke) <= left:
            strokes.append(stroke)
            left -= len(stroke)
    return Sketch.from_strokes(strokes)


def _main_colour(photo: np.ndarray) -> np.ndarray:
    """Return the first principal component of the photo's colours, float64 ``[height, width]``.

    It is close to the lightness of most photos, but also has an edge between red and green of equal
    lightness.
    """
    pixels = photo.reshape(3, -1).astype(np.float64)
    pixels -= pixels.mean(axis=1, keepdims=True)
    axis = np.linalg.eigh(pixels @ pixels.T)[1][:, -1]
    # The sign is arbitrary, but marching squares depend on it at saddle points.
    projected: np.ndarray = (axis @ pixels).reshape(photo.shape[1:]) * (1 if axis.sum() >= 0 else -1)
    return projected


def _edges(image: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the strength of each pixel's edge, ``[height, width]``, and lines of (x, y) along the edges."""
    smooth = gaussian_filter(image, SIGMA)
    dy, dx = np.gradient(smooth)
    # `second` and `third` have the signs of the second and third derivative along the gradient.
    y, x = np.gradient(dx**2 + dy**2)
    second = dx * x + dy * y
    y, x = np.gradient(second)
    third = dx * x + dy * y
    gradient = np.hypot(dx, dy)
    strength = np.maximum(gradient - SUPPRESSED * gaussian_filter(gradient, SURROUND), 0.0)
    strength[gradient < FAINTEST] = 0.0
    # A frame around the photo would raise the thresholds.
    middle = tuple(slice(side // 12, side - side // 12) for side in strength.shape)
    weak, strong = np.quantile(strength[middle], [WEAK, STRONG])
    followed = strength > weak
    followed[:FRAME] = followed[-FRAME:] = followed[:, :FRAME] = followed[:, -FRAME:] = False
    lines = []
    for found in find_contours(second, 0.0, mask=followed):  # type: ignore[no-untyped-call]
        line = found[:, ::-1]
        # The gradient is largest, not smallest, where the third derivative is negative.
        largest = _sampled(third, line) < 0
        if _is_closed(line) and not largest.all():
            first = int(largest.argmin())
            line, largest = (np.roll(array[:-1], -first, axis=0) for array in (line, largest))
        ends = np.flatnonzero(np.diff(largest.astype(np.int8), prepend=0, append=0))
        for start, end in ends.reshape(-1, 2):
            part = line[start:end]
            if len(part) > 2 and _sampled(strength, part).max() > strong:
                lines.append(part)
    return strength, lines


def _joined(lines: list[np.ndarray]) -> list[np.ndarray]:
    """Join lines that continue each other, starting with the pairs of the closest and smoothest ends."""
    # End 2i is the first point of line i, end 2i + 1 its last.
    ends = np.array([point for line in lines for point in (line[0], line[-1])]).reshape(-1, 2)
    inner = [point for line in lines for point in (line[:TAIL][-1], line[-TAIL:][0])]
    outward = ends - np.array(inner).reshape(-1, 2)
    outward /= np.maximum(_length(outward), 1e-9)[:, None]
    across = ends[None] - ends[:, None]
    gap = _length(across)
    towards = across / np.maximum(gap, 1e-9)[..., None]
    # Cosines of the angles between the lines' directions, and between both and the gap.
    turn = -outward @ outward.T
    into = (outward[:, None] * towards).sum(axis=-1) - (outward[None] * towards).sum(axis=-1)
    smooth = (gap <= GAP) & (turn > 0) & (into > 1)
    corner = (gap < TOUCHING) & (turn > -0.5) & (into > -1)
    free = np.repeat([not _is_closed(line) for line in lines], 2).astype(bool)
    allowed = np.triu(smooth | corner, 1) & free[:, None] & free[None]
    for number, line in enumerate(lines):
        # The two ends of a short line are always close to each other.
        allowed[2 * number, 2 * number + 1] &= bool(_length(np.diff(line, axis=0)).sum() > 3 * GAP)
    one, other = np.nonzero(allowed)
    cost = gap[one, other] + GAP * (1 - turn[one, other])
    partner: dict[int, int] = {}
    for pair in np.argsort(cost, kind="stable"):
        a, b = int(one[pair]), int(other[pair])
        if a not in partner and b not in partner:
            partner[a], partner[b] = b, a
    joined = []
    done: set[int] = set()
    # First the chains, from their free ends; the rest are rings.
    for begin in sorted(range(len(ends)), key=lambda end: end in partner):
        if begin // 2 in done:
            continue
        parts: list[np.ndarray] = []
        end: int | None = begin
        while end is not None and end // 2 not in done:
            done.add(end // 2)
            parts.append(lines[end // 2][:: -1 if end % 2 else 1])
            end = partner.get(end ^ 1)
        if end is not None:
            parts.append(parts[0][:1])
        joined.append(np.concatenate(parts))
    return joined


def _directed(line: np.ndarray) -> np.ndarray:
    """Return the line with the start and direction that :func:`trace` describes."""
    if not _is_closed(line):
        return line if line[0] @ READING <= line[-1] @ READING else line[::-1]
    ring = line[:-1]
    following = np.roll(ring, -1, axis=0)
    # With y down, a positive area is clockwise.
    if (ring[:, 0] * following[:, 1] - ring[:, 1] * following[:, 0]).sum() < 0:
        ring = ring[::-1]
    ring = np.roll(ring, -int((ring @ READING).argmin()), axis=0)
    return np.concatenate([ring, ring[:1]])


def _is_closed(line: np.ndarray) -> bool:
    return bool((line[0] == line[-1]).all())


def _sampled(image: np.ndarray, line: np.ndarray) -> np.ndarray:
    values: np.ndarray = map_coordinates(image, line.T[::-1], order=1)
    return values


def _length(vectors: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.hypot(vectors[..., 0], vectors[..., 1])
    return lengths
