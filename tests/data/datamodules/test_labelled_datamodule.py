import numpy as np
import pytest
import torch
from pytorch_lightning import LightningDataModule

from sketchembed.data.datamodules.drawing_datamodule import DrawingDataset
from sketchembed.data.datamodules.labelled_datamodule import (
    LabelledDataset,
    LabelledDrawings,
    LabelledQuickdrawDataModule,
    LabelledSplit,
)
from sketchembed.data.sources import quickdraw
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import DataError


def drawings(*counts, points=4):
    """Return `counts[i]` drawings of each partition i; their first offsets are all different."""
    out = []
    for part, count in enumerate(counts):
        out += [(part, np.full((points, 3), 1 + part * 20 + number)) for number in range(count)]
    return out


@pytest.fixture
def store(tmp_path):
    classes = [
        ClassDrawings("whole", drawings(10, 2, 3), {}),
        ClassDrawings("without", drawings(9, 0, 0), {}),
        ClassDrawings("three", drawings(3, 0, 0), {}),
        ClassDrawings("one", drawings(1, 0, 0), {}),
        ClassDrawings("one apart", drawings(7, 0, 1) + drawings(2, points=20), {}),
        ClassDrawings("only apart", drawings(0, 1, 0), {}),
        ClassDrawings("other", drawings(5, 5, 5), {}),
    ]
    return write_store(tmp_path / "store", classes, source="quickdraw", max_length=20)


def test_held_out_drawings_come_from_published_parts_first(store):
    wanted = ["one apart", "whole", "without", "three", "one", "only apart", "nowhere"]
    split = LabelledSplit.of(store, wanted, max_length=10)
    assert split.labels == ["one apart", "whole", "without", "three", "one"]
    assert not set(split.train.tolist()) & set(split.held_out.tolist())
    names = np.array(store.class_names)
    held = names[store.labels[split.held_out]].tolist()
    # Classes with fewer than two published drawings borrow some, up to a third of the class.
    assert {name: held.count(name) for name in set(held)} == {
        "whole": 5,
        "without": 2,
        "three": 1,
        "one apart": 2,
    }
    trains = names[store.labels[split.train]].tolist()
    assert {name: trains.count(name) for name in set(trains)} == {
        "whole": 10,
        "without": 7,
        "three": 2,
        "one": 1,
        "one apart": 6,  # two longer drawings are excluded
    }
    assert split.borrowed == 2 + 1 + 1
    # The last drawings of the training part are borrowed.
    lent = [int(store[row][0, 0]) for row in split.held_out if names[store.labels[row]] == "without"]
    assert lent == [8, 9]
    assert split.facts()["held_out_from_training_part"] == 4


def test_fewer_than_two_classes_raise(store):
    with pytest.raises(DataError, match="drawings of 1 of the 2 classes"):
        LabelledSplit.of(store, ["whole", "nowhere"], 20)


def test_batch_labels_match_its_drawings(store):
    rows = DrawingDataset(store, 10, offset_scale=2.0)
    data = LabelledDataset(rows, ["whole", "other"])
    indices = [
        int(store.select(["other"])[3]),
        int(store.select(["whole"])[0]),
        int(store.select(["one"])[0]),
    ]
    batch = data[indices]
    assert batch.labels.tolist() == [1, 0, -1]
    assert torch.equal(batch.stroke5, rows[indices])
    assert len(batch.stroke5) == 3
    moved = LightningDataModule().transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert isinstance(moved, LabelledDrawings)
    assert moved.labels.device.type == moved.stroke5.device.type == "meta"


@pytest.mark.data
@pytest.mark.parametrize("which", ["seen", "unseen"])
def test_real_drawings_are_split_and_labelled(which, real_classes):
    data = LabelledQuickdrawDataModule(which, str(real_classes(*quickdraw.class_names(which))))
    data.setup()
    assert data.labels == quickdraw.class_names(which)
    assert len(data.labels) == 45
    held = np.unique(data.store.labels[data.drawings.held_out])
    assert len(held) == 45
    assert set(data.seen_indices) == set(data.drawings.held_out)
    # The drawing model was trained on none of the drawings held out here, except the borrowed ones.
    train = set(data.store.select(data.labels, "train").tolist())
    assert len(train & set(data.drawings.held_out.tolist())) == data.drawings.borrowed < 10
    batch = next(iter(data.train_dataloader()))
    names = [data.labels[label] for label in batch.labels]
    assert len(batch.labels) == 256
    assert len(set(names)) > 30
    facts = data.facts()
    assert (facts["classes_seen"], facts["classes_unseen"], facts["which"]) == (45, 0, which)
