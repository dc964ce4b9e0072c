import csv
import io
import shutil
import tarfile
import time

import numpy as np
import pytest
import svgpathtools
from PIL import Image

from sketchembed.data.datamodules.pair_datamodule import PairDataset
from sketchembed.data.datamodules.sketchy_datamodule import SketchyDataModule
from sketchembed.data.sources import sketchy, sketchy_files
from sketchembed.data.sources.splits import photo_partition
from sketchembed.errors import DataError

SVG = '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 480">{}</svg>'


def svg(*paths):
    return SVG.format("".join(f'<path d="{path}" fill="none"/>' for path in paths)).encode()


def photo(colour, size=(256, 256)):
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def published(spread="photo/{label}", label="axe"):
    """Return the files of three one-colour photos, two sketches of each, and the two lists of sketches."""
    names = [f"n02764044_{number}" for number in (1, 2, 3)]
    lists = f"sketches/{label}"
    files = {
        f"{spread.format(label=label)}/{name}.png": photo((40 * at, 0, 9)) for at, name in enumerate(names)
    }
    for at, name in enumerate(names):
        for number in (1, 2):
            files[f"{lists}/{name}-{number}.svg"] = svg(f"M 10 10 L {100 + 50 * at} 10 L 100 {200 * number}")
    files[f"{lists}/checked.txt"] = "\n".join(f"{name}-{n}" for name in names for n in (1, 2)).encode()
    files[f"{lists}/invalid.txt"] = f"Invalid/error\n{names[0]}-2\n\nWrong pose\n{names[1]}-1\n".encode()
    return files


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


