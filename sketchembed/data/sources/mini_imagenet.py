"""mini-ImageNet, from the layouts in which it goes around: tar, folder, and folder with csv lists.

*Source*: Vinyals et al. 2016; the split of Ravi and Larochelle 2017 (64, 16 and 20 classes of 600 photos);
paper section 5.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.progress import track

from sketchembed.data.image_set import ImageSet, is_image_set
from sketchembed.data.sources.splits import check_disjoint
from sketchembed.errors import ConfigError, DataError
from sketchembed.files.array_cache import cached, fingerprint
from sketchembed.files.images import open_image, photo_pixels
from sketchembed.files.reading import TAR_ERRORS, check_file_size, open_tar, read_file

PARTS = ("train", "val", "test")
SIZE = 84
"""Side of the images in pixels (paper section 4)."""
SUFFIXES = {".jpg", ".jpeg", ".png"}
EXPECTED, FIX = "a whole JPEG or PNG", "Fetch the archive again"
LIST_LIMIT = 16 << 20
"""Of a csv, in bytes; the largest published one has 1.2 million."""
FORMAT = 1
"""Of the prepared file; one of another format is made anew."""


def load(folder: Path, prepared: Path, part: str = "test", size: int = SIZE) -> ImageSet:
    """Return the photos of one part.

    The first call reads the published files and leaves one file in `prepared`; the next ones read that.

    Args:
        folder: with ``PART.tar``, a folder ``PART`` of class folders, or ``PART.csv`` (columns
            ``filename,label``) beside a folder ``images``. Where there is a csv beside the first two, they
            must agree with it.
        prepared: folder for the prepared file.
        part: ``train``, ``val`` or ``test``.
        size: side in pixels; others are scaled and cropped to it.

    Raises:
        ConfigError: if there is no such part.
        DataError: if files are missing or damaged, or a class is in two parts.
    """
    if part not in PARTS:
        raise ConfigError(
            f"mini-ImageNet has no part '{part}'", expected=f"one of {', '.join(PARTS)}", fix="Choose another"
        )
    lists = {name: read_list(folder / f"{name}.csv") for name in PARTS if (folder / f"{name}.csv").is_file()}
    check_disjoint({name: sorted(set(found.values())) for name, found in lists.items()})
    path = prepared / f"mini-imagenet-{part}-{size}px.npz"
    sources = [folder / name for name in (f"{part}.tar", part, f"{part}.csv", "images")]
    found = cached(
        path,
        f"{FORMAT} {fingerprint(sources)}",
        lambda: _prepare(folder, part, size, lists.get(part)),
        lambda arrays: is_image_set(arrays, 3, size),
    )
    return ImageSet(
        found["images"],
        found["labels"].astype(np.int64),
        [str(name) for name in found["class_names"]],
        [str(name) for name in found["names"]],
        None,
        {
            "data": "mini-ImageNet",
            "split": "ravi",
            "part": part,
            "classes": len(found["class_names"]),
            "images": len(found["labels"]),
        },
    )


def read_list(path: Path) -> dict[str, str]:
    """Read a csv of ``filename,label``.

    Raises:
        DataError: if it has other columns or an empty field, or a name that is a path.
    """
    out: dict[str, str] = {}
    fix = "Fetch the list again"
    content = read_file(path, str(path), expected="a list of files and classes", fix=fix, most=LIST_LIMIT)
    rows = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""))
    try:
        header = next(rows, [])
        if [column.strip() for column in header] != ["filename", "label"]:
            raise DataError(
                f"{path} begins with '{','.join(header)[:60]}'",
                expected="the columns filename,label",
                fix=fix,
            )
        for number, row in enumerate(rows, 2):
            # A name leads to no other folder.
            if len(row) != 2 or not all(row) or set(row[0]) & set("/\\\0") or row[0] in (".", ".."):
                raise DataError(
                    f"{path} has '{','.join(row)[:60]}' in line {number}",
                    expected="a file's name and its class",
                    fix=fix,
                )
            out[row[0]] = row[1]
    except csv.Error as error:
        raise DataError(
            f"{path} cannot be read ({error})", expected="a list of files and classes", fix=fix
        ) from error
    return out


# ---- preparing -----------------------------------------------------------------------------------------


def _files(folder: Path, part: str, listed: dict[str, str] | None) -> Iterator[tuple[str, str, bytes]]:
    """Yield class, file name and content of every photo of a part, in the order of the names."""
    archive = folder / f"{part}.tar"
    if archive.is_file():
        yield from _from_tar(archive)
    elif (folder / part).is_dir():
        for path in sorted((folder / part).glob("*/*")):
            if path.suffix.lower() in SUFFIXES:
                name = f"'{path.parent.name}/{path.name}'"
                yield path.parent.name, path.name, read_file(path, name, expected=EXPECTED, fix=FIX)
    elif listed is not None and (folder / "images").is_dir():
        for name, label in sorted(listed.items(), key=lambda item: (item[1], item[0])):
            path = folder / "images" / name
            if not path.is_file():
                raise DataError(
                    f"{folder / part}.csv names '{name}', which is not in {folder / 'images'}",
                    expected="an image for every line",
                    fix="Fetch the images again",
                )
            yield label, name, read_file(path, f"'{label}/{name}'", expected=EXPECTED, fix=FIX)
    else:
        raise DataError(
            f"there is no {part}.tar, no folder {part} and no {part}.csv with a folder images in {folder}",
            expected="mini-ImageNet in one of these layouts",
            fix="Put it there, or set SKETCHEMBED_DATA",
        )


def _from_tar(archive: Path) -> Iterator[tuple[str, str, bytes]]:
    try:
        file, members = open_tar(archive)
        with file:
            kept = [entry for entry in members if Path(entry.name).suffix.lower() in SUFFIXES]
            for entry in sorted(kept, key=lambda entry: entry.name):
                check_file_size(entry.size, f"{archive}: {entry.name}")
                opened = file.extractfile(entry)
                assert opened is not None
                content = opened.read()
                if len(content) != entry.size:
                    raise EOFError(f"{entry.name} is cut off")
                yield Path(entry.name).parent.name, Path(entry.name).name, content
    except TAR_ERRORS as error:
        raise DataError(
            f"{archive} cannot be read ({error})",
            expected="a whole, uncompressed tar of class folders",
            fix="Fetch it again",
        ) from error


def _prepare(folder: Path, part: str, size: int, listed: dict[str, str] | None) -> dict[str, np.ndarray]:
    classes: dict[str, int] = {}
    images, labels, names = [], [], []
    total = len(listed) if listed else None
    for label, name, content in track(
        _files(folder, part, listed), description=f"mini-ImageNet {part}", total=total, transient=True
    ):
        if listed is not None and listed.get(name, label) != label:
            raise DataError(
                f"'{name}' lies in class '{label}', and {part}.csv has it in '{listed[name]}'",
                expected="the same class",
                fix="Fetch the archive and the list from one place",
            )
        images.append(photo(content, f"{label}/{name}", size))
        labels.append(classes.setdefault(label, len(classes)))
        names.append(name)
    if not images:
        raise DataError(
            f"the part '{part}' in {folder} holds no image", expected="class folders", fix="Fetch it again"
        )
    missing = sorted(set(listed) - set(names)) if listed else []
    if missing:
        raise DataError(
            f"the part '{part}' in {folder} lacks '{missing[0]}' ({len(missing)} of {len(listed or ())} are "
            "missing)",
            expected=f"every image that {part}.csv names",
            fix="Fetch the archive again",
        )
    return {
        "images": np.stack(images),
        "labels": np.array(labels, dtype=np.int32),
        "names": np.array(names),
        "class_names": np.array(list(classes)),
    }


def photo(content: bytes, name: str, size: int) -> np.ndarray:
    """Read a photo, uint8 ``[3, size, size]``: its short side scaled to `size`, the middle cropped.

    Raises:
        DataError: if it is no image.
    """
    picture = open_image(content, f"'{name}'", expected=EXPECTED, fix=FIX)
    return photo_pixels(picture, size, "cover")
