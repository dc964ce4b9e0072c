import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from sketchembed.data.datamodules.mini_imagenet_datamodule import ImageStream, MiniImageNetDataModule
from sketchembed.data.image_set import ImageSet
from sketchembed.errors import DataError


def numbered(count=10):
    """Images whose pixels are the image's number on the left, and 0 on the right."""
    images = np.zeros((count, 3, 4, 4), dtype=np.uint8)
    images[..., :2] = np.arange(count)[:, None, None, None] + 1
    return ImageSet(images, np.zeros(count, dtype=np.int64), ["a"], [str(at) for at in range(count)])


def batches(count, **options):
    stream = ImageStream(numbered(), **({"batch_size": 4, "seed": 3} | options))
    return [(batch * 255).round() for batch in itertools.islice(iter(stream), count)]


def test_every_pass_has_every_image_once():
    seen = torch.cat(batches(5)).amax((1, 2, 3)).tolist()
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(1, 11))
    assert seen[:10] != seen[10:]


@pytest.mark.parametrize("flip", [False, True])
def test_batch_is_a_function_of_seed_and_step(flip):
    whole = batches(9, flip=flip)
    assert all(map(torch.equal, batches(4, flip=flip, first_step=5), whole[5:]))
    shares = [batches(9, flip=flip, rank=rank, world_size=2) for rank in (0, 1)]
    assert all(torch.equal(torch.cat(parts), all_) for *parts, all_ in zip(*shares, whole, strict=True))
    assert not torch.equal(batches(1, flip=flip, seed=4)[0], whole[0])


def test_half_of_the_images_are_mirrored():
    plain, flipped = torch.cat(batches(100)), torch.cat(batches(100, flip=True))
    same = (flipped == plain).flatten(1).all(1)
    torch.testing.assert_close(flipped[~same], plain[~same].flip(-1), rtol=0, atol=0)
    assert 150 < same.sum() < 250  # of 400: five standard deviations


def test_indivisible_batches_are_refused():
    with pytest.raises(DataError, match="batch of 4 cannot be divided over 3"):
        ImageStream(numbered(), 4, world_size=3)


def test_mini_imagenet_trains_on_the_train_part_and_looks_at_val(tmp_path):
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
    looked_at = torch.cat(list(data.val_dataloader()))
    assert looked_at.shape == (4, 3, 84, 84)
    assert data.facts()["source"] == "mini-imagenet"
    assert data.facts()["images"] == 7
