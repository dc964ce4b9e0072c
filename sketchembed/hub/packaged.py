"""The packaged models: what each is for, and which of them the wheel contains."""

from __future__ import annotations

from typing import NamedTuple


class PackagedModel(NamedTuple):
    """A packaged model.

    Attributes:
        purpose: what the model does.
        in_wheel: whether the wheel contains it; otherwise it is in the repository only. The list in
            ``pyproject.toml`` (``tool.hatch.build.targets.wheel.exclude``) has the same models.
    """

    purpose: str
    in_wheel: bool = False


MODELS = {
    "quickdraw-conv4": PackagedModel(
        "embeds drawings, with the best few-shot accuracy; also draws them", in_wheel=True
    ),
    "quickdraw-drawer-conv4": PackagedModel(
        "draws drawings, the most recognizably; also embeds them", in_wheel=True
    ),
    "quickdraw-resnet12": PackagedModel("embeds drawings with a narrow ResNet12", in_wheel=True),
    "photos-resnet12": PackagedModel("embeds photos, and draws them", in_wheel=True),
    "photos-traced-resnet12": PackagedModel("draws photos, trained on traced contours alone"),
    "omniglot-conv4": PackagedModel("embeds handwritten characters, trained on Omniglot's strokes"),
    "quickdraw-conv4-large": PackagedModel(
        "embeds drawings, trained with the paper's decoder for three times as many steps"
    ),
    "quickdraw-conv4-seed1": PackagedModel("embeds drawings: the second seed of quickdraw-conv4"),
    "quickdraw-conv4-seed2": PackagedModel("embeds drawings: the third seed of quickdraw-conv4"),
    "quickdraw-alpha000": PackagedModel("embeds drawings, trained with alpha_max 0.00 (table 3)"),
    "quickdraw-alpha025": PackagedModel("embeds drawings, trained with alpha_max 0.25 (table 3)"),
    "quickdraw-alpha050": PackagedModel("embeds drawings, trained with alpha_max 0.50 (table 3)"),
    "quickdraw-alpha075": PackagedModel("embeds drawings, trained with alpha_max 0.75 (table 3)"),
    "quickdraw-alpha095": PackagedModel("embeds drawings, trained with alpha_max 0.95 (table 3)"),
    "quickdraw-conv-vae": PackagedModel("embeds and reconstructs drawings: the pixel baseline"),
    "seen-classifier": PackagedModel("classifies drawings of 45 training classes (table 4)"),
    "unseen-classifier": PackagedModel("classifies drawings of the 45 held-out classes (table 4)"),
}
"""The packaged models by name, the most useful first."""
