"""Augmentation of drawings: the properties that it keeps, and the bounds of each option."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sketchembed.data.augmentation import Augmentation
from sketchembed.raster import rasterize
from sketchembed.sketch import Sketch


def drawings(count=40, length=40) -> torch.Tensor:
    generator = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        sizes = generator.integers(1, 7, size=generator.integers(1, 6))
        sizes[0] = max(sizes[0], 2)
        sketch = Sketch.from_strokes([generator.integers(-50, 50, size=(size, 2)) for size in sizes])
        rows.append(sketch.to_stroke5(length))
    return torch.from_numpy(np.stack(rows))


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


EVERYTHING = Augmentation(rotation=20.0, scale=0.2, shear=0.2, jitter=0.1, flip=0.5)


@pytest.mark.parametrize("augmentation", [EVERYTHING, Augmentation(jitter=1.0)])
def test_lengths_ends_and_start_tokens_are_kept(augmentation):
    before = drawings()
    after = augmentation(before, seeded())
    assert after.shape == before.shape
    assert torch.equal(after[..., 4], before[..., 4])
    assert torch.equal(after[:, 0], before[:, 0])
    assert torch.equal(after[..., 2:].sum(-1), torch.ones_like(after[..., 0]))
    ended = after[..., 4] > 0.5
    assert (after[ended][:, :2] == 0).all()
    assert torch.equal((after[..., 3] > 0.5).sum(1), (before[..., 3] > 0.5).sum(1))
    assert not torch.equal(after, before)


def side(stroke5):
    """Return the larger side of each drawing's bounding box."""
    points = np.cumsum(stroke5[..., :2].numpy(), axis=1)
    return torch.from_numpy(np.ptp(points, axis=1).max(axis=-1))


@pytest.mark.parametrize("change", [{"rotation": 40.0}, {"scale": 0.3}, {"shear": 0.3}, {"flip": 1.0}])
def test_larger_side_is_kept(change):
    before = drawings()
    torch.testing.assert_close(
        side(Augmentation(**change)(before, seeded())), side(before), rtol=1e-4, atol=1e-3
    )


def test_rotation_keeps_ratios_of_distances():
    before = drawings()
    after = Augmentation(rotation=180.0)(before, seeded())

    def distances(stroke5):
        points = rasterize.absolute_points(stroke5)
        apart = (points.unsqueeze(1) - points.unsqueeze(2)).norm(dim=-1)
        return apart / apart.amax((1, 2), keepdim=True)

    torch.testing.assert_close(distances(after), distances(before), atol=1e-4, rtol=1e-4)
    # A rotation also keeps the orientation, unlike a reflection.
    a, b = before[:, 1, :2], before[:, 2, :2]
    c, d = after[:, 1, :2], after[:, 2, :2]
    old, new = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], c[:, 0] * d[:, 1] - c[:, 1] * d[:, 0]
    assert torch.equal(old.sign(), new.where(new.abs() > 1e-2, torch.zeros(())).sign())
    assert not torch.equal(after, before)


def test_flip_is_a_mirror_image():
    before = drawings()
    assert torch.equal(Augmentation(flip=1.0)(before, seeded())[..., 0], -before[..., 0])
    half = Augmentation(flip=0.5)(torch.cat([before] * 20), seeded())
    share = (half[:, 1, 0] == -torch.cat([before] * 20)[:, 1, 0]).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.06)


def test_scale_changes_the_aspect_ratio_within_bounds():
    before = drawings()
    after = Augmentation(scale=0.25)(before, seeded())
    factor = torch.linalg.norm(after[..., :2], dim=1) / torch.linalg.norm(before[..., :2], dim=1)
    aspect = factor[:, 0] / factor[:, 1]
    aspect = aspect[aspect.isfinite()]  # a drawing may be a straight line along an axis
    assert len(aspect) > 30
    assert aspect.min() >= 1 / 1.25**2 - 1e-4
    assert aspect.max() <= 1.25**2 + 1e-4
    assert aspect.std() > 0.05


def test_shear_moves_x_in_proportion_to_y():
    before = drawings()
    after = Augmentation(shear=0.3)(before, seeded())
    factor = torch.linalg.norm(after[..., 1], dim=1) / torch.linalg.norm(before[..., 1], dim=1)
    flat = ~factor.isfinite()
    change = (after[..., 0] / factor.masked_fill(flat, 1.0)[:, None] - before[..., 0]).abs()[~flat]
    assert (change <= 0.3 * before[~flat, :, 1].abs() + 1e-3).all()
    assert change.max() > 1


def test_jitter_has_the_given_standard_deviation():
    before = drawings(400)
    after = Augmentation(jitter=0.5)(before, seeded())
    real = before[:, 1:, 4] < 0.5
    noise = (after - before)[:, 1:, :2][real]
    assert noise.std().item() == pytest.approx(0.5, rel=0.05)
    assert noise.mean().abs() < 0.03


def test_augmentation_is_off_by_default_seeded_and_in_float32():
    before = drawings()
    assert torch.equal(Augmentation()(before), before)
    assert torch.equal(EVERYTHING(before, seeded(4)), EVERYTHING(before, seeded(4)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = EVERYTHING(before, seeded(4))
    assert torch.equal(under, EVERYTHING(before, seeded(4)))
