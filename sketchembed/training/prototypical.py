"""Learning to tell classes apart in episodes: the supervised baseline."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from sketchembed.data.datamodules.episode_datamodule import EpisodeImages
from sketchembed.networks.protonet import ProtoNet, ProtoNetConfig, prototype_loss
from sketchembed.training.task import Task


class PrototypicalTask(Task):
    """Trains a prototypical network.

    *Source*: Snell et al. 2017: Adam at 1e-3, halved every 2,000 episodes. A step takes an episode for each
    process.

    Args:
        network: sizes of the model.
        lr: initial learning rate of Adam.
        lr_decay: factor of the learning rate, reached after `lr_decay_steps`.
        lr_decay_steps: see there.
        lr_shape: see :class:`~sketchembed.training.task.Task`.
        lr_warmup: see there.
        seed: of the initial weights' generator; the episodes have their own.
    """

    net: ProtoNet
    shares_batches = False

    def __init__(
        self,
        network: ProtoNetConfig | None = None,
        lr: float = 1e-3,
        lr_decay: float = 0.5,
        lr_decay_steps: int = 2000,
        lr_shape: Literal["exponential", "cosine"] = "exponential",
        lr_warmup: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(ProtoNet(network), lr, lr_decay, lr_decay_steps, lr_shape, lr_warmup, seed)

    def episode(self, batch: EpisodeImages) -> tuple[Tensor, Tensor]:
        """Return loss and accuracy of an episode."""
        shot, asked = batch.support.shape[1], batch.query.shape[1]
        way = len(batch.support)
        images = batch.support.flatten(0, 1), batch.query.flatten(0, 1)
        # One pass over all images, so that batch norm sees support and query alike.
        support, query = self.net(torch.cat(images)).split([way * shot, way * asked])
        return prototype_loss(support.unflatten(0, (way, shot)), query.unflatten(0, (way, asked)))

    def training_step(self, batch: EpisodeImages, batch_idx: int) -> Tensor:
        """Return the loss of an episode."""
        loss, accuracy = self.episode(batch)
        self.log_training({"loss": loss, "accuracy": accuracy}, 1, lr=self.learning_rate(self.global_step))
        return loss

    def validation_step(self, batch: EpisodeImages, batch_idx: int) -> None:
        """Log loss and accuracy on classes that do not train."""
        loss, accuracy = self.episode(batch)
        self.log_validation({"val/loss": loss, "val/accuracy": accuracy}, 1)
