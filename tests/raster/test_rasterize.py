"""Rasterization compared with CairoSVG, finite differences and brute force."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from sketchembed.raster import kernels, rasterize
from sketchembed.raster.rasterize import Canvas
from sketchembed.sketch import Sketch, cairosvg

pytestmark = pytest.mark.usefixtures("version")


def cairo(sketch: Sketch, size: int = 28, margin: int = 3, width: float = 1.0) -> np.ndarray:
    """Draw like the paper's inputs: one path, butt caps, ink 1 on background 0."""
    moves = " ".join(
        "M" + " L".join(f"{x:.5f},{y:.5f}" for x, y in stroke) for stroke in sketch.fit(size, margin).strokes
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}">'
        f'<path d="{moves}" fill="none" stroke="black" stroke-width="{width}"/></svg>'
    )
    png = cairosvg().svg2png(bytestring=svg.encode(), background_color="white")
    return 1 - np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=np.float64) / 255


def pen(sketch: Sketch, size: int = 28, margin: int = 3, width: float = 1.0) -> np.ndarray:
    rows = torch.from_numpy(sketch.to_stroke5(len(sketch))).unsqueeze(0)
    return rasterize.draw_pen(rows, size, width, margin)[0].numpy()


def brute_force_distance(start, end, drawn, size, offset):
    """Return the squared distance of each pixel to the nearest segment, in plain Python."""
    image = np.full((size, size), math.inf)
    for row in range(size):
        for column in range(size):
            for (ax, ay), (bx, by), on in zip(start, end, drawn, strict=True):
                if not on:
                    continue
                px, py, cx, cy = column + offset - ax, row + offset - ay, bx - ax, by - ay
                length = cx * cx + cy * cy
                share = min(max((px * cx + py * cy) / length, 0), 1) if length else 0
                found = (px - share * cx) ** 2 + (py - share * cy) ** 2
                image[row, column] = min(image[row, column], found)
    return image


def segments(seed=0, batch=3, count=7, size=10, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    # Some segments lie outside the canvas, some have zero length, some are not drawn.
    start = torch.rand(batch, count, 2, generator=generator, dtype=dtype) * 1.6 * size - 0.3 * size
    end = start + torch.randn(batch, count, 2, generator=generator, dtype=dtype) * 3
    end[:, 1] = start[:, 1]
    drawn = torch.rand(batch, count, generator=generator) < 0.7
    drawn[:, :2] = True
    return start, end, drawn


# ---- the pen -----------------------------------------------------------------------------------------


@pytest.mark.data
def test_pen_agrees_with_cairosvg_on_real_drawings(real_data):
    sketches = []
    for path in sorted((real_data / "quickdraw" / "simplified").glob("*.ndjson")):
        with path.open() as lines:
            drawings = [json.loads(line)["drawing"] for _, line in zip(range(500), lines, strict=False)]
        sketches += [Sketch.from_strokes([np.array(part[:2]).T for part in drawing]) for drawing in drawings]
    sketches = [sketch for sketch in sketches if 2 <= len(sketch) <= 64]
    assert len(sketches) > 300
    rows = torch.from_numpy(np.stack([sketch.to_stroke5(64) for sketch in sketches]))
    ours, oracle = rasterize.draw_pen(rows).numpy(), np.stack([cairo(sketch) for sketch in sketches])
    difference = ours - oracle
    assert np.abs(difference).mean() < 0.006
    assert abs(difference.mean()) < 0.002
    assert np.sqrt((difference**2).mean()) < 0.03
    # Images of two different drawings would differ by about 0.15.
    assert np.abs(difference).mean(axis=(1, 2)).max() < 0.02


@pytest.mark.parametrize("degrees", [0, 7, 30, 45, 60, 90, 135])
@pytest.mark.parametrize("width", [1.0, 2.0])
def test_pen_agrees_with_cairosvg_on_a_line_at_any_angle(degrees, width):
    turn = math.radians(degrees)
    sketch = Sketch.from_strokes([[[0.0, 0.0], [math.cos(turn), math.sin(turn)]]])
    difference = np.abs(pen(sketch, width=width) - cairo(sketch, width=width))
    assert difference.mean() < 0.002
    assert difference.max() < 0.2


def test_pen_agrees_with_cairosvg_on_corners_and_crossings():
    square = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
    circle = [[math.cos(a), math.sin(a)] for a in np.linspace(0, 2 * math.pi, 40)]
    cross = Sketch.from_strokes([[[0, 0], [10, 9]], [[0, 9], [10, 0]]])
    for sketch in (Sketch.from_strokes([square]), Sketch.from_strokes([circle]), cross):
        assert np.abs(pen(sketch) - cairo(sketch)).mean() < 0.004


def test_pen_covers_whole_pixels_exactly():
    # A line along the middle of a row of pixels, from one pixel's edge to another's.
    lit = rasterize.pen_coverage(
        torch.tensor([[[3.0, 4.5]]]), torch.tensor([[[7.0, 4.5]]]), torch.tensor([[True]]), 10
    )[0]
    expected = torch.zeros(10, 10)
    expected[4, 3:7] = 1
    torch.testing.assert_close(lit, expected, atol=0.006, rtol=0)


def test_pen_skips_lifted_lines():
    sketch = Sketch.from_strokes([[[0, 0], [10, 0]], [[0, 10], [10, 10]]])
    image = pen(sketch)
    assert (image[5:23] == 0).all()
    assert image[3].sum() > 10 or image[2].sum() > 10


@pytest.mark.parametrize(("size", "expected"), [(28, 3), (84, 8), (32, 3), (48, 5)])
def test_margin_equals_that_of_the_released_code(size, expected):
    assert rasterize.margin(size) == expected == round(size / 10)


def test_pen_down_stops_at_the_end():
    state = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0]])
    rows = torch.cat([torch.zeros(7, 2), state.float()], dim=1).unsqueeze(0)
    assert rasterize.pen_down(rows).tolist() == [[True, True, False, False, False, False]]


