"""Checkpoints of a run that training can resume from."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from sketchembed.errors import CheckpointError
from sketchembed.files.writing import whole_file
from sketchembed.hub.model_files import by_step, network_weights, read_raw
from sketchembed.hub.registry import (
    check_weights,
    misfit,
)

TRAINING_PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step")
"""What a checkpoint must hold for a training to go on from it."""


def newest_whole(folder: Path, net: torch.nn.Module, warn: Callable[[str], None]) -> Path | None:
    """Return the newest checkpoint that a training can go on from; None if there is no such.

    Newer ones that are damaged, or are of another model, are passed over with a warning and renamed to
    ``NAME.ckpt.damaged``, so that none of them counts as a checkpoint any more. Of several processes
    one is to ask, for all.

    Args:
        folder: of the checkpoints.
        net: the model that trains.
        warn: called with a line for each that is passed over.
    """
    for path in reversed(by_step(folder)):
        try:
            read_training(path, net)
        except CheckpointError as error:
            os.replace(path, path.with_name(f"{path.name}.damaged"))
            warn(f"{error.found}; it is passed over, and kept as {path.name}.damaged")
        else:
            return path
    return None


def read_training(path: Path, net: torch.nn.Module) -> dict[str, Any]:
    """Read a checkpoint of a training, and check that it is one, whole, and of this model.

    Raises:
        CheckpointError: if it is not.
    """
    checkpoint = read_raw(path)
    for part in TRAINING_PARTS:
        if part not in checkpoint:
            raise misfit(path, f"has no '{part}'")
    check_weights(net, network_weights(checkpoint), path)
    return checkpoint


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, written by :func:`~sketchembed.files.writing.whole_file`.

    An interruption or a full disk in the middle leaves the checkpoint before it as it was.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            CheckpointError: if the disk is full or may not be written.
        """
        path = Path(path)
        try:
            # By way of the memory: of a disk that is full PyTorch says "unexpected pos 1008256 vs 1008148".
            content = io.BytesIO()
            torch.save(checkpoint, content)
            with whole_file(path) as file:
                file.write(content.getbuffer())
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint {path} could not be written ({error.strerror or error})",
                expected="room on the disk and leave to write",
                fix="Free some room and start the same command again; the checkpoint before it is whole",
            ) from error
