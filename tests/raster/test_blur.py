"""The Gaussian blur compared with SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from sketchembed.raster.blur import GaussianBlur


@pytest.mark.parametrize(("sigma", "radius"), [(2.0, 2), (2.0, 8), (0.7, 3), (2.0, None)])
def test_blur_agrees_with_scipy(sigma, radius):
    image = np.random.default_rng(0).random((3, 28, 28), dtype=np.float32)
    kept = 8 if radius is None else radius
    oracle = [gaussian_filter(part, sigma, mode="constant", truncate=kept / sigma) for part in image]
    ours = GaussianBlur(sigma, radius)(torch.from_numpy(image))
    np.testing.assert_allclose(ours.numpy(), np.stack(oracle), atol=1e-6)


def test_blur_keeps_its_precision_under_autocast():
    image = torch.rand(2, 28, 28)
    blur = GaussianBlur()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        blurred = blur(image)
    assert torch.equal(blurred, blur(image))


def test_blur_gradient_is_the_blur_itself():
    # With zero padding, a symmetric kernel is its own transpose, also for images that are not square.
    image = torch.rand(2, 9, 14, requires_grad=True)
    weight = torch.rand(2, 9, 14)
    blur = GaussianBlur()
    (gradient,) = torch.autograd.grad((blur(image) * weight).sum(), image)
    torch.testing.assert_close(gradient, blur(weight))
