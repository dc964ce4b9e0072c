"""Data modules of photos with drawings: Sketchy, and photos with traced contours."""

from __future__ import annotations

from typing import Any

from sketchembed.data.datamodules.pair_datamodule import PairDataModule
from sketchembed.data.folders import prepared_folder
from sketchembed.data.sources import contours, sketchy, traced
from sketchembed.data.sources.overlap import Rule
from sketchembed.data.sources.splits import read_names
from sketchembed.data.store import DrawingStore


class SketchyDataModule(PairDataModule):
    """Photos with sketches that people drew of them.

    *Source*: paper section 4 and appendix H.3. As in the released code, 115 of the 125 classes are training
    classes and the other ten are held out. One in ten photos of the training classes is a validation photo.

    Args:
        overlap: photos to exclude because they overlap with mini-ImageNet's test set: all photos of every
            ``class`` that overlaps (section 4), each ``image`` that overlaps (released code), or ``none``.
        resampling: how the photos are resized; ``bicubic`` in the released code.
    """

    def __init__(
        self,
        *args: Any,
        overlap: Rule = "class",
        resampling: sketchy.Resampling = "bilinear",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.overlap, self.resampling = overlap, resampling

    def prepare_store(self) -> DrawingStore:
        """Open the prepared pairs, after preparing them if necessary."""
        name = f"sketchy-t{self.max_length}-{self.image_size}px-{self.overlap}"
        if self.resampling != "bilinear":
            name += f"-{self.resampling}"
        return sketchy.prepare_sketchy(
            self.folder / "sketchy",
            prepared_folder(self.folder) / name,
            max_length=self.max_length,
            size=self.image_size,
            rule=self.overlap,
            resampling=self.resampling,
        )

    def split_classes(self, store: DrawingStore) -> tuple[list[str], list[str]]:
        """Return the training classes and the held-out classes."""
        held_out = read_names("sketchy_val_classes")
        names = store.class_names
        return [name for name in names if name not in held_out], [name for name in names if name in held_out]


class TracedDataModule(PairDataModule):
    """Photos with their traced contours, for training without sketches. Not in the paper.

    Args:
        photos: folder of photos, or ``mini-imagenet`` for the training part of mini-ImageNet.
        max_points: maximum number of points of a trace; at most T.
    """

    def __init__(
        self,
        *args: Any,
        photos: str = traced.MINI_IMAGENET,
        max_points: int = contours.MAX_POINTS,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.photos, self.max_points = photos, max_points

    def prepare_store(self) -> DrawingStore:
        """Open the prepared pairs, after tracing the photos if necessary."""
        return traced.prepare_traced(
            self.photos,
            self.folder,
            prepared_folder(self.folder),
            max_points=self.max_points,
            max_length=self.max_length,
            size=self.image_size,
        )

    def split_classes(self, store: DrawingStore) -> tuple[list[str], list[str]]:
        """Return all classes as training classes; one in ten photos of each is a validation photo."""
        return store.class_names, []
