"""Test the whole model: generation against teacher forcing, end tokens, seeds and bfloat16."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sketchembed import losses
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.networks.mixture import RAW_LIMIT
from sketchembed.networks.sketchembednet import Latent

SMALL = dict(width=4, latent=6, hidden=12, hyper=8, embedding=3, mixtures=4, max_length=9)
KINDS = [
    ModelConfig(**SMALL),
    ModelConfig(**SMALL, variant="ha2017", pool="flatten"),
    ModelConfig(**SMALL, decoder="lstm", encoder="resnet12", channels=3, image_size=32),
    ModelConfig(**SMALL, position=True),
]
CENTRED = ModelConfig(**SMALL, position=True, start="centre")


def make(config: ModelConfig) -> SketchEmbedNet:
    torch.manual_seed(0)
    net = SketchEmbedNet(config, offset_scale=3.0)
    torch.nn.init.normal_(net.decoder.head.weight, std=0.3)
    return net


def images(config: ModelConfig, count=5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(count, config.channels, config.image_size, config.image_size, generator=generator)


def target(count=5, length=9) -> torch.Tensor:
    rows = torch.randn(count, length + 1, 5, generator=torch.Generator().manual_seed(3))
    state = torch.nn.functional.one_hot(rows[..., 2].gt(1).long(), 3)
    state[:, -2:] = torch.tensor([0, 0, 1])
    return torch.cat([rows[..., :2] * (state[..., 2:] == 0), state.float()], dim=-1)


@pytest.mark.parametrize("config", KINDS)
def test_greedy_drawing_equals_teacher_forcing(config):
    net = make(config).eval()
    latent = net.encode(images(config))
    rows = net.generate(latent.mean, temperature=0)
    (logits, mixture), _ = net.decoder(rows[:, :-1], latent.mean)
    likeliest = mixture.logits.argmax(-1)
    means = mixture.mean.gather(-2, likeliest[..., None, None].expand(*likeliest.shape, 1, 2)).squeeze(-2)
    ended = rows[..., 4].bool()
    before_end = ~ended[:, 1:]
    torch.testing.assert_close(rows[:, 1:, :2][before_end], means[before_end], atol=1e-4, rtol=1e-4)
    not_ended = ~ended[:, :-1]
    assert torch.equal(rows[:, 1:, 2:].argmax(-1)[not_ended], logits.argmax(-1)[not_ended])


@pytest.mark.parametrize("config", [*KINDS, CENTRED])
@pytest.mark.parametrize("component", ["sample", "argmax"])
def test_generated_rows_are_valid_drawings(config, component):
    net = make(config).eval()
    generator = torch.Generator().manual_seed(0)
    rows = net.generate(torch.randn(40, 6), 0.8, component, generator=generator)
    assert rows.shape[1] <= config.max_length + 1
    assert torch.equal(rows[:, 0], torch.tensor([[0.0, 0, 1, 0, 0]]).expand(40, 5))
    torch.testing.assert_close(rows[..., 2:].sum(-1), torch.ones(rows.shape[:2]))
    ended = rows[..., 4].bool()
    assert torch.equal(ended, ended.cummax(1).values)
    assert (rows[ended] == torch.tensor([0.0, 0, 0, 0, 1])).all()
    again = net.generate(torch.randn(40, 6), 0.8, max_length=3)
    assert again.shape[1] <= 4


def test_generation_stops_when_all_have_ended():
    net = make(KINDS[0]).eval()
    with torch.no_grad():
        net.decoder.head.bias[:3] = torch.tensor([0.0, 0.0, 100.0])
    rows = net.generate(torch.randn(4, 6))
    assert torch.equal(rows[:, 1], torch.tensor([[0.0, 0, 0, 0, 1]]).expand(4, 5))
    assert rows.shape == (4, 2, 5)


def test_embed_is_the_evaluation_mean_and_restores_the_mode():
    net = make(KINDS[0]).train()
    x = images(net.config)
    net(x, target())
    statistics = net.encoder.blocks[1].running_mean.clone()
    embedded = net.embed(x)
    assert net.training
    assert torch.equal(statistics, net.encoder.blocks[1].running_mean)
    net.eval()
    torch.testing.assert_close(embedded, net.encode(x).mean)
    torch.testing.assert_close(torch.cat([net.embed(part[None]) for part in x]), embedded)
    assert not net.training


def test_draw_is_seeded_and_multiplies_by_the_offset_scale():
    net = make(KINDS[0])
    x = images(net.config)
    drawn = net.draw(x)
    assert drawn == net.draw(x)
    rows = net.eval().generate(net.embed(x), 0)
    for sketch, row in zip(drawn, rows.numpy(), strict=True):
        length = int(row[:, 4].argmax()) or len(row)
        np.testing.assert_allclose(sketch.points, 3.0 * row[:length, :2].cumsum(0), rtol=1e-4, atol=1e-4)
    assert net.draw(x, 1.0, seed=1) == net.draw(x, 1.0, seed=1)
    assert net.draw(x, 1.0, seed=1) != net.draw(x, 1.0, seed=2)
    assert net.draw(x, 1.0) != net.draw(x, 1.0)


def test_latent_sample_is_a_gaussian():
    latent = Latent(torch.full((50_000, 1), 2.0), torch.full((50_000, 1), -1.0))
    torch.manual_seed(0)
    drawn = latent.sample()
    assert drawn.mean().item() == pytest.approx(2.0, abs=0.02)
    assert drawn.var().item() == pytest.approx(np.exp(-1.0), rel=0.03)
    assert torch.equal(latent.sample(torch.zeros(50_000, 1)), latent.mean)


def test_initial_logvar():
    assert (make(KINDS[0]).logvar.bias == 0).all()
    assert (make(ModelConfig(**SMALL, initial_logvar=-4.0)).logvar.bias == -4).all()


def test_config_has_plain_values():
    assert ModelConfig(**KINDS[1].to_dict()) == KINDS[1]
    assert all(isinstance(value, (int, float, str)) for value in KINDS[1].to_dict().values())


def test_paper_model_starts_within_the_mixture_bounds():
    """The bound on log σ and atanh ρ stops gradients, so no output may start beyond it."""
    torch.manual_seed(0)
    net = SketchEmbedNet()
    with torch.no_grad():
        (_, mixture), _ = net.decoder(target(8, 16)[:, :-1], torch.randn(8, 256))
    assert mixture.log_std.abs().max() < RAW_LIMIT / 2
    assert mixture.correlation.abs().max() < RAW_LIMIT / 2
    # The released model has 11.3 million parameters.
    total = sum(parameter.numel() for parameter in net.parameters())
    assert total == pytest.approx(11.27e6, rel=2e-3)


@pytest.mark.parametrize("config", KINDS)
def test_trains_under_autocast_with_float32_losses(config):
    net = make(config)
    stroke5, x, noise = target(), images(config), torch.randn(5, 6)
    results = []
    for enabled in (False, True):
        net.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            (logits, mixture), latent = net(x, stroke5, noise)
            wanted = stroke5[:, 1:]
            terms = losses.drawing_loss(
                losses.pen_loss(logits, wanted[..., 2:]),
                losses.stroke_loss(mixture, wanted[..., :2], wanted[..., 4]),
                losses.PixelLoss()(mixture, logits, stroke5, config.image_size, torch.zeros(1, 5, 9, 2)),
                alpha=0.3,
            )
        assert latent.mean.dtype == latent.logvar.dtype == torch.float32
        assert all(term.dtype == torch.float32 for term in terms)
        terms.total.backward()
        assert all(p.dtype == torch.float32 for p in net.parameters())
        assert all(p.grad.isfinite().all() for p in net.parameters() if p.requires_grad)
        results.append(terms.total.item())
    assert results[0] == pytest.approx(results[1], rel=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net.generate(net.embed(x)).dtype == torch.float32


@pytest.mark.parametrize("options", [{"encoder": "resnet12"}, {"pool": "flatten"}])
def test_shrinking_images_equals_pillow_reduce(options):
    config = ModelConfig(**SMALL, channels=3, image_size=84, **options)
    net, half = make(replace(config, shrink=2)).eval(), make(replace(config, image_size=42)).eval()
    half.load_state_dict(net.state_dict())
    pixels = np.random.default_rng(0).integers(0, 256, (84, 84, 3), dtype=np.uint8)
    given, reduced = (
        torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
        for image in (Image.fromarray(pixels), Image.fromarray(pixels).reduce(2))
    )
    torch.testing.assert_close(net.embed(given), half.embed(reduced), atol=5e-4, rtol=0)
    assert not torch.allclose(net.embed(given), half.embed(given[..., ::2, ::2]), atol=5e-4, rtol=0)
