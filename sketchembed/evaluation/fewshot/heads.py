"""Classifiers on top of an embedding, computed for many episodes at once.

All of them need only inner products: of the support images with each other and of the queries with the
support images. An episode has few support images, so these arrays are small for embeddings of any size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sketchembed.evaluation.fewshot.logistic import fit_logistic


class Products(NamedTuple):
    """Inner products of the embeddings of a batch of episodes.

    Attributes:
        support: float64 ``[episodes, n, n]``, of the support images with each other.
        query: returns products of the queries with the support images. Given weights
            ``[episodes, n, columns]`` of the support images, it returns the weighted sums
            ``[episodes, queries, columns]``, which is faster and enough for most heads; given None, it
            returns the products ``[episodes, queries, n]``.
        features: returns the embeddings of the support images, ``[episodes, n, features]``, for the one head
            that needs them.
    """

    support: Float[Tensor, "episodes n n"]
    query: Callable[[Tensor | None], Tensor]
    features: Callable[[], Tensor]


Head = Callable[[Products, Int[Tensor, " n"], int], Int[Tensor, "episodes queries"]]
"""From products, classes of the support images, and way to the predicted classes of the queries."""


def logistic(products: Products, labels: Int[Tensor, " n"], way: int) -> Int[Tensor, "episodes queries"]:
    """Predict by multinomial logistic regression (paper section 5; C = 1 as in the released code)."""
    classifiers = fit_logistic(products.support, labels.expand(len(products.support), -1), way)
    return (products.query(classifiers.weight) + classifiers.bias.unsqueeze(1)).argmax(-1)


def logistic_sklearn(
    products: Products, labels: Int[Tensor, " n"], way: int
) -> Int[Tensor, "episodes queries"]:
    """Predict by scikit-learn's logistic regression, one episode at a time: the slow reference."""
    from sklearn.linear_model import LogisticRegression

    out = []
    between = products.query(None)
    for support, query in zip(products.support.cpu(), between.cpu(), strict=True):
        # With K = F Fᵀ, the rows of F represent the support images, and the rows of Q F⁻ᵀ the queries.
        eye = torch.eye(len(support), dtype=torch.float64)
        factor = torch.linalg.cholesky(support.double() + 1e-10 * support.diagonal().max() * eye)
        rows = torch.linalg.solve_triangular(factor, query.double().mT, upper=False).mT
        model = LogisticRegression(C=1.0, tol=1e-8, max_iter=10_000).fit(factor.numpy(), labels.cpu().numpy())
        out.append(torch.from_numpy(np.asarray(model.predict(rows.numpy()))))
    return torch.stack(out).to(between.device)


def logistic_released(
    products: Products, labels: Int[Tensor, " n"], way: int
) -> Int[Tensor, "episodes queries"]:
    """Predict by logistic regression that stops where it did in the released program: slow."""
    if way == 2:  # scikit-learn now fits one vector, not two; the program has no such episodes
        return logistic(products, labels, way)
    found = [released_classifier(rows, labels) for rows in products.features()]
    weight, bias = (torch.stack(part) for part in zip(*found, strict=True))
    return (products.query(weight) + bias.unsqueeze(1)).argmax(-1)


def released_classifier(
    rows: Float[Tensor, "n features"], labels: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "n classes"], Float[Tensor, " classes"]]:
    """Return the weights of the support images and the intercepts that scikit-learn 0.22.1 found.

    That version compared its tolerance of 1e-4 with the gradient of a sum over the images. Later versions
    compare it with the gradient of the mean.
    """
    from sklearn.linear_model import LogisticRegression

    inputs = rows.double().cpu()
    model = LogisticRegression(C=1.0, tol=1e-4 / len(labels), max_iter=100)
    model.fit(inputs.numpy(), labels.cpu().numpy())
    # All steps from zero are sums of support rows.
    weight = torch.linalg.lstsq(inputs.T, torch.from_numpy(model.coef_).T, driver="gelsd").solution
    return weight.to(rows.device), torch.from_numpy(model.intercept_).to(rows.device)


def centroid(products: Products, labels: Int[Tensor, " n"], way: int) -> Int[Tensor, "episodes queries"]:
    """Predict the class with the nearest mean, by Euclidean distance (Snell et al. 2017)."""
    share = torch.nn.functional.one_hot(labels, way).double()
    share = share / share.sum(0)
    norms = torch.einsum("nk,enm,mk->ek", share, products.support.double(), share)
    scores = products.query(2 * share.expand(len(norms), -1, -1))
    return (scores - norms.unsqueeze(1)).argmax(-1)


def neighbour(products: Products, labels: Int[Tensor, " n"], way: int) -> Int[Tensor, "episodes queries"]:
    """Predict the class of the nearest support image, by Euclidean distance (k-NN with k = 1)."""
    norms = products.support.diagonal(dim1=-2, dim2=-1)
    return labels[(2 * products.query(None).double() - norms.double().unsqueeze(1)).argmax(-1)]


HEADS: dict[str, Head] = {
    "logistic": logistic,
    "logistic-sklearn": logistic_sklearn,
    "logistic-released": logistic_released,
    "centroid": centroid,
    "neighbour": neighbour,
}
"""All heads by name."""
