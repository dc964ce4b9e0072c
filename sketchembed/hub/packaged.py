"""The packaged models: what each is for, how good it is, and which of them the wheel contains."""

from __future__ import annotations

from typing import NamedTuple


class PackagedModel(NamedTuple):
    """A packaged model.

    Attributes:
        purpose: what the model does.
        score: its accuracy, as in RESULTS.md.
        in_wheel: whether the wheel contains it; otherwise it is in the repository only. The list in
            ``pyproject.toml`` (``tool.hatch.build.targets.wheel.exclude``) has the same models.
    """

    purpose: str
    score: str
    in_wheel: bool = False


_OMNIGLOT = "Omniglot 20-way 1-shot: {} %"
_MINI_IMAGENET = "mini-ImageNet 5-way 1-shot: {} %"
_HELD_OUT = "held-out drawings: {} %"
MODELS = {
    name: PackagedModel(purpose, kind.format(score), in_wheel)
    for name, purpose, kind, score, in_wheel in (
        ("quickdraw-conv4", "embed drawings; also draws them", _OMNIGLOT, "92.59", True),
        ("quickdraw-drawer-conv4", "draw, complete and vary drawings", _OMNIGLOT, "90.68", True),
        ("quickdraw-resnet12", "embed drawings; another encoder", _OMNIGLOT, "92.60", True),
        ("photos-resnet12", "embed and draw photos", _MINI_IMAGENET, "35.37", True),
        ("photos-traced-resnet12", "draw contours of photos", _MINI_IMAGENET, "32.88", False),
        ("omniglot-conv4", "embed characters", _OMNIGLOT, "92.80", False),
        ("quickdraw-conv4-large", "embed drawings; the paper's decoder", _OMNIGLOT, "92.60", False),
        ("quickdraw-conv4-seed1", "second seed of quickdraw-conv4", _OMNIGLOT, "92.67", False),
        ("quickdraw-conv4-seed2", "third seed of quickdraw-conv4", _OMNIGLOT, "92.62", False),
        ("quickdraw-alpha000", "table 3: alpha_max 0.00", _OMNIGLOT, "90.61", False),
        ("quickdraw-alpha025", "table 3: alpha_max 0.25", _OMNIGLOT, "90.63", False),
        ("quickdraw-alpha050", "table 3: alpha_max 0.50", _OMNIGLOT, "85.94", False),
        ("quickdraw-alpha075", "table 3: alpha_max 0.75", _OMNIGLOT, "81.11", False),
        ("quickdraw-alpha095", "table 3: alpha_max 0.95", _OMNIGLOT, "75.18", False),
        ("quickdraw-conv-vae", "pixel baseline: an autoencoder", _OMNIGLOT, "68.26", False),
        ("quickdraw-contrastive", "contrastive baseline: SimCLR", _OMNIGLOT, "90.31", False),
        ("quickdraw-contrastive-seed1", "second seed of quickdraw-contrastive", _OMNIGLOT, "90.80", False),
        ("quickdraw-contrastive-seed2", "third seed of quickdraw-contrastive", _OMNIGLOT, "90.87", False),
        ("seen-classifier", "classify drawings of 45 training classes", _HELD_OUT, "79.5", False),
        ("unseen-classifier", "classify drawings of 45 held-out classes", _HELD_OUT, "73.0", False),
    )
}
"""The packaged models by name, the most useful first."""
DATA = {
    "quickdraw": ("Quick, Draw!", "CC BY 4.0"),
    "omniglot": ("Omniglot", "MIT"),
    "sketchy": ("Sketchy", "research only"),
    "traced mini_imagenet": ("mini-ImageNet, traced", "research only"),
}
"""Name and licence of each data set, by its name in the header of a file."""
