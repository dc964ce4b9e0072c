import pytest

from sketchembed.training.checkpointing import Milestones


@pytest.mark.parametrize(
    ("count", "total", "steps"),
    [
        (12, 300_000, set(range(25_000, 300_001, 25_000))),  # as in table 5 of the paper
        (3, 400, {133, 267, 400}),
        (4, 2, {1, 2}),
        (0, 100, set()),
    ],
)
def test_milestones_are_evenly_spaced(count, total, steps):
    assert Milestones(count).steps(total) == steps
