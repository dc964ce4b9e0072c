"""Train a classifier of drawings, which scores generated ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sketchembed.data.augmentation import Augmentation
from sketchembed.data.datamodules.labelled_datamodule import LabelledDrawings
from sketchembed.errors import ConfigError
from sketchembed.hub.model_files import read_raw
from sketchembed.networks.resnet import ResNet, ResNetConfig
from sketchembed.training.task import Task, drawn_images, rows_in


class ClassificationTask(Task):
    """Train a ResNet to classify pictures of drawings.

    *Source*: paper section 7; learning rates and steps of the released code.

    Args:
        network: sizes of the model.
        lr: initial learning rate of Adam.
        lr_steps: learning rates by the step at which they begin; if empty, the other options of the schedule
            apply.
        lr_decay: factor by which the learning rate has decayed after `lr_decay_steps`.
        lr_decay_steps: number of steps.
        label_smoothing: share of the target that is spread over all classes.
        augmentation: random changes of the drawings before they are drawn.
        weights: file of published weights to start from, such as ImageNet's, with torchvision's key names.
        kwargs: further options of :class:`~sketchembed.training.task.Task`.

    Raises:
        ConfigError: if the published weights are of another network.
    """

    net: ResNet

    def __init__(
        self,
        network: ResNetConfig | None = None,
        lr: float = 0.01,
        lr_steps: dict[int, float] | None = None,
        lr_decay: float = 1.0,
        lr_decay_steps: int = 1,
        label_smoothing: float = 0.0,
        augmentation: Augmentation | None = None,
        weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(ResNet(network), lr=lr, lr_decay=lr_decay, lr_decay_steps=lr_decay_steps, **kwargs)
        self.lr_steps = dict(sorted((lr_steps or {}).items()))
        self.label_smoothing = label_smoothing
        self.augmentation = augmentation or Augmentation()
        if weights is not None:
            try:
                self.net.adopt(read_raw(Path(weights)))
            except (RuntimeError, KeyError) as error:
                raise ConfigError(
                    f"{weights} does not fit the network ({str(error).splitlines()[-1].strip()})",
                    expected=f"weights of a ResNet-{self.net.config.depth} by torchvision's names",
                    fix="Set depth, width and stem to those of the weights",
                ) from error

    def setup(self, stage: str) -> None:
        """Take the names of the classes from the data; the network must have as many classes or more."""
        labels = getattr(getattr(self.trainer, "datamodule", None), "labels", None)
        if labels is None:
            return
        if len(labels) > self.net.config.classes:
            raise ConfigError(
                f"the data have {len(labels)} classes and the network {self.net.config.classes}",
                expected="a network with at least as many classes as the data",
                fix=f"Set --model.init_args.network.classes to {len(labels)}",
            )
        self.net.config = replace(self.net.config, labels=list(labels))

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step; it depends only on the step."""
        if not self.lr_steps:
            return super().learning_rate(step)
        return [self.lr, *(rate for first, rate in self.lr_steps.items() if step >= first)][-1]

    def logits(self, stroke5: Float[Tensor, "batch rows 5"]) -> Float[Tensor, "batch classes"]:
        """Draw stroke-5 rows and return their class logits."""
        config = self.net.config
        out: Tensor = self.net(drawn_images(stroke5, config.image_size, config.channels))
        return out

    def training_step(self, batch: LabelledDrawings, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        generator = self._training_generator(batch_idx)
        logits = self.logits(self.augmentation(batch.stroke5, generator))
        loss = functional.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)
        found = {"loss": loss, "accuracy": accuracy(logits, batch.labels)}
        self.log_training(found, rows_in(batch), lr=self.learning_rate(self.global_step))
        return loss

    def validation_step(self, batch: LabelledDrawings, batch_idx: int) -> None:
        """Log loss and accuracy on held-out drawings."""
        if not rows_in(batch):
            return
        logits = self.logits(batch.stroke5)
        loss = functional.cross_entropy(logits, batch.labels)
        self.log_validation({"val/loss": loss, "val/accuracy": accuracy(logits, batch.labels)}, len(logits))


def accuracy(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Return the share of rows with the correct class."""
    return (logits.argmax(-1) == labels).float().mean()
