"""Compare Conv4 with the shapes and parameter counts of its description."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sketchembed.networks.conv4 import Conv4, for_inference


@pytest.mark.parametrize(
    ("channels", "width", "pool", "size", "features"),
    [(1, 64, "mean", 28, 64), (3, 8, "mean", 84, 8), (1, 8, "flatten", 28, 72), (3, 4, "flatten", 84, 100)],
)
def test_feature_sizes(channels, width, pool, size, features):
    encoder = Conv4(channels, width, pool, size)
    assert encoder.features == features
    assert encoder(torch.rand(2, channels, size, size)).shape == (2, features)


def test_parameter_count():
    # Four 3 x 3 convolutions with bias, each followed by the gain and bias of batch norm.
    expected = (9 * 1 * 64 + 64) + 3 * (9 * 64 * 64 + 64) + 4 * 2 * 64
    assert sum(parameter.numel() for parameter in Conv4().parameters()) == expected


def test_initial_weights_are_those_of_keras():
    torch.manual_seed(0)
    convolutions = [module for module in Conv4().modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 4
    assert all((layer.bias == 0).all() for layer in convolutions)
    # Glorot normal: variance 2 / (fan in + fan out).
    assert convolutions[1].weight.var().item() == pytest.approx(2 / (2 * 9 * 64), rel=0.05)
    norms = [module for module in Conv4().modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize("pool", ["mean", "flatten"])
def test_folding_for_inference_keeps_the_output(pool):
    torch.manual_seed(0)
    network = torch.nn.Sequential(Conv4(2, 8, pool, 28), torch.nn.Linear(72 if pool == "flatten" else 8, 3))
    network(torch.rand(64, 2, 28, 28))  # updates the running statistics
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.eval()
    images = torch.rand(5, 2, 28, 28)
    folded = for_inference(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(images), network(images), rtol=1e-4, atol=1e-5)
