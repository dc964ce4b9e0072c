"""Test the descriptions of non-finite steps."""

import pytest
import torch

from sketchembed.data.datamodules.episode_datamodule import EpisodeImages
from sketchembed.data.datamodules.labelled_datamodule import LabelledDrawings
from sketchembed.data.datamodules.pair_datamodule import Pair
from sketchembed.training.step_check import NonFiniteStep, broken_rows, item_names

NAN = float("nan")


@pytest.mark.parametrize("kind", ["tensor", "pair", "labelled", "episode"])
def test_broken_rows_are_numbered_across_batches(kind):
    first, second, third = torch.randn(4, 6, 5), torch.randn(4, 6, 5), torch.randn(4, 6, 5)
    first[3, 2, 1], third[0, 0, 0], third[2, 5, 4] = NAN, float("inf"), NAN
    batches = {
        "tensor": lambda rows: rows,
        "pair": lambda rows: Pair(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), rows),
        "labelled": lambda rows: LabelledDrawings(rows, torch.arange(4)),
        "episode": lambda rows: EpisodeImages(torch.rand(4, 1, 1, 8, 8), rows.view(4, 2, 1, 3, 5)),
    }
    assert broken_rows([batches[kind](rows) for rows in (first, second, third)]) == [3, 8, 10]


def step(**changes):
    facts = {"step": 7, "batch": 9, "ranks": [1], "world_size": 1, "gradients": [], "weights": []}
    items = {"items": ["5 (cat)", "6 (dog)"], "broken": []}
    return NonFiniteStep(**(facts | {"terms": {"pen": 1.0}} | items | changes))


def test_total_is_named_only_if_all_terms_are_finite():
    assert step(terms={"loss": NAN, "pen": 1.0, "stroke": NAN}).cause() == "stroke is nan"
    assert step(terms={"loss": -float("inf"), "pen": 1.0}).cause() == "loss is -inf"
    assert step(terms={"loss": NAN}, world_size=2).cause() == "on rank 1 of 2 loss is nan"
    assert step(gradients=["a", "b"]).cause() == "the gradient of a, b"
    assert step(gradients=list("abcdefgh")).cause() == "the gradient of a, b, c and 5 more"


def test_items_of_a_batch_are_named():
    assert item_names({"indices": [5, 6], "classes": ["cat", "dog"]}) == ["5 (cat)", "6 (dog)"]
    assert item_names({"episodes": [3]}) == ["episode 3"]
    assert "batch 9 contains 5 (cat), 6 (dog)" in list(step().details())
    assert "the batch itself has non-finite numbers in 6 (dog)" in list(step(broken=["6 (dog)"]).details())
    assert list(step(terms={"loss": NAN}, items=[]).details()) == []
