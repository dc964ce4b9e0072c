"""SketchEmbedNet in PyTorch Lightning: learn what images are made of by drawing them.

The API for a trained model::

    import sketchembed

    net = sketchembed.load("runs/quickdraw-cpu-seed0")
    z = net.embed(images)          # [batch, 256]; images in [0, 1], dark lines on white
    sketches = net.draw(images)    # a list of Sketch
"""

from typing import TYPE_CHECKING, Any

from sketchembed._version import __version__

if TYPE_CHECKING:
    from sketchembed.hub import load, save
    from sketchembed.networks import ModelConfig, SketchEmbedNet
    from sketchembed.sketch import Sketch

_HOMES = {
    "load": "sketchembed.hub",
    "save": "sketchembed.hub",
    "ModelConfig": "sketchembed.networks",
    "SketchEmbedNet": "sketchembed.networks",
    "Sketch": "sketchembed.sketch",
}

__all__ = ["ModelConfig", "Sketch", "SketchEmbedNet", "__version__", "load", "save"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``sketchembed --help`` need not wait for torch."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sketchembed' has no attribute '{name}'")
