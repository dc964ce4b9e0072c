"""SketchEmbedNet in PyTorch Lightning: learn image representations by drawing.

Use a trained model::

    import sketchembed

    net = sketchembed.load("quickdraw-conv4")
    z = net.embed(images)          # [batch, 256]; images in [0, 1], dark lines on white
    sketches = net.draw(images)    # a list of Sketch
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sketchembed._version import __version__

if TYPE_CHECKING:
    from sketchembed.data.model_inputs import read_drawing, read_photo
    from sketchembed.hub import load, load_network, save
    from sketchembed.networks import ModelConfig, SketchEmbedNet
    from sketchembed.sketch import Sketch

_MODULES = {
    "ModelConfig": "sketchembed.networks",
    "Sketch": "sketchembed.sketch",
    "SketchEmbedNet": "sketchembed.networks",
    "load": "sketchembed.hub",
    "load_network": "sketchembed.hub",
    "read_drawing": "sketchembed.data.model_inputs",
    "read_photo": "sketchembed.data.model_inputs",
    "save": "sketchembed.hub",
}

__all__ = [
    "ModelConfig",
    "Sketch",
    "SketchEmbedNet",
    "__version__",
    "load",
    "load_network",
    "read_drawing",
    "read_photo",
    "save",
]


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that ``sketchembed --help`` does not import torch."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'sketchembed' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
