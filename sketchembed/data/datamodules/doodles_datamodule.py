"""Data module of the doodles that the package generates."""

from __future__ import annotations

from sketchembed.data.datamodules.drawing_datamodule import DrawingDataModule
from sketchembed.data.doodles import generate
from sketchembed.data.folders import prepared_folder
from sketchembed.data.store import DrawingStore


class DoodlesDataModule(DrawingDataModule):
    """Generated drawings of simple things, for machines without data or network.

    There are 500 drawings per class unless `per_class` is given.
    """

    def prepare_store(self) -> DrawingStore:
        """Open the store of doodles, after generating it if necessary."""
        return generate.prepare(
            prepared_folder(self.folder) / "doodles",
            per_class=self.per_class or 500,
            max_length=self.max_length,
        )

    def split_classes(self, store: DrawingStore) -> tuple[list[str], list[str]]:
        """Return the training classes and the held-out classes."""
        return [name for name in store.class_names if name not in generate.UNSEEN], list(generate.UNSEEN)
