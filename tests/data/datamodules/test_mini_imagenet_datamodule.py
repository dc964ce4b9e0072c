import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from sketchembed.data.datamodules.mini_imagenet_datamodule import MiniImageNetDataModule
from sketchembed.data.image_set import ImageSet
from sketchembed.errors import DataError


@pytest.fixture
def numbered() -> MiniImageNetDataModule:
    """Return a data module of ten images; every pixel of an image holds its number."""
    data = MiniImageNetDataModule(batch_size=4, seed=3)
    images = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(3, 1)
    names = [str(at) for at in range(10)]
    data.parts = {"train": ImageSet(images, np.zeros(10, dtype=np.int64), ["a"], names)}
    return data


def test_epochs_have_every_image_once_and_batch_members_match(numbered):
    batches = list(itertools.islice(numbered.train_dataloader(), 5))
    seen = [(batch[:, 0, 0, 0] * 255).round().int().tolist() for batch in batches]
    flat = list(itertools.chain.from_iterable(seen))
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert flat[:10] != flat[10:]
    assert [numbered.batch_members(number, 0, 1)["indices"] for number in range(5)] == seen
    shares = [numbered.batch_members(3, rank, 2) for rank in (0, 1)]
    assert shares[0]["indices"] + shares[1]["indices"] == seen[3]
    assert shares[0]["names"] == [str(at) for at in seen[3][:2]]
    with pytest.raises(DataError, match="batch of 4 cannot be divided over 3"):
        numbered.batch_members(0, 0, 3)


def test_module_trains_on_train_and_validates_on_val(tmp_path):
    random = np.random.default_rng(0)
    for part, label, count in (("train", "n01", 7), ("val", "n02", 5)):
        folder = tmp_path / "mini_imagenet" / part / label
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (84, 84, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    data = MiniImageNetDataModule(str(tmp_path), batch_size=7, validation_images=4)
    data.prepare_data()
    data.setup()
    ours = next(iter(data.train_dataloader()))
    assert ours.shape == (7, 3, 84, 84)
    files = sorted((tmp_path / "mini_imagenet" / "train" / "n01").iterdir())
    theirs = np.stack([np.asarray(Image.open(file)).transpose(2, 0, 1) for file in files]) / 255
    np.testing.assert_allclose(ours.sum((1, 2, 3)).sort().values, np.sort(theirs.sum((1, 2, 3))), rtol=1e-5)
    validation = torch.cat(list(data.val_dataloader()))
    assert validation.shape == (4, 3, 84, 84)
    assert data.facts()["source"] == "mini-imagenet"
    assert data.facts()["images"] == 7
