"""What a model is given to draw: Quick, Draw! of seen and unseen classes, Omniglot's characters, photos."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sketchembed.data.datamodules.sketchy_datamodule import SketchyDataModule
from sketchembed.data.folders import data_folder, prepared_folder
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources import mini_imagenet, omniglot, omniglot_images
from sketchembed.errors import DataError, SketchEmbedError
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.sketch import Sketch

PHOTOS_LEFT_OUT = "Photos are left out: the model takes grey drawings."


@dataclass(frozen=True, eq=False)
class Inputs:
    """Images to be drawn.

    Attributes:
        key: a short name.
        title: heading.
        figure: name of the figure that they belong to.
        names: of each image's class.
        images: ``[n, channels, size, size]`` in [0, 1].
        strokes: of the first images, as a person drew them; None where they are not known.
        seen: whether the model was trained on other drawings of the same classes.
        people: what people drew of the first images, where these are photos.
    """

    key: str
    title: str
    figure: str
    names: list[str]
    images: Float[Tensor, "n channels size size"]
    strokes: list[Sketch | None]
    seen: bool = False
    people: list[Sketch] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)


def gather(context: EvaluationContext, shown: int, count: int) -> tuple[list[Inputs], list[str]]:
    """Choose inputs by the context's seed, each of another class as long as there are more.

    Args:
        context: whose model draws them.
        shown: inputs of each kind that will be seen, for which strokes are looked for.
        count: inputs of each kind.

    Returns:
        the inputs, and a sentence for each kind that is left out.

    Raises:
        SketchEmbedError: if no kind has data.
    """
    photos = context.net.config.takes_photos
    sources: dict[str, Callable[[EvaluationContext, int, int], Inputs]] = (
        {
            "Photos of Sketchy": _photos_with_sketches,
            "Photos of classes held out": _photos_of_unseen_classes,
            "Photos of mini-ImageNet": _photos,
        }
        if photos
        else {
            "Drawings of seen classes": _of_seen_classes,
            "Drawings of unseen classes": _of_unseen_classes,
            "Characters": _characters,
        }
    )
    found: list[Inputs] = []
    left_out = ["Drawings are left out: the model takes photos." if photos else PHOTOS_LEFT_OUT]
    errors: list[SketchEmbedError] = []
    for what, source in sources.items():
        try:
            found.append(source(context, shown, count))
        except SketchEmbedError as error:
            errors.append(error)
            left_out.append(f"{what} are left out: {error}.")
    if not found:
        raise errors[0]
    return found, left_out


def spread(pools: Mapping[str, np.ndarray], count: int, seed: int) -> list[tuple[str, int]]:
    """Choose members of classes by chance: one of each, then a second one of each, and so on.

    Args:
        pools: the members of each class.
        count: how many at the most.
        seed: of the choice.

    Returns:
        class and member.
    """
    random = np.random.default_rng(seed)
    order = [(name, random.permutation(pools[name])) for name in random.permutation(list(pools))]
    most = max((len(members) for _, members in order), default=0)
    rounds = ((str(name), members, at) for at in range(most) for name, members in order)
    return [(name, int(members[at])) for name, members, at in rounds if at < len(members)][:count]


# ---- sources -------------------------------------------------------------------------------------------


def _of_seen_classes(context: EvaluationContext, shown: int, count: int) -> Inputs:
    title = "Quick, Draw!: classes that trained, drawings that did not"
    if context.model.facts.get("trained_on", "quickdraw") != "quickdraw":
        title = "Quick, Draw!: classes that train a model of it"
    return _drawings(context, context.pictures.seen, "seen", title, shown, count)


def _of_unseen_classes(context: EvaluationContext, shown: int, count: int) -> Inputs:
    title = "Quick, Draw!: classes that never trained"
    return _drawings(context, context.pictures.unseen, "unseen", title, shown, count)


def _drawings(
    context: EvaluationContext, classes: Sequence[str], key: str, title: str, shown: int, count: int
) -> Inputs:
    pictures = context.pictures
    pools = {name: pictures.up_to(name, len(pictures.store), held_out=True) for name in classes}
    chosen = spread(pools, count, context.seed)
    if not chosen:
        raise DataError(
            f"no drawing of the {len(classes)} classes is held out",
            expected="drawings in the parts valid or test, or a class that never trains",
            fix="Fetch more drawings",
        )
    indices = [index for _, index in chosen]
    return Inputs(
        key,
        title,
        "figure-3-quickdraw",
        [name for name, _ in chosen],
        pictures.images(indices, context.net.config.image_size),
        list(pictures.sketches(indices[:shown])),
        key == "seen",
    )


def _characters(context: EvaluationContext, shown: int, count: int) -> Inputs:
    """Return upright characters of the test part of the Vinyals split, as rasters of their strokes."""
    folder = data_folder(context.folder)
    everything = omniglot_images.load_omniglot(
        folder / "omniglot", prepared_folder(folder), "strokes", context.net.config.image_size
    )
    images = everything.select(omniglot.vinyals_split()["test"])
    chosen = _of_images(images, count, context.seed)
    wanted = {(name, images.names[row]): place for place, (name, row) in enumerate(chosen[:shown])}
    strokes: list[Sketch | None] = [None] * len(wanted)
    for character, name, content in omniglot.published_files(folder / "omniglot", "strokes"):
        if (character, name) in wanted:
            sketch = omniglot.parse_strokes(content.decode("utf-8", errors="replace"), f"{character}/{name}")
            strokes[wanted[character, name]] = omniglot.simplify(sketch)
    return Inputs(
        "omniglot",
        "Omniglot: characters that never trained",
        "figure-6-omniglot",
        [_character(name) for name, _ in chosen],
        images.batch(np.array([row for _, row in chosen])),
        strokes,
    )


def _character(name: str) -> str:
    """Return ``Alphabet/character01`` as lines of a few letters."""
    alphabet, character = name.replace("_", " ").split("/")
    return "\n".join([*textwrap.wrap(alphabet, 18), character.replace("character", "character ")])


def _photos_with_sketches(context: EvaluationContext, shown: int, count: int) -> Inputs:
    title = "Sketchy: classes that train a model of it, photos that did not"
    return _of_sketchy(context, "sketchy", title, shown, count, seen=True)


def _photos_of_unseen_classes(context: EvaluationContext, shown: int, count: int) -> Inputs:
    return _of_sketchy(
        context, "sketchy-unseen", "Sketchy: classes that never trained", shown, count, seen=False
    )


def _of_sketchy(
    context: EvaluationContext, key: str, title: str, shown: int, count: int, seen: bool
) -> Inputs:
    """Return photos that did not train, each once, with one of the sketches that people drew of it."""
    module = SketchyDataModule(context.folder, image_size=context.net.config.image_size)
    module.setup()
    assert module.store is not None
    store, photo_of = module.store, module.store.arrays["photo_of"]
    pools: dict[str, np.ndarray] = {}
    for number, name in enumerate(store.class_names):
        rows = np.flatnonzero((store.labels == number) & ((store.partitions > 0) | (not seen)))
        if (name in module.seen) == seen and len(rows):
            pools[name] = rows[np.unique(photo_of[rows], return_index=True)[1]]
    chosen = spread(pools, count, context.seed)
    if not chosen:
        raise DataError(
            "no photo of Sketchy is held out",
            expected="photos in the parts valid or test, or a class that never trains",
            fix="Add more of the data set",
        )
    rows = np.array([row for _, row in chosen])
    pairs = module.dataset.__getitems__(rows.tolist())  # type: ignore[attr-defined]
    return Inputs(
        key,
        title,
        "figure-4-sketchy",
        [name.replace("_", " ") for name, _ in chosen],
        pairs.images,
        [None] * min(shown, len(chosen)),
        seen,
        [Sketch.from_stroke3(store[row]) for row in rows[:shown]],
    )


def _photos(context: EvaluationContext, shown: int, count: int) -> Inputs:
    folder = data_folder(context.folder)
    size = context.net.config.image_size
    images = mini_imagenet.load_mini_imagenet(folder / "mini_imagenet", prepared_folder(folder), "test", size)
    chosen = _of_images(images, count, context.seed)
    return Inputs(
        "photos",
        "mini-ImageNet: test classes",
        "figure-4-mini-imagenet",
        [name for name, _ in chosen],
        images.batch(np.array([row for _, row in chosen])),
        [None] * min(shown, len(chosen)),
    )


def _of_images(images: ImageSet, count: int, seed: int) -> list[tuple[str, int]]:
    pools = {name: np.flatnonzero(images.labels == at) for at, name in enumerate(images.class_names)}
    return spread(pools, count, seed)
