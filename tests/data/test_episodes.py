from unittest.mock import MagicMock

import numpy as np
import pytest
import pytorch_lightning as pl

from sketchembed.data.datamodules.omniglot_datamodule import OmniglotEpisodeDataModule
from sketchembed.data.episodes import Episodes
from sketchembed.data.image_set import ImageSet
from sketchembed.errors import ConfigError, DataError


def image_set(counts, groups=None):
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [f"{at:02d}" for count in counts for at in range(count)]
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 1, 4, 4), dtype=np.uint8)
    return ImageSet(images, labels, [f"class{at}" for at in range(len(counts))], names, groups)


def test_episode_depends_only_on_seed_and_id():
    episodes = Episodes(image_set([6] * 9), way=3, shot=2, seed=5)
    whole = episodes.batch(range(20))
    for parts in ([7], [19, 7, 3], range(7, 9)):
        batch = episodes.batch(parts)
        at = list(parts).index(7)
        np.testing.assert_array_equal(batch.support[at], whole.support[7])
        np.testing.assert_array_equal(batch.query[at], whole.query[7])
    other = Episodes(image_set([6] * 9), way=3, shot=2, seed=6).batch(range(20))
    assert (other.support != whole.support).any()


def test_support_and_query_have_the_right_classes_and_no_overlap():
    data = image_set([6] * 9)
    batch = Episodes(data, way=4, shot=2).batch(range(50))
    assert batch.query.shape == (50, 4 * 4)  # all remaining images
    for row in range(50):
        classes = batch.classes[row]
        assert len(set(classes)) == 4
        np.testing.assert_array_equal(data.labels[batch.support[row]], np.repeat(classes, 2))
        np.testing.assert_array_equal(data.labels[batch.query[row]], classes[batch.query_labels[row]])
        everything = np.concatenate([batch.support[row], batch.query[row]])
        assert len(set(everything)) == 4 * 6


def test_classes_and_images_are_sampled_uniformly():
    batch = Episodes(image_set([5] * 10), way=5, shot=1).batch(range(4000))
    for drawn, chances in ((batch.classes, 10), (batch.support, 50)):
        share = np.bincount(drawn.ravel(), minlength=chances) / drawn.size * chances
        np.testing.assert_allclose(share, 1, atol=0.2)


def test_uneven_classes_are_padded_unless_query_is_given():
    data = image_set([3, 5, 4])
    batch = Episodes(data, way=3, shot=1).batch(range(10))
    assert (batch.query >= 0).sum(1).tolist() == [2 + 4 + 3] * 10
    some = Episodes(data, way=2, shot=1).batch(range(30))
    assert ((some.query < 0) == (some.query_labels < 0)).all()
    assert (some.query < 0).any()
    assert Episodes(data, way=2, shot=1, query=2).batch(range(3)).query.shape == (3, 4)


def test_episodes_stay_within_one_group():
    data = image_set([3] * 9, groups=["a"] * 5 + ["b"] * 3 + ["c"])
    batch = Episodes(data, way=3, shot=1, within_groups=True).batch(range(200))
    kinds = {tuple(sorted({data.groups[chosen] for chosen in row})) for row in batch.classes}
    assert kinds == {("a",), ("b",)}  # c has too few classes
    pooled = Episodes(data, way=3, shot=1).batch(range(200))
    assert any(len({data.groups[chosen] for chosen in row}) > 1 for row in pooled.classes)


def test_digest_distinguishes_lists_of_episodes():
    data = image_set([6] * 9)
    one = Episodes(data, way=3, shot=2).digest(40)
    assert one == Episodes(image_set([6] * 9), way=3, shot=2).digest(40)
    others = [
        Episodes(data, way=3, shot=2).digest(41),
        Episodes(data, way=3, shot=2, seed=1).digest(40),
        Episodes(data, way=3, shot=2, query=1).digest(40),
        Episodes(data, way=2, shot=2).digest(40),
        Episodes(image_set([6] * 8 + [7]), way=3, shot=2).digest(40),
    ]
    assert len({one, *others}) == 6


def test_impossible_episodes_raise_on_construction():
    with pytest.raises(DataError, match=r"class 'class1' has 3 images, 3 too few; expected 6: 5 support"):
        Episodes(image_set([6, 3]), way=2, shot=5)
    with pytest.raises(DataError, match="2 classes, 3 too few; expected 5 classes per episode"):
        Episodes(image_set([6, 6]), way=5, shot=1)
    with pytest.raises(DataError, match="in the largest alphabet, 1 too few"):
        Episodes(image_set([6, 6, 6], ["a", "a", "b"]), way=3, shot=1, within_groups=True)
    with pytest.raises(ConfigError, match="have no groups"):
        Episodes(image_set([6, 6]), way=2, shot=1, within_groups=True)
    with pytest.raises(ConfigError, match="shot is 0"):
        Episodes(image_set([6, 6]), way=2, shot=0)


def test_rotations_are_separate_classes():
    data = image_set([2, 2], ["a", "b"])
    turned = data.with_rotations()
    assert turned.class_names[:4] == ["class0/rot000", "class0/rot090", "class0/rot180", "class0/rot270"]
    for turn in range(4):
        rows = np.flatnonzero(turned.labels == 4 + turn)  # of class1
        np.testing.assert_array_equal(
            turned.images[rows], np.rot90(data.images[data.labels == 1], turn, axes=(2, 3))
        )
    assert turned.groups == ["a"] * 4 + ["b"] * 4


def test_selecting_a_missing_class_raises():
    with pytest.raises(DataError, match=r"no images of the class 'class9', .*\(1 of 2 classes"):
        image_set([2, 2]).select(["class1", "class9"])


def test_training_resumes_at_the_next_episode():
    module = OmniglotEpisodeDataModule(way=4)
    module.train = module.val = Episodes(image_set([6] * 4), way=2, shot=1, query=1)
    for steps, accumulated, rank, first in ((0, 1, 0, 0), (7, 1, 0, 7), (7, 4, 0, 28), (7, 4, 1, 57)):
        module.trainer = MagicMock(spec=pl.Trainer, lightning_module=None)
        module.trainer.configure_mock(
            global_rank=rank, world_size=1 + rank, global_step=steps, accumulate_grad_batches=accumulated
        )
        stream = module.train_dataloader().dataset
        assert (stream.first, stream.step) == (first, 1 + rank)
