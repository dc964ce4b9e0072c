"""What all tasks share: the learning rate's course, the optimiser, random numbers, and checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from pytorch_lightning.utilities import GradClipAlgorithmType
from torch import Tensor, distributed, nn

from sketchembed.data.batch_random import GlobalBatchGenerator
from sketchembed.data.datamodules.episode_datamodule import EpisodeImages
from sketchembed.data.datamodules.pair_datamodule import Pair
from sketchembed.hub.model_files import network_weights
from sketchembed.hub.registry import MODEL_KEY, check_weights, describe
from sketchembed.networks.batch_norm import BatchNorm2d
from sketchembed.networks.precision import at_least_float32
from sketchembed.raster import rasterize


class Task(pl.LightningModule):
    """Trains the network `net` with Adam.

    On several processes a step is the same as on one: each has its share of the batch, the random numbers of
    its rows, and batch norm's statistics of the whole; what is logged is the mean over all of them.

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
        step_offset: steps by which the data and the random numbers are ahead of the step's number, see
            :class:`~sketchembed.training.finite.Finite`.
        logged: what the step before logged, by name, for whoever says which term is not finite.
    """

    shares_batches: ClassVar[bool] = True
    """Whether the processes share a batch; if not, each has one of its own, such as an episode."""

    step_offset: int = 0
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
        self._validated: dict[str, tuple[Tensor, int]] = {}

    def log_dict(self, dictionary: Any, *args: Any, **kwargs: Any) -> None:
        """Log values, and keep them until the next ones."""
        self.logged = dictionary
        super().log_dict(dictionary, *args, **kwargs)

    # ---- processes -------------------------------------------------------------------------------

    @property
    def processes(self) -> int:
        """How many train together."""
        return self.trainer.world_size if self._trainer else 1

    def on_fit_start(self) -> None:
        """Have batch norm ask the other processes, where they share a batch."""
        self._share_batch_norm(self.shares_batches and self.processes > 1)

    def teardown(self, stage: str) -> None:
        """Leave a network that asks no other process."""
        self._share_batch_norm(False)

    def _share_batch_norm(self, shared: bool) -> None:
        for module in self.net.modules():
            if isinstance(module, BatchNorm2d):
                module.shared = shared

    def over_processes(self, values: Tensor) -> Tensor:
        """Return the mean of each process's values, without gradient; all must ask for it."""
        values = values.detach()
        if self.processes == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.processes

    # ---- random numbers --------------------------------------------------------------------------

    def _generator(self, step: int, stream: int) -> GlobalBatchGenerator:
        state = np.random.SeedSequence([self.seed, step, stream]).generate_state(1, np.uint64)
        generator = GlobalBatchGenerator(self.device)
        generator.manual_seed(int(state[0] >> np.uint64(1)))
        return generator

    def _training_generator(self, batch_idx: int) -> GlobalBatchGenerator:
        """Return the generator of a training batch, the same on all processes."""
        accumulated = self.trainer.accumulate_grad_batches if self._trainer else 1
        step = self.global_step + self.step_offset
        generator = self._generator(step * accumulated + batch_idx % accumulated, 0)
        generator.rank, generator.world_size = self.global_rank, self.processes
        return generator

    def _validation_generator(self, batch_idx: int, dataloader_idx: int) -> GlobalBatchGenerator:
        """Return the generator of a batch of a validation set, whichever process has it."""
        return self._generator(batch_idx * self.processes + self.global_rank, dataloader_idx)

    # ---- metrics ---------------------------------------------------------------------------------

    def log_training(self, values: Mapping[str, Tensor], size: int, **own: float) -> None:
        """Log what a training step found, the mean over the processes, and numbers that all have alike.

        Args:
            values: by name, without ``train/``.
            size: of this process's batch.
            own: by name, without ``train/``.
        """
        means = self.over_processes(
            torch.stack([at_least_float32(value.detach()) for value in values.values()])
        )
        logged = dict(zip(values, means.unbind(), strict=True)) | own
        self.log_dict({f"train/{name}": value for name, value in logged.items()}, batch_size=size)

    def log_validation(self, values: Mapping[str, Tensor], size: int) -> None:
        """Note what a batch of a validation set found, for the mean over all of the set.

        Lightning's own mean would have every process take part in it, also one whose share is empty.

        Args:
            values: means over the batch, by their whole names.
            size: of the batch; an empty one counts nothing.
        """
        if size == 0:
            return
        for name, value in values.items():
            total, count = self._validated.get(name, (0.0, 0))
            self._validated[name] = (total + value.detach().double() * size, count + size)

    def on_validation_epoch_end(self) -> None:
        """Log the means over all batches of all processes."""
        mine = {name: (float(total), count) for name, (total, count) in self._validated.items()}
        self._validated.clear()
        every: list[Any] = [mine]
        if self.processes > 1:
            every *= self.processes
            distributed.all_gather_object(every, mine)
        found: dict[str, list[tuple[float, int]]] = {}
        for shares in every:
            for name, share in shares.items():
                found.setdefault(name, []).append(share)
        totals = {name: [sum(part) for part in zip(*shares, strict=True)] for name, shares in found.items()}
        self.log_dict({name: total / count for name, (total, count) in totals.items()}, batch_size=1)

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
        # A gradient scaler would have the fused one scale back by itself, after the clipping.
        fused = self.device.type == "cuda" and self._scaler is None
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
        if all(parameter.grad is None for parameter in self.parameters()):
            return
        precision = self.trainer.precision_plugin
        if isinstance(precision, MixedPrecision) and self._scaler is None:
            # Lightning refuses it for a fused optimiser, whether or not there is a scaler.
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(precision, optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    @property
    def _scaler(self) -> Any:
        """The gradient scaler of ``16-mixed``; None in other precisions."""
        return getattr(self.trainer.precision_plugin, "scaler", None) if self._trainer else None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write what is needed to rebuild the model alone."""
        checkpoint[MODEL_KEY] = describe(self.net)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check the weights before they are loaded.

        Raises:
            CheckpointError: if the checkpoint is of a model of another shape.
        """
        check_weights(self.net, network_weights(checkpoint), "the checkpoint")


def rows_in(batch: Any) -> int:
    """Return how many drawings or images a batch has."""
    if isinstance(batch, EpisodeImages):
        return sum(part.shape[0] * part.shape[1] for part in batch)
    return len(batch.stroke5 if isinstance(batch, Pair) else batch)


def drawn_images(
    stroke5: Float[Tensor, "batch rows 5"], size: int, channels: int
) -> Float[Tensor, "batch {channels} {size} {size}"]:
    """Draw a model's input: dark lines (0) on white (1), as the paper's were drawn (appendix H.1)."""
    ink = rasterize.draw_pen(stroke5, size)
    return (1 - ink).unsqueeze(1).expand(-1, channels, -1, -1)
