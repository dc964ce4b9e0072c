"""Data module of Quick, Draw!."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from sketchembed.data.datamodules.drawing_datamodule import DrawingDataModule
from sketchembed.data.folders import prepared_folder
from sketchembed.data.sources import quickdraw
from sketchembed.data.sources.quickdraw_download import download_quickdraw
from sketchembed.data.store import DrawingStore
from sketchembed.errors import DataError


class QuickdrawDataModule(DrawingDataModule):
    """Quick, Draw! in any published format.

    *Source*: paper section 4: 300 of the 345 classes are training classes; drawings with more than T points
    are excluded.

    The drawings come from the class files in the data folder. Without class files, the prepared store is
    opened if there is one; otherwise the published files are downloaded.

    Args:
        split: ``paper`` for the paper's 300 training and 45 held-out classes, or a number of training classes
            to choose at random.
        classes: names of the classes to use; default: all in the folder (all 345 for a download).
        form: format to download: ``npz`` (the paper's) is downloaded as a whole; of ``ndjson`` and ``bin``
            only the first `per_class` drawings are downloaded.
        epsilon: tolerance of an additional simplification, in units in which the longer side of a drawing is
            255; 0 (the paper's) keeps the drawings as published.
        fallback: train on doodles if there are neither data nor a network.
    """

    may_download = True
    """Whether missing files are downloaded. Evaluations set it to False, because nobody expects it there."""

    def __init__(
        self,
        *args: Any,
        split: str = "paper",
        classes: list[str] | None = None,
        form: Literal["npz", "ndjson", "bin"] = "npz",
        epsilon: float = 0.0,
        fallback: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.split, self.classes, self.form = split, classes, form
        self.epsilon, self.fallback = epsilon, fallback
        if classes is not None:
            quickdraw.check_classes(classes)

    def prepare_store(self) -> DrawingStore:
        """Open the prepared drawings, after downloading and preparing them if necessary.

        Raises:
            NetworkError: if there are no files and the download fails.
            DataError: if a file is damaged, or files are missing and may not be downloaded.
        """
        sources = quickdraw.find_class_files(self.folder)
        if not sources:
            destination, _ = self._destination(0)
            if (destination / "manifest.json").exists():
                return DrawingStore(destination)
            wanted = self.classes or quickdraw.class_names()
            if not self.may_download:
                raise DataError(
                    f"there are no drawings of Quick, Draw! in {self.folder}",
                    expected="class files such as quickdraw/sketchrnn/cat.npz",
                    fix="Run `sketchembed data quickdraw`, or set SKETCHEMBED_DATA to their folder",
                )
            what = f"no Quick, Draw! in {self.folder}: downloading {len(wanted)} classes there"
            print(what, file=sys.stderr, flush=True)
            download_quickdraw(self.folder, wanted, form=self.form, per_class=self.per_class)
            sources = quickdraw.find_class_files(self.folder)
        missing = [wanted for wanted in self.classes or () if wanted not in sources]
        if missing:
            raise DataError(
                f"{self.folder} has no file of the class '{missing[0]}' ({len(missing)} classes are missing)",
                expected=f"a file for each of the {len(self.classes or ())} chosen classes",
                fix="Download it with `sketchembed data quickdraw --classes ...`, or choose other classes",
            )
        destination, chosen = self._destination(len(sources))
        return quickdraw.prepare_quickdraw(
            {name: path for name, path in sources.items() if name in (chosen or sources)},
            destination,
            max_length=self.max_length,
            per_class=self.per_class,
            epsilon=self.epsilon,
        )

    def _destination(self, available: int) -> tuple[Path, list[str]]:
        """Return the folder of the store, and its classes if it has not all of the `available` ones.

        A store of only the chosen classes is prepared unless there is one of all.
        """
        naming = self.max_length, self.per_class, self.epsilon
        whole = prepared_folder(self.folder) / quickdraw.store_name(*naming)
        chosen = sorted(set(self.classes or ()))
        if chosen and len(chosen) != available:
            small = whole.with_name(quickdraw.store_name(*naming, chosen))
            if small.exists() or not whole.exists():
                return small, chosen
        return whole, []

    def split_classes(self, store: DrawingStore) -> tuple[list[str], list[str]]:
        """Return the training classes and the held-out classes."""
        return quickdraw.split_classes(self.split, self.classes or store.class_names)
