import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Categorical

from sketchembed.data.augmentation import Augmentation
from sketchembed.data.datamodules.labelled_datamodule import LabelledDrawings
from sketchembed.errors import CheckpointError, ConfigError
from sketchembed.networks.resnet import ResNet, ResNetConfig
from sketchembed.raster import rasterize
from sketchembed.sketch import Sketch
from sketchembed.training import ClassificationTask

SIZES = ResNetConfig(18, classes=4, width=8, stem="small")


def task(**options):
    torch.manual_seed(0)
    one = ClassificationTask(SIZES, **options)
    one.logged = {}
    one.log_dict = lambda values, **_: one.logged.update(values)  # the task has no trainer
    return one


def batch(count=24):
    """Return randomly rotated polygons of three to six corners, labelled by their number of corners."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 4
    rows = []
    for corners in labels + 3:
        angles = random.random() + np.arange(corners + 1) * 2 * np.pi / corners
        sketch = Sketch.from_strokes([10 * np.stack([np.cos(angles), np.sin(angles)], 1)])
        rows.append(sketch.to_stroke5(12))
    return LabelledDrawings(torch.from_numpy(np.stack(rows)), torch.from_numpy(labels))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_equals_torch_categorical_likelihood(smoothing):
    one, drawings = task(label_smoothing=smoothing), batch()
    one.train()
    images = 1 - rasterize.draw_pen(drawings.stroke5, 32).unsqueeze(1)
    distribution = Categorical(logits=one.net(images))
    expected = -distribution.log_prob(drawings.labels)
    every = -torch.stack([distribution.log_prob(torch.full((24,), label)) for label in range(4)]).mean(0)
    expected = ((1 - smoothing) * expected + smoothing * every).mean()
    torch.testing.assert_close(one.training_step(drawings, 0), expected)
    accuracy = (distribution.probs.argmax(-1) == drawings.labels).double().mean()
    assert float(one.logged["train/accuracy"]) == pytest.approx(float(accuracy))


@pytest.mark.slow
def test_training_learns_to_count_corners():
    one, drawings = task(), batch(64)
    optimizer = torch.optim.Adam(one.parameters(), 3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        one.training_step(drawings, 0).backward()
        optimizer.step()
    one.validation_step(drawings, 0)
    one.on_validation_epoch_end()
    assert one.logged["val/accuracy"] > 0.9
    assert one.logged["val/loss"] < math.log(4) / 2


def test_augmentation_depends_on_the_seed_and_skips_validation(monkeypatch):
    drawings, seen = batch(), []
    for seed in (0, 0, 1):
        one = task(augmentation=Augmentation(rotation=30.0), seed=seed)
        monkeypatch.setattr(one, "logits", lambda rows: seen.append(rows) or torch.zeros(24, 4))
        one.training_step(drawings, 0)
        one.validation_step(drawings, 0)
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[4])
    assert torch.equal(seen[1], drawings.stroke5)


def test_learning_rate_follows_the_released_schedule():
    one = task(lr_steps={80_000: 1e-3, 40_000: 5e-3, 100_000: 1e-4})
    steps = (0, 39_999, 40_000, 79_999, 80_000, 99_999, 100_000, 120_000)
    assert [one.learning_rate(step) for step in steps] == [0.01, 0.01, 5e-3, 5e-3, 1e-3, 1e-3, 1e-4, 1e-4]
    cosine = task(lr=1.0, lr_shape="cosine", lr_decay=0.5, lr_decay_steps=10)
    assert cosine.learning_rate(5) == pytest.approx(0.75)


def test_labels_come_from_the_data():
    one = task()
    one.trainer = SimpleNamespace(datamodule=SimpleNamespace(labels=["cat", "bee", "hat"]))
    one.setup("fit")
    assert one.net.config.labels == ["cat", "bee", "hat"]
    one.trainer = SimpleNamespace(datamodule=SimpleNamespace(labels=list("abcde")))
    with pytest.raises(ConfigError, match="the data have 5 classes and the network 4; expected"):
        one.setup("fit")


def test_training_starts_from_published_weights(tmp_path):
    torch.manual_seed(1)
    theirs = ResNet(ResNetConfig(18, classes=10, width=8, stem="small", channels=3)).state_dict()
    torch.save(theirs, tmp_path / "published.pth")
    one = task(weights=str(tmp_path / "published.pth"))
    torch.testing.assert_close(one.net.layer4[1].conv2.weight, theirs["layer4.1.conv2.weight"])
    assert one.net.fc.out_features == 4
    torch.save(ResNet(ResNetConfig(50, width=8)).state_dict(), tmp_path / "deeper.pth")
    with pytest.raises(ConfigError, match=r"deeper.pth does not fit the network .* a ResNet-18"):
        task(weights=str(tmp_path / "deeper.pth"))
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        task(weights=str(tmp_path / "broken.pth"))
