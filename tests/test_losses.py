"""Compare the losses with PyTorch's, and the pixel loss with a reference in NumPy and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from sketchembed.losses import PixelLoss, contrastive_loss, drawing_loss, kl_loss, pen_loss, stroke_loss
from sketchembed.networks.mixture import GaussianMixture
from sketchembed.networks.sketchembednet import Latent
from sketchembed.sketch import Sketch


def drawings(length=6) -> torch.Tensor:
    sketches = [
        Sketch.from_strokes([[[0, 0], [3, 0], [3, 2]], [[0, 2], [1, 3]]]),
        Sketch.from_strokes([[[1, 1], [-1, 2], [0, -3], [1, 1]]]),
    ]
    return torch.from_numpy(np.stack([sketch.to_stroke5(length) for sketch in sketches]))


def outputs(batch=2, time=6, mix=3, seed=0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, time, 3, generator=generator),
        torch.randn(batch, time, 6 * mix, generator=generator),
    )


def test_pen_loss_equals_torch_cross_entropy():
    logits, _ = outputs()
    target = drawings()[:, 1:, 2:]
    expected = functional.cross_entropy(logits.flatten(0, 1), target.flatten(0, 1).argmax(-1))
    torch.testing.assert_close(pen_loss(logits, target), expected)


def test_stroke_loss_skips_padding_but_divides_by_all_steps():
    _, raw = outputs()
    target = drawings()[:, 1:]
    mixture = GaussianMixture.from_output(raw)
    total = 0.0
    for number in range(2):
        for step in range(6):
            if target[number, step, 4] == 0:
                p = math.exp(mixture.log_prob(target[..., :2])[number, step].item())
                total -= math.log(p + 1e-6)
    assert stroke_loss(mixture, target[..., :2], target[..., 4]).item() == pytest.approx(total / 12, rel=1e-5)


def test_stroke_loss_is_bounded_and_has_finite_gradients():
    raw = (torch.zeros(1, 1, 18) - 1e4).requires_grad_()
    loss = stroke_loss(GaussianMixture.from_output(raw), torch.full((1, 1, 2), 1e4), torch.zeros(1, 1))
    assert loss.item() == pytest.approx(-math.log(1e-6), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, raw)
    assert gradient.isfinite().all()


# ---- the pixel loss ----------------------------------------------------------------------------------


def reference_image(points, drawn, size, power, sigma, radius):
    """Return the ink of each pixel by its distance from the nearest drawn segment, blurred with SciPy."""
    row, column = np.mgrid[:size, :size].astype(float)
    nearest = np.full((size, size), np.inf)
    for a, b, on in zip(points[:-1], points[1:], drawn, strict=True):
        if on:
            chord = b - a
            share = ((column - a[0]) * chord[0] + (row - a[1]) * chord[1]) / max(chord @ chord, 1e-300)
            share = np.clip(share, 0, 1)
            gap = np.hypot(column - a[0] - share * chord[0], row - a[1] - share * chord[1])
            nearest = np.minimum(nearest, gap)
    ink = 1 / (1 + np.exp(np.minimum(5 * nearest**power - 2, 500)))
    return gaussian_filter(ink, sigma, mode="constant", truncate=radius / sigma)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("entropy", ["full", "ink"])
def test_pixel_loss_equals_a_numpy_reference(power, entropy):
    size, margin = 28, 3
    logits, raw = outputs()
    logits[..., 0] += 1
    stroke5, mixture = drawings(), GaussianMixture.from_output(raw)
    noise = torch.randn(2, 2, 6, 2, generator=torch.Generator().manual_seed(5))
    ours = PixelLoss(distance_power=power, entropy=entropy, samples=2)(mixture, logits, stroke5, size, noise)

    terms = []
    for number in range(2):
        rows = stroke5[number].double().numpy()
        length = int((rows[:, 4] == 0).sum())
        points = np.cumsum(rows[:, :2], axis=0)
        low, high = points[:length].min(0), points[:length].max(0)
        scale = (size - 2 * margin) / (high - low).max()
        shift = size / 2 - (low + high) / 2 * scale
        down = [rows[t - 1, 2] == 1 and t < length for t in range(1, len(rows))]
        truth = reference_image(points * scale + shift, down, size, power, 2.0, 2)
        pen = torch.softmax(logits[number], -1)[:, 0].numpy() > 0.5
        for sample in range(2):
            walk = [np.zeros(2)]
            for step in range(6):
                j = int(mixture.logits[number, step].argmax())
                mean = mixture.mean[number, step, j].double().numpy()
                std = mixture.log_std[number, step, j].double().exp().numpy()
                rho = math.tanh(mixture.correlation[number, step, j].item())
                e = noise[sample, number, step].double().numpy()
                factor = np.array([[std[0], 0], [rho * std[1], std[1] * math.sqrt(1 - rho**2)]])
                walk.append(walk[-1] + mean + factor @ e)
            drawn = [True, *pen[:-1]]
            image = reference_image(np.array(walk) * scale + shift, drawn, size, power, 2.0, 2)
            image = np.clip(image, 1e-7, 1 - 1e-7)
            loss = truth * np.log(image)
            if entropy == "full":
                loss += (1 - truth) * np.log(1 - image)
            terms.append(-loss.mean())
    assert ours.item() == pytest.approx(np.mean(terms), rel=2e-3)


def test_pixel_loss_gradient_equals_finite_differences():
    logits, raw = outputs(seed=1)
    logits[..., 0] += 2
    raw = raw * 0.2
    stroke5, noise = drawings(), torch.zeros(1, 2, 6, 2)
    loss = PixelLoss()

    def value(mean):
        mixture = GaussianMixture.from_output(raw)._replace(mean=mean)
        return loss(mixture, logits, stroke5, 28, noise)

    mean = GaussianMixture.from_output(raw).mean.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(mean), mean)
    direction = torch.randn(mean.shape, generator=torch.Generator().manual_seed(3))
    step = 2e-3
    with torch.no_grad():
        slope = (value(mean + step * direction) - value(mean - step * direction)) / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=0.03)
    assert gradient.abs().sum() > 0


def test_pixel_loss_has_no_gradient_for_pen_and_weights():
    logits, raw = outputs()
    logits[..., 0] += 2
    logits.requires_grad_()
    raw.requires_grad_()
    loss = PixelLoss()(GaussianMixture.from_output(raw), logits, drawings(), 28)
    pen, output = torch.autograd.grad(loss, (logits, raw), allow_unused=True)
    assert pen is None
    assert (output[..., :3] == 0).all()
    assert output[..., 3:].abs().sum() > 0
    assert output.isfinite().all()


def test_perfect_prediction_has_the_smallest_pixel_loss():
    stroke5 = drawings()
    target = stroke5[:, 1:]
    logits = target[..., 2:] * 20
    exact = GaussianMixture(
        torch.zeros(2, 6, 1), target[..., None, :2], torch.full((2, 6, 1, 2), -8.0), torch.zeros(2, 6, 1)
    )
    best = PixelLoss()(exact, logits, stroke5, 28)
    moved = exact._replace(mean=exact.mean + torch.tensor([0.3, 0.0]))
    assert best < PixelLoss()(moved, logits, stroke5, 28)
    assert PixelLoss()(exact, logits, stroke5, 48).isfinite()


def test_pixel_loss_of_an_empty_prediction_is_finite():
    logits, raw = outputs()
    logits[..., 1] += 50
    stroke5 = drawings()
    stroke5[:, 0, 2:4] = torch.tensor([0.0, 1.0])
    raw.requires_grad_()
    loss = PixelLoss()(GaussianMixture.from_output(raw), logits, stroke5, 28)
    (gradient,) = torch.autograd.grad(loss, raw)
    assert loss.isfinite()
    assert (gradient == 0).all()


def test_losses_are_float32_under_autocast():
    logits, raw = outputs()
    stroke5, noise = drawings(), torch.randn(1, 2, 6, 2)

    def all_three(logits, raw):
        mixture, target = GaussianMixture.from_output(raw), stroke5[:, 1:]
        return (
            pen_loss(logits, target[..., 2:]),
            stroke_loss(mixture, target[..., :2], target[..., 4]),
            PixelLoss()(mixture, logits, stroke5, 28, noise),
        )

    low = logits.bfloat16(), raw.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = all_three(*low)
    assert all(loss.dtype == torch.float32 for loss in under)
    for ours, plain in zip(under, all_three(low[0].float(), low[1].float()), strict=True):
        assert torch.equal(ours, plain)


# ---- the weighted sum --------------------------------------------------------------------------------


@pytest.mark.parametrize("as_type", [float, torch.tensor], ids=["number", "tensor"])
@pytest.mark.parametrize(
    ("alpha", "gate", "expected"),
    # 1 + (1 - α) 10 + gate α 100
    [(0.0, 1.0, 11.0), (0.1, 0.0, 10.0), (0.15, 1.0, 24.5), (0.1, 1.0, 20.0), (1.0, 1.0, 101.0)],
)
def test_weighted_sum(alpha, gate, expected, as_type):
    terms = torch.tensor(1.0), torch.tensor(10.0), torch.tensor(100.0)
    loss = drawing_loss(*terms, as_type(alpha), as_type(gate))
    assert loss.total.item() == pytest.approx(expected)
    assert loss[1:] == terms


@pytest.mark.parametrize("as_type", [float, torch.tensor], ids=["number", "tensor"])
def test_weighted_sum_gradient(as_type):
    terms = [torch.tensor(value, requires_grad=True) for value in (1.0, 10.0, 100.0)]
    for gate, pixel in ((1.0, 0.25), (0.0, 0.0)):
        found = torch.autograd.grad(drawing_loss(*terms, as_type(0.25), as_type(gate)).total, terms)
        assert [value.item() for value in found] == [1.0, 0.75, pixel]


def test_kl_loss_equals_torch_kl_divergence():
    mean, logvar = torch.randn(4, 8), torch.randn(4, 8)
    normal = torch.distributions.Normal
    oracle = torch.distributions.kl_divergence(normal(mean, (logvar / 2).exp()), normal(0.0, 1.0)).mean()
    torch.testing.assert_close(kl_loss(Latent(mean, logvar)), oracle)
    assert kl_loss(Latent(mean * 0, logvar * 0), tolerance=0.2).item() == pytest.approx(0.2)


# ---- the contrastive loss ----------------------------------------------------------------------------


def test_contrastive_loss_of_a_case_computed_by_hand():
    # The partner of a view is equal to it, and its two negatives are orthogonal.
    views = torch.tensor([[1.0, 0], [0, 2]]).expand(2, 2, 2)
    loss, accuracy = contrastive_loss(views, 0.5)
    assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-2)))
    assert accuracy == 1
    # The partners are orthogonal, and one negative is equal.
    loss, accuracy = contrastive_loss(torch.stack([views[0], views[0].flip(0)]), 0.5)
    assert loss.item() == pytest.approx(math.log(2 + math.exp(2)))
    assert accuracy == 0


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1])
def test_contrastive_loss_equals_a_plain_implementation(temperature):
    views = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    unit = views.double().numpy()
    unit = (unit / np.linalg.norm(unit, axis=-1, keepdims=True)).reshape(14, 5)
    losses, right = [], []
    for view in range(14):
        partner = view + 7 if view < 7 else view - 7
        similar = {other: float(unit[view] @ unit[other]) for other in range(14) if other != view}
        total = sum(math.exp(value / temperature) for value in similar.values())
        losses.append(-math.log(math.exp(similar[partner] / temperature) / total))
        right.append(max(similar, key=similar.__getitem__) == partner)
    loss, accuracy = contrastive_loss(views, temperature)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert accuracy.item() == pytest.approx(np.mean(right))
    swapped, _ = contrastive_loss(views.flip(0), temperature)
    torch.testing.assert_close(swapped, loss)


def test_contrastive_loss_gradient_equals_finite_differences():
    views = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda views: contrastive_loss(views, 0.2)[0], views)


def test_contrastive_loss_is_finite_at_extremes_and_float32_under_autocast():
    views = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)) * 1e4
    views[0, 0] = 0  # has no direction
    views.requires_grad_()
    loss, _ = contrastive_loss(views, 0.001)
    (gradient,) = torch.autograd.grad(loss, views)
    assert loss.isfinite()
    assert gradient.isfinite().all()
    low = torch.randn(2, 3, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = contrastive_loss(low, 0.1)
    assert torch.equal(loss, contrastive_loss(low.float(), 0.1)[0])
