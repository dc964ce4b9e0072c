"""LightningModules and callbacks: tasks, the curriculum of α, checkpoints, and presets."""

from sketchembed.training.autoencoding import AutoencodingTask
from sketchembed.training.classification import ClassificationTask
from sketchembed.training.contrastive import ContrastiveTask
from sketchembed.training.drawing import DrawingTask
from sketchembed.training.meta_learning import MAMLTask, PrototypicalTask
from sketchembed.training.photo_drawing import PhotoDrawingTask

__all__ = [
    "AutoencodingTask",
    "ClassificationTask",
    "ContrastiveTask",
    "DrawingTask",
    "MAMLTask",
    "PhotoDrawingTask",
    "PrototypicalTask",
]
