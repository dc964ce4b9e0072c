"""Multinomial logistic regression of many small problems at once, with scikit-learn's objective.

Over weights W and intercepts b, it minimises Σ_i -log softmax(W x_i + b)[y_i] + |W|² / (2 C). The optimal W
lies in the span of the support images. With their Gram matrix factored as F Fᵀ, the rows of F replace the
images. Newton's method solves its steps by conjugate gradients. Their preconditioner is the Hessian at
uniform class probabilities, which is a good approximation for weakly fitted problems.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

TOLERANCE = 1e-7  # maximum gradient element (for C = 1) of a solved problem
NEWTON_STEPS = 50
CG_STEPS = 30
CG_REDUCTION = 1e-2
"""Reduction of the residual in a Newton step. Higher accuracy would be lost in the next step."""
JITTER = 1e-10
"""Relative addition to the diagonal of the Gram matrix, which keeps it positive definite for equal images."""


class LinearClassifiers(NamedTuple):
    """Linear classifiers, one per problem: ``scores = k @ weight + bias``.

    k are the inner products of an input with the n support rows.
    """

    weight: Float[Tensor, "problems n classes"]
    bias: Float[Tensor, "problems classes"]


def fit_logistic(
    gram: Float[Tensor, "problems n n"], y: Int[Tensor, "problems n"], classes: int, c: float | int = 1.0
) -> LinearClassifiers:
    """Fit all problems, in float64.

    *Source*: the released code's ``LogisticRegression`` (multinomial, L2, C = 1, free intercept), converged.

    `gram` are inner products of the support rows, `y` their classes from 0 to classes - 1, and `c` is the
    inverse strength of the penalty.
    """
    gram = gram.double()
    count = gram.shape[-1]
    scale = gram.diagonal(dim1=-2, dim2=-1).amax(-1).clamp_min(1e-30)
    eye = torch.eye(count, dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky(gram + JITTER * scale[:, None, None] * eye)
    # The last column is the intercept, which is not penalised.
    rows = functional.pad(factor, (0, 1), value=1.0)
    penalty = functional.pad(rows.new_full((count,), 1 / c), (0, 1)).unsqueeze(-1)
    target = functional.one_hot(y, classes).to(rows.dtype)
    weight = _minimise(rows, penalty, target)
    # Weights w for rows of F correspond to a = F⁻ᵀ w for inner products: F w = K a with K = F Fᵀ.
    support = torch.linalg.solve_triangular(factor.mT, weight[:, :-1], upper=True)
    return LinearClassifiers(support, weight[:, -1])


def _minimise(rows: Tensor, penalty: Tensor, target: Tensor) -> Tensor:
    """Return the optimal weights, ``[problems, columns, classes]``."""
    classes = target.shape[-1]
    weight = rows.new_zeros(rows.shape[0], rows.shape[-1], classes)
    # Hessian at uniform probabilities. The direction in which all classes' weights are equal is excluded:
    # gradients have no component in it.
    uniform = torch.linalg.cholesky(rows.mT @ rows / classes + torch.diag_embed(penalty[:, 0] + JITTER))
    value = _objective(rows, penalty, target, weight)
    for _ in range(NEWTON_STEPS):
        probabilities = torch.softmax(rows @ weight, dim=-1)
        gradient = rows.mT @ (probabilities - target) + penalty * weight
        size = gradient.abs().amax(dim=(1, 2))
        if bool((size < TOLERANCE).all()):
            break
        step = _newton_step(rows, penalty, probabilities, gradient, uniform)
        slope = (gradient * step).sum(dim=(1, 2))
        weight, value = _line_search(rows, penalty, target, weight, value, step, slope)
    return weight


def _objective(rows: Tensor, penalty: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    scores = rows @ weight
    loss = torch.logsumexp(scores, dim=-1).sum(-1) - (scores * target).sum(dim=(1, 2))
    return loss + (penalty * weight * weight).sum(dim=(1, 2)) / 2


def _newton_step(
    rows: Tensor, penalty: Tensor, probabilities: Tensor, gradient: Tensor, uniform: Tensor
) -> Tensor:
    """Solve Hessian · step = -gradient by preconditioned conjugate gradients."""

    def hessian(step: Tensor) -> Tensor:
        change = rows @ step
        change = probabilities * (change - (probabilities * change).sum(-1, keepdim=True))
        return rows.mT @ change + penalty * step

    step = torch.zeros_like(gradient)
    residual = -gradient
    # Solved problems are not updated: their residual is rounding error, on which the iteration diverges.
    wanted = (CG_REDUCTION * residual.flatten(1).norm(dim=1)).clamp_min(TOLERANCE / 10)
    direction = preconditioned = torch.cholesky_solve(residual, uniform)
    product = (residual * preconditioned).sum(dim=(1, 2), keepdim=True)
    for _ in range(CG_STEPS):
        unsolved = residual.flatten(1).norm(dim=1) > wanted
        if not bool(unsolved.any()):
            break
        curved = hessian(direction)
        length = product / (direction * curved).sum(dim=(1, 2), keepdim=True).clamp_min(1e-300)
        length = torch.where(unsolved[:, None, None], length, 0)
        step = step + length * direction
        residual = residual - length * curved
        preconditioned = torch.cholesky_solve(residual, uniform)
        before, product = product, (residual * preconditioned).sum(dim=(1, 2), keepdim=True)
        direction = preconditioned + product / before.clamp_min(1e-300) * direction
    return step


def _line_search(
    rows: Tensor, penalty: Tensor, target: Tensor, weight: Tensor, value: Tensor, step: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor]:
    """Halve the step of each problem until its objective decreases (Armijo)."""
    length = torch.ones_like(value)
    best, best_value = weight, value
    pending = torch.ones_like(value, dtype=torch.bool)
    for _ in range(20):
        tried = weight + length[:, None, None] * step
        tried_value = _objective(rows, penalty, target, tried)
        # Close to the minimum, the decrease is below the rounding error of the objective.
        limit = value + 1e-4 * length * slope + 1e-12 * (1 + value.abs())
        good = pending & (tried_value <= limit)
        best = torch.where(good[:, None, None], tried, best)
        best_value = torch.where(good, tried_value, best_value)
        pending = pending & ~good
        if not bool(pending.any()):
            break
        length = torch.where(pending, length / 2, length)
    return best, best_value
