"""mini-ImageNet in its common layouts: tar files, folders, and one folder with csv lists.

*Source*: Vinyals et al. 2016; the split of Ravi and Larochelle 2017 (64, 16 and 20 classes of 600 photos);
paper section 5.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sketchembed.data.image_set import ImageSet, image_arrays, is_image_set
from sketchembed.data.sources.splits import check_disjoint
from sketchembed.errors import DataError, check_known
from sketchembed.files.array_cache import cached, file_fingerprint
from sketchembed.files.images import open_image, photo_pixels
from sketchembed.files.progress_bar import track
from sketchembed.files.reading import read_file, tar_files

PARTS = ("train", "val", "test")
SIZE = 84  # side of the images in pixels (paper section 4)
SUFFIXES = {".jpg", ".jpeg", ".png"}
EXPECTED, AGAIN = "a whole JPEG or PNG", "Download the archive again"
LIST_LIMIT = 16 << 20  # largest csv in bytes; the largest published one has 1.2 million
FORMAT = 1  # version of the prepared file


def load_mini_imagenet(folder: Path, prepared: Path, part: str = "test", size: int = SIZE) -> ImageSet:
    """Return the photos of one part.

    The first call reads the published files and caches the images in one file in `prepared`.

    Args:
        folder: folder with ``PART.tar``, a folder ``PART`` of class folders, or ``PART.csv`` (columns
            ``filename,label``) and a folder ``images``. Tars and folders must agree with a csv.
        prepared: folder for the cached file.
        part: ``train``, ``val`` or ``test``.
        size: side in pixels, to which other photos are scaled and cropped.

    Raises:
        ConfigError: if there is no such part.
        DataError: if files are missing or damaged, or a class is in two parts.
    """
    check_known("mini-ImageNet part", part, PARTS)
    lists = {name: read_list(folder / f"{name}.csv") for name in PARTS if (folder / f"{name}.csv").is_file()}
    check_disjoint({name: sorted(set(found.values())) for name, found in lists.items()})
    sources = [folder / name for name in (f"{part}.tar", part, f"{part}.csv", "images")]
    found = cached(
        prepared / f"mini-imagenet-{part}-{size}px.npz",
        f"{FORMAT} {file_fingerprint(sources)}",
        lambda: _make_images(folder, part, size, lists.get(part, {})),
        lambda arrays: is_image_set(arrays, 3, size),
    )
    about: dict[str, Any] = {"data": "mini-ImageNet", "split": "ravi", "part": part}
    about |= {"classes": len(found["class_names"]), "images": len(found["labels"])}
    return ImageSet.from_arrays(found, None, about)


def read_list(path: Path) -> dict[str, str]:
    """Read a csv of ``filename,label``.

    Raises:
        DataError: if the file has other columns or an empty field, or if a name is a path.
    """
    out: dict[str, str] = {}
    expected, fix = "a list of files and classes", "Download the list again"
    content = read_file(path, str(path), expected=expected, fix=fix, most=LIST_LIMIT)
    rows = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""))
    try:
        header = next(rows, [])
        if [column.strip() for column in header] != ["filename", "label"]:
            what = f"{path} begins with '{','.join(header)[:60]}'"
            raise DataError(what, expected="the columns filename,label", fix=fix)
        for number, row in enumerate(rows, 2):
            # A name must not lead to another folder.
            if len(row) != 2 or not all(row) or set(row[0]) & set("/\\\0") or row[0] in (".", ".."):
                what = f"{path} has '{','.join(row)[:60]}' in line {number}"
                raise DataError(what, expected="the name of a file and its class", fix=fix)
            out[row[0]] = row[1]
    except csv.Error as error:
        raise DataError(f"{path} cannot be read ({error})", expected=expected, fix=fix) from error
    return out


def model_photo(content: bytes, name: str, size: int) -> np.ndarray:
    """Read a photo as uint8 ``[3, size, size]``: its shorter side is scaled to `size` and its centre cropped.

    Raises:
        DataError: if it is not an image.
    """
    picture = open_image(content, f"'{name}'", expected=EXPECTED, fix=AGAIN)
    return photo_pixels(picture, size, "cover")


def _photos(folder: Path, part: str, listed: dict[str, str]) -> Iterator[tuple[str, str, bytes]]:
    """Yield class, file name and content of every photo of a part, in the order of the names."""
    archive = folder / f"{part}.tar"
    if archive.is_file():
        for name, read in sorted(tar_files(archive), key=lambda file: file[0]):
            path = Path(name)
            if path.suffix.lower() in SUFFIXES:
                yield path.parent.name, path.name, read()
    elif (folder / part).is_dir():
        for path in sorted((folder / part).glob("*/*")):
            if path.suffix.lower() in SUFFIXES:
                name = f"'{path.parent.name}/{path.name}'"
                yield path.parent.name, path.name, read_file(path, name, expected=EXPECTED, fix=AGAIN)
    elif listed and (folder / "images").is_dir():
        for name, label in sorted(listed.items(), key=lambda item: (item[1], item[0])):
            path = folder / "images" / name
            if not path.is_file():
                raise DataError(
                    f"{folder / part}.csv names '{name}', which is not in {folder / 'images'}",
                    expected="an image for every line",
                    fix="Download the images again",
                )
            yield label, name, read_file(path, f"'{label}/{name}'", expected=EXPECTED, fix=AGAIN)
    else:
        raise DataError(
            f"there is no {part}.tar, no folder {part} and no {part}.csv with a folder images in {folder}",
            expected="mini-ImageNet in one of these layouts",
            fix="Put it there, or set SKETCHEMBED_DATA",
        )


def _make_images(folder: Path, part: str, size: int, listed: dict[str, str]) -> dict[str, np.ndarray]:
    classes: dict[str, int] = {}
    images, labels, names = [], [], []
    files = _photos(folder, part, listed)
    for label, name, content in track(files, f"Reading mini-ImageNet {part}", len(listed) or None):
        if listed.get(name, label) != label:
            raise DataError(
                f"'{name}' lies in class '{label}', and {part}.csv has it in '{listed[name]}'",
                expected="the same class",
                fix="Download the archive and the list from one place",
            )
        images.append(model_photo(content, f"{label}/{name}", size))
        labels.append(classes.setdefault(label, len(classes)))
        names.append(name)
    if not images:
        what = f"the part '{part}' in {folder} holds no image"
        raise DataError(what, expected="class folders", fix=AGAIN)
    if missing := sorted(set(listed) - set(names)):
        raise DataError(
            f"the part '{part}' in {folder} lacks '{missing[0]}' "
            f"({len(missing)} of {len(listed)} are missing)",
            expected=f"every image that {part}.csv names",
            fix=AGAIN,
        )
    return image_arrays(np.stack(images), labels, names, list(classes))
