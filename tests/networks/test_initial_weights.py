import math

import numpy as np
import pytest
import torch
from scipy import stats

from sketchembed.networks.sketchembednet import ModelConfig, SketchEmbedNet


def network(**sizes):
    torch.manual_seed(0)
    return SketchEmbedNet(ModelConfig(initial_weights="released", hidden=128, hyper=64, **sizes))


def follows(weight, distribution):
    """Return whether a Kolmogorov-Smirnov test accepts that a weight has a distribution."""
    return stats.kstest(weight.detach().numpy().ravel(), distribution.cdf).pvalue > 1e-3


def glorot_normal(fan_in, fan_out):
    """Keras' distribution: its deviation after the truncation at two deviations is Glorot's."""
    scale = math.sqrt(2 / (fan_in + fan_out))
    unit = stats.truncnorm(-2, 2)
    return stats.truncnorm(-2, 2, scale=scale / unit.std())


@pytest.mark.parametrize("number", [0, 4])
def test_conv4_follows_glorots_truncated_normal_distribution(number):
    weight = network().encoder.blocks[number].weight
    outputs, inputs = weight.shape[:2]
    assert follows(weight, glorot_normal(9 * inputs, 9 * outputs))
    default = SketchEmbedNet(ModelConfig(hidden=8, hyper=8)).encoder.blocks[4].weight
    assert not follows(default, glorot_normal(9 * 64, 9 * 64))


def test_resnet12_follows_glorots_uniform_distribution():
    weight = network(encoder="resnet12", width=32).encoder.blocks[1].residual[0].weight
    limit = math.sqrt(6 / (9 * (32 + 64)))
    assert follows(weight, stats.uniform(-limit, 2 * limit))


def test_decoder_follows_the_released_distributions():
    decoder = network().decoder
    cell, head = decoder.cell, decoder.head
    # x is a stroke of five numbers and z; the hypernetwork's kernel of (x, h) is one matrix.
    both = torch.cat([cell.hyper_input.weight, cell.hyper_from_main.weight], dim=1)
    assert both.shape == (4 * 64, 5 + 256 + 128)
    assert follows(both, glorot_normal(5 + 256 + 128, 4 * 64))
    assert follows(cell.main_input.weight, glorot_normal(5 + 256, 4 * 128))
    assert follows(head.weight, glorot_normal(128, 183))
    assert follows(head.bias, glorot_normal(183, 183))
    orthogonal = cell.main_recurrent.weight
    np.testing.assert_allclose((orthogonal.T @ orthogonal).detach(), np.eye(128), atol=1e-5)
