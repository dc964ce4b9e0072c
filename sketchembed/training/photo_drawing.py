"""Train SketchEmbedNet to draw photos: the same losses, on pairs of photos and sketches."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.data.augmentation import PairAugmentation
from sketchembed.data.datamodules.pair_datamodule import Pair
from sketchembed.networks.sketchembednet import ModelConfig
from sketchembed.training.drawing import DrawingTask


class PhotoDrawingTask(DrawingTask):
    """Train a model to imitate sketches that people drew of photos.

    *Source*: paper section 4. Batches are :class:`Pair`. The photo is the input; the sketch is the target,
    also of the pixel loss.

    Args:
        network: sizes of the model.
        augmentation: random changes of photo and sketch together; none in the paper.
        kwargs: options of :class:`~sketchembed.training.drawing.DrawingTask`.
    """

    def __init__(
        self, network: ModelConfig | None = None, augmentation: PairAugmentation | None = None, **kwargs: Any
    ) -> None:
        network = network or ModelConfig(encoder="resnet12", image_size=84, channels=3, max_length=100)
        super().__init__(network, augmentation=None, input_augmentation=None, **kwargs)
        self.pair_augmentation = augmentation or PairAugmentation()

    def pairs(
        self, batch: Pair, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "batch 3 size size"], Float[Tensor, "batch rows 5"]]:
        """Return the photos, in [0, 1], and their sketches, augmented if there is a random generator."""
        if generator is None:
            return batch.images, batch.stroke5
        return self.pair_augmentation(batch.images, batch.stroke5, generator)
