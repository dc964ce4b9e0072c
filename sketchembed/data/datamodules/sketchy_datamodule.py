"""The LightningDataModules of photos with drawings: Sketchy's, and contours that no person drew."""

from __future__ import annotations

from sketchembed.data.datamodules.pair_datamodule import PairDataModule
from sketchembed.data.folders import prepared_folder
from sketchembed.data.sources import contours, sketchy, traced
from sketchembed.data.sources.overlap import Rule
from sketchembed.data.sources.splits import read_names
from sketchembed.data.store import DrawingStore


class SketchyDataModule(PairDataModule):
    """Photos with the sketches that people drew of them.

    *Source*: paper section 4 and appendix H.3. The released code trains on 115 of the 125 classes; the other
    ten are looked at here, and one photo in ten of those that train.

    Args:
        overlap: which photos are left out because mini-ImageNet is tested on the like: those of a ``class``
            of which any photo is (section 4), each ``image`` that is itself (code), or ``none``.
        options: those of :class:`~sketchembed.data.datamodules.pair_datamodule.PairDataModule`.
    """

    title = "Sketchy"

    def __init__(
        self,
        folder: str | None = None,
        batch_size: int = 64,
        max_length: int = 100,
        num_workers: int = 0,
        seed: int = 0,
        validation_drawings: int = 512,
        image_size: int = 84,
        overlap: Rule = "class",
    ) -> None:
        super().__init__(folder, batch_size, max_length, num_workers, seed, validation_drawings, image_size)
        self.overlap = overlap

    def prepare_store(self) -> DrawingStore:
        """Open the prepared pairs, preparing them first if need be.

        Raises:
            DataError: if files are missing or damaged.
        """
        name = f"sketchy-t{self.max_length}-{self.image_size}px-{self.overlap}"
        return sketchy.prepare(
            self.folder / "sketchy",
            prepared_folder(self.folder) / name,
            max_length=self.max_length,
            size=self.image_size,
            rule=self.overlap,
        )

    def split_classes(self, store: DrawingStore) -> tuple[list[str], list[str]]:
        """Return the classes that train and those that are held out."""
        held_out = read_names("sketchy_val_classes")
        names = store.class_names
        return [name for name in names if name not in held_out], [name for name in names if name in held_out]


class TracedDataModule(PairDataModule):
    """Photos with their traced contours, for training without any sketch. Beyond the paper.

    Args:
        photos: a folder of photos, or ``mini-imagenet`` for those of its training part.
        max_points: most points of a trace, T at the most.
        options: those of :class:`~sketchembed.data.datamodules.pair_datamodule.PairDataModule`.
    """

    title = "traced photos"

    def __init__(
        self,
        folder: str | None = None,
        batch_size: int = 64,
        max_length: int = 100,
        num_workers: int = 0,
        seed: int = 0,
        validation_drawings: int = 512,
        image_size: int = 84,
        photos: str = traced.MINI_IMAGENET,
        max_points: int = contours.MAX_POINTS,
    ) -> None:
        super().__init__(folder, batch_size, max_length, num_workers, seed, validation_drawings, image_size)
        self.photos, self.max_points = photos, max_points

    def prepare_store(self) -> DrawingStore:
        """Open the prepared pairs, tracing the photos first if need be.

        Raises:
            DataError: if there are no photos.
        """
        return traced.prepare(
            self.photos,
            self.folder,
            prepared_folder(self.folder),
            max_points=self.max_points,
            max_length=self.max_length,
            size=self.image_size,
        )

    def split_classes(self, store: DrawingStore) -> tuple[list[str], list[str]]:
        """Return all classes: one photo in ten of each is looked at, and none is held out."""
        return store.class_names, []
