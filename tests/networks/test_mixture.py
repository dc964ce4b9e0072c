"""Compare the mixture with torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions

from sketchembed.networks.mixture import RAW_LIMIT, GaussianMixture

pytestmark = pytest.mark.usefixtures("version")


def mixture(seed=0, batch=(4, 3), mix=5, dtype=torch.float64, spread=1.0) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*batch, *shape, generator=generator, dtype=dtype) * spread

    return GaussianMixture(normal(mix), normal(mix, 2), normal(mix, 2), normal(mix))


def oracle(mixed: GaussianMixture) -> distributions.Distribution:
    std_x, std_y = mixed.log_std.exp().unbind(-1)
    rho = mixed.correlation.tanh()
    factor = torch.stack(
        [
            torch.stack([std_x, torch.zeros_like(std_x)], -1),
            torch.stack([rho * std_y, std_y * (1 - rho**2).sqrt()], -1),
        ],
        -2,
    )
    return distributions.MixtureSameFamily(
        distributions.Categorical(logits=mixed.logits),
        distributions.MultivariateNormal(mixed.mean, scale_tril=factor),
    )


@pytest.mark.parametrize("batch", [(), (6,), (4, 3)])
@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_log_prob_equals_torch(batch, spread):
    mixed = mixture(batch=batch, spread=spread)
    offset = torch.randn(*batch, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2
    torch.testing.assert_close(mixed.log_prob(offset), oracle(mixed).log_prob(offset), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("correlation", [-8.0, -6.0, 6.0, 8.0])
@pytest.mark.parametrize("direction", [(1.0, 1.0), (1.0, -1.0), (0.3, 0.9)])
def test_float32_log_prob_is_accurate_at_strong_correlation(correlation, direction):
    offset = torch.tensor(direction) * 1e-2
    one = torch.zeros(1, 2)
    single = GaussianMixture(torch.zeros(1), one, one, torch.tensor([correlation]))
    double = GaussianMixture(*(part.double() for part in single))
    torch.testing.assert_close(
        single.log_prob(offset).double(), oracle(double).log_prob(offset.double()), rtol=1e-4, atol=1e-4
    )


def test_log_prob_gradient_equals_finite_differences():
    parts = [part.requires_grad_() for part in mixture(batch=(2,), mix=3)]
    offset = torch.randn(
        2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    ).requires_grad_()
    assert torch.autograd.gradcheck(lambda off, *raw: GaussianMixture(*raw).log_prob(off), (offset, *parts))
    fixed = offset.detach()
    assert torch.autograd.gradcheck(lambda *raw: GaussianMixture(*raw).log_prob(fixed), parts)


def test_log_prob_gradient_is_accurate_in_float32():
    single = [part.requires_grad_() for part in mixture(batch=(50,), mix=20, dtype=torch.float32)]
    double = [part.detach().double().requires_grad_() for part in single]
    offset = torch.randn(50, 2, generator=torch.Generator().manual_seed(3))
    grads = torch.autograd.grad(GaussianMixture(*single).log_prob(offset).sum(), single)
    wanted = torch.autograd.grad(oracle(GaussianMixture(*double)).log_prob(offset.double()).sum(), double)
    for one, other in zip(grads, wanted, strict=True):
        assert (one.double() - other).norm() < 1e-5 * other.norm()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize("far", [0.0, 1e4])
def test_extreme_outputs_stay_finite(which, sign, far):
    output = torch.zeros(2, 6, 4)
    output[0, which] = sign * 1e4
    output[1, which, 0] = sign * 1e4
    output = output.flatten(1).requires_grad_()
    offset = torch.tensor([[far, -far]] * 2)
    mixed = GaussianMixture.from_output(output)
    log_p = mixed.log_prob(offset)
    assert log_p.dtype == torch.float32
    assert log_p.isfinite().all()
    (gradient,) = torch.autograd.grad(log_p.sum(), output)
    assert gradient.isfinite().all()
    for component in ("sample", "argmax"):
        assert mixed.sample(component=component).isfinite().all()


def test_simultaneous_extreme_outputs_stay_finite():
    generator = torch.Generator().manual_seed(0)
    output = (torch.randint(-1, 2, (512, 24), generator=generator) * 1e4).requires_grad_()
    log_p = GaussianMixture.from_output(output).log_prob(torch.randn(512, 2, generator=generator) * 1e4)
    floored = torch.logaddexp(log_p, torch.tensor(math.log(1e-6)))
    (gradient,) = torch.autograd.grad(floored.sum(), output)
    assert log_p.isfinite().all()
    assert gradient.isfinite().all()


def test_from_output_splits_in_the_released_order():
    # π, μ_x, μ_y, log σ_x, log σ_y, atanh ρ: blocks of M.
    output = torch.arange(12.0).reshape(1, 12) / 4
    mixed = GaussianMixture.from_output(output)
    torch.testing.assert_close(mixed.logits, torch.tensor([[0.0, 0.25]]))
    torch.testing.assert_close(mixed.mean, torch.tensor([[[0.5, 1.0], [0.75, 1.25]]]))
    torch.testing.assert_close(mixed.log_std, torch.tensor([[[1.5, 2.0], [1.75, 2.25]]]))
    torch.testing.assert_close(mixed.correlation, torch.tensor([[2.5, 2.75]]))


def test_from_output_is_float32_and_bounded():
    mixed = GaussianMixture.from_output(torch.full((1, 6), 100.0, dtype=torch.bfloat16))
    assert all(part.dtype == torch.float32 for part in mixed)
    assert mixed.log_std.max() == mixed.correlation.max() == RAW_LIMIT


def test_sampled_moments_match_the_distribution():
    mixed = mixture(seed=3, batch=(), mix=3)
    expected = oracle(mixed)
    many = GaussianMixture(*(part.expand(200_000, *part.shape) for part in mixed))
    drawn = many.sample(generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), expected.mean, atol=0.03, rtol=0.02)
    torch.testing.assert_close(drawn.var(0), expected.variance, atol=0.05, rtol=0.03)


def test_temperature_scales_the_covariance():
    # One component: τ scales the covariance.
    one = GaussianMixture(
        torch.zeros(1), torch.tensor([[1.0, -2.0]]), torch.tensor([[0.3, -0.7]]), torch.tensor([-0.8])
    )
    many = GaussianMixture(*(part.expand(200_000, *part.shape) for part in one))
    drawn = many.sample(0.25, generator=torch.Generator().manual_seed(0))
    expected = oracle(one).component_distribution.covariance_matrix[0] * 0.25
    torch.testing.assert_close(torch.cov(drawn.T), expected, atol=5e-3, rtol=0.02)


def test_temperature_sharpens_the_weights():
    # The components are narrow and far apart, so the offset shows which one was drawn.
    means = torch.tensor([[0.0, 0.0], [100.0, 0.0], [200.0, 0.0]])
    logits = torch.tensor([0.5, 0.0, -0.5])
    wide = GaussianMixture(
        logits.expand(100_000, 3),
        means.expand(100_000, 3, 2),
        torch.zeros(100_000, 3, 2),
        torch.zeros(100_000, 3),
    )
    for temperature in (0.3, 1.0, 2):
        drawn = wide.sample(temperature, generator=torch.Generator().manual_seed(0))
        shares = torch.bincount((drawn[:, 0] / 100).round().long(), minlength=3) / len(drawn)
        torch.testing.assert_close(shares, torch.softmax(logits / temperature, 0), atol=0.01, rtol=0)


def test_greedy_sample_is_the_mean_of_the_likeliest_component():
    mixed = mixture(dtype=torch.float32)
    likeliest = mixed.logits.argmax(-1)[..., None, None].expand(4, 3, 1, 2)
    mean = mixed.mean.gather(-2, likeliest).squeeze(-2)
    assert torch.equal(mixed.sample(0.0), mean)
    assert torch.equal(mixed.sample(0, "argmax"), mean)
    assert torch.equal(mixed.sample(component="argmax", noise=torch.zeros(4, 3, 2)), mean)


def test_sampling_is_reparameterised_and_seeded():
    mixed = mixture(dtype=torch.float32)
    parts = [part.requires_grad_() for part in mixed]
    noise = torch.ones(4, 3, 2)
    drawn = GaussianMixture(*parts).sample(component="argmax", noise=noise)
    logits, mean, log_std, correlation = torch.autograd.grad(drawn.sum(), parts, allow_unused=True)
    assert logits is None
    assert mean.sum() == 4 * 3 * 2
    assert log_std.abs().sum() > 0
    assert correlation.abs().sum() > 0
    seeded = [mixed.sample(generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*seeded)


def test_negative_temperature_raises():
    with pytest.raises(ValueError, match="temperature -1"):
        mixture(dtype=torch.float32).sample(-1.0)
