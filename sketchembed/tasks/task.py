"""What all tasks share: the learning rate's course, the optimiser, random numbers, and checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sketchembed import raster
from sketchembed.checkpoints import MODEL_KEY, check_weights, describe, network_weights


class Task(pl.LightningModule):
    """Trains the network `net` with Adam.

    Args:
        net: the network.
        lr: initial learning rate of Adam.
        lr_decay: factor of the learning rate, reached after `lr_decay_steps`.
        lr_decay_steps: see there.
        lr_shape: ``exponential`` goes on decaying by the factor in each further `lr_decay_steps`; ``cosine``
            falls along half a wave and stays.
        lr_warmup: steps over which the learning rate grows from 0; the paper has none.
        seed: of the random numbers of the steps.

    Attributes:
        passed_over: steps by which the data and the random numbers are ahead of the step's number, see
            :class:`~sketchembed.callbacks.finite.Finite`.
        logged: what the step before logged, by name, for whoever says which term is not finite.
    """

    passed_over: int = 0
    logged: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        net: nn.Module,
        lr: float,
        lr_decay: float,
        lr_decay_steps: int,
        lr_shape: Literal["exponential", "cosine"],
        lr_warmup: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.net = net
        self.lr, self.lr_decay, self.lr_decay_steps = lr, lr_decay, lr_decay_steps
        self.lr_shape, self.lr_warmup = lr_shape, lr_warmup
        self.seed = seed

    def log_dict(self, dictionary: Any, *args: Any, **kwargs: Any) -> None:
        """Log values, and keep them until the next ones."""
        self.logged = dictionary
        super().log_dict(dictionary, *args, **kwargs)

    def _generator(self, step: int, stream: int) -> torch.Generator:
        if self.training:
            step += self.passed_over
        state = np.random.SeedSequence([self.seed, step, stream]).generate_state(1, np.uint64)
        return torch.Generator(self.device).manual_seed(int(state[0] >> np.uint64(1)))

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, a function of the step alone.

        *Source*: paper appendix B, 0.85 every 15,000 steps; continuous, as in the released code.
        """
        warm = min(1.0, (step + 1) / self.lr_warmup) if self.lr_warmup else 1.0
        along = step / self.lr_decay_steps
        if self.lr_shape == "cosine":
            wave = (1 + math.cos(math.pi * min(along, 1.0))) / 2
            return self.lr * warm * (self.lr_decay + (1 - self.lr_decay) * wave)
        return float(self.lr * warm * self.lr_decay**along)

    def configure_optimizers(self) -> Any:
        """Return Adam, with Keras' ε as in the released code."""
        fused = self.device.type == "cuda"
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr, eps=1e-7, fused=fused)
        factor = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.learning_rate(step) / self.lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": factor, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients, if there are any: a step that is left out has none."""
        if any(parameter.grad is not None for parameter in self.parameters()):
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write what is needed to rebuild the model alone."""
        checkpoint[MODEL_KEY] = describe(self.net)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check the weights before they are loaded.

        Raises:
            CheckpointError: if the checkpoint is of a model of another shape.
        """
        check_weights(self.net, network_weights(checkpoint), "the checkpoint")


def drawn_images(
    stroke5: Float[Tensor, "batch rows 5"], size: int, channels: int
) -> Float[Tensor, "batch {channels} {size} {size}"]:
    """Draw a model's input: dark lines (0) on white (1), as the paper's were drawn (appendix H.1)."""
    ink = raster.draw_pen(stroke5, size)
    return (1 - ink).unsqueeze(1).expand(-1, channels, -1, -1)