LAYOUTS = {
    "folders": "photo/{label}",
    "rendered": "rendered_256x256/256x256/photo/tx_000000000000/{label}",
    "rendered, centred": "256x256/photo/tx_000100000000/{label}",
    "tar": "photo/{label}",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_pairs(layout, tmp_path):
    (tmp_path / "sketchy").mkdir()
    files = published(LAYOUTS[layout])
    if layout == "tar":
        write_tar(tmp_path / "sketchy" / "sketchy.tar", files)
    else:
        write(tmp_path / "sketchy", files)
    store = sketchy.prepare_sketchy(tmp_path / "sketchy", tmp_path / "store")
    assert store.class_names == ["axe"]
    assert store.classes[0].rejected == {"invalid": 2}
    # From each photo to the next, red increases by 40 and the sketches become 50 pixels wider.
    found = {
        (
            int(store.arrays["photos"][store.arrays["photo_of"][row]][0, 40, 40]) // 40,
            *map(int, store[row][1:, :2].flat),
        )
        for row in range(len(store))
    }
    assert found == {
        (at, 90 + 50 * at, 0, -50 * at, 200 * number - 10) for at, number in ((0, 1), (1, 2), (2, 1), (2, 2))
    }
    assert store.arrays["photos"].shape == (3, 3, 84, 84)
    # From the same files, the store is opened and not rebuilt.
    before = (tmp_path / "store" / "manifest.json").stat().st_mtime_ns
    sketchy.prepare_sketchy(tmp_path / "sketchy", tmp_path / "store")
    assert (tmp_path / "store" / "manifest.json").stat().st_mtime_ns == before


def test_photo_is_cropped_to_the_object(tmp_path):
    # A photo of 200 x 100 pixels with a red object, squeezed to a square like the rendered photos.
    picture = Image.new("RGB", (200, 100), "blue")
    picture.paste("red", (100, 20, 180, 60))
    out = io.BytesIO()
    picture.resize((256, 256), Image.Resampling.NEAREST).save(out, "PNG")
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow([f"column{number}" for number in range(18)])
    rows.writerow(["0", "axe", "n02764044_1", "1", *["0"] * 8, "200", "100", "100", "20", "80", "40"])
    boxes = sketchy_files.read_boxes(table.getvalue().encode(), "stats.csv")
    assert boxes == {"n02764044_1": ((200, 100), (100, 20, 180, 60))}
    pixels = sketchy.cropped_photo(out.getvalue(), "x", 84, boxes["n02764044_1"])
    # The object of 80 x 40 pixels fills the width; the photo is black above and below it.
    np.testing.assert_array_equal(
        pixels[:, 25:59, 4:80], np.array([255, 0, 0])[:, None, None] * np.ones((1, 34, 76))
    )
    assert pixels[:, :21].max() == pixels[:, 63:].max() == 0
    with pytest.raises(DataError, match=r"line 2.*columns 13 to 18"):
        sketchy_files.read_boxes(b"header\n0,axe,n1,1\n", "stats.csv")


def test_short_and_small_strokes_are_excluded():
    sketch = sketchy.read_sketch(
        # Lengths: 300; 29, too short; 64, but in a box of 8, too small; 40.
        svg("M 0 0 L 300 0", "M 0 50 L 29 50", "M 0 99 " + "l 8 0 l -8 0 " * 4, "M 0 70 L 40 70"),
        "x",
    )
    assert [stroke.tolist() for stroke in sketch.strokes] == [[[0, 0], [300, 0]], [[0, 70], [40, 70]]]


def test_curves_are_approximated_within_the_tolerance():
    path = "M 100 100 C 100 300 400 300 400 100 Q 500 0 550 200"
    (stroke,) = sketchy.read_sketch(svg(path), "x").strokes
    curve = svgpathtools.parse_path(path)
    truth = np.array(
        [[point.real, point.imag] for point in (curve.point(t) for t in np.linspace(0, 1, 3000))]
    )
    ends, starts = stroke[1:], stroke[:-1]
    chord = ends - starts
    along = (((truth[:, None] - starts) * chord).sum(-1) / (chord**2).sum(-1)).clip(0, 1)
    gap = np.linalg.norm(truth[:, None] - (starts + along[..., None] * chord), axis=-1).min(axis=1)
    assert gap.max() < sketchy.EPSILON + 0.1
    assert 4 < len(stroke) < 20


def test_excluding_long_sketches_keeps_photos_aligned(tmp_path):
    files = published()
    zigzag = "M 0 0 " + " ".join(f"L {10 * at} {100 * (at % 2)}" for at in range(1, 60))
    files["sketches/axe/n02764044_3-1.svg"] = svg(zigzag)
    store = sketchy.prepare_sketchy(write(tmp_path / "in", files), tmp_path / "out", max_length=50)
    assert store.classes[0].rejected == {"invalid": 2, "too long": 1}
    assert store.arrays["photo_of"].tolist() == [0, 1, 2]
    assert store.lengths.max() == 3


HOSTILE = {
    "bomb": b'<!DOCTYPE s [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><svg>&b;</svg>',
    "external": b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg><path d="&x;"/></svg>',
    "command": svg("M 0 0 B 9 9"),
    "no XML": b"\x00\x01\x02",
    "empty": b"",
    "number": svg("M 0 0 L 1e999 3"),
    "transform": b'<svg><g transform="scale(2)"><path d="M 0 0 L 9 9"/></g></svg>',
    "deep": b"<svg>" + b"<g>" * 200_000 + b"</svg>",
    "large": b"<svg>" + b" " * (sketchy.SVG_LIMIT + 1) + b"</svg>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_sketch_gives_a_clear_error(name, tmp_path, capsys):
    began = time.process_time()
    with pytest.raises(DataError) as error:
        sketchy.read_sketch(HOSTILE[name], "axe/evil.svg")
    assert time.process_time() - began < 5
    assert "axe/evil.svg" in str(error.value)
    assert "\n" not in str(error.value)
    # In a data set, the sketch is excluded and counted, and a message names it.
    files = published() | {"sketches/axe/n02764044_3-1.svg": HOSTILE[name]}
    store = sketchy.prepare_sketchy(write(tmp_path / "in", files), tmp_path / "out")
    assert store.classes[0].rejected == {"invalid": 2, "unreadable": 1}
    assert "n02764044_3-1.svg" in capsys.readouterr().err


def test_sketch_without_its_closing_tag_is_read():
    assert len(sketchy.read_sketch(svg("M 0 0 L 90 90").replace(b"</svg>", b""), "x")) == 2


def test_sketches_of_an_unreadable_photo_are_excluded(tmp_path):
    files = published() | {"photo/axe/n02764044_3.png": b"no image"}
    store = sketchy.prepare_sketchy(write(tmp_path / "in", files), tmp_path / "out")
    assert store.classes[0].rejected == {"invalid": 2, "unreadable": 2}
    assert len(store.arrays["photos"]) == 2


def test_missing_or_truncated_files_give_a_clear_error(tmp_path):
    with pytest.raises(DataError, match="no files of Sketchy"):
        sketchy_files.find_files(tmp_path / "nothing")
    only = {name: content for name, content in published().items() if name.startswith("sketches")}
    with pytest.raises(DataError, match="sketches but no photos"):
        sketchy_files.find_files(write(tmp_path / "in", only))
    shutil.rmtree(tmp_path / "in")
    write_tar(tmp_path / "cut.tar", published())
    (tmp_path / "in").mkdir()
    whole = (tmp_path / "cut.tar").read_bytes()
    for length in range(600, len(whole.rstrip(b"\0")), 700):  # within headers and within contents
        (tmp_path / "in" / "cut.tar").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut.tar cannot be read"):
            sketchy.prepare_sketchy(tmp_path / "in", tmp_path / "out")


def test_overlap_rules_exclude_photos(tmp_path):
    files = {}
    for label, name in (("guitar", "n03272010_1"), ("guitar", "n02676566_1"), ("axe", "n02764044_1")):
        files[f"photo/{label}/{name}.png"] = photo("red")
        files[f"sketches/{label}/{name}-1.svg"] = svg("M 0 0 L 90 90")
    write(tmp_path / "in", files)
    kept = {
        rule: len(sketchy.prepare_sketchy(tmp_path / "in", tmp_path / rule, rule=rule))
        for rule in ("none", "image", "class")
    }
    # Sketchy's class guitar has electric guitars, a test class, and acoustic ones, which are not.
    assert kept == {"none": 3, "image": 2, "class": 1}


# ---- real data -----------------------------------------------------------------------------------------


@pytest.mark.data
def test_real_paths_agree_with_svgpathtools(real_data):
    """Compare the paths of 200 real sketches with those that an independent library reads."""
    found = sketchy_files.find_files(real_data / "sketchy")
    chosen = [(label, name) for label in sorted(found.sketches) for name in sorted(found.sketches[label])][
        ::16
    ][:200]
    assert len(chosen) == 200
    for label, name in chosen:
        content = found.sketches[label][name]()
        paths, _ = svgpathtools.svgstr2paths(content.decode())
        pieces = [part for path in paths for part in path.continuous_subpaths()]
        strokes = sketchy.read_strokes(content)
        assert len(strokes) == len(pieces)
        for stroke, piece in zip(strokes, pieces, strict=True):
            corners = np.array([[p.real, p.imag] for p in [piece[0].start, *(part.end for part in piece)]])
            np.testing.assert_allclose(stroke, corners, atol=1e-9)


@pytest.mark.data
@pytest.mark.slow
def test_split_is_by_photo_on_real_data(real_data, tmp_path):
    module = SketchyDataModule(str(real_data))
    module.prepare_store = lambda: sketchy.prepare_sketchy(real_data / "sketchy", tmp_path)
    module.setup()
    store, photo_of = module.store, module.store.arrays["photo_of"]
    train, seen, unseen = (
        set(photo_of[rows].tolist())
        for rows in (module.train_indices, module.seen_indices, module.unseen_indices)
    )
    assert not train & seen
    assert not (train | seen) & unseen
    assert min(map(len, (train, seen, unseen))) > 30
    assert len(np.unique(store.labels)) == 118  # 125 less the 7 that overlap
    offsets = np.concatenate([store[row][:, :2] for row in module.train_indices]) / module.offset_scale
    assert offsets.std() == pytest.approx(1, abs=1e-3)
    pair = module.dataset[[5, 0]]
    assert isinstance(module.dataset, PairDataset)
    np.testing.assert_array_equal(pair.photo[1].numpy(), store.arrays["photos"][photo_of[0]])
    shares = np.bincount([photo_partition(f"n02691156_{number}") for number in range(3000)]) / 3000
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.02)


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_resampling_is_that_of_pillow(name):
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (168, 168, 3), dtype=np.uint8))
    out = io.BytesIO()
    picture.save(out, "PNG")
    pixels = sketchy.cropped_photo(out.getvalue(), "x", 84, resampling=name)
    expected = picture.resize((84, 84), Image.Resampling[name.upper()])
    np.testing.assert_array_equal(pixels.transpose(1, 2, 0), np.asarray(expected))


def test_each_resampling_has_its_own_store(tmp_path):
    write(tmp_path / "sketchy", published())
    modules = [SketchyDataModule(str(tmp_path), resampling=name) for name in ("bilinear", "bicubic")]
    assert len({module.prepare_store().path for module in modules}) == 2