def test_canvas_of_degenerate_drawings():
    points = torch.tensor(
        [[[5.0, 2.0], [5.0, 12.0], [99.0, 99.0]], [[1.0, 1.0], [1.0, 1.0], [7.0, 7.0]], [[3.0, 3.0]] * 3]
    )
    present = torch.tensor([[True, True, False], [True, True, False], [False, False, False]])
    canvas = Canvas.fit(points, present, 28, 3)
    torch.testing.assert_close(canvas.scale, torch.tensor([2.2, 1.0, 1.0]))
    placed = canvas.place(points)
    torch.testing.assert_close(placed[0, :2], torch.tensor([[14.0, 3.0], [14.0, 25.0]]))
    torch.testing.assert_close(placed[1, :2], torch.full((2, 2), 14.0))
    assert placed.isfinite().all()
    nothing = torch.zeros(2, 5, 5)
    nothing[..., 4] = 1
    assert (rasterize.draw_pen(nothing) == 0).all()


# ---- distances and the sigmoid ink -------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_squared_distance_agrees_with_brute_force(offset):
    start, end, drawn = segments()
    ours = rasterize.squared_distance(start, end, drawn, 10, offset)
    for number in range(len(start)):
        expected = brute_force_distance(
            start[number].tolist(), end[number].tolist(), drawn[number].tolist(), 10, offset
        )
        np.testing.assert_allclose(ours[number].numpy(), expected, rtol=1e-4, atol=1e-6)


def test_floor_of_the_length_shortens_distances_to_lines_only():
    # A segment from (2, 1) to (6, 1), with |ab|² = 16, and a segment of no length at (8, 8).
    start, end = torch.tensor([[[2.0, 1.0], [8.0, 8.0]]]), torch.tensor([[[6.0, 1.0], [8.0, 8.0]]])
    found = rasterize.squared_distance(start, end, torch.tensor([[True, True]]), 10, 0.0, length_floor=4.0)[0]
    assert found[4, 3] == pytest.approx(9 * 16 / 20)  # three pixels below the line
    assert found[1, 0] == pytest.approx(4)  # two pixels before its start
    assert found[8, 6] == pytest.approx(4)  # two pixels from the point
    assert found[8, 8] == 0


@pytest.mark.parametrize("power", [1, 2])
def test_limited_reach_loses_no_ink(power):
    start, end, drawn = segments(seed=1, size=28, count=5, dtype=torch.float32)
    everywhere = rasterize.squared_distance(start, end, drawn, 28, 0.0)
    near = rasterize.squared_distance(start, end, drawn, 28, 0.0, rasterize.sigmoid_reach(power))
    assert near.isinf().any()
    within = everywhere <= rasterize.sigmoid_reach(power) ** 2
    assert torch.equal(everywhere[within], near[within])
    assert (near >= everywhere).all()
    ink, all_ink = rasterize.sigmoid_ink(near, power), rasterize.sigmoid_ink(everywhere, power)
    torch.testing.assert_close(ink, all_ink, atol=3e-9, rtol=0)


def test_distance_to_no_segments_is_infinite():
    start, end, drawn = segments(dtype=torch.float32)
    drawn[1] = False
    start.requires_grad_()
    distance = rasterize.squared_distance(start, end, drawn, 10, 0.0)
    assert distance[1].isinf().all()
    for power in (1, 2):
        (gradient,) = torch.autograd.grad(
            rasterize.sigmoid_ink(distance, power).sum(), start, retain_graph=True
        )
        assert gradient.isfinite().all()
        assert (gradient[1] == 0).all()
    none = rasterize.squared_distance(start[:, :0], end[:, :0], drawn[:, :0], 10, 0.0)
    assert none.shape == (3, 10, 10)
    assert none.isinf().all()


