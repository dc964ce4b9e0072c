"""Learning to draw photos: the same losses, on pairs of photos and sketches."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.data.augmentation import PairAugmentation
from sketchembed.data.datamodules.pair_datamodule import Pair
from sketchembed.losses import PixelLoss
from sketchembed.networks.sketchembednet import ModelConfig
from sketchembed.training.drawing import DrawingTask


class PhotoDrawingTask(DrawingTask):
    """Imitates the sketches that people drew of photos.

    *Source*: paper section 4. Batches are :class:`Pair`; the photo is the input and
    the sketch the target, to which the pixel loss compares what is drawn.

    Args:
        augmentation: random changes of photo and sketch together; the paper has none.
        options: those of :class:`~sketchembed.training.drawing.DrawingTask`.
    """

    def __init__(
        self,
        network: ModelConfig | None = None,
        lr: float = 1e-3,
        lr_decay: float = 0.85,
        lr_decay_steps: int = 15_000,
        lr_shape: Literal["exponential", "cosine"] = "exponential",
        lr_warmup: int = 0,
        skip_padding: bool = False,
        pixel_loss: PixelLoss | None = None,
        pixel_gate: float = 0.1,
        kl_weight: float = 0.0,
        kl_tolerance: float = 0.2,
        augmentation: PairAugmentation | None = None,
        init_from: str | None = None,
        capture: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(
            network or ModelConfig(encoder="resnet12", image_size=84, channels=3, max_length=100),
            lr,
            lr_decay,
            lr_decay_steps,
            lr_shape,
            lr_warmup,
            skip_padding,
            pixel_loss,
            pixel_gate,
            kl_weight,
            kl_tolerance,
            init_from=init_from,
            capture=capture,
            seed=seed,
        )
        self.pair_augmentation = augmentation or PairAugmentation()

    def pairs(
        self, batch: Pair, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "batch 3 size size"], Float[Tensor, "batch rows 5"]]:
        """Return the photos, in [0, 1], and the sketches of them.

        Args:
            batch: photos with sketches.
            generator: of the augmentation; nothing is changed without it.
        """
        if generator is None:
            return batch.images, batch.stroke5
        return self.pair_augmentation(batch.images, batch.stroke5, generator)
