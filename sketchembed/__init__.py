"""SketchEmbedNet in PyTorch Lightning: learn image representations by drawing.

Use a trained model::

    import sketchembed

    net = sketchembed.load("quickdraw-conv4")
    z = net.embed(["cat.png", "dog.jpg"])    # [2, 256]; paths, PIL images, arrays or tensors
    sketches = net.draw("cat.png")           # a list of Sketch
    print(sketchembed.models())              # the packaged models
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sketchembed._version import __version__

if TYPE_CHECKING:
    from sketchembed.evaluation.sketch_embedder import SketchEmbedder
    from sketchembed.hub import load, load_network, models, save
    from sketchembed.networks import ModelConfig, SketchEmbedNet
    from sketchembed.networks.model_inputs import read_drawing, read_image, read_photo
    from sketchembed.sketch import Sketch

_MODULES = {
    "ModelConfig": "sketchembed.networks",
    "Sketch": "sketchembed.sketch",
    "SketchEmbedNet": "sketchembed.networks",
    "SketchEmbedder": "sketchembed.evaluation.sketch_embedder",
    "load": "sketchembed.hub",
    "load_network": "sketchembed.hub",
    "models": "sketchembed.hub",
    "read_drawing": "sketchembed.networks.model_inputs",
    "read_image": "sketchembed.networks.model_inputs",
    "read_photo": "sketchembed.networks.model_inputs",
    "save": "sketchembed.hub",
}

__all__ = [
    "ModelConfig",
    "Sketch",
    "SketchEmbedNet",
    "SketchEmbedder",
    "__version__",
    "load",
    "load_network",
    "models",
    "read_drawing",
    "read_image",
    "read_photo",
    "save",
]


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that ``sketchembed --help`` does not import torch."""
    if name in _MODULES:
        try:
            return getattr(import_module(_MODULES[name]), name)
        except ModuleNotFoundError as error:
            if name != "SketchEmbedder":
                raise
            raise ImportError(f"{error}. SketchEmbedder needs `pip install sketchembed[sklearn]`") from error
    raise AttributeError(f"module 'sketchembed' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
