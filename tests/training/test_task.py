"""Test the parts that all tasks share."""

import math

import pytest
import torch
from torch import nn

from sketchembed.training.task import Task


class RecordingTask(Task):
    """A task that stores what it logs."""

    def log_dict(self, dictionary, *args, **kwargs):
        self.logged = dictionary


def test_validation_values_are_means_over_all_items():
    task = RecordingTask(nn.Linear(1, 1))
    for value, size in ((1.0, 128), (3.0, 2), (7.0, 0)):
        task.log_validation({"val/loss": torch.tensor(value), "val/accuracy": torch.tensor(0.5)}, size)
    task.log_validation({"unseen/loss": torch.tensor(math.nan)}, 4)
    task.on_validation_epoch_end()
    assert task.logged["val/loss"] == pytest.approx((128 + 6) / 130, rel=1e-12)
    assert task.logged["val/accuracy"] == 0.5
    assert math.isnan(task.logged["unseen/loss"])
    assert "unseen/accuracy" not in task.logged  # it has no batches
    task.log_validation({"val/loss": torch.tensor(2.0)}, 3)
    task.on_validation_epoch_end()
    assert task.logged == {"val/loss": 2.0}
    assert not any("validation" in name for name in task.state_dict())


def test_learning_rate_depends_only_on_the_step():
    task = RecordingTask(nn.Linear(1, 1), lr=0.1, lr_decay=0.5, lr_decay_steps=10, lr_warmup=4)
    assert [task.learning_rate(step) for step in (1, 10, 20)] == pytest.approx(
        [0.1 * 0.5 * 0.5**0.1, 0.05, 0.025]
    )
    task = RecordingTask(nn.Linear(1, 1), lr=0.1, lr_decay=0.2, lr_decay_steps=10, lr_shape="cosine")
    assert [task.learning_rate(step) for step in (0, 5, 10, 30)] == pytest.approx([0.1, 0.06, 0.02, 0.02])
