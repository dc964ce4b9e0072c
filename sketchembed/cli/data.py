"""`sketchembed data`: download and prepare data sets."""

from __future__ import annotations

import shlex
from typing import Literal

import numpy as np

from sketchembed.cli.parser import command
from sketchembed.data.datamodules.doodles_datamodule import DoodlesDataModule
from sketchembed.data.datamodules.omniglot_datamodule import OmniglotDataModule
from sketchembed.data.datamodules.sketchy_datamodule import SketchyDataModule, TracedDataModule
from sketchembed.data.folders import data_folder, prepared_folder
from sketchembed.data.sources import quickdraw
from sketchembed.data.sources.contours import MAX_POINTS
from sketchembed.data.sources.overlap import Rule
from sketchembed.data.sources.quickdraw_download import download_quickdraw
from sketchembed.data.sources.traced import MINI_IMAGENET


def quickdraw_command(
    classes: list[str] | str | None = None,
    per_class: int | None = None,
    form: Literal["npz", "ndjson", "bin"] | None = None,
    folder: str | None = None,
    max_length: int = 64,
) -> None:
    """Download missing Quick, Draw! classes and prepare them.

    Args:
        classes: names, as ``cat,snowman`` or ``[cat, snowman]``; by default all 345 are downloaded, and all
            that the folder has are prepared.
        per_class: most drawings of each class; only this part of a stream format is downloaded.
        form: of the files; by default ``ndjson`` with `per_class`, otherwise ``npz``.
        folder: of the data sets; SKETCHEMBED_DATA or else data by default.
        max_length: length of the longest drawing in points.
    """
    if isinstance(classes, str):
        classes = [name.strip() for name in classes.split(",")]
    wanted = classes or quickdraw.class_names()
    quickdraw.check_classes(wanted)
    root = data_folder(folder)
    missing = [name for name in wanted if name not in quickdraw.find_class_files(root)]
    if missing:
        form = form or ("ndjson" if per_class else "npz")
        download_quickdraw(root, missing, form=form, per_class=per_class)
    sources = quickdraw.find_class_files(root)
    chosen = [name for name in sources if name in wanted] if len(wanted) < len(sources) else []
    sources = {name: sources[name] for name in chosen or sources}
    destination = prepared_folder(root) / quickdraw.store_name(max_length, per_class, classes=chosen)
    store = quickdraw.prepare_quickdraw(sources, destination, max_length=max_length, per_class=per_class)
    print(f"{store.path}: {quickdraw.summary(store)}")
    if chosen:
        options = [f"--data.init_args.classes=[{','.join(chosen)}]"]
        options += [f"--data.init_args.per_class={per_class}"] if per_class else []
        print(f"train on them with: {shlex.join(['sketchembed', 'fit', *options])}")


def doodles_command(per_class: int = 500, folder: str | None = None, max_length: int = 64) -> None:
    """Generate the built-in doodles.

    Args:
        per_class: drawings of each class.
        folder: of the data sets; SKETCHEMBED_DATA or else data by default.
        max_length: length of the longest drawing in points.
    """
    store = DoodlesDataModule(folder, per_class=per_class, max_length=max_length).prepare_store()
    print(f"{store.path}: {len(store):,} drawings of {len(store.class_names)} classes")


def omniglot_command(folder: str | None = None, max_length: int = 64, rotations: bool = True) -> None:
    """Prepare Omniglot's stroke files.

    Args:
        folder: of the data sets; SKETCHEMBED_DATA or else data by default.
        max_length: length of the longest drawing in points.
        rotations: make four classes of each character by rotation.
    """
    store = OmniglotDataModule(folder, max_length=max_length, rotations=rotations).prepare_store()
    print(f"{store.path}: {len(store):,} drawings of {len(store.class_names)} classes")


def sketchy_command(
    folder: str | None = None, max_length: int = 100, image_size: int = 84, overlap: Rule = "class"
) -> None:
    """Prepare Sketchy's photos and sketches.

    Args:
        folder: of the data sets; SKETCHEMBED_DATA or else data by default.
        max_length: length of the longest sketch in points.
        image_size: side of the photos in pixels.
        overlap: which photos are excluded since they show a test class of mini-ImageNet: class, image or
            none.
    """
    module = SketchyDataModule(folder, max_length=max_length, image_size=image_size, overlap=overlap)
    store = module.prepare_store()
    photos, classes = len(store.arrays["photos"]), len(np.unique(store.labels))
    print(f"{store.path}: {len(store):,} sketches of {photos:,} photos of {classes} classes")


def traced_command(
    photos: str = MINI_IMAGENET, folder: str | None = None, max_points: int = MAX_POINTS, image_size: int = 84
) -> None:
    """Trace the contours of photos without sketches.

    Args:
        photos: a folder of photos, or mini-imagenet for its training part.
        folder: of the data sets; SKETCHEMBED_DATA or else data by default.
        max_points: most points of a trace.
        image_size: side of the photos in pixels.
    """
    module = TracedDataModule(folder, photos=photos, max_points=max_points, image_size=image_size)
    store = module.prepare_store()
    print(f"{store.path}: {len(store):,} photos with their traced contours")


COMMANDS = {
    "quickdraw": quickdraw_command,
    "doodles": doodles_command,
    "omniglot": omniglot_command,
    "sketchy": sketchy_command,
    "traced": traced_command,
}
run = command(COMMANDS, "data")
