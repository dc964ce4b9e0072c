"""What is said and saved of a step that is not finite."""

import pytest
import torch

from sketchembed.data.datamodules.episode_datamodule import EpisodeImages
from sketchembed.data.datamodules.labelled_datamodule import LabelledDrawings
from sketchembed.data.datamodules.pair_datamodule import Pair
from sketchembed.training.incident import Incident, broken_items, pack, together, unpack

NAN = float("nan")
BATCHES = [
    torch.randn(4, 6, 5),
    Pair(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.randn(4, 6, 5)),
    LabelledDrawings(torch.randn(4, 6, 5), torch.arange(4)),
    EpisodeImages(torch.rand(4, 1, 1, 8, 8), torch.rand(4, 2, 1, 8, 8)),
]


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: type(batch).__name__)
def test_batches_survive_as_plain_values(batch, tmp_path):
    torch.save(pack(batch), tmp_path / "batch")
    again = unpack(torch.load(tmp_path / "batch", weights_only=True))
    assert type(again) is type(batch)
    for one, other in zip(pack(again)["values"], pack(batch)["values"], strict=True):
        assert torch.equal(one, other)
        assert one.dtype == other.dtype


def test_what_is_broken_is_counted_through_all_batches():
    first, second, third = torch.randn(4, 6, 5), torch.randn(4, 6, 5), torch.randn(4, 6, 5)
    first[3, 2, 1], third[0, 0, 0], third[2, 5, 4] = NAN, float("inf"), NAN
    assert broken_items([pack(first), pack(second), pack(third)]) == [3, 8, 10]
    pair = Pair(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), first)
    assert broken_items([pack(pair)]) == [3]


def test_shares_of_processes_are_put_together_as_one_has_them():
    rows = torch.randn(8, 6, 5)
    shares = [[pack(rows[0:2]), pack(rows[4:6])], [pack(rows[2:4]), pack(rows[6:8])]]  # two batches of two
    shared = [unpack(batch) for batch in together(shares, shared=True)]
    assert torch.equal(torch.stack(shared), rows.view(2, 4, 6, 5))
    own = [unpack(batch) for batch in together(shares, shared=False)]
    assert torch.equal(torch.cat(own), rows)


def test_other_batches_are_refused():
    with pytest.raises(TypeError, match="no batch of dict"):
        pack({"image": torch.zeros(1)})


def incident(**changes):
    facts = {"step": 7, "batch": 9, "ranks": [1], "world": 1, "gradients": [], "weights": [], "broken": []}
    members = {"indices": [5, 6], "classes": ["cat", "dog"]}
    return Incident(**(facts | {"terms": {"pen": 1.0}, "members": members} | changes))


def test_the_sum_is_blamed_only_where_none_of_its_terms_is():
    assert incident(terms={"loss": NAN, "pen": 1.0, "stroke": NAN}).cause() == "stroke is nan"
    assert incident(terms={"loss": -float("inf"), "pen": 1.0}).cause() == "loss is -inf"
    assert incident(terms={"loss": NAN}, world=2).cause() == "on rank 1 of 2 loss is nan"
    assert incident(gradients=["a", "b"]).cause() == "the gradient of a, b"
    assert incident(gradients=list("abcdefgh")).cause() == "the gradient of a, b, c and 5 more"


def test_what_a_batch_is_made_of_is_named():
    assert "batch 9 is of 5 (cat), 6 (dog)" in list(incident().lines())
    assert "the batch itself has numbers that are not finite, of 6 (dog)" in list(
        incident(broken=[1]).lines()
    )
    assert "batch 9 is of episode 3" in list(incident(members={"episodes": [3]}).lines())
    assert "of item 4" in list(incident(members={"episodes": [3]}, broken=[4]).lines())[-1]
    assert list(incident(terms={"loss": NAN}, members={}).lines()) == []
