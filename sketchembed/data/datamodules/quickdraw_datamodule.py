"""The LightningDataModules of drawings: Quick, Draw!, Omniglot's strokes, and the doodles."""

from __future__ import annotations

from typing import Literal

from sketchembed.data.datamodules.drawing_datamodule import DrawingDataModule
from sketchembed.data.doodles import generate
from sketchembed.data.folders import prepared_folder
from sketchembed.data.sources import quickdraw
from sketchembed.data.sources.quickdraw_download import download_quickdraw
from sketchembed.data.store import DrawingStore
from sketchembed.errors import DataError


class QuickdrawDataModule(DrawingDataModule):
    """Quick, Draw! in any published format.

    *Source*: paper section 4: 300 of the 345 classes train, and drawings longer than T are left out.

    The drawings are taken from what is there, in this order: a prepared store; class files in the data
    folder; the published files, downloaded.

    Args:
        split: ``paper`` is the explicit list of 45 held-out classes; a number is so many training classes,
            drawn by `split_seed`.
        split_seed: of the random split.
        classes: the classes to use at all; all that are there (or all 345, to download) if not given.
        form: of the files to download: ``npz`` is what the paper used and comes whole; ``ndjson`` and
            ``bin`` are streams, of which `per_class` drawings can be fetched.
        epsilon: tolerance of a further simplification, in the files' unit (a drawing's larger side is 255);
            0, the paper's, leaves the drawings as published.
        fallback: whether training may go on with doodles where there are neither data nor network.
        options: those of :class:`~sketchembed.data.datamodules.drawing_datamodule.DrawingDataModule`.
    """

    title = "Quick, Draw!"

    def __init__(
        self,
        folder: str | None = None,
        batch_size: int = 256,
        max_length: int = 64,
        per_class: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        validation_drawings: int = 512,
        split: str = "paper",
        split_seed: int = 0,
        classes: list[str] | None = None,
        form: Literal["npz", "ndjson", "bin"] = "npz",
        epsilon: float = 0.0,
        fallback: bool = True,
    ) -> None:
        super().__init__(folder, batch_size, max_length, per_class, num_workers, seed, validation_drawings)
        self.split, self.split_seed, self.classes = split, split_seed, classes
        self.form, self.epsilon, self.fallback = form, epsilon, fallback
        if classes is not None:
            quickdraw.check_classes(classes)

    def prepare_store(self) -> DrawingStore:
        """Open the prepared drawings, preparing or downloading them first if need be.

        Raises:
            NetworkError: if there are no files and none can be downloaded.
            DataError: if a file is damaged, or a class is missing.
        """
        name = f"quickdraw-t{self.max_length}"
        name += (f"-n{self.per_class}" if self.per_class else "") + (
            f"-e{self.epsilon:g}" if self.epsilon else ""
        )
        destination = prepared_folder(self.folder) / name
        sources = quickdraw.find_sources(self.folder)
        if not sources:
            if (destination / "manifest.json").exists():
                return DrawingStore(destination)
            download_quickdraw(
                self.folder, self.classes or quickdraw.class_names(), form=self.form, per_class=self.per_class
            )
            sources = quickdraw.find_sources(self.folder)
        missing = [wanted for wanted in self.classes or () if wanted not in sources]
        if missing:
            raise DataError(
                f"{self.folder} has no file of the class '{missing[0]}' ({len(missing)} classes are missing)",
                expected=f"a file of each of the {len(self.classes or ())} chosen classes",
                fix="Fetch it with `sketchembed data quickdraw --classes ...`, or choose others",
            )
        return quickdraw.prepare(
            sources,
            destination,
            max_length=self.max_length,
            per_class=self.per_class,
            epsilon=self.epsilon,
        )

    def split_classes(self, store: DrawingStore) -> tuple[list[str], list[str]]:
        """Return the classes that train and those that are held out."""
        return quickdraw.split(self.split, self.classes or store.class_names, self.split_seed)


class DoodlesDataModule(DrawingDataModule):
    """The built-in doodles: generated drawings of simple things, for machines without data or network.

    Args:
        options: those of :class:`DrawingDataModule`; 500 drawings a class if
            `per_class` is not given.
    """

    title = "doodles"

    def prepare_store(self) -> DrawingStore:
        """Open the drawings, generating them first if need be."""
        return generate.prepare(
            prepared_folder(self.folder) / "doodles",
            per_class=self.per_class or 500,
            max_length=self.max_length,
        )

    def split_classes(self, store: DrawingStore) -> tuple[list[str], list[str]]:
        """Return the classes that train and those that are held out."""
        return [name for name in store.class_names if name not in generate.UNSEEN], list(generate.UNSEEN)
