import numpy as np
import pytest
import torch

from sketchembed.data.datamodules.doodles_datamodule import DoodlesDataModule
from sketchembed.data.datamodules.drawing_datamodule import DrawingDataset
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.sketch import Sketch


@pytest.fixture
def store(tmp_path):
    random = np.random.default_rng(0)

    def rows(count):
        lifts = random.random(count) < 0.3
        lifts[-1] = True
        return np.concatenate([random.integers(-90, 90, (count, 2)), lifts[:, None]], axis=1).astype(np.int16)

    drawings = [(0, rows(count)) for count in (2, 5, 16, 9)]
    return write_store(
        tmp_path / "store", [ClassDrawings("cat", drawings, {})], source="quickdraw", max_length=16
    )


def test_batch_equals_sketches_converted_one_by_one(store):
    dataset = DrawingDataset(store, length=16, offset_scale=7.0)
    batch = dataset[[3, 0, 2, 1]]
    for place, index in enumerate([3, 0, 2, 1]):
        sketch = Sketch.from_stroke3(store[index] / [7.0, 7.0, 1.0])
        np.testing.assert_allclose(batch[place], sketch.to_stroke5(16), atol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


def test_doodles_module_gives_normalised_batches_and_splits(folder):
    module = DoodlesDataModule(folder, batch_size=16, per_class=30, validation_drawings=15)
    module.prepare_data()
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    assert batch.shape == (16, 65, 5)
    assert batch.dtype == torch.float32
    offsets = batch[:, 1:, :2]
    assert 0.3 < offsets[offsets != 0].std() < 3
    seen, unseen = module.val_dataloader()
    assert sum(len(part) for part in seen) == 15
    assert sum(len(part) for part in unseen) == 15
    labels = np.asarray(module.store.labels)
    assert not set(labels[module.train_indices]) & set(labels[module.unseen_indices])
    assert (np.asarray(module.store.partitions)[module.train_indices] == 0).all()


def test_training_offsets_have_unit_variance(folder):
    module = DoodlesDataModule(folder, per_class=30)
    module.setup("fit")
    rows = np.concatenate([module.store[index][:, :2] for index in module.train_indices.tolist()])
    assert rows.astype(float).std() / module.offset_scale == pytest.approx(1.0, abs=1e-6)


def test_drawings_longer_than_max_length_are_excluded(folder):
    module = DoodlesDataModule(folder, per_class=30, max_length=64)
    module.setup("fit")
    short = DoodlesDataModule(folder, per_class=30, max_length=20)
    short.setup("fit")
    assert (short.store.lengths[short.train_indices] <= 20).all()
    assert 0 < len(short.train_indices) < len(module.train_indices)
