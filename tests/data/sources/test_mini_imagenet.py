import io
import os
import tarfile

import numpy as np
import pytest
from PIL import Image

from sketchembed.data.sources import mini_imagenet
from sketchembed.errors import ConfigError, DataError

CLASSES = {"train": ["n01", "n02"], "val": ["n03"], "test": ["n04", "n05"]}


def encoded_image(seed, size=(84, 84)):
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(out, "PNG")
    return out.getvalue()


def files(part):
    return {
        (label, f"{label}{number:04d}.jpg"): encoded_image(int(label[1:]) * 10 + number)
        for label in CLASSES[part]
        for number in range(3)
    }


def write(folder, layout):
    for part in CLASSES:
        listed = "filename,label\n" + "".join(f"{name},{label}\n" for label, name in files(part))
        (folder / f"{part}.csv").write_text(listed)
        if layout == "tar":
            with tarfile.open(folder / f"{part}.tar", "w") as archive:
                for (label, name), content in files(part).items():
                    entry = tarfile.TarInfo(f"{part}/{label}/{name}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
        for (label, name), content in files(part).items():
            place = {"folder": folder / part / label / name, "csv": folder / "images" / name}.get(layout)
            if place is not None:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
    return folder


@pytest.mark.parametrize("layout", ["tar", "folder", "csv"])
def test_every_layout_gives_the_same_images(layout, tmp_path):
    (tmp_path / "data").mkdir()
    folder = write(tmp_path / "data", layout)
    test = mini_imagenet.load_mini_imagenet(folder, tmp_path / "prepared", "test")
    assert test.class_names == ["n04", "n05"]
    assert test.images.shape == (6, 3, 84, 84)
    expected = np.asarray(Image.open(io.BytesIO(files("test")["n05", "n050002.jpg"])))
    np.testing.assert_array_equal(test.images[5].transpose(1, 2, 0), expected)


def test_images_of_another_size_are_scaled_and_cropped(tmp_path):
    picture = mini_imagenet.model_photo(encoded_image(3, (300, 200)), "x", 84)
    assert picture.shape == (3, 84, 84)


def test_invalid_file_error_names_the_file(tmp_path):
    folder = write(tmp_path, "tar")
    whole = (folder / "test.tar").read_bytes()
    (folder / "test.tar").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DataError, match=r"test.tar cannot be read|lacks"):
        mini_imagenet.load_mini_imagenet(folder, tmp_path / "prepared", "test")
    (folder / "test.tar").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"test.tar cannot be read"):
        mini_imagenet.load_mini_imagenet(folder, tmp_path / "prepared", "test")
    (folder / "test.tar").unlink()
    with pytest.raises(DataError, match="no test.tar, no folder test and no test.csv"):
        mini_imagenet.load_mini_imagenet(folder, tmp_path / "prepared", "test")
    with pytest.raises(ConfigError, match="no mini-ImageNet part 'tests'"):
        mini_imagenet.load_mini_imagenet(folder, tmp_path / "prepared", "tests")


def test_images_that_disagree_with_the_list_raise(tmp_path):
    folder = write(tmp_path, "tar")
    listed = (folder / "test.csv").read_text()
    (folder / "test.csv").write_text(listed + "n059999.jpg,n05\n")
    with pytest.raises(DataError, match=r"lacks 'n059999.jpg' \(1 of 7 are missing\)"):
        mini_imagenet.load_mini_imagenet(folder, tmp_path / "prepared", "test")
    (folder / "test.csv").write_text(listed.replace("n050001.jpg,n05", "n050001.jpg,n04"))
    with pytest.raises(DataError, match=r"'n050001.jpg' lies in class 'n05', and test.csv has it in 'n04'"):
        mini_imagenet.load_mini_imagenet(folder, tmp_path / "prepared", "test")
    (folder / "test.csv").write_text(listed.replace(",n04", ",n03"))
    with pytest.raises(DataError, match="'n03' in both val and test"):
        mini_imagenet.load_mini_imagenet(folder, tmp_path / "prepared", "test")
    (folder / "test.csv").write_text("name;class\n")
    with pytest.raises(DataError, match="begins with 'name;class'"):
        mini_imagenet.load_mini_imagenet(folder, tmp_path / "prepared", "test")


@pytest.mark.data
@pytest.mark.slow
def test_real_test_part_has_the_published_size(real_data, tmp_path):
    test = mini_imagenet.load_mini_imagenet(real_data / "mini_imagenet", tmp_path, "test")
    assert (len(test.class_names), len(test)) == (20, 12_000)
    assert set(np.bincount(test.labels)) == {600}


@pytest.mark.data
def test_real_photos_keep_the_pixels_of_their_files(real_data):
    with tarfile.open(real_data / "mini_imagenet" / "test.tar") as archive:
        entries = [entry for entry in archive if entry.isfile()][:40]
        for entry in entries:
            content = archive.extractfile(entry).read()
            expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)
            np.testing.assert_array_equal(mini_imagenet.model_photo(content, entry.name, 84), expected)
    assert len(entries) == 40


def test_names_that_are_not_utf8_have_a_digest(tmp_path):
    for number in (1, 2):
        place = tmp_path / "test" / os.fsdecode(b"n0\xff") / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded_image(number))
    found = mini_imagenet.load_mini_imagenet(tmp_path, tmp_path / "prepared", "test")
    assert len(found.digest()) == 16
    assert found.digest() != found.select([]).digest()