def test_large_batch_gives_the_same_result_in_halves(monkeypatch):
    start, end, drawn = segments(batch=5, dtype=torch.float32)
    whole = (
        rasterize.squared_distance(start, end, drawn, 10, 0.0),
        rasterize.pen_coverage(start, end, drawn, 10),
    )
    monkeypatch.setattr(rasterize, "PAIR_LIMIT", 10)
    parts = (
        rasterize.squared_distance(start, end, drawn, 10, 0.0),
        rasterize.pen_coverage(start, end, drawn, 10),
    )
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1], parts[1])


def test_points_that_are_not_finite_do_not_affect_others():
    start, end, drawn = segments(batch=4, dtype=torch.float32)
    drawn[:] = True
    expected = rasterize.squared_distance(start[:1, 1:], end[:1, 1:], drawn[:1, 1:], 10, 0.0)
    end[0, 0], end[1, 0], end[2, 0] = math.nan, math.inf, 1e30
    distance = rasterize.squared_distance(start, end, drawn, 10, 0.0)
    torch.testing.assert_close(distance[:1], expected)
    assert distance[2:].isfinite().all()


@pytest.mark.parametrize("power", [1, 2])
def test_gradient_agrees_with_finite_differences(power):
    start, end, drawn = segments(seed=3, batch=2, size=6, count=4)
    weight = torch.rand(2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def ink(start, end):
        return (
            weight * rasterize.sigmoid_ink(rasterize.squared_distance(start, end, drawn, 6, 0.0), power)
        ).sum()

    # The distance is not differentiable where a segment has zero length, so exclude that segment.
    drawn[:, 1] = False
    assert torch.autograd.gradcheck(ink, (start.requires_grad_(), end.requires_grad_()), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("power", [1, 2])
def test_gradient_is_finite_for_degenerate_segments(power):
    # Pixels lie exactly on the first segment; the second has zero length, the third almost zero.
    start = torch.tensor([[[2.0, 2.0], [5.0, 5.0], [7.0, 7.0], [1.0, 8.0]]], requires_grad=True)
    end = torch.tensor([[[2.0, 7.0], [5.0, 5.0], [7.0, 7.0 + 1e-6], [1.0 + 1e-20, 8.0]]], requires_grad=True)
    drawn = torch.ones(1, 4, dtype=torch.bool)
    ink = rasterize.sigmoid_ink(rasterize.squared_distance(start, end, drawn, 10, 0.0), power)
    assert ink.max().item() == pytest.approx(1 / (1 + math.exp(-2)), abs=2e-3)
    assert ink[0, 5, 5].item() == pytest.approx(1 / (1 + math.exp(-2)), abs=2e-3)
    for gradient in torch.autograd.grad((ink * torch.rand_like(ink)).sum(), (start, end)):
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 100


def test_sigmoid_ink_values():
    distance = torch.tensor([[0.0, 0.25, 1.0, math.inf]])
    for power in (1, 2):
        expected = [[1 / (1 + math.exp(5 * math.sqrt(d) ** power - 2)) for d in (0.0, 0.25, 1.0)] + [0.0]]
        torch.testing.assert_close(
            rasterize.sigmoid_ink(distance, power), torch.tensor(expected), atol=2e-3, rtol=0
        )


# ---- Triton kernels, on a GPU if there is one, otherwise in Triton's interpreter ---------------------


@pytest.fixture
def triton_device(monkeypatch):
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        return torch.device("cuda")
    monkeypatch.setattr(kernels, "INTERPRETED", True)
    return torch.device("cpu")


def on_both(function, monkeypatch, device, *tensors):
    """Return the result of PyTorch's operations on the CPU, and that of the kernels."""
    moved = function(*(tensor.to(device) for tensor in tensors))
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "INTERPRETED", False)
        return function(*tensors), [value.cpu() for value in moved]


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_kernel_distance_and_gradient_agree_with_pytorch(offset, triton_device, monkeypatch):
    start, end, drawn = segments(count=9, size=19, dtype=torch.float32)
    start[1, 2] = math.nan
    drawn[2] = False

    def ink(start, end, drawn):
        leaves = start.detach().requires_grad_(), end.detach().requires_grad_()
        distance = rasterize.squared_distance(*leaves, drawn, 19, offset)
        weight = torch.linspace(-1, 1, 19, device=start.device)
        (rasterize.sigmoid_ink(distance) * weight).sum().backward()
        return distance.detach(), leaves[0].grad, leaves[1].grad

    wanted, got = on_both(ink, monkeypatch, triton_device, start, end, drawn)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [1.0, 2.0])
def test_kernel_pen_coverage_agrees_with_pytorch(width, triton_device, monkeypatch):
    start, end, drawn = segments(count=9, size=19, dtype=torch.float32)
    start[:, 1:6] = end[:, :5]  # joined segments
    end[0, 8] = math.nan

    def draw(*tensors):
        return [rasterize.pen_coverage(*tensors, 19, width)]

    (wanted,), (got,) = on_both(draw, monkeypatch, triton_device, start, end, drawn)
    # For a vertical line, single-precision squares are divided by 0.01, which amplifies rounding.
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-3)
