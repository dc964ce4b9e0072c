"""Trained models as files: load, save, and the packaged weights."""

from sketchembed.hub.model_files import find, load, load_network, save
from sketchembed.hub.packaged import models

__all__ = ["find", "load", "load_network", "models", "save"]
