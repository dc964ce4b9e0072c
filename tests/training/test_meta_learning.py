import pytest
import pytorch_lightning as pl
import torch

from sketchembed.data.datamodules.episode_datamodule import EpisodeImages
from sketchembed.networks.maml import MAMLConfig
from sketchembed.training import MAMLTask

TINY = MAMLConfig(width=8, image_size=16, inner_steps=2, test_steps=3, inner_lr=0.1)


def episode(way=4, shot=2, queries=3, seed=0):
    """Return an episode of gratings with random phases; a class is an angle and a wavelength."""
    random = torch.Generator().manual_seed(seed)
    angle, length = torch.rand(2, way, 1, 1, 1, 1, generator=random)
    place = torch.arange(16).float()
    across = place * torch.sin(angle * 3.14) + place[:, None] * torch.cos(angle * 3.14)

    def images(count):
        phase = 6.28 * torch.rand(way, count, 1, 1, 1, generator=random)
        return 0.5 + 0.5 * torch.sin(6.28 * across / (2 + 4 * length) + phase)

    return EpisodeImages(images(shot), images(queries))


def test_loss_is_the_query_loss_of_the_adapted_network():
    torch.manual_seed(0)
    task, batch = MAMLTask(TINY), episode()
    loss, accuracy = task.episode(batch)
    support, query = batch.support.flatten(0, 1), batch.query.flatten(0, 1)
    adapted = task.net.adapt(support, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]), 4)
    probabilities = task.net.scores(adapted, support, query).softmax(-1)
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    torch.testing.assert_close(loss, -probabilities[torch.arange(12), labels].log().mean())
    assert float(accuracy) == pytest.approx(float((probabilities.argmax(-1) == labels).float().mean()))


def test_training_improves_adaptation_to_new_classes():
    torch.manual_seed(0)
    task = MAMLTask(TINY, first_order=True)

    def loss_on_new_classes(count=6):
        return sum(float(task.episode(episode(seed=1000 + at))[0].detach()) for at in range(count)) / count

    optimizer, before = torch.optim.Adam(task.parameters(), 3e-3), loss_on_new_classes()
    for step in range(40):
        optimizer.zero_grad()
        task.episode(episode(seed=step))[0].backward()
        optimizer.step()
    assert loss_on_new_classes() < 0.85 * before


def test_validation_adapts_although_gradients_are_disabled(tmp_path):
    torch.manual_seed(0)
    task, batch = MAMLTask(TINY), episode()
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    (found,) = trainer.validate(task, torch.utils.data.DataLoader([batch], batch_size=None), verbose=False)
    loss, accuracy = task.episode(batch, steps=3)
    assert found["val/loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    assert found["val/accuracy"] == pytest.approx(float(accuracy))


def test_accumulation_gives_the_gradient_of_the_mean_loss(tmp_path):
    torch.manual_seed(0)
    task = MAMLTask(TINY)
    batches = [episode(seed=1), episode(seed=2)]
    expected = torch.autograd.grad(
        sum(task.episode(batch)[0] for batch in batches) / 2, task.net.parameters()
    )
    seen = []

    class Keep(pl.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            seen.append([parameter.grad.clone() for parameter in module.parameters()])

    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_steps=1,
        accumulate_grad_batches=2,
        callbacks=[Keep()],
        default_root_dir=tmp_path,
    )
    trainer.fit(task, torch.utils.data.DataLoader(batches, batch_size=None))
    (found,) = seen
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-6)
