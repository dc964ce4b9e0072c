import pytest
import torch
from torch import nn
from torch.nn import functional

from sketchembed.networks.simclr import SimCLR, SimCLRConfig
from sketchembed.networks.sketchembednet import ModelConfig, SketchEncoder

SIZES = {
    "drawings": {"width": 8, "pool": "flatten"},
    "photos": {"encoder": "resnet12", "width": 8, "channels": 3, "image_size": 84, "shrink": 2},
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_encoder_is_that_of_sketchembednet_and_its_features_are_the_embedding(sizes):
    torch.manual_seed(0)
    ours = SimCLR(SimCLRConfig(**sizes, hidden=7, projection=5)).eval()
    other = SketchEncoder(ModelConfig(**sizes))
    other.encoder.load_state_dict(ours.encoder.state_dict())
    # A mean head that copies the features.
    other.mean = nn.Linear(ours.encoder.features, ours.encoder.features)
    nn.init.eye_(other.mean.weight)
    nn.init.zeros_(other.mean.bias)
    images = torch.rand(3, ours.config.channels, ours.config.image_size, ours.config.image_size)
    embedded = ours.embed(images)
    torch.testing.assert_close(embedded, other.embed(images))
    first, second = ours.head[0], ours.head[2]
    hidden = functional.relu(embedded @ first.weight.T + first.bias)
    torch.testing.assert_close(ours(images), hidden @ second.weight.T + second.bias)
    assert ours(images).shape == (3, 5)


def test_outputs_are_float32_under_autocast():
    net = SimCLR(SimCLRConfig(width=8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net(torch.rand(2, 1, 28, 28)).dtype == torch.float32
        assert net.embed(torch.rand(2, 1, 28, 28)).dtype == torch.float32


def test_too_small_images_raise():
    with pytest.raises(ValueError, match="too small to shrink by 30"):
        SimCLR(SimCLRConfig(shrink=30))
