"""The base of all tasks: optimizer, learning rate, random numbers, metrics over ranks, and checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, cast

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from pytorch_lightning.utilities import GradClipAlgorithmType
from torch import Tensor, distributed, nn
from torchmetrics import MeanMetric

from sketchembed.data.batch_random import GlobalBatchGenerator
from sketchembed.data.datamodules.episode_datamodule import EpisodeImages
from sketchembed.hub.model_files import network_weights
from sketchembed.hub.registry import MODEL_KEY, check_weights, describe
from sketchembed.networks.batch_norm import BatchNorm2d
from sketchembed.networks.precision import at_least_float32
from sketchembed.raster import rasterize
from sketchembed.raster.cairo_pen import draw_cairo_pen
from sketchembed.training.keras_adam import EPSILON, KerasAdam

Renderer = Literal["device", "cairosvg"]
VALIDATION_SETS = ("val", "unseen")  # held-out drawings of the training classes, and held-out classes


class Task(pl.LightningModule):
    """Train a network with Adam.

    A step on several ranks equals a step on one: each rank has its share of the batch and of the random
    numbers, batch norm uses the statistics of the whole batch, and logged values are means over all ranks.

    Every random number of a step comes from a generator seeded by (seed, step). A resumed run therefore draws
    the same numbers.

    Args:
        net: the network.
        lr: initial learning rate of Adam.
        lr_decay: factor by which the learning rate has decayed after `lr_decay_steps`.
        lr_decay_steps: number of steps.
        lr_shape: ``exponential`` decays by `lr_decay` in every `lr_decay_steps`; ``cosine`` decays along half
            a cosine wave and is constant afterwards.
        lr_warmup: number of steps over which the learning rate rises from 0; none in the paper.
        adam: where Adam adds its ε: after the bias correction as in ``pytorch``, or before it as in ``keras``
            and the released code.
        seed: seed of the random numbers of the steps.

    Attributes:
        step_offset: number of steps by which data and random numbers are ahead of the step number; 0 except
            in runs of version 0.1.0 that went back, see :class:`~sketchembed.training.finite.Finite`.
        logged: the values that the last step logged, by name.
    """

    shares_batches: ClassVar[bool] = True
    """Whether the ranks share a batch; otherwise each rank has its own, such as an episode."""
    validation_terms: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    """The values that are logged for each validation set."""

    step_offset: int = 0
    logged: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        net: nn.Module,
        lr: float = 1e-3,
        lr_decay: float = 0.85,
        lr_decay_steps: int = 15_000,
        lr_shape: Literal["exponential", "cosine"] = "exponential",
        lr_warmup: int = 0,
        adam: Literal["pytorch", "keras"] = "pytorch",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.net = net
        self.lr, self.lr_decay, self.lr_decay_steps = lr, lr_decay, lr_decay_steps
        self.lr_shape, self.lr_warmup, self.adam = lr_shape, lr_warmup, adam
        self.seed = seed
        # In float64, because float32 sums over a validation set depend on the order of its batches. NaN stays
        # NaN; with nan_strategy="disable" torchmetrics would ignore the weights.
        self._validation = nn.ModuleDict(
            {
                f"{part}/{term}": MeanMetric(nan_strategy=math.nan).set_dtype(torch.float64)
                for part in VALIDATION_SETS
                for term in self.validation_terms
            }
        )

    def log_dict(self, dictionary: Any, *args: Any, **kwargs: Any) -> None:
        """Log values, and keep them in `logged`."""
        self.logged = dictionary
        super().log_dict(dictionary, *args, **kwargs)

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.trainer.world_size if self._trainer else 1

    def on_fit_start(self) -> None:
        """Let batch norm use the statistics of all ranks if they share a batch."""
        self._share_batch_norm(self.shares_batches and self.world_size > 1)

    def teardown(self, stage: str) -> None:
        """Let batch norm use the statistics of this process only."""
        self._share_batch_norm(False)

    def _share_batch_norm(self, shared: bool) -> None:
        for module in self.net.modules():
            if isinstance(module, BatchNorm2d):
                module.shared = shared

    def mean_over_ranks(self, values: Tensor) -> Tensor:
        """Return the mean over all ranks, without gradient; every rank must call it."""
        values = values.detach()
        if self.world_size == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.world_size

    def _generator(self, step: int, stream: int) -> GlobalBatchGenerator:
        state = np.random.SeedSequence([self.seed, step, stream]).generate_state(1, np.uint64)
        generator = GlobalBatchGenerator(self.device)
        generator.manual_seed(int(state[0] >> np.uint64(1)))
        return generator

    def _training_generator(self, batch_idx: int) -> GlobalBatchGenerator:
        """Return the random generator of a training batch, the same on all ranks."""
        accumulated = self.trainer.accumulate_grad_batches if self._trainer else 1
        step = self.global_step + self.step_offset
        generator = self._generator(step * accumulated + batch_idx % accumulated, 0)
        generator.rank, generator.world_size = self.global_rank, self.world_size
        return generator

    def _validation_generator(self, batch_idx: int, dataloader_idx: int) -> GlobalBatchGenerator:
        """Return the random generator of a validation batch, whichever rank has the batch."""
        return self._generator(batch_idx * self.world_size + self.global_rank, dataloader_idx)

    def log_training(self, values: Mapping[str, Tensor], size: int, **shared: float) -> None:
        """Log a training step: the means of `values` over the ranks, and `shared` values, equal on all ranks.

        One reduction for all values is cheaper than a torchmetrics object per value. `size` is the number of
        items in this rank's batch.
        """
        means = self.mean_over_ranks(
            torch.stack([at_least_float32(value.detach()) for value in values.values()])
        )
        logged = dict(zip(values, means.unbind(), strict=True)) | shared
        self.log_dict({f"train/{name}": value for name, value in logged.items()}, batch_size=size)

    def log_validation(self, values: Mapping[str, Tensor], size: int) -> None:
        """Add the means over a batch of `size` items to those over its set, ``val/`` or ``unseen/``."""
        for name, value in values.items() if size else ():
            self._metric(name).update(value.detach(), size)

    def _metric(self, name: str) -> MeanMetric:
        return cast(MeanMetric, self._validation[name])

    def on_validation_epoch_end(self) -> None:
        """Log the means over all batches of all ranks; a rank may have none."""
        means: dict[str, float] = {}
        for name in self._validation:
            metric = self._metric(name)
            with metric.sync_context():
                if metric.weight > 0:
                    means[name] = float(metric.mean_value / metric.weight)
            metric.reset()
        self.log_dict(means, batch_size=1)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step; it depends only on the step.

        *Source*: paper appendix B, 0.85 every 15,000 steps; continuous, as in the released code.
        """
        warm = min(1.0, (step + 1) / self.lr_warmup) if self.lr_warmup else 1.0
        along = step / self.lr_decay_steps
        if self.lr_shape == "cosine":
            wave = (1 + math.cos(math.pi * min(along, 1.0))) / 2
            return self.lr * warm * (self.lr_decay + (1 - self.lr_decay) * wave)
        return float(self.lr * warm * self.lr_decay**along)

    def configure_optimizers(self) -> Any:
        """Return Adam with the size of Keras' ε, as in the released code, and the schedule."""
        # With a gradient scaler the fused Adam would unscale the gradients itself, after the clipping.
        fused = self.device.type == "cuda" and self._scaler is None
        kind = KerasAdam if self.adam == "keras" else torch.optim.Adam
        optimizer = kind(self.parameters(), lr=self.lr, eps=EPSILON, fused=fused)
        factor = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.learning_rate(step) / self.lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": factor, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients; a skipped step has none."""
        if all(parameter.grad is None for parameter in self.parameters()):
            return
        precision = self.trainer.precision_plugin
        if isinstance(precision, MixedPrecision) and self._scaler is None:
            # Lightning refuses to clip for a fused optimizer, even without a gradient scaler.
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(precision, optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    @property
    def _scaler(self) -> Any:
        """The gradient scaler of ``16-mixed``; None for other precisions."""
        return getattr(self.trainer.precision_plugin, "scaler", None) if self._trainer else None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description from which the model can be built without the task."""
        checkpoint[MODEL_KEY] = describe(self.net)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the weights fit the network."""
        check_weights(self.net, network_weights(checkpoint), "the checkpoint")


def rows_in(batch: Any) -> int:
    """Return the number of drawings or images in a batch."""
    if isinstance(batch, EpisodeImages):
        return sum(part.shape[0] * part.shape[1] for part in batch)
    return len(batch if isinstance(batch, Tensor) else batch[0])


def drawn_images(
    stroke5: Float[Tensor, "batch rows 5"], size: int, channels: int, renderer: Renderer = "device"
) -> Float[Tensor, "batch {channels} {size} {size}"]:
    """Draw the model's input, dark lines (0) on white (1). *Source*: paper appendix H.1."""
    ink = (rasterize.draw_pen if renderer == "device" else draw_cairo_pen)(stroke5, size)
    return (1 - ink).unsqueeze(1).expand(-1, channels, -1, -1)
