"""Train the supervised baselines of few-shot learning on episodes: a prototypical network, and MAML."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sketchembed.data.datamodules.episode_datamodule import EpisodeImages
from sketchembed.networks.maml import MAML, MAMLConfig
from sketchembed.networks.precision import at_least_float32
from sketchembed.networks.protonet import ProtoNet, ProtoNetConfig, prototype_loss
from sketchembed.training.task import Task


class EpisodeTask(Task):
    """Train a network on episodes, one for each rank and each accumulated batch.

    Args:
        net: the network.
        lr_decay: factor by which the learning rate has decayed after `lr_decay_steps`.
        lr_decay_steps: number of steps.
        kwargs: further options of :class:`~sketchembed.training.task.Task`.
    """

    shares_batches = False

    def __init__(
        self, net: nn.Module, lr_decay: float = 0.5, lr_decay_steps: int = 2000, **kwargs: Any
    ) -> None:
        super().__init__(net, lr_decay=lr_decay, lr_decay_steps=lr_decay_steps, **kwargs)

    @abstractmethod
    def episode(self, batch: EpisodeImages) -> tuple[Tensor, Tensor]:
        """Return the loss and the accuracy of an episode."""

    def training_step(self, batch: EpisodeImages, batch_idx: int) -> Tensor:
        """Return the loss of an episode."""
        loss, accuracy = self.episode(batch)
        self.log_training({"loss": loss, "accuracy": accuracy}, 1, lr=self.learning_rate(self.global_step))
        return loss

    def validation_step(self, batch: EpisodeImages, batch_idx: int) -> None:
        """Log loss and accuracy on held-out classes."""
        loss, accuracy = self.episode(batch)
        self.log_validation({"val/loss": loss, "val/accuracy": accuracy}, 1)


class PrototypicalTask(EpisodeTask):
    """Train a prototypical network.

    *Source*: Snell et al. 2017: Adam at 1e-3, halved every 2,000 episodes.

    Args:
        network: sizes of the model.
        kwargs: options of :class:`EpisodeTask`.
    """

    net: ProtoNet

    def __init__(self, network: ProtoNetConfig | None = None, **kwargs: Any) -> None:
        super().__init__(ProtoNet(network), **kwargs)

    def episode(self, batch: EpisodeImages) -> tuple[Tensor, Tensor]:
        """Return the loss and the accuracy of an episode."""
        shot, asked = batch.support.shape[1], batch.query.shape[1]
        way = len(batch.support)
        images = batch.support.flatten(0, 1), batch.query.flatten(0, 1)
        # One pass over all images, so that support and query share the statistics of batch norm.
        support, query = self.net(torch.cat(images)).split([way * shot, way * asked])
        return prototype_loss(support.unflatten(0, (way, shot)), query.unflatten(0, (way, asked)))


class MAMLTask(EpisodeTask):
    """Train initial weights from which a few steps of gradient descent fit a new task.

    *Source*: Finn et al. 2017, algorithm 2, with Adam in the outer loop; a supervised row of the paper's
    tables 1 and 2.

    Args:
        network: sizes of the model and options of the inner loop.
        first_order: ignore the derivatives of the inner steps (Finn et al., section 5.2).
        kwargs: options of :class:`EpisodeTask`.
    """

    net: MAML

    def __init__(self, network: MAMLConfig | None = None, first_order: bool = False, **kwargs: Any) -> None:
        super().__init__(MAML(network), **kwargs)
        self.first_order = first_order

    def episode(self, batch: EpisodeImages, steps: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the loss and the accuracy of an episode's queries after some steps on its support set."""
        way, shot = batch.support.shape[:2]
        support, query = batch.support.flatten(0, 1), batch.query.flatten(0, 1)
        classes = torch.arange(way, device=support.device)
        parameters = self.net.adapt(support, classes.repeat_interleave(shot), way, steps, self.first_order)
        scores = at_least_float32(self.net.scores(parameters, support, query))
        labels = classes.repeat_interleave(batch.query.shape[1])
        return functional.cross_entropy(scores, labels), (scores.argmax(-1) == labels).float().mean()

    def validation_step(self, batch: EpisodeImages, batch_idx: int) -> None:
        """Log loss and accuracy on held-out classes, with the number of inner steps of an evaluation."""
        # The inner steps need gradients, which tensors made in inference mode cannot have.
        with torch.inference_mode(False), torch.enable_grad():
            own = EpisodeImages(*(part.clone() for part in batch))
            loss, accuracy = self.episode(own, self.net.config.test_steps)
        self.log_validation({"val/loss": loss, "val/accuracy": accuracy}, 1)
