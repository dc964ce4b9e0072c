import math

import numpy as np
import pytest
import torch
from programs import run
from torch import distributed

from sketchembed.data.augmentation import Augmentation, PairAugmentation
from sketchembed.data.datamodules.pair_datamodule import Pair
from sketchembed.errors import ConfigError
from sketchembed.networks.batch_norm import BatchNorm2d
from sketchembed.networks.simclr import SimCLRConfig
from sketchembed.raster import rasterize
from sketchembed.sketch import Sketch
from sketchembed.training import ContrastiveTask
from sketchembed.training.presets import read_preset

TINY = {"width": 8, "hidden": 6, "projection": 5}
STRONG = Augmentation(rotation=90.0, scale=0.5, jitter=0.2, flip=0.5)


def task(kind=ContrastiveTask, network=None, **options):
    torch.manual_seed(0)
    one = kind(SimCLRConfig(**(TINY | (network or {}))), **options)
    one.log_dict = lambda values, **_: setattr(one, "logged", values)  # the task has no trainer
    return one


def drawings(count=6):
    random = np.random.default_rng(0)
    sketches = [Sketch.from_strokes([random.normal(0, 2, (6, 2)), [[0, 1], [2, 3]]]) for _ in range(count)]
    return torch.from_numpy(np.stack([sketch.to_stroke5(12) for sketch in sketches]))


def generator():
    return torch.Generator().manual_seed(1)


def different(one, other):
    return (one - other).abs().amax(dim=(1, 2, 3)) > 0.1


def test_both_views_share_the_augmentation_and_have_their_own_input_augmentation():
    strokes = drawings()
    plain = 1 - rasterize.draw_pen(strokes, 28).unsqueeze(1)
    first, second = task().views(strokes, generator()).split(6)
    torch.testing.assert_close((first, second), (plain, plain), rtol=0, atol=0)
    first, second = task(augmentation=STRONG).views(strokes, generator()).split(6)
    assert torch.equal(first, second)
    assert different(first, plain).all()
    first, second = task(augmentation=STRONG, independent=True).views(strokes, generator()).split(6)
    assert different(first, second).all()
    first, second = task(input_augmentation=STRONG).views(strokes, generator()).split(6)
    assert different(first, plain).all()
    assert different(second, plain).all()
    assert different(first, second).all()


def test_views_of_photos_are_independent_and_their_sketches_are_not_used():
    changes = PairAugmentation(rotation=10.0, scale=0.2, shift=0.1, flip=0.5, colour=0.3, grey=0.1)
    photo = torch.randint(0, 256, (6, 3, 84, 84), generator=generator(), dtype=torch.uint8)
    one = task(network={"encoder": "resnet12", "channels": 3, "image_size": 84, "shrink": 2})
    assert torch.equal(one.views(photo / 255, generator()), torch.cat([photo / 255] * 2))
    one.photo_augmentation = changes
    views = one.views(photo / 255, generator())
    assert different(*views.split(6)).all()
    pair = Pair(photo, drawings())
    torch.testing.assert_close(one.views(pair, generator()), views, rtol=0, atol=0)
    # The same changes as in training to draw photos.
    random = generator()
    for found in views.split(6):
        expected, _ = changes(photo / 255, drawings(), random)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert one.training_step(pair, 0).isfinite()


@pytest.mark.parametrize("name", ["train", "val", "unseen"])
def test_loss_and_accuracy_are_logged(name):
    one = task(input_augmentation=STRONG, temperature=0.2)
    strokes = drawings()
    if name == "train":
        one.training_step(strokes, 0)
        random = one._training_generator(0)
    else:
        number = ["val", "unseen"].index(name)
        one.eval().validation_step(strokes, 0, number)
        one.on_validation_epoch_end()
        random = one._validation_generator(0, number)
    projections = one.net(one.views(strokes, random)).double().detach()
    similar = torch.nn.functional.cosine_similarity(projections[:, None], projections, dim=-1)
    losses, right = [], 0
    for view in range(12):
        partner = (view + 6) % 12
        others = [similar[view, other].item() for other in range(12) if other != view]
        losses.append(math.log(sum(math.exp((other - similar[view, partner]) / 0.2) for other in others)))
        right += max(others) == similar[view, partner].item()
    terms = {f"{name}/loss", f"{name}/accuracy"}
    assert set(one.logged) == terms | ({"train/lr"} if name == "train" else set())
    assert float(one.logged[f"{name}/loss"]) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(one.logged[f"{name}/accuracy"]) == pytest.approx(right / 12)


