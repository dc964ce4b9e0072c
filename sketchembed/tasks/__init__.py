"""LightningModules: what is trained, and how."""

from sketchembed.tasks.autoencoding import AutoencodingTask
from sketchembed.tasks.classification import ClassificationTask
from sketchembed.tasks.drawing import DrawingTask
from sketchembed.tasks.meta_learning import MAMLTask
from sketchembed.tasks.prototypical import PrototypicalTask

__all__ = ["AutoencodingTask", "ClassificationTask", "DrawingTask", "MAMLTask", "PrototypicalTask"]
