"""Data modules of Omniglot: drawings with strokes, and few-shot episodes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from sketchembed.data.datamodules.drawing_datamodule import DrawingDataModule
from sketchembed.data.datamodules.episode_datamodule import EpisodeDataModule
from sketchembed.data.folders import prepared_folder
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources import omniglot, omniglot_images
from sketchembed.data.store import DrawingStore


class OmniglotDataModule(DrawingDataModule):
    """Pen strokes of Omniglot's characters.

    *Source*: paper section 5 and appendix H.2: RDP with ε = 2, T = 64. The training and validation characters
    are those of the Vinyals split.

    Args:
        rotations: use the four rotations of each character as separate classes.
        scale_of: drawings whose offsets have unit variance. ``training`` are the offsets of the training
            characters, with the first rows, which are positions. ``all`` are those of all upright characters,
            without the first rows, as in the released code.
    """

    def __init__(
        self,
        *args: Any,
        rotations: bool = True,
        scale_of: Literal["training", "all"] = "training",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.rotations, self.scale_of = rotations, scale_of

    def prepare_store(self) -> DrawingStore:
        """Open the prepared strokes, after preparing them if necessary."""
        name = f"omniglot-t{self.max_length}" + ("" if self.rotations else "-upright")
        return omniglot.prepare_omniglot(
            self.folder / "omniglot",
            prepared_folder(self.folder) / name,
            max_length=self.max_length,
            rotations=self.rotations,
        )

    def measure_offsets(self, store: DrawingStore) -> float:
        """Return the divisor of the offsets, in pixels of the published images."""
        if self.scale_of == "training":
            return super().measure_offsets(store)
        upright = [not name.endswith(("rot090", "rot180", "rot270")) for name in store.class_names]
        drawings = [store[index][1:, :2] for index in np.flatnonzero(np.array(upright)[store.labels])]
        return float(np.concatenate(drawings).astype(np.float64).std())

    def split_classes(self, store: DrawingStore) -> tuple[list[str], list[str]]:
        """Return the training characters and the validation characters of the Vinyals split."""
        split = omniglot.vinyals_split()
        character_of = {name: "/".join(name.split("/")[:2]) for name in store.class_names}

        def classes(part: str) -> list[str]:
            characters = set(split[part])
            return [name for name, character in character_of.items() if character in characters]

        return classes("train"), classes("val")


class OmniglotEpisodeDataModule(EpisodeDataModule):
    """Episodes of Omniglot's Vinyals split, with rotations as separate classes.

    *Source*: Snell et al. 2017: training episodes have 60 ways, one shot and five queries.

    Args:
        source: ``strokes`` or ``images``, see
            :func:`~sketchembed.data.sources.omniglot_images.load_omniglot`.
    """

    source_name = "omniglot"

    def __init__(
        self,
        *args: Any,
        way: int = 60,
        query: int = 5,
        image_size: int = 28,
        validation_way: int = 20,
        source: omniglot_images.Kind = "strokes",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args, way=way, query=query, image_size=image_size, validation_way=validation_way, **kwargs
        )
        self.source = source

    def load_parts(self) -> dict[str, ImageSet]:
        """Return the images of the parts ``train`` and ``val``, after preparing them if necessary."""
        prepared = prepared_folder(self.folder)
        images = omniglot_images.load_omniglot(
            self.folder / "omniglot", prepared, self.source, self.image_size
        )
        return {part: omniglot_images.select_part(images, "vinyals", part) for part in ("train", "val")}
