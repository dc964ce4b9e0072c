"""Data modules of Omniglot: drawings with strokes, and few-shot episodes."""

from __future__ import annotations

from sketchembed.data.datamodules.drawing_datamodule import DrawingDataModule
from sketchembed.data.datamodules.episode_datamodule import EpisodeDataModule
from sketchembed.data.folders import prepared_folder
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources import omniglot, omniglot_images
from sketchembed.data.store import DrawingStore


class OmniglotDataModule(DrawingDataModule):
    """Omniglot's pen strokes, for a model that trains on characters.

    *Source*: paper section 5 and appendix H.2: RDP with ε = 2, T = 64, the Vinyals split. The characters of
    the split's training part train, those of its validation part are looked at.

    Args:
        rotations: the four rotations of each character as classes of their own.
        options: those of :class:`~sketchembed.data.datamodules.drawing_datamodule.DrawingDataModule`.
    """

    title = "Omniglot"

    def __init__(
        self,
        folder: str | None = None,
        batch_size: int = 256,
        max_length: int = 64,
        per_class: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        validation_drawings: int = 512,
        rotations: bool = True,
    ) -> None:
        super().__init__(folder, batch_size, max_length, per_class, num_workers, seed, validation_drawings)
        self.rotations = rotations

    def prepare_store(self) -> DrawingStore:
        """Open the prepared strokes, preparing them first if need be.

        Raises:
            DataError: if the stroke files are missing or damaged.
        """
        name = f"omniglot-t{self.max_length}" + ("" if self.rotations else "-upright")
        return omniglot.prepare(
            self.folder / "omniglot",
            prepared_folder(self.folder) / name,
            max_length=self.max_length,
            rotations=self.rotations,
        )

    def split_classes(self, store: DrawingStore) -> tuple[list[str], list[str]]:
        """Return the characters that train and those to look at."""
        train = set(omniglot.vinyals_split()["train"])
        validation = set(omniglot.vinyals_split()["val"])

        def character(name: str) -> str:
            return "/".join(name.split("/")[:2])

        names = store.class_names
        return [n for n in names if character(n) in train], [n for n in names if character(n) in validation]


class OmniglotEpisodeDataModule(EpisodeDataModule):
    """Episodes of Omniglot's Vinyals split, rotations as classes of their own.

    *Source*: Snell et al. 2017: 60-way episodes train, with one shot and five queries.

    Args:
        folder: of the data sets; ``SKETCHEMBED_DATA``, else ``data``, if not given.
        way: classes of a training episode.
        shot: support images a class.
        query: query images a class.
        source: ``strokes`` or ``images``, see :func:`~sketchembed.data.sources.omniglot_images.load`.
        image_size: side in pixels.
        validation_way: classes of a validation episode, or as many as there are.
        validation_episodes: how many of the validation part.
        seed: of the episodes.
    """

    source_name = "omniglot"

    def __init__(
        self,
        folder: str | None = None,
        way: int = 60,
        shot: int = 1,
        query: int = 5,
        source: omniglot_images.Kind = "strokes",
        image_size: int = 28,
        validation_way: int = 20,
        validation_episodes: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(folder, way, shot, query, image_size, validation_way, validation_episodes, seed)
        self.source = source

    def load_parts(self) -> dict[str, ImageSet]:
        """Return the images of the parts ``train`` and ``val``, preparing them first if need be."""
        prepared = prepared_folder(self.folder)
        images = omniglot_images.load(self.folder / "omniglot", prepared, self.source, self.image_size)
        return {part: omniglot_images.split(images, "vinyals", part) for part in ("train", "val")}
