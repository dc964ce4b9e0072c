import functools
import itertools
import operator

import numpy as np
import pytest

from sketchembed.data.sampling import StepBatchSampler
from sketchembed.errors import DataError


def batches(count, **options):
    sampler = StepBatchSampler(np.arange(10, 33), **({"batch_size": 6, "seed": 3} | options))
    return list(itertools.islice(iter(sampler), count))


def test_every_epoch_has_every_drawing_once():
    seen = [index for batch in batches(23) for index in batch]  # 23 batches of 6 are 6 epochs of 23 drawings
    for number in range(6):
        assert sorted(seen[23 * number : 23 * (number + 1)]) == list(range(10, 33))
    assert seen[:23] != seen[23:46]


def test_resumed_stream_is_the_rest_of_the_full_stream():
    assert batches(5, first_step=9) == batches(14)[9:]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_global_batch(world):
    shares = [batches(8, rank=rank, world_size=world) for rank in range(world)]
    assert [functools.reduce(operator.iadd, parts, []) for parts in zip(*shares, strict=True)] == batches(8)


def test_seed_changes_the_order():
    assert batches(3) != batches(3, seed=4)
    assert batches(3) == batches(3)


def test_empty_data_and_indivisible_batches_raise():
    with pytest.raises(DataError, match="no drawing to train on"):
        StepBatchSampler(np.arange(0), 4)
    with pytest.raises(DataError, match="batch of 6 cannot be divided over 4"):
        StepBatchSampler(np.arange(9), 6, world_size=4)
