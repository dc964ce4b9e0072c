"""The interface that all networks share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sketchembed.errors import CheckpointError
from sketchembed.networks.file_results import EmbeddedFiles, Progress, file_batches
from sketchembed.networks.model_inputs import Images, as_batch


class NetworkConfig:
    """Base of the dataclasses with the sizes of a network."""

    image_size: int
    channels: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for checkpoints."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


class Network(nn.Module):
    """Base of the networks that a checkpoint or a weights file can hold."""

    kind: ClassVar[str]  # name of the class in such a file
    facts: ClassVar[tuple[str, ...]] = ()  # attributes that are stored with the weights, beside the sizes
    config: Any

    @torch.no_grad()
    def embed(self, images: Images) -> Float[Tensor, "batch features"]:
        """Return the embeddings of images, computed in evaluation mode.

        Args:
            images: a path, a PIL image, an array, a tensor, or a list of these, see
                :data:`~sketchembed.networks.model_inputs.Images`. A tensor ``[batch, channels, size, size]``
                in [0, 1] is used as it is. A single picture gives a batch of one.

        Raises:
            DataError: if one of the images is not a picture, or there is none.
        """
        inputs = self.inputs(images)
        with evaluating(self):
            return self._embedding(inputs)

    def embed_files(
        self,
        files: str | Path | Iterable[str | Path],
        *,
        batch_size: int = 256,
        progress: Progress | None = None,
    ) -> EmbeddedFiles:
        """Embed many image files in batches; files that cannot be read are skipped.

        Args:
            files: the files, or a folder, which is searched recursively.
            batch_size: number of files in a batch.
            progress: called after each batch with the number of files that are done and of all files.

        Raises:
            DataError: if the folder has no images.
        """
        kept: list[Path] = []
        skipped: dict[Path, str] = {}
        z = [torch.zeros(0, 0)]
        for batch in file_batches(files, self.config, batch_size, skipped, progress):
            z.append(self.embed(batch.inputs).float().cpu())
            kept += batch.files
        return EmbeddedFiles(kept, torch.cat(z[1:] or z), skipped)

    def inputs(self, images: Images) -> Float[Tensor, "batch channels size size"]:
        """Return images as the network sees them, on its device; see :meth:`embed`."""
        batch = as_batch(images, self.config.image_size, self.config.channels)
        weight = next(self.parameters())
        # Autocast converts the images itself.
        dtype = batch.dtype if torch.is_autocast_enabled(weight.device.type) else weight.dtype
        return batch.to(weight.device, dtype)

    def _embedding(self, images: Tensor) -> Tensor:
        raise CheckpointError(
            f"the network is a {self.kind}, which does not embed images",
            expected="a network with an embedding",
            fix="Load another model",
        )


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and restore its mode afterwards."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
