"""The random numbers of several processes, concatenated, equal those of one process."""

import pytest
import torch

from sketchembed.data.augmentation import Augmentation, PairAugmentation
from sketchembed.data.batch_random import GlobalBatchGenerator, normal, uniform
from sketchembed.sketch import Sketch


def generator(rank=0, world=1):
    made = GlobalBatchGenerator()
    made.manual_seed(3)
    made.rank, made.world_size = rank, world
    return made


def rows(count=12):
    random = torch.Generator().manual_seed(1)
    strokes = [[torch.randn(4, 2, generator=random).numpy() for _ in range(3)] for _ in range(count)]
    return torch.stack([torch.from_numpy(Sketch.from_strokes(each).to_stroke5(16)) for each in strokes])


@pytest.mark.parametrize(("draw", "torch_draw"), [(uniform, torch.rand), (normal, torch.randn)])
def test_global_draws_agree_with_torch_for_any_world_size(draw, torch_draw):
    like = torch.zeros(1)
    whole = torch_draw(5, 12, 3, generator=torch.Generator().manual_seed(3))
    assert torch.equal(draw((5, 12, 3), generator(), like, batch_dim=1), whole)
    for world in (2, 3):
        size = (5, 12 // world, 3)
        parts = [draw(size, generator(rank, world), like, batch_dim=1) for rank in range(world)]
        assert torch.equal(torch.cat(parts, dim=1), whole)


@pytest.mark.parametrize("world", [2, 3])
def test_augmentation_is_the_same_for_any_world_size(world):
    stroke5, photo = rows(), torch.rand(12, 3, 9, 9, generator=torch.Generator().manual_seed(2))
    every = Augmentation(rotation=20.0, scale=0.2, shear=0.1, jitter=0.1, flip=0.5)
    pairs = PairAugmentation(rotation=20.0, scale=0.2, shift=0.1, flip=0.5, colour=0.3, grey=0.3)
    alone, with_photo = every(stroke5, generator()), pairs(photo, stroke5, generator())
    for rank in range(world):
        mine = slice(rank * 12 // world, (rank + 1) * 12 // world)
        torch.testing.assert_close(every(stroke5[mine], generator(rank, world)), alone[mine])
        found = pairs(photo[mine], stroke5[mine], generator(rank, world))
        for part, whole in zip(found, with_photo, strict=True):
            torch.testing.assert_close(part, whole[mine])
