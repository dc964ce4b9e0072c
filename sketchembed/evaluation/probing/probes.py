"""What can be read out of embeddings by simple models, and how they lie when laid out flat.

*Source*: paper section 6 and appendix F; the probes are scikit-learn's with its own settings, as in the
released code.

Two things decide much here and are no merit of a model, so both are shown each way. A probe's penalty weighs
less where an embedding has larger numbers: linear probes are fitted to the features as they are, as the
released code does, and to the same features scaled to a common size. And the released code takes a sample of
z for a picture: a model that was trained to draw has little noise on z, while a VAE's loss asks for noise.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.fewshot.methods import pixels
from sketchembed.evaluation.models import LABELS, Model
from sketchembed.networks.conv_vae import ConvVAE

SAMPLING = (
    "The released code takes a sample of z for a picture, as the first rows do; the *mean* of z leaves the "
    "noise out. *Scaled*: all features divided by one number, so that their variance is 1 on average and the "
    "probe's penalty weighs the same for every embedding."
)
"""What every table of probes must say."""


class Split(NamedTuple):
    """What a probe learns from and what it is tested on.

    Attributes:
        train: features, float64 ``[n, features]``.
        truth: of the training examples, ``[n]``.
        test: features, float64 ``[m, features]``.
        test_truth: of the test examples, ``[m]``.
    """

    train: np.ndarray
    truth: np.ndarray
    test: np.ndarray
    test_truth: np.ndarray

    def first(self, count: int) -> Split:
        """Return the same with the first `count` training examples only."""
        return self._replace(train=self.train[:count], truth=self.truth[:count])

    def scaled(self) -> Split:
        """Return the same, divided by one number that makes the variance of a training feature 1 on average.

        One number for each feature would do more than that: it would blow up features that hardly vary.
        """
        spread = max(float(np.sqrt(self.train.var(axis=0).mean())), 1e-12)
        return self._replace(train=self.train / spread, test=self.test / spread)


class Fit(NamedTuple):
    """How well a variable is predicted on the test examples.

    Attributes:
        r2: share of its variance that is explained; 0 is what its mean explains.
        mse: mean squared error, in the variable's unit squared.
    """

    r2: float
    mse: float


def classified(split: Split) -> float:
    """Return the share of the test examples that a logistic regression puts into their class, in per cent.

    It is scikit-learn's with its own settings, solved to convergence.
    """
    from sklearn.linear_model import LogisticRegression

    train, test = split.train, split.test
    if len(train) < train.shape[1]:
        # The solution lies in the span of the examples, in which there are fewer weights to look for.
        basis = np.linalg.qr(train.T)[0]
        train, test = train @ basis, test @ basis
    model = LogisticRegression(solver="newton-cholesky").fit(train, split.truth)
    return 100 * float(model.score(test, split.test_truth))


def linear(split: Split) -> Fit:
    """Predict by ridge regression, with the penalty 1."""
    from sklearn.linear_model import Ridge

    return _tested(Ridge().fit(split.train, split.truth), split)


def nonlinear(split: Split, seed: int) -> Fit:
    """Predict by a perceptron with one hidden layer of 100 units, trained for at most 3,000 passes.

    Args:
        split: examples.
        seed: of its first weights and of the order of the examples.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    with warnings.catch_warnings():
        # That 3,000 passes were not enough is what the paper's numbers are of, too.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MLPRegressor(max_iter=3000, random_state=seed).fit(split.train, split.truth)
    return _tested(model, split)


def _tested(model: Any, split: Split) -> Fit:
    from sklearn.metrics import mean_squared_error, r2_score

    predicted = model.predict(split.test)
    return Fit(
        float(r2_score(split.test_truth, predicted)), float(mean_squared_error(split.test_truth, predicted))
    )


def projected(features: np.ndarray, seed: int) -> np.ndarray:
    """Lay embeddings out flat by UMAP with its own settings, without their labels.

    Args:
        features: ``[n, features]``.
        seed: of the layout.

    Returns:
        ``[n, 2]``, each axis in 0..1.
    """
    import umap

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="umap")
        neighbours = min(15, len(features) - 1)
        flat = umap.UMAP(random_state=seed, n_jobs=1, n_neighbors=neighbours).fit_transform(features)
    flat = np.asarray(flat, dtype=np.float64)
    low, high = flat.min(axis=0), flat.max(axis=0)
    return np.asarray((flat - low) / np.maximum(high - low, 1e-9))


class Row(NamedTuple):
    """An embedding that is probed.

    Attributes:
        name: for tables.
        model: None for the pixels themselves.
        sampled: whether a sample of z stands for a picture, or its mean.
    """

    name: str
    model: Model | None
    sampled: bool

    @property
    def key(self) -> str:
        """The name, for the names of values."""
        return self.name.lower().replace(",", "").replace(" ", "-")


def rows(context: EvaluationContext) -> list[Row]:
    """Return what is probed: samples of z of the context's models, as in the released code; means; pixels."""
    found = [
        Row(f"{LABELS[model.network.kind]}, {'sampled' if sampled else 'mean'} z", model, sampled)
        for sampled in (True, False)
        for model in context.both
    ]
    return [*found, Row("Raw pixels", None, False)]


def embedded(
    context: EvaluationContext, images: Float[Tensor, "batch 1 size size"], seed: int
) -> dict[str, np.ndarray]:
    """Return the features of images, float64 ``[batch, features]``, by the name of the row.

    Args:
        context: the models.
        images: in [0, 1], dark on white.
        seed: of the samples of z.
    """
    found: dict[str, Tensor] = {}
    latents = {model.name: context.encode(model, images) for model in context.both}
    for row in rows(context):
        if row.model is None:
            found[row.name] = pixels(images)
            continue
        latent = latents[row.model.name]
        if row.sampled:
            noise = torch.randn(latent.mean.shape, generator=torch.Generator().manual_seed(seed))
            network = row.model.network
            found[row.name] = (
                network.sample(latent, noise) if isinstance(network, ConvVAE) else latent.sample(noise)
            )
        else:
            found[row.name] = latent.mean
    return {name: features.double().numpy() for name, features in found.items()}
