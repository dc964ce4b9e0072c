"""Learning to adapt: the supervised baseline that takes gradient steps on each episode's support set."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from sketchembed.data.datamodules.episode_datamodule import EpisodeImages
from sketchembed.networks.maml import MAML, MAMLConfig
from sketchembed.networks.precision import at_least_float32
from sketchembed.training.task import Task


class MAMLTask(Task):
    """Trains a network so that some steps of gradient descent fit it to a new task.

    *Source*: Finn et al. 2017, algorithm 2, with Adam in the outer loop; a supervised row of the paper's
    tables 1 and 2. A step of the outer loop takes as many episodes as the trainer accumulates batches, times
    the number of processes.

    Args:
        network: sizes, and how it adapts.
        first_order: leave out the derivatives of the inner steps (Finn et al.'s section 5.2).
        lr: initial learning rate of Adam.
        lr_decay: factor of the learning rate, reached after `lr_decay_steps`.
        lr_decay_steps: see there.
        lr_shape: see :class:`~sketchembed.training.task.Task`.
        lr_warmup: see there.
        seed: of the initial weights' generator; the episodes have their own.
    """

    net: MAML
    shares_batches = False

    def __init__(
        self,
        network: MAMLConfig | None = None,
        first_order: bool = False,
        lr: float = 1e-3,
        lr_decay: float = 0.5,
        lr_decay_steps: int = 2000,
        lr_shape: Literal["exponential", "cosine"] = "exponential",
        lr_warmup: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(MAML(network), lr, lr_decay, lr_decay_steps, lr_shape, lr_warmup, seed)
        self.first_order = first_order

    def episode(self, batch: EpisodeImages, steps: int | None = None) -> tuple[Tensor, Tensor]:
        """Return loss and accuracy of an episode's queries, after some steps on its support set."""
        way, shot = batch.support.shape[:2]
        support, query = batch.support.flatten(0, 1), batch.query.flatten(0, 1)
        classes = torch.arange(way, device=support.device)
        parameters = self.net.adapt(support, classes.repeat_interleave(shot), way, steps, self.first_order)
        scores = at_least_float32(self.net.scores(parameters, support, query))
        labels = classes.repeat_interleave(batch.query.shape[1])
        return functional.cross_entropy(scores, labels), (scores.argmax(-1) == labels).float().mean()

    def training_step(self, batch: EpisodeImages, batch_idx: int) -> Tensor:
        """Return the loss of an episode."""
        loss, accuracy = self.episode(batch)
        self.log_training({"loss": loss, "accuracy": accuracy}, 1, lr=self.learning_rate(self.global_step))
        return loss

    def validation_step(self, batch: EpisodeImages, batch_idx: int) -> None:
        """Log loss and accuracy on classes that do not train, after as many steps as in use."""
        # Adapting needs gradients, which tensors made in Lightning's inference mode cannot have.
        with torch.inference_mode(False), torch.enable_grad():
            own = EpisodeImages(*(part.clone() for part in batch))
            loss, accuracy = self.episode(own, self.net.config.test_steps)
        self.log_validation({"val/loss": loss, "val/accuracy": accuracy}, 1)
