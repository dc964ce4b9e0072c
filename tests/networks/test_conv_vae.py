import numpy as np
import pytest
import torch
from PIL import Image
from scipy.signal import convolve2d
from torch import nn
from torch.distributions import Normal

from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig
from sketchembed.networks.sketchembednet import Latent

TINY = {"width": 4, "latent": 6}


def network(**sizes):
    torch.manual_seed(0)
    return ConvVAE(ConvVAEConfig(**(TINY | sizes)))


@pytest.mark.parametrize("variant", ["sound", "released"])
@pytest.mark.parametrize("encoder", ["conv4", "resnet12"])
@pytest.mark.parametrize("pool", ["mean", "flatten"])
@pytest.mark.parametrize(("channels", "size", "canvas"), [(1, 28, 32), (3, 84, 96)])
def test_output_shapes(variant, encoder, pool, channels, size, canvas):
    net = network(variant=variant, encoder=encoder, pool=pool, channels=channels, image_size=size)
    images = torch.rand(2, channels, size, size)
    logits, latent = net(images)
    assert logits.shape == (2, channels, canvas, canvas)
    assert latent.mean.shape == latent.logvar.shape == net.embed(images).shape == (2, 6)
    again = net.reconstruct(images)
    assert again.shape == images.shape
    assert 0 <= again.min() <= again.max() <= 1


def test_parameter_counts_match_the_description():
    def convolution(inputs, outputs):
        return 9 * inputs * outputs + outputs

    norm = 2 * 64
    encoder = convolution(1, 64) + 3 * convolution(64, 64) + 4 * norm
    heads = 2 * (64 * 256 + 256)
    blocks = convolution(256, 64) + 2 * convolution(64, 64) + 3 * norm
    sound = encoder + heads + blocks + convolution(64, 1)
    for variant, expected in (("sound", sound), ("released", sound + 2)):
        net = ConvVAE(ConvVAEConfig(variant=variant))
        assert sum(parameter.numel() for parameter in net.parameters()) == expected


def test_image_scaling_equals_pillow():
    images = torch.rand(2, 1, 28, 28)
    for ours, image in zip(network().to_canvas(images), images, strict=True):
        theirs = Image.fromarray(image[0].numpy()).resize((32, 32), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(ours[0], np.asarray(theirs), atol=1e-5)


def test_samples_follow_the_variant():
    latent, noise = Latent(torch.randn(5, 6), torch.randn(5, 6)), torch.randn(5, 6)
    unit, theirs = Normal(0.0, 1.0), Normal(latent.mean, latent.logvar.exp().sqrt())
    torch.testing.assert_close(network().sample(latent, noise), theirs.icdf(unit.cdf(noise)))
    released = network(variant="released").sample(latent, noise)
    torch.testing.assert_close((released - latent.mean) / noise, latent.logvar, atol=1e-4, rtol=1e-4)


def test_released_logits_are_nonnegative_and_in_2x2_blocks():
    z = torch.randn(8, 6)
    logits = network(variant="released").decode(z)
    assert logits.min() == 0 < logits.max()
    assert logits[..., ::2, ::2].equal(logits[..., 1::2, 1::2])
    assert network(variant="released").reconstruct(torch.rand(8, 1, 28, 28)).min() > 0.5 - 1e-6
    sound = network().decode(z)
    assert sound.min() < 0 < sound.max()
    assert not sound[..., ::2, ::2].equal(sound[..., 1::2, 1::2])


@pytest.mark.parametrize("variant", ["sound", "released"])
def test_decoder_equals_a_scipy_reference(variant):
    net = network(variant=variant).eval()
    for module in net.modules():  # like after training: neither zero nor one
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    layers = [layer for layer in net.decoder if isinstance(layer, nn.ConvTranspose2d | nn.BatchNorm2d)]
    arrays = [{name: value.double().numpy() for name, value in m.state_dict().items()} for m in layers]

    def convolve(planes, layer):
        summed = [
            sum(convolve2d(plane, kernel, mode="same") for plane, kernel in zip(planes, kernels, strict=True))
            for kernels in layer["weight"].swapaxes(0, 1)
        ]
        return np.stack(summed) + layer["bias"][:, None, None]

    def normalised(planes, layer):
        mean, var = layer["running_mean"][:, None, None], layer["running_var"][:, None, None]
        scaled = (planes - mean) / np.sqrt(var + 1e-3) * layer["weight"][:, None, None]
        return np.maximum(scaled + layer["bias"][:, None, None], 0)

    def doubled(planes):
        return np.kron(planes, np.ones((1, 2, 2)))

    z = torch.randn(1, 6)
    planes = np.broadcast_to(z[0].double().numpy()[:, None, None], (6, 2, 2))
    for block in range(3):
        planes = doubled(normalised(convolve(planes, arrays[2 * block]), arrays[2 * block + 1]))
    if variant == "released":
        planes = doubled(normalised(convolve(planes, arrays[6]), arrays[7]))
    else:
        planes = convolve(doubled(planes), arrays[6])
    np.testing.assert_allclose(net.decode(z)[0].detach(), planes, atol=1e-4, rtol=1e-4)


def test_embedding_is_the_mean_in_evaluation_mode():
    net, images = network(), torch.rand(4, 1, 28, 28)
    net(images)
    assert net.training
    found = net.embed(images)
    assert net.training
    assert not found.requires_grad
    torch.testing.assert_close(found, net.eval().encode(images).mean.detach(), rtol=0, atol=0)
    torch.testing.assert_close(found[:1], net.embed(images[:1]))  # no batch statistics
