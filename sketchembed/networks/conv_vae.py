"""The pixel baseline: a convolutional variational autoencoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sketchembed.networks.conv4 import Conv4, batch_norm, normalised
from sketchembed.networks.network import Network, NetworkConfig, evaluating
from sketchembed.networks.precision import at_least_float32
from sketchembed.networks.resnet12 import ResNet12
from sketchembed.networks.sketchembednet import Latent

STRIDE = 16  # pixels per position of the smallest feature map, after four max poolings


@dataclass(frozen=True)
class ConvVAEConfig(NetworkConfig):
    """The sizes of a Conv-VAE; the defaults are the paper's, with the corrected (``"sound"``) decoder.

    Attributes:
        encoder: the CNN, as in :class:`~sketchembed.networks.sketchembednet.ModelConfig`.
        width: filters of the first block of the CNN and of each block of the decoder.
        pool: see :class:`~sketchembed.networks.conv4.Conv4`.
        latent: size of z.
        image_size: side of the input in pixels: 28 for drawings, 84 for photos.
        channels: channels of the input: 1 for drawings, 3 for photos.
        variant: ``"sound"`` is a VAE as Kingma and Welling define it. ``"released"`` produced the paper's
            numbers and has two bugs, see :class:`ConvVAE`.
    """

    encoder: Literal["conv4", "resnet12"] = "conv4"
    width: int = 64
    pool: Literal["mean", "flatten"] = "mean"
    latent: int = 256
    image_size: int = 28
    channels: int = 1
    variant: Literal["sound", "released"] = "sound"

    @property
    def canvas(self) -> int:
        """Side of the images inside the network, the next multiple of 16: 32 for 28, 96 for 84."""
        return math.ceil(self.image_size / STRIDE) * STRIDE


class ConvVAE(Network):
    """A convolutional VAE.

    *Source*: Kingma and Welling 2014; paper section 5, tables 1, 2 and 4. The layers are the released code's.

    Images are scaled to a canvas of 32 × 32 (96 × 96 for photos). The decoder repeats z over 2 × 2 (6 × 6)
    positions. Three blocks of transposed convolution, batch norm, ReLU and upsampling by 2 follow, which
    give half the canvas. The last block depends on the variant:

    * ``released``: the last block also ends with batch norm, ReLU and upsampling. Logits are therefore never
      negative, no pixel is darker than middle grey, and logits are constant in squares of 2 × 2. The output
      of the log-variance head is used as the standard deviation: z = μ + ε logvar.
    * ``sound``: the last block upsamples first; a transposed convolution then gives the logits of the whole
      canvas. z = μ + ε exp(logvar / 2).

    Where the released code leaves a choice, images are scaled bilinearly without antialiasing, dense layers
    and the decoder's convolutions start with Glorot's uniform distribution and bias 0 (Keras' default), and
    grey images have one channel instead of three equal ones.
    """

    kind = "conv-vae"
    config: ConvVAEConfig

    def __init__(self, config: ConvVAEConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ConvVAEConfig()
        self.encoder: Conv4 | ResNet12
        if config.encoder == "conv4":
            self.encoder = Conv4(config.channels, config.width, config.pool, config.canvas)
        else:
            self.encoder = ResNet12(config.channels, config.width)
        self.mean = nn.Linear(self.encoder.features, config.latent)
        self.logvar = nn.Linear(self.encoder.features, config.latent)
        self.decoder = _decoder(config)
        for module in (self.mean, self.logvar, *self.decoder):
            if isinstance(module, nn.Linear | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        # Channels-last is faster on CPUs, and in 16 bits on GPUs.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def to_canvas(
        self, images: Float[Tensor, "batch channels size size"]
    ) -> Float[Tensor, "batch channels canvas canvas"]:
        """Scale images to the canvas, which is the input of the encoder and the target of the decoder."""
        return scale(images, self.config.canvas)

    def encode(self, images: Float[Tensor, "batch channels size size"]) -> Latent:
        """Return the Gaussian over z for images in [0, 1]; drawings are dark lines (0) on white (1)."""
        features = self.encoder(self.to_canvas(images))
        return Latent(at_least_float32(self.mean(features)), at_least_float32(self.logvar(features)))

    def sample(
        self, latent: Latent, noise: Float[Tensor, "batch latent"] | None = None
    ) -> Float[Tensor, "batch latent"]:
        """Sample z as the variant does. `noise` is ε, sampled if not given."""
        if self.config.variant == "sound":
            return latent.sample(noise)
        noise = torch.randn_like(latent.mean) if noise is None else noise
        return latent.mean + noise * latent.logvar

    def decode(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels canvas canvas"]:
        """Return the logits of the canvas, in float32 even under autocast."""
        return at_least_float32(self.decoder(z[:, :, None, None]))

    def forward(
        self,
        images: Float[Tensor, "batch channels size size"],
        noise: Float[Tensor, "batch latent"] | None = None,
    ) -> tuple[Float[Tensor, "batch channels canvas canvas"], Latent]:
        """Return the logits of the canvas, decoded from a sample of z, and the Gaussian over z.

        Images are in [0, 1]. `noise` is ε of z, sampled if not given.
        """
        latent = self.encode(images)
        return self.decode(self.sample(latent, noise)), latent

    def _embedding(self, images: Tensor) -> Tensor:
        return self.encode(images).mean

    @torch.no_grad()
    def reconstruct(
        self, images: Float[Tensor, "batch channels size size"]
    ) -> Float[Tensor, "batch channels size size"]:
        """Return the images decoded from the mean of z, in [0, 1], with batch norm in evaluation mode."""
        return self.pictures(self.embed(images))

    @torch.no_grad()
    def pictures(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels size size"]:
        """Return the images decoded from z, in [0, 1], with batch norm in evaluation mode."""
        with evaluating(self):
            return scale(torch.sigmoid(self.decode(z)), self.config.image_size)


def scale(
    images: Float[Tensor, "batch channels side side"], size: int
) -> Float[Tensor, "batch channels {size} {size}"]:
    """Scale images bilinearly without antialiasing, as the released code does."""
    if images.shape[-1] == size:
        return images
    return functional.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)


def _decoder(config: ConvVAEConfig) -> nn.Sequential:
    """Return the layers from ``[batch, latent, 1, 1]`` to the logits of the canvas."""
    layers: list[nn.Module] = [nn.Upsample(scale_factor=float(config.canvas // STRIDE))]
    for number in range(3):
        inputs = config.latent if number == 0 else config.width
        layers += [*_transposed_block(inputs, config.width), nn.Upsample(scale_factor=2.0)]
    if config.variant == "released":
        layers += [*_transposed_block(config.width, config.channels), nn.Upsample(scale_factor=2.0)]
    else:
        last = nn.ConvTranspose2d(config.width, config.channels, 3, padding=1)
        layers += [nn.Upsample(scale_factor=2.0), last]
    return nn.Sequential(*layers)


def _transposed_block(inputs: int, outputs: int) -> list[nn.Module]:
    convolution = normalised(nn.ConvTranspose2d(inputs, outputs, 3, padding=1))
    return [convolution, batch_norm(outputs), nn.ReLU(inplace=True)]
