"""LightningModules: what is trained, and how."""

from sketchembed.tasks.drawing import DrawingTask

__all__ = ["DrawingTask"]
