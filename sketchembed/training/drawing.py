"""Train SketchEmbedNet to draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.data.augmentation import Augmentation
from sketchembed.data.batch_random import normal
from sketchembed.hub.model_files import copy_weights
from sketchembed.hub.registry import MODEL_KEY
from sketchembed.losses import (
    KL_TOLERANCE,
    DrawingLoss,
    PixelLoss,
    drawing_loss,
    kl_loss,
    pen_loss,
    stroke_loss,
)
from sketchembed.networks.sketchembednet import ModelConfig, SketchEmbedNet
from sketchembed.training.cuda_graphs import StepInputs, capture, why_not_captured
from sketchembed.training.task import VALIDATION_SETS, Renderer, Task, drawn_images, rows_in


class Terms(NamedTuple):
    """The terms of the loss, before weighting."""

    pen: Float[Tensor, ""]
    stroke: Float[Tensor, ""]
    pixel: Float[Tensor, ""]
    kl: Float[Tensor, ""]


class DrawingTask(Task):
    """Train a model to imitate drawings: image to z to strokes, with pen, stroke and pixel losses.

    *Source*: paper section 3.1 and appendix B; the defaults are the paper's.

    Args:
        network: sizes of the model.
        skip_padding: do not compute the steps after the end of a drawing. The paper's pen loss counts them.
        pixel_loss: settings of the pixel loss.
        density_constant: constant in the density of the stroke loss, see
            :meth:`~sketchembed.networks.mixture.GaussianMixture.log_prob`; 1e-6 in the released code.
        pixel_gate: the pixel loss counts only if α is larger, as in the released code; 0 for equation 2.
        kl_weight: weight of the KL divergence of z from a unit Gaussian; 0 in the paper.
        augmentation: random changes of the drawings; none in the paper.
        input_augmentation: further random changes of the encoder's input only. The model must draw the
            unchanged drawing, so z becomes invariant to these changes; none in the paper.
        renderer: what draws the inputs: the ``device``, or ``cairosvg`` as in the released code, which is
            slower. Their pixels differ by 0.4 % on average.
        init_from: run or checkpoint of a model of the same sizes that provides the initial weights.
        capture: launch each step as CUDA graphs where possible (see
            :mod:`~sketchembed.training.cuda_graphs`); this affects only the speed.
        kwargs: options of :class:`~sketchembed.training.task.Task`.
    """

    net: SketchEmbedNet
    alpha: float = 0.0
    validation_terms = ("loss", "pen", "stroke", "pixel")

    def __init__(
        self,
        network: ModelConfig | None = None,
        skip_padding: bool = False,
        pixel_loss: PixelLoss | None = None,
        density_constant: float = 0.0,
        pixel_gate: float = 0.1,
        kl_weight: float = 0.0,
        augmentation: Augmentation | None = None,
        input_augmentation: Augmentation | None = None,
        renderer: Renderer = "device",
        init_from: str | None = None,
        capture: bool = True,
        **kwargs: Any,
    ) -> None:
        net = SketchEmbedNet(network or ModelConfig())
        if init_from is not None:
            copy_weights(init_from, net)
        super().__init__(net, **kwargs)
        self.skip_padding = skip_padding
        self.pixel_loss = pixel_loss or PixelLoss()
        self.density_constant, self.renderer = density_constant, renderer
        self.pixel_gate, self.kl_weight = pixel_gate, kl_weight
        self.augmentation = augmentation or Augmentation()
        self.input_augmentation = input_augmentation or Augmentation()
        self.capture = capture
        self._graph: Callable[..., tuple[Tensor, Tensor]] | None = None

    def setup(self, stage: str) -> None:
        """Take the unit of the offsets from the data."""
        self._graph = None  # a graph of an earlier fit refers to weights at other addresses
        data = getattr(self.trainer, "datamodule", None)
        if data is not None and hasattr(data, "offset_scale"):
            self.net.offset_scale = float(data.offset_scale)

    def pairs(
        self, batch: Any, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "batch channels size size"], Float[Tensor, "batch rows 5"]]:
        """Return the model's input, in [0, 1], and the target drawings.

        `batch` holds stroke-5 rows. They are augmented if there is a random generator.
        """
        stroke5: Tensor = batch if generator is None else self.augmentation(batch, generator)
        shown = stroke5 if generator is None else self.input_augmentation(stroke5, generator)
        config = self.net.config
        return drawn_images(shown, config.image_size, config.channels, self.renderer), stroke5

    def terms(
        self,
        image: Float[Tensor, "batch channels size size"],
        stroke5: Float[Tensor, "batch rows 5"],
        noise: Float[Tensor, "batch latent"],
        drawn: Float[Tensor, "samples batch steps 2"] | None,
    ) -> Terms:
        """Return the terms of the loss of a batch.

        `image` is the model's input, and `stroke5` the target drawings. `noise` is ε of z. `drawn` is ε of
        the pixel loss' samples; None leaves out the pixel loss.
        """
        stroke5 = self.net.add_start_token(stroke5)
        distribution, latent = self.net(image, stroke5, noise, self.skip_padding)
        target = stroke5[:, 1:]
        pen = pen_loss(distribution.pen_logits, target[..., 2:])
        mixture, constant = distribution.mixture, self.density_constant
        stroke = stroke_loss(mixture, target[..., :2], target[..., 4], constant)
        pixel = pen.new_zeros(())
        if drawn is not None:
            size = self.net.config.image_size
            pixel = self.pixel_loss(mixture, distribution.pen_logits, stroke5, size, drawn)
        mean = self.mean_over_ranks if self.training and self.world_size > 1 else None
        return Terms(pen, stroke, pixel, kl_loss(latent, KL_TOLERANCE, mean))

    def noises(self, stroke5: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw ε of z and ε of the pixel loss' samples for a batch; see :meth:`terms`."""
        batch, rows = stroke5.shape[:2]
        steps = rows - 1 + (self.net.config.start == "centre")
        noise = normal((batch, self.net.config.latent), generator, stroke5)
        drawn = normal((self.pixel_loss.samples, batch, steps, 2), generator, stroke5, batch_dim=1)
        return noise, drawn

    def losses(
        self,
        image: Float[Tensor, "batch channels size size"],
        stroke5: Float[Tensor, "batch rows 5"],
        generator: torch.Generator,
        with_pixels: bool,
    ) -> tuple[DrawingLoss, Float[Tensor, ""]]:
        """Return the loss of a batch with its terms, and the KL divergence of z from a unit Gaussian.

        With `with_pixels`, the pixel loss is computed for the log even if its weight is 0.
        """
        noise, drawn = self.noises(stroke5, generator)
        gate = self.alpha > self.pixel_gate
        pen, stroke, pixel, kl = self.terms(image, stroke5, noise, drawn if with_pixels or gate else None)
        # A pixel loss that is only logged needs no gradient.
        return drawing_loss(pen, stroke, pixel if gate else pixel.detach(), self.alpha, float(gate)), kl

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch; see :meth:`pairs`."""
        generator = self._training_generator(batch_idx)
        image, stroke5 = self.pairs(batch, generator)
        if why_not_captured(self, stroke5.device, self.trainer.accumulate_grad_batches, self.world_size):
            logs = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
            loss, kl = self.losses(image, stroke5, generator, with_pixels=(self.global_step + 1) % logs == 0)
            total = loss.total + self.kl_weight * kl if self.kl_weight else loss.total
            terms = Terms(loss.pen.detach(), loss.stroke.detach(), loss.pixel.detach(), kl.detach())
        else:
            total, values = self.captured(image, stroke5, generator)
            terms = Terms(*values.unbind())
        rate = self.learning_rate(self.global_step)
        self.log_training({"loss": total, **terms._asdict()}, len(stroke5), alpha=self.alpha, lr=rate)
        return total

    def captured(self, image: Tensor, stroke5: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the loss and its terms from the CUDA graph; the first call captures it."""
        numbers = stroke5.new_full((2,), self.alpha)
        numbers[1] = float(self.alpha > self.pixel_gate)
        inputs = StepInputs(image, stroke5, *self.noises(stroke5, generator), *numbers.unbind())
        if self._graph is None:
            self._graph = capture(self, inputs)
        return self._graph(*inputs)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Log the losses on held-out drawings of the training classes, or on held-out classes."""
        if not rows_in(batch):
            return
        generator = self._validation_generator(batch_idx, dataloader_idx)
        image, stroke5 = self.pairs(batch)
        loss, _ = self.losses(image, stroke5, generator, with_pixels=True)
        name = VALIDATION_SETS[dataloader_idx]
        terms = zip(self.validation_terms, loss, strict=True)
        self.log_validation({f"{name}/{term}": value for term, value in terms}, len(stroke5))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check the weights. Take the unit of the offsets from the checkpoint unless the data have set it."""
        super().on_load_checkpoint(checkpoint)
        described = cast(dict[str, Any], checkpoint.get(MODEL_KEY, {}))
        if self.net.offset_scale == 1.0:
            self.net.offset_scale = float(described.get("offset_scale", 1.0))
