"""Compare ResNets with the published weights by names and shapes, and blocks with their equations."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sketchembed.networks.resnet import BasicBlock, Bottleneck, ResNet, ResNetConfig

IMAGENET = {"classes": 1000, "channels": 3}
# Numbers of parameters and of state dict entries in torchvision's resnet18, resnet50 and resnet101.
PUBLISHED = {
    18: (11_689_512, 122),
    50: (25_557_032, 320),
    101: (44_549_160, 626),
}
SHAPES = {
    18: {
        "conv1.weight": [64, 3, 7, 7],
        "bn1.running_var": [64],
        "layer1.0.conv1.weight": [64, 64, 3, 3],
        "layer1.1.bn2.num_batches_tracked": [],
        "layer2.0.conv1.weight": [128, 64, 3, 3],
        "layer2.0.downsample.0.weight": [128, 64, 1, 1],
        "layer2.0.downsample.1.running_mean": [128],
        "layer4.1.conv2.weight": [512, 512, 3, 3],
        "fc.weight": [1000, 512],
    },
    101: {
        "conv1.weight": [64, 3, 7, 7],
        "layer1.0.conv1.weight": [64, 64, 1, 1],
        "layer1.0.conv2.weight": [64, 64, 3, 3],
        "layer1.0.conv3.weight": [256, 64, 1, 1],
        "layer1.0.downsample.0.weight": [256, 64, 1, 1],
        "layer1.0.downsample.1.bias": [256],
        "layer1.2.conv1.weight": [64, 256, 1, 1],
        "layer2.3.bn3.weight": [512],
        "layer3.0.downsample.0.weight": [1024, 512, 1, 1],
        "layer3.22.conv3.weight": [1024, 256, 1, 1],
        "layer4.0.conv2.weight": [512, 512, 3, 3],
        "layer4.2.conv3.weight": [2048, 512, 1, 1],
        "fc.weight": [1000, 2048],
        "fc.bias": [1000],
    },
}


def published_names(depth):
    """Return the names in torchvision's state dict, derived from the documented architecture."""
    counts = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[depth]
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {"conv1.weight", "fc.weight", "fc.bias"} | {f"bn1.{part}" for part in norm}
    for stage, blocks in enumerate(counts, 1):
        for block in range(blocks):
            place = f"layer{stage}.{block}"
            for number in range(1, 3 if depth == 18 else 4):
                names |= {f"{place}.conv{number}.weight"} | {f"{place}.bn{number}.{part}" for part in norm}
            if block == 0 and (stage > 1 or depth > 18):
                names |= {f"{place}.downsample.0.weight"} | {f"{place}.downsample.1.{part}" for part in norm}
    return names


@pytest.mark.parametrize("depth", PUBLISHED)
def test_names_shapes_and_counts_match_published_weights(depth):
    with torch.device("meta"):
        net = ResNet(ResNetConfig(depth, **IMAGENET))
    state = net.state_dict()
    assert (sum(parameter.numel() for parameter in net.parameters()), len(state)) == PUBLISHED[depth]
    assert set(state) == published_names(depth)
    for name, shape in SHAPES.get(depth, {}).items():
        assert list(state[name].shape) == shape, name


def batch_norm(image, norm):
    """Return batch norm in evaluation mode, by its equation."""
    mean, var, scale, shift = (
        value[:, None, None] for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (image - mean) / (var + 1e-5).sqrt() * scale + shift


def randomize_norms(module):
    """Give all batch norms random values, and return the module in evaluation mode."""
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                value.data.uniform_(0.5, 1.5)
    return module.eval()


@pytest.mark.parametrize(("inputs", "stride"), [(6, 1), (6, 2), (3, 1)])
def test_basic_block_equals_its_equations(inputs, stride):
    torch.manual_seed(0)
    block = randomize_norms(BasicBlock(inputs, 6, stride))
    image = torch.randn(2, inputs, 9, 9)
    out = functional.conv2d(image, block.conv1.weight, stride=stride, padding=1)
    out = functional.conv2d(batch_norm(out, block.bn1).clamp_min(0), block.conv2.weight, padding=1)
    shortcut = image
    if (inputs, stride) != (6, 1):
        convolution, norm = block.downsample
        shortcut = batch_norm(functional.conv2d(image, convolution.weight, stride=stride), norm)
    expected = (batch_norm(out, block.bn2) + shortcut).clamp_min(0)
    torch.testing.assert_close(block(image), expected, rtol=1e-4, atol=1e-5)
    assert expected.shape[-1] == (9 if stride == 1 else 5)


def test_bottleneck_equals_its_equations():
    torch.manual_seed(0)
    block = randomize_norms(Bottleneck(6, 4, 2))
    image = torch.randn(2, 6, 8, 8)
    out = batch_norm(functional.conv2d(image, block.conv1.weight), block.bn1).clamp_min(0)
    # The 3 x 3 convolution halves the side, as in the published weights for PyTorch.
    out = batch_norm(functional.conv2d(out, block.conv2.weight, stride=2, padding=1), block.bn2).clamp_min(0)
    out = batch_norm(functional.conv2d(out, block.conv3.weight), block.bn3)
    convolution, norm = block.downsample
    expected = (out + batch_norm(functional.conv2d(image, convolution.weight, stride=2), norm)).clamp_min(0)
    torch.testing.assert_close(block(image), expected, rtol=1e-4, atol=1e-5)
    assert expected.shape == (2, 16, 4, 4)


@pytest.mark.parametrize(("stem", "side"), [("imagenet", 1), ("small", 4)])
def test_feature_map_size_for_32_pixels(stem, side):
    net = ResNet(ResNetConfig(18, classes=7, width=4, stem=stem)).eval()
    seen = []
    net.avgpool.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    images = torch.rand(2, 1, 32, 32)
    assert net(images).shape == (2, 7)
    assert seen == [(2, 32, side, side)]
    torch.testing.assert_close(net.fc(net.embed(images)), net(images))


def test_adopted_weights_embed_grey_images_like_rgb_images():
    torch.manual_seed(0)
    theirs = randomize_norms(ResNet(ResNetConfig(18, classes=10, width=4, channels=3)))
    ours = ResNet(ResNetConfig(18, classes=7, width=4, channels=1)).eval()
    head = ours.fc.weight.clone()
    ours.adopt(theirs.state_dict())
    grey = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(
        ours.embed(grey), theirs.embed(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(ours.fc.weight, head, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="layer1"):
        ours.adopt(ResNet(ResNetConfig(50, classes=7, width=4)).state_dict())


def test_predict_keeps_training_mode_and_running_averages():
    net = ResNet(ResNetConfig(18, classes=5, width=8)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    images = torch.rand(6, 1, 32, 32)
    alone = torch.cat([net.predict(image[None]) for image in images])
    assert (net.predict(images) == alone).all()
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
