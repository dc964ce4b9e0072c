"""LightningModules and callbacks: tasks, the curriculum of α, checkpoints, and presets."""

from sketchembed.training.autoencoding import AutoencodingTask
from sketchembed.training.classification import ClassificationTask
from sketchembed.training.drawing import DrawingTask
from sketchembed.training.meta_learning import MAMLTask
from sketchembed.training.photo_drawing import PhotoDrawingTask
from sketchembed.training.prototypical import PrototypicalTask

__all__ = [
    "AutoencodingTask",
    "ClassificationTask",
    "DrawingTask",
    "MAMLTask",
    "PhotoDrawingTask",
    "PrototypicalTask",
]
