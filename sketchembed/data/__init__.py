"""Data: from published files to batches on the device.

The data modules can be imported from here. They are loaded on first use, because they need PyTorch Lightning,
which loading a model and embedding do not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sketchembed.data.datamodules import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Load a data module on first use."""
    if name.endswith("DataModule") and hasattr(modules := import_module(f"{__name__}.datamodules"), name):
        return getattr(modules, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
