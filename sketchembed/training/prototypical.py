"""Train the supervised baseline, a prototypical network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sketchembed.data.datamodules.episode_datamodule import EpisodeImages
from sketchembed.networks.protonet import ProtoNet, ProtoNetConfig, prototype_loss
from sketchembed.training.task import Task


class PrototypicalTask(Task):
    """Train a prototypical network on episodes, one per rank and step.

    *Source*: Snell et al. 2017: Adam at 1e-3, halved every 2,000 episodes.

    Args:
        network: sizes of the model.
        lr_decay: factor by which the learning rate has decayed after `lr_decay_steps`.
        lr_decay_steps: number of steps.
        kwargs: further options of :class:`~sketchembed.training.task.Task`.
    """

    net: ProtoNet
    shares_batches = False

    def __init__(
        self,
        network: ProtoNetConfig | None = None,
        lr_decay: float = 0.5,
        lr_decay_steps: int = 2000,
        **kwargs: Any,
    ) -> None:
        super().__init__(ProtoNet(network), lr_decay=lr_decay, lr_decay_steps=lr_decay_steps, **kwargs)

    def episode(self, batch: EpisodeImages) -> tuple[Tensor, Tensor]:
        """Return the loss and the accuracy of an episode."""
        shot, asked = batch.support.shape[1], batch.query.shape[1]
        way = len(batch.support)
        images = batch.support.flatten(0, 1), batch.query.flatten(0, 1)
        # One pass over all images, so that support and query share the statistics of batch norm.
        support, query = self.net(torch.cat(images)).split([way * shot, way * asked])
        return prototype_loss(support.unflatten(0, (way, shot)), query.unflatten(0, (way, asked)))

    def training_step(self, batch: EpisodeImages, batch_idx: int) -> Tensor:
        """Return the loss of an episode."""
        loss, accuracy = self.episode(batch)
        self.log_training({"loss": loss, "accuracy": accuracy}, 1, lr=self.learning_rate(self.global_step))
        return loss

    def validation_step(self, batch: EpisodeImages, batch_idx: int) -> None:
        """Log loss and accuracy on held-out classes."""
        loss, accuracy = self.episode(batch)
        self.log_validation({"val/loss": loss, "val/accuracy": accuracy}, 1)
