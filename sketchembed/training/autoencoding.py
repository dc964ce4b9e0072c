"""Train the baseline that reproduces pixels, a convolutional VAE."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sketchembed.data.augmentation import Augmentation
from sketchembed.data.batch_random import normal
from sketchembed.data.datamodules.pair_datamodule import Pair
from sketchembed.losses import kl_loss
from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig
from sketchembed.training.task import VALIDATION_SETS, Task, drawn_images, rows_in


class VAELoss(NamedTuple):
    """The loss of a VAE and its terms in nats, each the mean over a batch."""

    loss: Float[Tensor, ""]  # reconstruction + kl_weight * kl
    reconstruction: Float[Tensor, ""]  # cross-entropy of the pixels
    kl: Float[Tensor, ""]  # divergence of z from a unit Gaussian


class AutoencodingTask(Task):
    """Train a Conv-VAE on images, or on pictures of drawings.

    *Source*: paper section 5; the released code: Adam at 1e-3, × 0.85 every 15,000 steps, no clipping.

    The sound variant minimises the negative evidence lower bound of an image, in nats: the sum over its
    pixels and the dimensions of z. Grey values are probabilities of white, as usual. The released variant
    takes the means over pixels and over dimensions, so on 32 × 32 pixels and 256 dimensions the KL divergence
    weighs four times as much.

    Args:
        network: sizes of the model.
        kl_weight: weight of the KL divergence; 1 is the evidence lower bound.
        augmentation: random changes of drawings before they are drawn; images are not changed.
        kwargs: options of :class:`~sketchembed.training.task.Task`.
    """

    net: ConvVAE
    validation_terms = VAELoss._fields

    def __init__(
        self,
        network: ConvVAEConfig | None = None,
        kl_weight: float = 1.0,
        augmentation: Augmentation | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(ConvVAE(network), **kwargs)
        self.kl_weight = kl_weight
        self.augmentation = augmentation or Augmentation()

    def images(
        self, batch: Float[Tensor, "batch rows 5"] | Float[Tensor, "batch channels size size"] | Pair
    ) -> Float[Tensor, "batch channels size size"]:
        """Return the images of a batch in [0, 1]; stroke-5 rows are drawn."""
        if isinstance(batch, Pair):
            return batch.images
        if batch.ndim == 4:
            return batch
        config = self.net.config
        return drawn_images(batch, config.image_size, config.channels)

    def losses(
        self, images: Float[Tensor, "batch channels size size"], generator: torch.Generator
    ) -> VAELoss:
        """Return the loss and its terms, means over the batch."""
        config = self.net.config
        noise = normal((len(images), config.latent), generator, images)
        logits, latent = self.net(images, noise)
        target = self.net.to_canvas(images)
        reconstruction = functional.binary_cross_entropy_with_logits(logits, target.to(logits.dtype))
        kl = kl_loss(latent)
        if config.variant == "sound":
            reconstruction, kl = reconstruction * target[0].numel(), kl * config.latent
        return VAELoss(reconstruction + self.kl_weight * kl, reconstruction, kl)

    def training_step(self, batch: Tensor | Pair, batch_idx: int) -> Tensor:
        """Return the loss of a batch; see :meth:`images`."""
        generator = self._training_generator(batch_idx)
        if isinstance(batch, Tensor) and batch.ndim == 3:
            batch = self.augmentation(batch, generator)
        images = self.images(batch)
        terms = self.losses(images, generator)
        self.log_training(terms._asdict(), len(images), lr=self.learning_rate(self.global_step))
        return terms.loss

    def validation_step(self, batch: Tensor | Pair, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Log the losses on held-out images, or on held-out classes."""
        if not rows_in(batch):
            return
        images = self.images(batch)
        terms = self.losses(images, self._validation_generator(batch_idx, dataloader_idx))
        name = VALIDATION_SETS[dataloader_idx]
        self.log_validation({f"{name}/{term}": value for term, value in terms._asdict().items()}, len(images))
