"""The bivariate Gaussian mixture over pen offsets: log-density and sampling.

*Source*: paper section 3, equations 1 and 5; Graves 2013. Symbols: π is `logits` after a softmax,
(μ_x, μ_y) `mean`, (σ_x, σ_y) `exp(log_std)`, ρ_xy `tanh(correlation)`.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sketchembed.networks import mixture_native
from sketchembed.networks.precision import at_least_float32

RAW_LIMIT = 8.0
"""Bound of |log σ| and |atanh ρ|. σ = e^-8 is far below a pixel, σ = e^8 far larger than the canvas, and
ρ = tanh 8 gives 1 - ρ² = 5e-7. Without the bound, identical offsets would let the density diverge."""


class GaussianMixture(NamedTuple):
    """A mixture of M components per element of the batch, as raw network outputs in float32 or wider."""

    logits: Float[Tensor, "*batch mix"]  # unnormalised log π
    mean: Float[Tensor, "*batch mix 2"]  # in normalised offset units
    log_std: Float[Tensor, "*batch mix 2"]
    correlation: Float[Tensor, "*batch mix"]  # before the tanh

    @classmethod
    def from_output(cls, output: Float[Tensor, "*batch six_mix"]) -> GaussianMixture:
        """Split the output of a decoder, ``[*batch, 6 M]``: π, μ_x, μ_y, log σ_x, log σ_y, atanh ρ.

        16-bit outputs are converted to float32, because the densities of narrow components overflow 16 bits.
        """
        logits, mu_x, mu_y, log_x, log_y, correlation = at_least_float32(output).chunk(6, dim=-1)
        log_std = torch.stack([log_x, log_y], dim=-1).clamp(-RAW_LIMIT, RAW_LIMIT)
        mean = torch.stack([mu_x, mu_y], dim=-1)
        return cls(logits, mean, log_std, correlation.clamp(-RAW_LIMIT, RAW_LIMIT))

    def log_prob(
        self, offset: Float[Tensor, "*batch 2"], constant: float | int = 0.0
    ) -> Float[Tensor, "*batch"]:
        """Return log p(Δ), equation 1, by log-sum-exp over the components. Δ is in normalised units.

        The released code adds a `constant` of 1e-6 to the denominators and inside the square root of the
        density, which avoids divisions by zero.
        """
        if not constant and not offset.requires_grad and mixture_native.is_compiled(*self, offset):
            return mixture_native.log_prob(*self, offset)
        x, y = ((offset.unsqueeze(-2) - self.mean) * torch.exp(-self.log_std)).unbind(-1)
        if constant:
            std, rho = self.log_std.sum(-1).exp(), torch.tanh(self.correlation)
            rest = 1 - rho**2
            square = (x**2 + y**2 - 2 * rho * x * y * std / (std + constant)) / (rest + constant / 2)
            log_scale = (2 * math.pi * std * torch.sqrt(rest + constant) + constant).log()
            return self._log_sum(square, log_scale)
        # With ρ = tanh a, 1 ± ρ = 2 σ(±2a). The quadratic form is then a sum of two squares, and 1 - ρ² a
        # product of two sigmoids. Neither loses precision when ρ is close to ±1.
        twice = 2 * self.correlation
        square = ((x - y) ** 2 * (1 + torch.exp(twice)) + (x + y) ** 2 * (1 + torch.exp(-twice))) / 4
        log_rest = 2 * math.log(2) + functional.logsigmoid(twice) + functional.logsigmoid(-twice)
        log_scale = 0.5 * log_rest + self.log_std.sum(-1) + math.log(2 * math.pi)
        return self._log_sum(square, log_scale)

    def _log_sum(self, square: Tensor, log_scale: Tensor) -> Tensor:
        """Return log Σ π exp(-square / 2 - log_scale) over the components."""
        return torch.logsumexp(torch.log_softmax(self.logits, dim=-1) - 0.5 * square - log_scale, dim=-1)

    def sample(
        self,
        temperature: float | int = 1.0,
        component: Literal["sample", "argmax"] = "sample",
        noise: Float[Tensor, "*batch 2"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "*batch 2"]:
        """Sample one offset per mixture, differentiable in μ, σ and ρ (equation 5).

        Args:
            temperature: τ ≥ 0; π becomes π^(1/τ), normalised, and σ is multiplied by √τ (Ha and Eck 2018).
                0 returns the mean of the most likely component.
            component: ``"sample"`` samples a component from π (the paper), ``"argmax"`` takes the most likely
                one (the released code).
            noise: ε, standard normal, sampled if not given.
            generator: random number generator.
        """
        if temperature < 0:
            raise ValueError(f"temperature {temperature} is negative; 0 is greedy, 1 the distribution itself")
        if component == "argmax" or temperature == 0.0:
            index = self.logits.argmax(dim=-1)
        else:
            # multinomial rejects NaN. If the logits have any, so have the offsets, which the caller checks.
            probabilities = torch.softmax((self.logits / temperature).nan_to_num(), dim=-1)
            flat = probabilities.reshape(-1, self.logits.shape[-1])
            index = torch.multinomial(flat, 1, generator=generator).reshape(self.logits.shape[:-1])
        pick = index[..., None, None].expand(*index.shape, 1, 2)
        mean = self.mean.gather(-2, pick).squeeze(-2)
        if temperature == 0.0:
            return mean
        std = self.log_std.gather(-2, pick).squeeze(-2).exp() * math.sqrt(temperature)
        rho = torch.tanh(self.correlation.gather(-1, index[..., None]).squeeze(-1))
        if noise is None:
            noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        first, second = noise.unbind(-1)
        # 1e-6 as in the released code: the square root has no gradient at 0, which ρ = ±1 gives in float32.
        skewed = rho * first + torch.sqrt(1 - rho**2 + 1e-6) * second
        return mean + std * torch.stack([first, skewed], dim=-1)
