"""LightningModules: what is trained, and how."""

from sketchembed.tasks.autoencoding import AutoencodingTask
from sketchembed.tasks.drawing import DrawingTask
from sketchembed.tasks.prototypical import PrototypicalTask

__all__ = ["AutoencodingTask", "DrawingTask", "PrototypicalTask"]
