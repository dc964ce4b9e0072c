"""The pixel baseline: a convolutional variational autoencoder."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sketchembed.networks.conv4 import Conv4, batch_norm, normalised
from sketchembed.networks.evaluating import evaluating
from sketchembed.networks.precision import at_least_float32
from sketchembed.networks.resnet12 import ResNet12
from sketchembed.networks.sketchembednet import Latent

STRIDE = 16
"""Pixels to a place of the smallest feature map: four max poolings there, four doublings back."""


@dataclass(frozen=True)
class ConvVAEConfig:
    """The sizes of a Conv-VAE; the defaults are those of the paper's rows, with the sound decoder.

    Attributes:
        encoder: the CNN, as in :class:`~sketchembed.networks.sketchembednet.ModelConfig`.
        width: filters of the CNN's (first) block and of each of the decoder's.
        pool: how Conv4 ends, see :class:`~sketchembed.networks.conv4.Conv4`.
        latent: size of z.
        image_size: side of the input in pixels: 28 for drawings, 84 for photos.
        channels: of the input: 1 for drawings, 3 for photos.
        variant: ``"sound"`` is a VAE as Kingma and Welling define it; ``"released"`` is the one that gave
            the paper's numbers, with two slips that hold it back, see :class:`ConvVAE`.
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
        """Side of the images within the network: the next multiple of 16, so 32 for 28 and 96 for 84."""
        return math.ceil(self.image_size / STRIDE) * STRIDE

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for checkpoints."""
        return asdict(self)


class ConvVAE(nn.Module):
    """A convolutional VAE.

    *Source*: Kingma and Welling 2014; paper section 5, tables 1, 2 and 4; the layers are the released code's.

    Images are scaled to a canvas of 32 × 32 (96 × 96 for photos). From z, repeated over 2 × 2 (6 × 6)
    places, three blocks of transposed convolution, batch norm, ReLU and doubling lead to half the canvas,
    and a last one to the image. The two variants differ in what follows:

    * ``released``: the last block too ends with batch norm, ReLU and doubling. Logits are therefore never
      negative, and no pixel darker than middle grey; and the logits come in squares of 2 × 2. The head for
      the log-variance is used as the standard deviation: z = μ + ε logvar.
    * ``sound``: the last block doubles first, and then a plain transposed convolution gives the logits of
      the whole canvas. z = μ + ε exp(logvar / 2).

    What the released code does not settle here is chosen so: scaling is bilinear without antialiasing,
    as TensorFlow's; dense layers and the decoder's convolutions start as Keras' default (Glorot's uniform
    distribution, no bias); grey images have one channel instead of three equal ones.

    Args:
        config: sizes.
    """

    kind: ClassVar[str] = "conv-vae"
    facts: ClassVar[tuple[str, ...]] = ()

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
        # Convolutions are half as slow again with the channels first, on CPUs and with 16 bits on GPUs.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def to_canvas(
        self, images: Float[Tensor, "batch channels size size"]
    ) -> Float[Tensor, "batch channels canvas canvas"]:
        """Scale images to the canvas: what is encoded, and what is to be reconstructed."""
        return scale(images, self.config.canvas)

    def encode(self, images: Float[Tensor, "batch channels size size"]) -> Latent:
        """Return the Gaussian over z of images in [0, 1]; drawings are dark lines (0) on white (1)."""
        features = self.encoder(self.to_canvas(images))
        return Latent(at_least_float32(self.mean(features)), at_least_float32(self.logvar(features)))

    def sample(
        self, latent: Latent, noise: Float[Tensor, "batch latent"] | None = None
    ) -> Float[Tensor, "batch latent"]:
        """Draw z as the variant does; ε is drawn if not given."""
        if self.config.variant == "sound":
            return latent.sample(noise)
        noise = torch.randn_like(latent.mean) if noise is None else noise
        return latent.mean + noise * latent.logvar

    def decode(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels canvas canvas"]:
        """Return the logits of the canvas' pixels, in float32 even under autocast."""
        return at_least_float32(self.decoder(z[:, :, None, None]))

    def forward(
        self,
        images: Float[Tensor, "batch channels size size"],
        noise: Float[Tensor, "batch latent"] | None = None,
    ) -> tuple[Float[Tensor, "batch channels canvas canvas"], Latent]:
        """Return the logits of the canvas' pixels, decoded from a sample of z, and the Gaussian over z.

        Args:
            images: in [0, 1].
            noise: ε of z; drawn if not given.
        """
        latent = self.encode(images)
        return self.decode(self.sample(latent, noise)), latent

    @torch.no_grad()
    def embed(self, images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch latent"]:
        """Return the mean of z of each image, with batch norm in evaluation mode."""
        with evaluating(self):
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
    """Scale images as the released code does: bilinearly, without antialiasing."""
    if images.shape[-1] == size:
        return images
    return functional.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)


def _decoder(config: ConvVAEConfig) -> nn.Sequential:
    """Return the layers from ``[batch, latent, 1, 1]`` to the logits of the canvas."""

    def convolution(inputs: int, outputs: int) -> nn.ConvTranspose2d:
        return nn.ConvTranspose2d(inputs, outputs, 3, padding=1)

    def doubling() -> nn.Module:
        return nn.Upsample(scale_factor=2.0)

    layers: list[nn.Module] = [nn.Upsample(scale_factor=float(config.canvas // STRIDE))]
    for number in range(3):
        inputs = config.latent if number == 0 else config.width
        layers += [
            normalised(convolution(inputs, config.width)),
            batch_norm(config.width),
            nn.ReLU(inplace=True),
            doubling(),
        ]
    last = convolution(config.width, config.channels)
    if config.variant == "released":
        layers += [normalised(last), batch_norm(config.channels), nn.ReLU(inplace=True), doubling()]
    else:
        layers += [doubling(), last]
    return nn.Sequential(*layers)
