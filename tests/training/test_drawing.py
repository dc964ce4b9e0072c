import numpy as np
import pytest
import torch

from sketchembed.data.augmentation import Augmentation
from sketchembed.losses import pen_loss, stroke_loss
from sketchembed.networks import ModelConfig
from sketchembed.sketch import Sketch
from sketchembed.training import DrawingTask

TINY = {"width": 4, "latent": 6, "hidden": 12, "hyper": 6, "embedding": 3, "mixtures": 3, "max_length": 16}


def drawings(count=6, length=16):
    random = np.random.default_rng(0)
    sketches = [
        Sketch.from_strokes([random.normal(0, 2, (size, 2)) for size in random.integers(2, 6, 3)])
        for _ in range(count)
    ]
    return torch.from_numpy(np.stack([sketch.to_stroke5(length) for sketch in sketches]))


def task(**options):
    torch.manual_seed(0)
    network = ModelConfig(**(TINY | options.pop("network", {})))
    return DrawingTask(network, **options)


def test_learning_rate_equals_the_paper_and_torch_scheduler():
    one = task()
    assert one.learning_rate(0) == 1e-3
    assert one.learning_rate(15_000) == pytest.approx(0.85e-3)
    assert one.learning_rate(300_000) == pytest.approx(1e-3 * 0.85**20)
    cosine = task(lr_shape="cosine", lr_decay=0.1, lr_decay_steps=50)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1e-3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, eta_min=1e-4)
    for step in range(50):
        assert cosine.learning_rate(step) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert cosine.learning_rate(500) == pytest.approx(1e-4)
    warm = task(lr_warmup=10)
    assert warm.learning_rate(4) == pytest.approx(0.5e-3, rel=1e-3)


def test_image_is_dark_on_white():
    image, stroke5 = task().pairs(drawings())
    assert image.shape == (6, 1, 28, 28)
    assert image[:, :, 0].min() == 1  # the margin is white
    assert image.min() < 0.3
    assert stroke5.equal(drawings())
    assert task(network={"channels": 3}).pairs(drawings())[0].shape == (6, 3, 28, 28)


def test_input_augmentation_changes_only_the_image():
    plain, mirrored = task(), task(input_augmentation=Augmentation(flip=1.0))
    image, stroke5 = mirrored.pairs(drawings(), torch.Generator().manual_seed(1))
    assert stroke5.equal(drawings())
    torch.testing.assert_close(image, plain.pairs(drawings())[0].flip(-1), rtol=0, atol=1e-4)
    assert not image.allclose(image.flip(-1), atol=0.1)
    # Held-out drawings, which have no generator, are not augmented.
    assert mirrored.pairs(drawings())[0].equal(plain.pairs(drawings())[0])


@pytest.mark.parametrize("network", [{}, {"start": "centre", "position": True}])
def test_total_loss_is_equation_2_with_the_pixel_gate(network):
    batch = drawings()
    for alpha, weight in ((0.0, 0.0), (0.1, 0.0), (0.3, 0.3)):
        one = task(network=network)
        one.alpha = alpha
        loss, _ = one.losses(*one.pairs(batch), torch.Generator().manual_seed(1), with_pixels=True)
        expected = loss.pen + (1 - alpha) * loss.stroke + weight * loss.pixel
        torch.testing.assert_close(loss.total, expected)
        assert loss.pixel > 0
        loss.total.backward()
        assert all((p.grad is not None) == p.requires_grad for p in one.parameters())


def test_random_numbers_depend_on_the_step():
    one, batch = task(), drawings()

    def total(step):
        return one.losses(*one.pairs(batch), one._generator(step, 0), with_pixels=True)[0].total.item()

    assert total(3) == total(3)
    assert total(3) != total(4)


def test_skip_padding_changes_only_the_pen_loss():
    batch = drawings()
    whole, short = task(), task(skip_padding=True)
    results = [
        one.losses(*one.pairs(batch), torch.Generator().manual_seed(1), with_pixels=True)[0]
        for one in (whole, short)
    ]
    torch.testing.assert_close(results[0].stroke, results[1].stroke)
    torch.testing.assert_close(results[0].pixel, results[1].pixel)
    assert results[1].pen < results[0].pen
    # The remaining pen loss is the cross-entropy up to the first end token.
    ends = (batch[..., 4] > 0.5).int().argmax(1)
    distribution, _ = whole.net(
        whole.pairs(batch)[0], batch, torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    )
    logits = distribution.pen_logits.detach()
    total = sum(
        torch.nn.functional.cross_entropy(logits[n, :end], batch[n, 1 : end + 1, 2:], reduction="sum")
        for n, end in enumerate(ends.tolist())
    )
    torch.testing.assert_close(results[1].pen.detach(), total / (6 * 16), atol=1e-4, rtol=1e-4)


def test_start_token_moves_the_pen_to_its_place_on_the_canvas():
    batch = drawings()
    net = task(network={"start": "centre"}).net
    with_start = net.add_start_token(batch)
    assert with_start.shape == (6, 18, 5)
    for row, original in zip(with_start.numpy(), batch.numpy(), strict=True):
        sketch = Sketch.from_stroke5(original)
        x0, y0, x1, y1 = sketch.bounds
        points = np.cumsum(row[:, :2], axis=0)[1 : 1 + len(sketch)]
        np.testing.assert_allclose(points, sketch.points - [(x0 + x1) / 2, (y0 + y1) / 2], atol=1e-4)
        assert row[0].tolist() == [0, 0, 0, 1, 0]
        assert row[1, 2:].tolist() == [1, 0, 0]
    assert net.add_start_token(batch)[:, 2:].equal(batch[:, 1:])
    assert task().net.add_start_token(batch) is batch


def test_losses_with_a_start_token_equal_their_definitions():
    batch = drawings()
    one = task(network={"start": "centre"})
    loss, _ = one.losses(*one.pairs(batch), torch.Generator().manual_seed(1), with_pixels=True)
    rows = one.net.add_start_token(batch)
    noise = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    distribution, _ = one.net(one.pairs(batch)[0], rows, noise)
    torch.testing.assert_close(loss.pen, pen_loss(distribution.pen_logits, rows[:, 1:, 2:]))
    torch.testing.assert_close(
        loss.stroke, stroke_loss(distribution.mixture, rows[:, 1:, :2], rows[:, 1:, 4])
    )


@pytest.mark.slow
@pytest.mark.parametrize("network", [{}, {"start": "centre", "position": True}], ids=["paper", "centre"])
def test_training_halves_the_stroke_loss(network):
    batch = drawings(2)
    one = task(network=network | {"hidden": 32, "hyper": 16, "latent": 16, "initial_logvar": -8.0})
    optimizer = torch.optim.Adam(one.parameters(), lr=1e-2)
    losses = []
    for step in range(100):
        loss, _ = one.losses(*one.pairs(batch), one._generator(step, 0), with_pixels=False)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.stroke.item())
    assert np.mean(losses[-10:]) < losses[0] / 2
