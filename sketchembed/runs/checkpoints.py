"""Checkpoints from which a training can resume."""

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
from sketchembed.hub.registry import check_weights, misfit

# Keys that a checkpoint needs for resuming.
TRAINING_PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step")


def newest_valid(folder: Path, net: torch.nn.Module, warn: Callable[[str], None]) -> Path | None:
    """Return the newest checkpoint of a folder from which training can resume; None if there is none.

    A newer checkpoint that is damaged, or belongs to another model, is renamed to ``NAME.ckpt.damaged``, and
    `warn` gets one line about it. With several ranks, call this on one of them only.
    """
    for path in reversed(by_step(folder)):
        try:
            _check_training(path, net)
        except CheckpointError as error:
            os.replace(path, path.with_name(f"{path.name}.damaged"))
            warn(f"{error.found}; the file is skipped and renamed to {path.name}.damaged")
        else:
            return path
    return None


def _check_training(path: Path, net: torch.nn.Module) -> None:
    """Check that a checkpoint is whole, contains the state of a training, and fits the model."""
    checkpoint = read_raw(path)
    for part in TRAINING_PARTS:
        if part not in checkpoint:
            raise misfit(path, f"has no '{part}'")
    check_weights(net, network_weights(checkpoint), path)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, replaced atomically by :func:`~sketchembed.files.writing.whole_file`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint, or raise a CheckpointError."""
        path = Path(path)
        try:
            # PyTorch reports a full disk as "unexpected pos 1008256 vs 1008148", hence the copy in memory.
            content = io.BytesIO()
            torch.save(checkpoint, content)
            with whole_file(path) as file:
                file.write(content.getbuffer())
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint {path} could not be written ({error.strerror or error})",
                expected="enough disk space and write permission",
                fix="Free some space and run the same command again; the previous checkpoint is intact",
            ) from error
