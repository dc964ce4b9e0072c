"""Fuzz the readers of images, of image data sets, and of prepared data."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from sketchembed.data.datamodules.pair_datamodule import PairDataset
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources import mini_imagenet, omniglot_images, sketchy
from sketchembed.data.sources.omniglot_runs import OneShotRuns
from sketchembed.data.store import DrawingStore
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError
from sketchembed.files.array_cache import file_fingerprint
from sketchembed.files.images import open_image
from sketchembed.networks.model_inputs import read_drawing, read_photo

from .archives import tar_of, zip_of
from .drawings import SVG, rows
from .engine import Case, Reader, change_case
from .structured import array_file


def image(kind: str = "PNG", size: int = 24, mode: str = "RGB", seed: int = 0, **options: object) -> bytes:
    picture = Image.new("RGB", (size, size), (250, 250, 240))
    draw = ImageDraw.Draw(picture)
    draw.line([(3, 3 + seed), (size - 4, size // 2), (4, size - 3)], (20, 30, 90), 2)
    out = io.BytesIO()
    (picture.quantize(8) if mode == "P" else picture.convert(mode)).save(out, kind, **options)
    return out.getvalue()


# ---- images ----------------------------------------------------------------------------------------------


def image_seeds() -> list[Case]:
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[str, bytes]] = [
        ("a.png", image("PNG", mode="RGBA", exif=exif)),
        ("a.png", image("PNG", mode="L")),
        ("a.png", image("PNG", mode="P", transparency=0)),
        ("a.png", image("PNG", mode="1")),
        ("a.jpg", image("JPEG", exif=exif)),
        ("a.jpg", image("JPEG", mode="CMYK", progressive=True)),
        ("a.bmp", image("BMP")),
        ("a.gif", image("GIF", mode="P")),
        ("a.webp", image("WEBP", mode="RGBA", lossless=True, exif=exif)),
        ("a.webp", image("WEBP")),
        ("a.tif", image("TIFF", compression="tiff_lzw")),
        ("a.tif", image("TIFF", compression="tiff_adobe_deflate", mode="CMYK")),
        ("a.tif", image("TIFF", compression="group4", mode="1")),
        ("a.tif", image("TIFF", compression="jpeg")),
    ]
    return [{name: content} for name, content in kinds]


def read_image(folder: Path) -> object:
    path = next(iter(folder.iterdir()), folder / "a.png")
    picture = open_image(path, path.name)
    assert picture.mode == "RGB"
    pixels = read_photo(path, 84)
    assert pixels.shape == (3, 84, 84)
    drawn = read_drawing(path, 28)
    assert drawn.shape == (1, 28, 28)
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    return drawn


# ---- Omniglot --------------------------------------------------------------------------------------------


def character(seed: int) -> bytes:
    return image("PNG", 105, "1", seed)


def omniglot_files() -> Case:
    return {
        f"Futurama/character0{at}/000{at}_0{drawer}.png": character(at + 2 * drawer)
        for at in (1, 2)
        for drawer in (1, 2)
    }


def omniglot_seeds() -> list[Case]:
    files = omniglot_files()
    zips = {
        f"images_{part}.zip": zip_of({f"images/{name}": content for name, content in files.items()})
        for part in ("background", "evaluation")
    }
    folders = {
        f"images_{part}/{name}": content
        for part in ("background", "evaluation")
        for name, content in files.items()
    }
    return [zips, folders]


def check_images(found: ImageSet, channels: int, size: int) -> ImageSet:
    assert found.images.dtype == np.uint8
    assert found.images.shape[1:] == (channels, size, size)
    assert len(found.images) == len(found.labels) == len(found.names)
    assert found.labels.min() >= 0
    assert found.labels.max() < len(found.class_names)
    found.digest()
    found.select(found.class_names[:1]).with_rotations().batch(slice(0, 2))
    return found


def read_omniglot(folder: Path) -> object:
    return check_images(omniglot_images.load_omniglot(folder, folder / "prepared", "images"), 1, 28)


def run_seeds() -> list[Case]:
    files = omniglot_files()
    images = {
        "images_background.zip": zip_of({}),
        "images_evaluation.zip": zip_of({f"i/{name}": content for name, content in files.items()}),
    }
    references, queries = sorted(files)[0::2], sorted(files)[1::2]
    runs: Case = {}
    labels = []
    for at, (one, other) in enumerate(zip(references, queries, strict=True), 1):
        runs[f"run01/training/class0{at}.png"] = files[one]
        runs[f"run01/test/item0{at}.png"] = files[other]
        labels.append(f"run01/test/item0{at}.png run01/training/class0{at}.png")
    runs["run01/class_labels.txt"] = "\n".join(labels).encode()
    return [{**images, "all_runs.zip": zip_of(runs)}, {**images, **runs}]


def read_runs(folder: Path) -> object:
    names = sorted(omniglot_files())
    data = ImageSet(
        np.zeros((4, 1, 28, 28), np.uint8),
        np.array([0, 0, 1, 1]),
        ["Futurama/character01", "Futurama/character02"],
        [Path(name).stem for name in names],
        ["Futurama", "Futurama"],
        {},
    )
    found = OneShotRuns(data, folder, folder / "prepared")
    found.batch(range(len(found)))
    found.digest(len(found))
    return found


# ---- mini-ImageNet ---------------------------------------------------------------------------------------

PHOTOS = {
    "n01/a.jpg": image("JPEG", 40),
    "n01/b.png": image("PNG", 30, seed=3),
    "n02/c.jpg": image("JPEG", 84, seed=5),
}


def mini_seeds() -> list[Case]:
    listed = b"filename,label\na.jpg,n01\nb.png,n01\nc.jpg,n02\n"
    return [
        {
            "test.tar": tar_of({f"test/{name}": content for name, content in PHOTOS.items()}),
            "test.csv": listed,
        },
        {"test.tar": tar_of({f"test/{name}": content for name, content in PHOTOS.items()})},
        {f"test/{name}": content for name, content in PHOTOS.items()},
        {"test.csv": listed, **{f"images/{Path(name).name}": content for name, content in PHOTOS.items()}},
    ]


def read_mini(folder: Path) -> object:
    return check_images(mini_imagenet.load_mini_imagenet(folder, folder / "prepared", "test", 16), 3, 16)


# ---- Sketchy ---------------------------------------------------------------------------------------------

STATS = b"CategoryID,Category,ImageNetID,SketchID,a,b,c,d,e,f,g,h,w,h,x,y,bw,bh\n" + b"".join(
    b"1,axe,n02764044_%d,1,a,b,c,d,e,f,g,h,40,30,5,6,20,18\n" % at for at in (1, 2)
)


def sketchy_seeds() -> list[Case]:
    files: Case = {
        "sketches/axe/n02764044_1-1.svg": SVG,
        "sketches/axe/n02764044_1-2.svg": SVG,
        "sketches/axe/n02764044_2-1.svg": SVG,
        "sketches/axe/checked.txt": b"n02764044_1-1\nn02764044_1-2\nn02764044_2-1\n",
        "sketches/axe/invalid.txt": b"n02764044_1-2\n",
        "photo/tx_000000000000/axe/n02764044_1.jpg": image("JPEG", 32),
        "photo/tx_000000000000/axe/n02764044_2.jpg": image("JPEG", 32, seed=4),
    }
    return [
        {**files, "stats.csv": STATS},
        {"sketchy.tar": tar_of(files)},
        {"sketchy.tar": tar_of(files), "stats.csv": STATS},
    ]


def read_sketchy(folder: Path) -> object:
    try:
        store = sketchy.prepare_sketchy(folder, folder / "prepared", size=16, rule="none")
    except DataError as error:
        if "no drawing was left" in str(error):
            return None
        raise
    return use_store(store)


# ---- prepared data ---------------------------------------------------------------------------------------


def use_store(store: DrawingStore) -> object:
    for index in store.select(None, "train")[:20]:
        assert store[int(index)].ndim == 2
    try:
        scale = store.offset_scale()
    except DataError as error:
        if "spread" not in str(error):
            raise
        scale = 1.0
    assert np.isfinite(scale)
    assert scale > 0
    some = store.select()[:20]
    some = some[store.lengths[some] <= 100]
    some = some[store.lengths[some] > 0]
    if len(some) and "photos" in store.arrays:
        batch = PairDataset(store, 100, scale)[some.tolist()]
        assert len(batch.photo) == len(some)
    for name in store.class_names:
        store.select([name])
    return store.source


def store_seeds() -> list[Case]:
    import tempfile

    random = Random(3)
    out = []
    for kind in ("<i2", "<f4"):
        with tempfile.TemporaryDirectory() as folder:
            write_store(
                Path(folder) / "store",
                [
                    ClassDrawings(name, [(at % 3, rows(random, 4 + at)) for at in range(6)], {"too long": 2})
                    for name in ("cat", "dog")
                ],
                source="quickdraw",
                max_length=64,
                dtype=kind,
                about={"fingerprint": "x"},
                arrays=(
                    lambda: {
                        "photos": np.zeros((3, 3, 16, 16), np.uint8),
                        "photo_of": (np.arange(12) % 3).astype(np.int32),
                    }
                )
                if kind == "<f4"
                else None,
            )
            files = sorted((Path(folder) / "store").iterdir())
            out.append({f"store/{path.name}": path.read_bytes() for path in files})
    return out


def change_store(case: Case, random: Random) -> Case:
    """Change the manifest, or in half of the cases any file. The other files contain only numbers."""
    if random.random() < 0.5:
        from .structured import change_json

        return case | {"store/manifest.json": change_json(case["store/manifest.json"], random)}
    return change_case(case, random)


def read_store(folder: Path) -> object:
    store = DrawingStore(folder / "store")
    use_store(store)
    store.verify()
    return store


def cache_seeds() -> list[Case]:
    """Return the arrays that an earlier call prepared, with the key of their source files."""
    images = np.zeros((3, 3, 16, 16), np.uint8)
    arrays = {
        "key": np.array(f"{mini_imagenet.FORMAT} {file_fingerprint([])}"),
        "images": images,
        "labels": np.array([0, 0, 1], dtype=np.int32),
        "names": np.array(["a.jpg", "b.png", "c.jpg"]),
        "class_names": np.array(["n01", "n02"]),
    }
    import zipfile

    content = zip_of({f"{name}.npy": array_file(array) for name, array in arrays.items()}, zipfile.ZIP_STORED)
    return [{"prepared/mini-imagenet-test-16px.npz": content}]


def read_cache(folder: Path) -> object:
    return check_images(
        mini_imagenet.load_mini_imagenet(folder / "nothing", folder / "prepared", "test", 16), 3, 16
    )


READERS = (
    Reader("image", image_seeds, read_image),
    Reader("omniglot-images", omniglot_seeds, read_omniglot),
    Reader("one-shot-runs", run_seeds, read_runs),
    Reader("mini-imagenet", mini_seeds, read_mini),
    Reader("sketchy", sketchy_seeds, read_sketchy),
    Reader("store", store_seeds, read_store, change_store),
    Reader("array-cache", cache_seeds, read_cache),
)
