"""Trained models as files: load, save, and the packaged weights."""

from sketchembed.hub.catalog import models
from sketchembed.hub.model_files import find, load, load_network, save

__all__ = ["find", "load", "load_network", "models", "save"]
