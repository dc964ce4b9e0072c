import numpy as np
import pytest
from PIL import Image, ImageDraw

from sketchembed.data.datamodules.sketchy_datamodule import TracedDataModule
from sketchembed.data.sources import traced
from sketchembed.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Write two folders of photos: discs of increasing size, one blank photo and one broken file."""
    root = tmp_path / "photos"
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for number in range(12):
            image = Image.new("RGB", (200, 100), "navy")
            ImageDraw.Draw(image).ellipse((60, 10, 80 + 6 * number, 30 + 5 * number), fill="orange")
            image.save(root / label / f"{number}.jpg")
    Image.new("RGB", (50, 50), "red").save(root / "a" / "blank.png")
    (root / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return root


def test_folder_of_photos_becomes_pairs(folder, tmp_path, capsys):
    store = traced.prepare_traced(str(folder), tmp_path, tmp_path / "prepared")
    assert (store.source, store.class_names, len(store)) == ("traced photos", ["a", "b"], 24)
    assert store.classes[0].rejected == {"no contours": 1}
    messages = " ".join(capsys.readouterr().err.split())
    assert "24 of 25 photos" in messages
    assert "broken.jpg" in messages
    photo_of = store.arrays["photo_of"]
    assert len(store.arrays["photos"]) == 25
    assert 12 in set(range(25)) - set(photo_of.tolist())  # the blank photo follows the twelve discs
    # Each drawing belongs to its photo: its outline has the size of the disc.
    for row in (0, len(store) - 1):
        points = np.cumsum(store[row][:, :2], axis=0)
        orange = np.argwhere(store.arrays["photos"][photo_of[row]][0] > 128)[:, ::-1]
        np.testing.assert_allclose(np.ptp(points, axis=0), np.ptp(orange, axis=0) + 1, atol=2.5)
        # The photo has 21 rows of padding at the top, and the drawing has none.
        np.testing.assert_allclose(points.min(0), orange.min(0) - [0, 21], atol=2.5)
    # The store is reused, and rebuilt after the photos change.
    before = (store.path / "manifest.json").stat().st_mtime_ns
    traced.prepare_traced(str(folder), tmp_path, tmp_path / "prepared")
    assert (store.path / "manifest.json").stat().st_mtime_ns == before
    (folder / "b" / "11.jpg").unlink()
    assert len(traced.prepare_traced(str(folder), tmp_path, tmp_path / "prepared")) == 23


def test_module_splits_by_photo(folder, tmp_path):
    module = TracedDataModule(str(tmp_path / "data"), photos=str(folder), max_points=20)
    module.setup()
    assert module.store.lengths.max() <= 20
    assert len(module.train_indices) + len(module.seen_indices) <= 24
    assert not set(module.train_indices) & set(module.seen_indices)
    assert len(module.unseen_indices) == 0
    assert module.facts()["photos"] == len(module.train_indices)


def test_folder_without_photos_raises(tmp_path):
    with pytest.raises(DataError, match="there is no photo in"):
        traced.prepare_traced(str(tmp_path / "nothing"), tmp_path, tmp_path / "prepared")