class RankedTask(ContrastiveTask):
    """A task that takes its rank from the process group instead of a trainer."""

    world_size = property(lambda self: distributed.get_world_size() if distributed.is_initialized() else 1)
    global_rank = property(lambda self: distributed.get_rank() if distributed.is_initialized() else 0)


def gradients(ranks=None):
    """Return the loss, the accuracy and the gradients of a training step; those of a rank are its part."""
    one = task(RankedTask, augmentation=STRONG, input_augmentation=STRONG, temperature=0.2).double()
    for module in one.modules():
        if isinstance(module, BatchNorm2d):
            module.shared = ranks is not None
    share = 6 // (ranks or 1)
    rows = slice(one.global_rank * share, (one.global_rank + 1) * share)
    one.training_step(drawings()[rows].double(), 0).backward()
    found = {name: parameter.grad for name, parameter in one.named_parameters() if parameter.grad is not None}
    return found | {name: one.logged[f"train/{name}"] for name in ("loss", "accuracy")}


def run_rank(out, ranks):
    distributed.init_process_group("gloo")
    found = gradients(ranks)
    for name, value in found.items():
        if name not in ("loss", "accuracy"):  # as DDP does
            distributed.all_reduce(value)
            value /= ranks
    torch.save(found, f"{out}{distributed.get_rank()}")
    distributed.destroy_process_group()


@pytest.mark.parametrize("ranks", [2, 3])
def test_step_on_several_ranks_equals_a_step_on_one(ranks, tmp_path):
    ended = run(run_rank, tmp_path / "out", ranks, ranks=ranks)
    assert ended.returncode == 0, ended.stderr
    expected = gradients()
    assert expected["loss"] > 1
    for rank in range(ranks):
        torch.testing.assert_close(torch.load(tmp_path / f"out{rank}"), expected, rtol=1e-9, atol=1e-12)


def test_training_separates_drawings():
    one = task(network={"projection": 16}, input_augmentation=Augmentation(rotation=10.0, jitter=0.05))
    optimizer = torch.optim.Adam(one.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = one.training_step(drawings(16), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.3
    assert one.logged["train/accuracy"] == 1


def test_temperature_out_of_range_gives_a_clear_error():
    with pytest.raises(ConfigError, match=r"model.init_args.temperature is 0; expected 0.001 or more"):
        task(temperature=0)


@pytest.mark.parametrize(
    ("ours", "drawing"), [("contrastive", "cpu-embedding"), ("contrastive-mini-imagenet", "traced-cpu")]
)
def test_presets_have_the_budget_and_the_encoder_of_drawing_presets(ours, drawing):
    ours, drawing = read_preset(ours), read_preset(drawing)
    model, other = ours["model"]["init_args"], drawing["model"]["init_args"]
    for name in ("lr", "lr_decay", "lr_decay_steps", "lr_shape", "lr_warmup"):
        assert model[name] == other[name], name
    for name in ("max_steps", "gradient_clip_val", "gradient_clip_algorithm", "precision"):
        assert ours["trainer"][name] == drawing["trainer"][name], name
    assert ours["data"]["init_args"]["batch_size"] == drawing["data"]["init_args"]["batch_size"]
    network = {key: value for key, value in model["network"].items() if key in SimCLRConfig().to_dict()}
    assert network.items() <= ({"shrink": 1} | other["network"]).items()
    if "photo_augmentation" in model:
        assert model["photo_augmentation"] == other["augmentation"]
    else:
        for name in ("augmentation", "input_augmentation"):
            assert model[name] == other[name], name
        for name in ("max_length", "epsilon", "split"):
            assert ours["data"]["init_args"][name] == drawing["data"]["init_args"][name], name
