"""Inputs of one-shot generation: Quick, Draw! drawings, Omniglot characters, and photos."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

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


@dataclass(frozen=True, eq=False)
class Inputs:
    """Images in [0, 1] to draw, with class names.

    Attributes:
        figure: name of the figure.
        strokes: original strokes of the first images; None if unknown.
        seen: whether the model was trained on other images of these classes.
        people: people's drawings of the first images, if these are photos.
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
    """Choose inputs that the model was not trained on, from as many classes as possible.

    Strokes are loaded for `shown` of the `count` inputs of each kind. Also returns sentences about kinds of
    inputs that are missing.

    Raises:
        SketchEmbedError: if there are no data of any kind.
    """
    photos = context.net.config.takes_photos
    sources: dict[str, Callable[[EvaluationContext, int, int], Inputs]] = (
        {
            "Photos of Sketchy": partial(_sketchy, seen=True),
            "Photos of unseen classes": partial(_sketchy, seen=False),
            "Photos of mini-ImageNet": _mini_imagenet,
        }
        if photos
        else {
            "Drawings of seen classes": partial(_quickdraw, seen=True),
            "Drawings of unseen classes": partial(_quickdraw, seen=False),
            "Characters": _omniglot,
        }
    )
    found: list[Inputs] = []
    missing = [
        "Drawings are omitted: the model takes photos."
        if photos
        else "Photos are omitted: the model takes drawings."
    ]
    errors: list[SketchEmbedError] = []
    for what, source in sources.items():
        try:
            found.append(source(context, shown, count))
        except SketchEmbedError as error:
            errors.append(error)
            missing.append(f"{what} are omitted: {error}.")
    if not found:
        raise errors[0]
    return found, missing


def choose_balanced(pools: Mapping[str, np.ndarray], count: int, seed: int) -> list[tuple[str, int]]:
    """Choose at most `count` members of classes: one of each class, then a second one of each, and so on.

    The order is random. Returns pairs of class and member.
    """
    random = np.random.default_rng(seed)
    order = [(name, random.permutation(pools[name])) for name in random.permutation(list(pools))]
    most = max((len(members) for _, members in order), default=0)
    rounds = ((str(name), members, at) for at in range(most) for name, members in order)
    return [(name, int(members[at])) for name, members, at in rounds if at < len(members)][:count]


def _quickdraw(context: EvaluationContext, shown: int, count: int, seen: bool) -> Inputs:
    """Return held-out drawings of seen or unseen classes."""
    pictures = context.pictures
    classes = pictures.seen if seen else pictures.unseen
    pools = {name: pictures.select_up_to(name, len(pictures.store), held_out=True) for name in classes}
    chosen = choose_balanced(pools, count, context.seed)
    if not chosen:
        raise DataError(
            f"no drawing of the {len(classes)} classes is held out",
            expected="drawings in the parts valid or test, or an unseen class",
            fix="Download more drawings",
        )
    indices = [index for _, index in chosen]
    return Inputs(
        "seen" if seen else "unseen",
        "Quick, Draw!: training classes, held-out drawings" if seen else "Quick, Draw!: held-out classes",
        "figure-3-quickdraw",
        [name for name, _ in chosen],
        pictures.images(indices, context.net.config.image_size),
        list(pictures.sketches(indices[:shown])),
        seen,
    )


def _omniglot(context: EvaluationContext, shown: int, count: int) -> Inputs:
    """Return upright characters of the test part of the Vinyals split, as rasterized strokes."""
    folder = data_folder(context.folder)
    everything = omniglot_images.load_omniglot(
        folder / "omniglot", prepared_folder(folder), "strokes", context.net.config.image_size
    )
    images = everything.select(omniglot.vinyals_split()["test"])
    chosen = _choose_images(images, count, context.seed)
    wanted = {(name, images.names[row]): place for place, (name, row) in enumerate(chosen[:shown])}
    strokes: list[Sketch | None] = [None] * len(wanted)
    for character, name, content in omniglot.published_files(folder / "omniglot", "strokes"):
        if (character, name) in wanted:
            sketch = omniglot.parse_strokes(content.decode("utf-8", errors="replace"), f"{character}/{name}")
            strokes[wanted[character, name]] = omniglot.simplify(sketch)
    return Inputs(
        "omniglot",
        "Omniglot: held-out characters",
        "figure-6-omniglot",
        [_character(name) for name, _ in chosen],
        images.batch(np.array([row for _, row in chosen])),
        strokes,
    )


def _character(name: str) -> str:
    """Return ``Alphabet/character01`` as several short lines."""
    alphabet, character = name.replace("_", " ").split("/")
    return "\n".join([*textwrap.wrap(alphabet, 18), character.replace("character", "character ")])


def _sketchy(context: EvaluationContext, shown: int, count: int, seen: bool) -> Inputs:
    """Return held-out photos of seen or unseen classes, each with one of its sketches."""
    module = SketchyDataModule(context.folder, image_size=context.net.config.image_size)
    module.setup()
    assert module.store is not None
    store, photo_of = module.store, module.store.arrays["photo_of"]
    pools: dict[str, np.ndarray] = {}
    for number, name in enumerate(store.class_names):
        rows = np.flatnonzero((store.labels == number) & ((store.partitions > 0) | (not seen)))
        if (name in module.seen) == seen and len(rows):
            pools[name] = rows[np.unique(photo_of[rows], return_index=True)[1]]
    chosen = choose_balanced(pools, count, context.seed)
    if not chosen:
        raise DataError(
            "no photo of Sketchy is held out",
            expected="photos in the parts valid or test, or an unseen class",
            fix="Add more of the data set",
        )
    rows = np.array([row for _, row in chosen])
    pairs = module.dataset[rows.tolist()]
    return Inputs(
        "sketchy" if seen else "sketchy-unseen",
        "Sketchy: training classes, held-out photos" if seen else "Sketchy: held-out classes",
        "figure-4-sketchy",
        [name.replace("_", " ") for name, _ in chosen],
        pairs.images,
        [None] * min(shown, len(chosen)),
        seen,
        [Sketch.from_stroke3(store[row]) for row in rows[:shown]],
    )


def _mini_imagenet(context: EvaluationContext, shown: int, count: int) -> Inputs:
    folder = data_folder(context.folder)
    size = context.net.config.image_size
    images = mini_imagenet.load_mini_imagenet(folder / "mini_imagenet", prepared_folder(folder), "test", size)
    chosen = _choose_images(images, count, context.seed)
    return Inputs(
        "photos",
        "mini-ImageNet: test classes",
        "figure-4-mini-imagenet",
        [name for name, _ in chosen],
        images.batch(np.array([row for _, row in chosen])),
        [None] * min(shown, len(chosen)),
    )


def _choose_images(images: ImageSet, count: int, seed: int) -> list[tuple[str, int]]:
    pools = {name: np.flatnonzero(images.labels == at) for at, name in enumerate(images.class_names)}
    return choose_balanced(pools, count, seed)
