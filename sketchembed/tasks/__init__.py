"""LightningModules: what is trained, and how."""

from sketchembed.tasks.drawing import DrawingTask
from sketchembed.tasks.prototypical import PrototypicalTask

__all__ = ["DrawingTask", "PrototypicalTask"]
