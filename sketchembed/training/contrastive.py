"""Train the baseline that compares two views of an image, SimCLR."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from sketchembed.data.augmentation import Augmentation, PairAugmentation
from sketchembed.data.datamodules.pair_datamodule import Pair
from sketchembed.errors import check_range
from sketchembed.losses import contrastive_loss
from sketchembed.networks.simclr import SimCLR, SimCLRConfig
from sketchembed.training.task import VALIDATION_SETS, Task, drawn_images, rows_in


class ContrastiveTask(Task):
    """Train an encoder to find the second view of a drawing, or of a photo, among those of a batch.

    *Source*: Chen et al. 2020 (SimCLR). Nothing is drawn by the network, so with the encoder, drawings,
    augmentation and schedule of a drawing task, the comparison shows what drawing adds.

    All views of the other images of a batch are negatives, also those of other ranks.

    Args:
        network: sizes of the model.
        temperature: τ of the loss, 0.001 or more.
        augmentation: random changes of a drawing that its two views share, like input and target of
            :class:`~sketchembed.training.drawing.DrawingTask`.
        input_augmentation: further random changes of each view of a drawing.
        independent: change each view by its own `augmentation`, as in Chen et al.
        photo_augmentation: random changes of each view of a photo.
        kwargs: options of :class:`~sketchembed.training.task.Task`.

    Raises:
        ConfigError: if the temperature is out of range.
    """

    net: SimCLR

    def __init__(
        self,
        network: SimCLRConfig | None = None,
        temperature: float | int = 0.1,
        augmentation: Augmentation | None = None,
        input_augmentation: Augmentation | None = None,
        independent: bool = False,
        photo_augmentation: PairAugmentation | None = None,
        **kwargs: Any,
    ) -> None:
        check_range("model.init_args.temperature", temperature, 0.001)
        super().__init__(SimCLR(network), **kwargs)
        self.temperature = temperature
        self.augmentation = augmentation or Augmentation()
        self.input_augmentation = input_augmentation or Augmentation()
        self.independent = independent
        self.photo_augmentation = photo_augmentation or PairAugmentation()

    def views(
        self,
        batch: Float[Tensor, "batch rows 5"] | Float[Tensor, "batch channels size size"] | Pair,
        generator: torch.Generator,
    ) -> Float[Tensor, "views channels size size"]:
        """Return the first views of all images of a batch, in [0, 1], and then the second views.

        Stroke-5 rows are drawn. The sketches of photos are not used.
        """
        if isinstance(batch, Tensor) and batch.ndim == 3:
            shared = batch if self.independent else self.augmentation(batch, generator)
            views = []
            for _ in range(2):
                drawing = self.augmentation(batch, generator) if self.independent else shared
                views.append(self.input_augmentation(drawing, generator))
            config = self.net.config
            return drawn_images(torch.cat(views), config.image_size, config.channels)
        photos = batch.images if isinstance(batch, Pair) else batch
        nothing = photos.new_zeros(len(photos), 1, 5)
        return torch.cat([self.photo_augmentation(photos, nothing, generator)[0] for _ in range(2)])

    def projections(
        self, batch: Tensor | Pair, generator: torch.Generator
    ) -> Float[Tensor, "2 pairs projection"]:
        """Return the projections of the two views of each image of a batch; see :meth:`views`."""
        projections: Tensor = self.net(self.views(batch, generator))
        return torch.stack(projections.chunk(2))

    def over_ranks(self, own: Float[Tensor, "2 pairs size"]) -> Float[Tensor, "2 more_pairs size"]:
        """Return the projections of all ranks, in the order of the batch; only `own` have a gradient."""
        if self.world_size == 1:
            return own
        parts = [torch.empty_like(own) for _ in range(self.world_size)]
        distributed.all_gather(parts, own.detach().contiguous())
        parts[self.global_rank] = own
        return torch.cat(parts, dim=1)

    def training_step(self, batch: Tensor | Pair, batch_idx: int) -> Tensor:
        """Return the loss of the batch of all ranks, times their number."""
        own = self.projections(batch, self._training_generator(batch_idx))
        loss, accuracy = contrastive_loss(self.over_ranks(own), self.temperature)
        rate = self.learning_rate(self.global_step)
        self.log_training({"loss": loss, "accuracy": accuracy}, rows_in(batch), lr=rate)
        # Each rank has a part of the gradient, that of its own projections. DDP averages these parts instead
        # of adding them up.
        return loss * self.world_size

    def validation_step(self, batch: Tensor | Pair, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Log loss and accuracy on held-out images, or on held-out classes, with the same random changes."""
        if not rows_in(batch):
            return
        generator = self._validation_generator(batch_idx, dataloader_idx)
        loss, accuracy = contrastive_loss(self.projections(batch, generator), self.temperature)
        name = VALIDATION_SETS[dataloader_idx]
        self.log_validation({f"{name}/loss": loss, f"{name}/accuracy": accuracy}, rows_in(batch))
