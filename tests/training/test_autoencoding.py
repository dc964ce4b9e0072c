import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from sketchembed.data.augmentation import Augmentation
from sketchembed.data.datamodules.mini_imagenet_datamodule import MiniImageNetDataModule
from sketchembed.data.image_set import ImageSet
from sketchembed.networks.conv_vae import ConvVAEConfig
from sketchembed.raster import rasterize
from sketchembed.sketch import Sketch
from sketchembed.training import AutoencodingTask


def task(**options):
    torch.manual_seed(0)
    sizes = {"width": 4, "latent": 6} | options.pop("network", {})
    one = AutoencodingTask(ConvVAEConfig(**sizes), **options)
    one.logged = {}
    one.log_dict = lambda values, **_: one.logged.update(values)  # the task has no trainer
    return one


def drawings(count=5):
    random = np.random.default_rng(0)
    sketches = [Sketch.from_strokes([random.normal(0, 2, (6, 2)), [[0, 1], [2, 3]]]) for _ in range(count)]
    return torch.from_numpy(np.stack([sketch.to_stroke5(12) for sketch in sketches]))


def generator():
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("variant", ["sound", "released"])
@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_loss_equals_torch_distributions(variant, weight):
    one = task(network={"variant": variant}, kl_weight=weight)
    images = torch.rand(5, 1, 28, 28)
    found = one.losses(images, generator())
    logits, latent = one.net(images, torch.randn(5, 6, generator=generator()))
    costs = -Bernoulli(logits=logits, validate_args=False).log_prob(one.net.to_canvas(images))
    divergences = kl_divergence(Normal(latent.mean, (latent.logvar / 2).exp()), Normal(0.0, 1.0))
    if variant == "sound":
        reconstruction, kl = costs.flatten(1).sum(1).mean(), divergences.sum(1).mean()
    else:
        reconstruction, kl = costs.mean(), divergences.mean()
    torch.testing.assert_close(found.reconstruction, reconstruction)
    torch.testing.assert_close(found.kl, kl)
    torch.testing.assert_close(found.loss, reconstruction + weight * kl)


def test_drawings_are_rasterized_and_images_stay_unchanged():
    one, strokes = task(), drawings()
    images = one.images(strokes)
    torch.testing.assert_close(images[:, 0], 1 - rasterize.draw_pen(strokes, 28), rtol=0, atol=0)
    assert one.images(images) is images
    assert task(network={"channels": 3}).images(strokes).shape == (5, 3, 28, 28)
    torch.testing.assert_close(one.training_step(strokes, 0), one.training_step(images, 0))


def test_augmentation_changes_drawings_and_not_images():
    strokes = drawings()
    plain, mirrored = task(), task(augmentation=Augmentation(flip=1.0))
    images = plain.images(strokes)
    assert mirrored.training_step(strokes, 0) != plain.training_step(strokes, 0)
    torch.testing.assert_close(mirrored.training_step(images, 0), plain.training_step(images, 0))


@pytest.mark.parametrize("name", ["train", "val", "unseen"])
def test_terms_are_logged(name):
    one = task()
    if name == "train":
        one.training_step(drawings(), 0)
    else:
        one.validation_step(drawings(), 0, ["val", "unseen"].index(name))
        one.on_validation_epoch_end()
    terms = {f"{name}/{term}" for term in ("loss", "reconstruction", "kl")}
    assert set(one.logged) == terms | ({"train/lr"} if name == "train" else set())


def test_random_numbers_depend_on_the_step():
    one, images = task(), torch.rand(5, 1, 28, 28)

    def loss(step):
        return one.losses(images, one._generator(step, 0)).loss.item()

    assert loss(3) == loss(3)
    assert loss(3) != loss(4)


@pytest.mark.parametrize("variant", ["sound", "released"])
def test_reconstruction_loss_approaches_the_image_entropy(variant):
    one = task(network={"variant": variant, "width": 8, "latent": 16}, kl_weight=0.0)
    images = one.images(drawings(4))
    target = one.net.to_canvas(images)
    least = Bernoulli(target.clamp(1e-6, 1 - 1e-6)).entropy()  # the lower bound for any logits
    least = least.flatten(1).sum(1).mean() if variant == "sound" else least.mean()
    optimizer = torch.optim.Adam(one.parameters(), 1e-2)
    excess = []
    for step in range(60):
        loss = one.losses(images, one._generator(step, 0)).reconstruction
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        excess.append(float((loss - least).detach()))
    assert min(excess) > 0
    # The released decoder cannot produce black, the colour of the lines.
    assert np.mean(excess[-5:]) < (0.3 if variant == "sound" else 0.8) * excess[0]


def test_resumed_run_equals_an_uninterrupted_run(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 1, 28, 28), dtype=np.uint8)
    images = ImageSet(pixels, np.zeros(9, dtype=np.int64), ["a"], [str(at) for at in range(9)])

    def train(steps, resumed_from=None):
        torch.manual_seed(0)
        one = AutoencodingTask(ConvVAEConfig(width=4, latent=6))
        data = MiniImageNetDataModule(batch_size=4, image_size=28)
        data.parts = {"train": images, "val": images}
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        quiet |= {"enable_checkpointing": False, "accelerator": "cpu", "limit_val_batches": 0}
        trainer = pl.Trainer(max_steps=steps, **quiet)
        trainer.fit(one, data, ckpt_path=resumed_from, weights_only=True if resumed_from else None)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return one.net.state_dict()

    whole = train(5)
    train(2)
    resumed = train(5, tmp_path / "last.ckpt")
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
