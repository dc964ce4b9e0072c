import io
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from sketchembed.data.sources import omniglot, omniglot_images
from sketchembed.data.sources.splits import check_disjoint, read_names
from sketchembed.errors import ConfigError, DataError

CHARACTERS = [name for part in omniglot.SPLIT for name in omniglot.vinyals_split()[part][:2]]


def picture(seed=0):
    image = Image.new("1", (105, 105), 1)
    points = np.random.default_rng(seed).integers(10, 95, (4, 2))
    ImageDraw.Draw(image).line([tuple(map(int, point)) for point in points], fill=0, width=3)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue(), points


@pytest.fixture
def folder(tmp_path):
    """Write six characters by two drawers each; the first image has no strokes."""
    with (
        zipfile.ZipFile(tmp_path / "images_background.zip", "w") as images,
        zipfile.ZipFile(tmp_path / "strokes_background.zip", "w") as strokes,
    ):
        for number, character in enumerate(CHARACTERS):
            for drawer in (1, 2):
                content, points = picture(number * 2 + drawer)
                name = f"{character}/{number + 1:04d}_{drawer:02d}"
                images.writestr(f"images_background/{name}.png", content)
                if (number, drawer) != (0, 1):
                    text = "START\n" + "".join(f"{x},{-y},0\n" for x, y in points) + "BREAK\n"
                    strokes.writestr(f"strokes_background/{name}.txt", text)
    for kind in ("images", "strokes"):
        zipfile.ZipFile(tmp_path / f"{kind}_evaluation.zip", "w").close()
    return tmp_path


def test_images_resemble_their_rasterized_strokes(folder, tmp_path):
    strokes = omniglot_images.load_omniglot(folder, tmp_path / "prepared", "strokes")
    images = omniglot_images.load_omniglot(folder, tmp_path / "prepared", "images")
    assert strokes.images.shape == images.images.shape == (12, 1, 28, 28)
    assert strokes.names == images.names
    ink = 255 - strokes.images.astype(float), 255 - images.images.astype(float)
    for drawn, read in zip(*ink, strict=True):
        # Both show the same lines within a pixel, and are similarly dark.
        near = [gaussian_filter(picture[0], 1).ravel() for picture in (drawn, read)]
        assert np.corrcoef(*near)[0, 1] > 0.85
        assert 0.7 < read.sum() / drawn.sum() < 1.4


def test_images_replace_missing_strokes_and_are_counted(folder, tmp_path):
    strokes = omniglot_images.load_omniglot(folder, tmp_path / "prepared", "strokes")
    images = omniglot_images.load_omniglot(folder, tmp_path / "prepared", "images")
    assert strokes.about["image_stands_in"] == 1
    assert images.about["image_stands_in"] == 0
    np.testing.assert_array_equal(strokes.images[0], images.images[0])
    assert (strokes.images[1:] != images.images[1:]).any(axis=(1, 2, 3)).all()


def test_prepared_file_is_rebuilt_only_if_damaged_or_outdated(folder, tmp_path, monkeypatch):
    first = omniglot_images.load_omniglot(folder, tmp_path / "prepared")
    path = tmp_path / "prepared" / "omniglot-strokes-28px.npz"
    with monkeypatch.context() as patch:
        patch.setattr(omniglot_images, "_make_images", None)
        np.testing.assert_array_equal(
            omniglot_images.load_omniglot(folder, tmp_path / "prepared").images, first.images
        )
    path.write_bytes(path.read_bytes()[:1000])
    np.testing.assert_array_equal(
        omniglot_images.load_omniglot(folder, tmp_path / "prepared").images, first.images
    )
    with zipfile.ZipFile(folder / "images_evaluation.zip", "w") as more:
        more.writestr("images_evaluation/Angelic/character01/0965_01.png", picture()[0])
    assert len(omniglot_images.load_omniglot(folder, tmp_path / "prepared")) == 13


def test_damaged_file_error_names_the_file(folder, tmp_path):
    with zipfile.ZipFile(folder / "images_evaluation.zip", "w") as archive:
        archive.writestr("images_evaluation/Angelic/character01/0965_01.png", picture()[0][:40])
    with pytest.raises(DataError, match=r"Angelic/character01/0965_01.png cannot be read"):
        omniglot_images.load_omniglot(folder, tmp_path / "prepared")
    (folder / "images_background.zip").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match=r"images_background.zip cannot be read"):
        omniglot_images.load_omniglot(folder, tmp_path / "prepared")
    (folder / "images_background.zip").unlink()
    with pytest.raises(DataError, match=r"there is no images_background.zip"):
        omniglot_images.load_omniglot(folder, tmp_path / "prepared")
    assert not list((tmp_path / "prepared").glob("*"))


def test_invalid_split_or_part_raises(folder, tmp_path):
    images = omniglot_images.load_omniglot(folder, tmp_path / "prepared")
    with pytest.raises(DataError, match=r"no images of the class '.*', .*\(421 of 423 classes"):
        omniglot_images.select_part(images, "vinyals", "test")
    with pytest.raises(ConfigError, match="no Omniglot split 'vinyal'.*nearest: 'vinyals'"):
        omniglot_images.select_part(images, "vinyal", "test")
    with pytest.raises(ConfigError, match="no part of the lake split 'val'"):
        omniglot_images.select_part(images, "lake", "val")
    with pytest.raises(DataError, match="no images of the alphabet"):
        omniglot_images.select_part(images, "lake", "test")


def test_overlapping_lists_raise():
    with pytest.raises(DataError, match="'a' in both train and test"):
        check_disjoint({"train": ["a", "b"], "test": ["c", "a"]})
    check_disjoint(omniglot.vinyals_split())
    background, evaluation = (read_names(f"omniglot_lake_{p}") for p in ("background", "evaluation"))
    assert (len(background), len(evaluation), len({*background, *evaluation})) == (30, 20, 50)


@pytest.mark.data
@pytest.mark.slow
def test_real_splits_have_the_published_sizes(real_data, real_omniglot):
    images = omniglot_images.load_omniglot(real_data / "omniglot", real_omniglot, "strokes")
    assert (len(images.class_names), len(images)) == (1623, 32_460)
    assert images.about["image_stands_in"] == 1018
    sizes = {
        part: len(omniglot_images.select_part(images, "vinyals", part).class_names) for part in omniglot.SPLIT
    }
    assert sizes == {"train": 1028 * 4, "val": 172 * 4, "test": 423 * 4}
    published = (real_data / "omniglot/splits/vinyals/test.txt").read_text().split()
    assert sorted(omniglot_images.select_part(images, "vinyals", "test").class_names) == sorted(published)
    lake = omniglot_images.select_part(images, "lake", "test")
    assert (len(set(lake.groups)), len(lake)) == (20, 13_180)
