"""Multinomial logistic regression of many small problems at once.

Each problem is the one that scikit-learn's ``LogisticRegression(C)`` solves: over weights W and free
intercepts b, the least of

    Σ_i -log softmax(W x_i + b)[y_i] + |W|² / (2 C).

A few-shot episode has no more support images than features, so W is looked for in their span: with the
Gram matrix of the support factored as F Fᵀ, the rows of F stand for the images, and no product is larger
than support × support. Newton's method converges in a handful of steps; each solves its linear system by
conjugate gradients, preconditioned by the Hessian at equal chances, which these lightly fitted problems
hardly leave.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

TOLERANCE = 1e-7
"""Largest element of the gradient, over C = 1, at which a problem counts as solved."""
NEWTON_STEPS = 50
CG_STEPS = 30
CG_REDUCTION = 1e-2
"""A Newton step is solved until its residual is this part of the gradient: more is lost on the next step."""
JITTER = 1e-10
"""Added to the Gram matrix's diagonal, so that equal images leave it positive definite."""


class Classifier(NamedTuple):
    """Linear classifiers, one a problem, by what each support row adds: ``scores = k @ weight + bias``.

    Attributes:
        weight: ``[problems, n, classes]``, of the products k of a row with the n support rows.
        bias: ``[problems, classes]``.
    """

    weight: Float[Tensor, "problems n classes"]
    bias: Float[Tensor, "problems classes"]


def fit_logistic(
    gram: Float[Tensor, "problems n n"], y: Int[Tensor, "problems n"], classes: int, c: float | int = 1.0
) -> Classifier:
    """Fit every problem.

    *Source*: the released code's ``LogisticRegression`` (multinomial, L2, C = 1, free intercept), converged.

    Args:
        gram: inner products of the support rows with each other; in float64 inside.
        y: class of each row, 0 to classes - 1.
        classes: how many.
        c: inverse of the penalty.

    Returns:
        the classifiers, in float64.
    """
    gram = gram.double()
    count = gram.shape[-1]
    scale = gram.diagonal(dim1=-2, dim2=-1).amax(-1).clamp_min(1e-30)
    eye = torch.eye(count, dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky(gram + JITTER * scale[:, None, None] * eye)
    # The last column is the intercept's, which costs nothing.
    rows = functional.pad(factor, (0, 1), value=1.0)
    cost = functional.pad(rows.new_full((count,), 1 / c), (0, 1)).unsqueeze(-1)
    target = functional.one_hot(y, classes).to(rows.dtype)
    weight = _minimise(rows, cost, target)
    # F w = K a with K = F Fᵀ: what each support row adds is a = F⁻ᵀ w.
    support = torch.linalg.solve_triangular(factor.mT, weight[:, :-1], upper=True)
    return Classifier(support, weight[:, -1])


def _minimise(rows: Tensor, cost: Tensor, target: Tensor) -> Tensor:
    """Return the weights ``[problems, columns, classes]`` at the minimum."""
    classes = target.shape[-1]
    weight = rows.new_zeros(rows.shape[0], rows.shape[-1], classes)
    # The Hessian where all classes are equally likely, but for the direction in which all weights are
    # equal, which no gradient has.
    at_rest = torch.linalg.cholesky(rows.mT @ rows / classes + torch.diag_embed(cost[:, 0] + JITTER))
    value = _objective(rows, cost, target, weight)
    for _ in range(NEWTON_STEPS):
        chances = torch.softmax(rows @ weight, dim=-1)
        gradient = rows.mT @ (chances - target) + cost * weight
        size = gradient.abs().amax(dim=(1, 2))
        if bool((size < TOLERANCE).all()):
            break
        step = _newton_step(rows, cost, chances, gradient, at_rest)
        slope = (gradient * step).sum(dim=(1, 2))
        weight, value = _line_search(rows, cost, target, weight, value, step, slope)
    return weight


def _objective(rows: Tensor, cost: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    scores = rows @ weight
    loss = torch.logsumexp(scores, dim=-1).sum(-1) - (scores * target).sum(dim=(1, 2))
    return loss + (cost * weight * weight).sum(dim=(1, 2)) / 2


def _newton_step(rows: Tensor, cost: Tensor, chances: Tensor, gradient: Tensor, at_rest: Tensor) -> Tensor:
    """Solve Hessian · step = -gradient by preconditioned conjugate gradients."""

    def hessian(step: Tensor) -> Tensor:
        change = rows @ step
        change = chances * (change - (chances * change).sum(-1, keepdim=True))
        return rows.mT @ change + cost * step

    step = torch.zeros_like(gradient)
    residual = -gradient
    # A problem that is solved is left alone: what remains of its gradient is rounding, on which the
    # iteration would go astray.
    wanted = (CG_REDUCTION * residual.flatten(1).norm(dim=1)).clamp_min(TOLERANCE / 10)
    direction = prepared = torch.cholesky_solve(residual, at_rest)
    product = (residual * prepared).sum(dim=(1, 2), keepdim=True)
    for _ in range(CG_STEPS):
        unsolved = residual.flatten(1).norm(dim=1) > wanted
        if not bool(unsolved.any()):
            break
        curved = hessian(direction)
        along = product / (direction * curved).sum(dim=(1, 2), keepdim=True).clamp_min(1e-300)
        along = torch.where(unsolved[:, None, None], along, 0)
        step = step + along * direction
        residual = residual - along * curved
        prepared = torch.cholesky_solve(residual, at_rest)
        before, product = product, (residual * prepared).sum(dim=(1, 2), keepdim=True)
        direction = prepared + product / before.clamp_min(1e-300) * direction
    return step


def _line_search(
    rows: Tensor, cost: Tensor, target: Tensor, weight: Tensor, value: Tensor, step: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor]:
    """Halve the steps that do not descend (Armijo), each problem for itself."""
    length = torch.ones_like(value)
    best, best_value = weight, value
    pending = torch.ones_like(value, dtype=torch.bool)
    for _ in range(20):
        tried = weight + length[:, None, None] * step
        tried_value = _objective(rows, cost, target, tried)
        # Near the minimum the descent drowns in rounding.
        enough = value + 1e-4 * length * slope + 1e-12 * (1 + value.abs())
        good = pending & (tried_value <= enough)
        best = torch.where(good[:, None, None], tried, best)
        best_value = torch.where(good, tried_value, best_value)
        pending = pending & ~good
        if not bool(pending.any()):
            break
        length = torch.where(pending, length / 2, length)
    return best, best_value
