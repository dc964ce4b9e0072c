"""Compare ResNet12 with the shapes, counts and block of its description."""

from __future__ import annotations

import torch
from torch.nn import functional

from sketchembed.networks.resnet12 import ResidualBlock, ResNet12


def test_feature_sizes():
    assert ResNet12().features == 512
    small = ResNet12(3, width=4)
    assert small(torch.rand(2, 3, 84, 84)).shape == (2, small.features) == (2, 32)
    # Odd sides are rounded up: 84, 42, 21, 11, 6 and 28, 14, 7, 4, 2.
    assert small.blocks(torch.rand(1, 3, 84, 84)).shape[-1] == 6
    assert small.blocks(torch.rand(1, 3, 28, 28)).shape[-1] == 2
    for size, side in ((84, 6), (42, 3), (28, 2)):
        whole = ResNet12(3, 4, "flatten", size)
        assert whole(torch.rand(2, 3, size, size)).shape == (2, whole.features) == (2, 32 * side**2)


def test_parameter_count():
    expected, before = 0, 1
    for filters in (64, 128, 256, 512):
        three_by_three = (9 * before + 1) * filters + 2 * (9 * filters + 1) * filters
        expected += three_by_three + (before + 1) * filters + 4 * 2 * filters
        before = filters
    assert sum(parameter.numel() for parameter in ResNet12().parameters()) == expected


def test_block_equals_its_equations():
    torch.manual_seed(0)
    block = ResidualBlock(2, 5).eval()
    image = torch.randn(3, 2, 7, 7)

    def convolve(out, layer, norm):
        out = functional.conv2d(out, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)
        return out / (1 + 1e-3) ** 0.5 * norm.weight[:, None, None] + norm.bias[:, None, None]

    out = image
    for number in range(3):
        out = convolve(out, block.residual[3 * number], block.residual[3 * number + 1]).clamp_min(0)
    out = out + convolve(image, *block.shortcut)
    padded = functional.pad(out, (0, 1, 0, 1), value=-1e9)
    expected = padded.reshape(3, 5, 4, 2, 4, 2).amax((3, 5)).clamp_min(0)
    torch.testing.assert_close(block(image), expected)
