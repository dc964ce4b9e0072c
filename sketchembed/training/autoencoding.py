"""Learning to reproduce pixels: the baseline that shows what drawing adds."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sketchembed.data.augmentation import Augmentation
from sketchembed.data.batch_random import normal
from sketchembed.data.datamodules.pair_datamodule import Pair
from sketchembed.losses import kl_loss
from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig
from sketchembed.training.drawing import VALIDATION_SETS
from sketchembed.training.task import Task, drawn_images, rows_in


class VAELoss(NamedTuple):
    """The loss of a VAE and its terms, each the mean over a batch.

    Attributes:
        loss: what is minimised, ``reconstruction + kl_weight * kl``.
        reconstruction: cross-entropy of the pixels, in nats.
        kl: divergence of z from a unit Gaussian, in nats.
    """

    loss: Float[Tensor, ""]
    reconstruction: Float[Tensor, ""]
    kl: Float[Tensor, ""]


class AutoencodingTask(Task):
    """Trains a Conv-VAE on drawings, of which it sees the picture alone, or on images.

    *Source*: paper section 5; the released code: Adam at 1e-3, × 0.85 each 15,000 steps, no clipping.

    The sound variant minimises the negative evidence lower bound of an image, summed over its pixels and
    the dimensions of z, in nats. Grey values count as chances of white, as is usual. It is not divided by
    anything: Adam's steps do not depend on the loss' scale. The released variant takes the means over
    pixels and over dimensions, which on 32 × 32 pixels and 256 dimensions weighs the divergence four times
    as heavily.

    Every random number of a step (ε of z, of the augmentation) comes from a generator seeded by (seed,
    step), so a resumed run draws the same ones, and so do several processes.

    Args:
        network: sizes of the model.
        lr: initial learning rate of Adam.
        lr_decay: factor of the learning rate, reached after `lr_decay_steps`.
        lr_decay_steps: see there.
        lr_shape: see :class:`~sketchembed.training.task.Task`.
        lr_warmup: see there.
        kl_weight: weight of the divergence; 1 is the evidence lower bound.
        augmentation: of drawings, before they are drawn; images are left as they come.
        seed: of the random numbers of the steps.
    """

    net: ConvVAE

    def __init__(
        self,
        network: ConvVAEConfig | None = None,
        lr: float = 1e-3,
        lr_decay: float = 0.85,
        lr_decay_steps: int = 15_000,
        lr_shape: Literal["exponential", "cosine"] = "exponential",
        lr_warmup: int = 0,
        kl_weight: float = 1.0,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(ConvVAE(network), lr, lr_decay, lr_decay_steps, lr_shape, lr_warmup, seed)
        self.kl_weight = kl_weight
        self.augmentation = augmentation or Augmentation()

    def images(
        self, batch: Float[Tensor, "batch rows 5"] | Float[Tensor, "batch channels size size"] | Pair
    ) -> Float[Tensor, "batch channels size size"]:
        """Return the images of a batch in [0, 1].

        Args:
            batch: stroke-5 rows, which are drawn; images; or photos with sketches, which are left unseen.
        """
        if isinstance(batch, Pair):
            return batch.images
        if batch.ndim == 4:
            return batch
        config = self.net.config
        return drawn_images(batch, config.image_size, config.channels)

    def losses(
        self, images: Float[Tensor, "batch channels size size"], generator: torch.Generator
    ) -> VAELoss:
        """Return the terms of the loss, the mean over the batch."""
        config = self.net.config
        noise = normal((len(images), config.latent), generator, images)
        logits, latent = self.net(images, noise)
        target = self.net.to_canvas(images)
        # Means over all pixels and over all dimensions.
        reconstruction = functional.binary_cross_entropy_with_logits(logits, target.to(logits.dtype))
        kl = kl_loss(latent)
        if config.variant == "sound":
            reconstruction, kl = reconstruction * target[0].numel(), kl * config.latent
        return VAELoss(reconstruction + self.kl_weight * kl, reconstruction, kl)

    def training_step(self, batch: Tensor | Pair, batch_idx: int) -> Tensor:
        """Return the loss of a batch, see :meth:`images`."""
        generator = self._training_generator(batch_idx)
        if isinstance(batch, Tensor) and batch.ndim == 3:
            batch = self.augmentation(batch, generator)
        images = self.images(batch)
        terms = self.losses(images, generator)
        self.log_training(terms._asdict(), len(images), lr=self.learning_rate(self.global_step))
        return terms.loss

    def validation_step(self, batch: Tensor | Pair, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Log the losses on what does not train, and on classes that do not."""
        if not rows_in(batch):
            return
        images = self.images(batch)
        terms = self.losses(images, self._validation_generator(batch_idx, dataloader_idx))
        name = VALIDATION_SETS[dataloader_idx]
        self.log_validation({f"{name}/{term}": value for term, value in terms._asdict().items()}, len(images))
