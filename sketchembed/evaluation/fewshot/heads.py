"""Classifiers on top of an embedding, many episodes at once.

Each is a function of inner products alone: those of the support images with each other and with the images
asked about. An episode has few support images, so these are small whatever the embedding's size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sketchembed.errors import check_known
from sketchembed.evaluation.fewshot.logistic import fit_logistic


class Products(NamedTuple):
    """Inner products of an episode's embeddings, for a batch of episodes.

    Attributes:
        support: ``[episodes, n, n]`` float64, of the support images with each other.
        query: those of the images asked about with the support images. From weights
            ``[episodes, n, columns]`` of the support images to the products' weighted sums
            ``[episodes, queries, columns]``, which most heads need alone and which take less time and room;
            without weights, the products themselves.
    """

    support: Float[Tensor, "episodes n n"]
    query: Callable[[Tensor | None], Tensor]


Head = Callable[[Products, Int[Tensor, " n"], int], Int[Tensor, "episodes queries"]]
"""From products, the support images' classes and the way to the classes of the images asked about."""


def logistic(products: Products, labels: Int[Tensor, " n"], way: int) -> Int[Tensor, "episodes queries"]:
    """Multinomial logistic regression, the paper's head (section 5; the released code's C = 1)."""
    classifier = fit_logistic(products.support, labels.expand(len(products.support), -1), way)
    return (products.query(classifier.weight) + classifier.bias.unsqueeze(1)).argmax(-1)


def logistic_sklearn(
    products: Products, labels: Int[Tensor, " n"], way: int
) -> Int[Tensor, "episodes queries"]:
    """scikit-learn's logistic regression, converged, one episode after the other: the reference."""
    from sklearn.linear_model import LogisticRegression

    out = []
    asked = products.query(None)
    for support, query in zip(products.support.cpu(), asked.cpu(), strict=True):
        # Rows of the factor F of K = F Fᵀ stand for the support images, and Q F⁻ᵀ for the others.
        eye = torch.eye(len(support), dtype=torch.float64)
        factor = torch.linalg.cholesky(support.double() + 1e-10 * support.diagonal().max() * eye)
        rows = torch.linalg.solve_triangular(factor, query.double().mT, upper=False).mT
        model = LogisticRegression(C=1.0, tol=1e-8, max_iter=10_000).fit(factor.numpy(), labels.cpu().numpy())
        out.append(torch.from_numpy(np.asarray(model.predict(rows.numpy()))))
    return torch.stack(out).to(asked.device)


def centroid(products: Products, labels: Int[Tensor, " n"], way: int) -> Int[Tensor, "episodes queries"]:
    """Nearest class mean, by Euclidean distance (Snell et al. 2017)."""
    share = torch.nn.functional.one_hot(labels, way).double()
    share = share / share.sum(0)
    norms = torch.einsum("nk,enm,mk->ek", share, products.support.double(), share)
    asked = products.query(2 * share.expand(len(norms), -1, -1))
    return (asked - norms.unsqueeze(1)).argmax(-1)


def neighbour(products: Products, labels: Int[Tensor, " n"], way: int) -> Int[Tensor, "episodes queries"]:
    """The class of the nearest support image, by Euclidean distance (k nearest neighbours with k = 1)."""
    norms = products.support.diagonal(dim1=-2, dim2=-1)
    return labels[(2 * products.query(None).double() - norms.double().unsqueeze(1)).argmax(-1)]


HEADS: dict[str, Head] = {
    "logistic": logistic,
    "logistic-sklearn": logistic_sklearn,
    "centroid": centroid,
    "neighbour": neighbour,
}


def head(name: str) -> Head:
    """Return the head of that name.

    Raises:
        ConfigError: if there is none.
    """
    check_known("head", name, HEADS)
    return HEADS[name]
