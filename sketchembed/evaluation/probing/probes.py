"""Probes: simple models that predict a property of images from their embeddings.

*Source*: paper section 6 and appendix F; scikit-learn's models with default settings, as in released code.

Two effects that do not reflect the quality of an embedding are shown by results with and without them: the
scale of the features, on which the effect of a penalty depends, and the noise of a sample of z.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.fewshot.methods import pixel_features
from sketchembed.evaluation.models import LABELS, Model
from sketchembed.networks.conv_vae import ConvVAE

SAMPLING = (
    "*Sampled z*: an image is represented by a sample of z, as in the released code. *Mean z*: without this "
    "noise. *Scaled*: all features are divided by one number, so that their mean variance is 1 and the "
    "penalty of the probe has the same effect on every embedding."
)
"""Note of the tables of probes."""


class ProbeData(NamedTuple):
    """Training and test examples of a probe: float64 features ``[n, features]``, and targets ``[n]``."""

    train: np.ndarray
    targets: np.ndarray
    test: np.ndarray
    test_targets: np.ndarray

    def first(self, count: int) -> ProbeData:
        """Return the examples with only the first `count` training examples."""
        return self._replace(train=self.train[:count], targets=self.targets[:count])

    def scaled(self) -> ProbeData:
        """Return features divided by one number, so that the mean variance of the training features is 1.

        Scaling each feature separately would amplify features that hardly vary.
        """
        scale = max(float(np.sqrt(self.train.var(axis=0).mean())), 1e-12)
        return self._replace(train=self.train / scale, test=self.test / scale)


class RegressionScore(NamedTuple):
    """Coefficient of determination, and mean squared error in the squared unit, on the test examples."""

    r2: float
    mse: float


def classification_accuracy(data: ProbeData) -> float:
    """Return the test accuracy of a logistic regression in percent.

    The model is scikit-learn's with default settings, solved to convergence.
    """
    from sklearn.linear_model import LogisticRegression

    train, test = data.train, data.test
    if len(train) < train.shape[1]:
        # The solution lies in the span of the examples, which has fewer dimensions.
        basis = np.linalg.qr(train.T)[0]
        train, test = train @ basis, test @ basis
    model = LogisticRegression(solver="newton-cholesky").fit(train, data.targets)
    return 100 * float(model.score(test, data.test_targets))


def linear(data: ProbeData) -> RegressionScore:
    """Score a ridge regression with penalty 1."""
    from sklearn.linear_model import Ridge

    return _score(Ridge().fit(data.train, data.targets), data)


def nonlinear(data: ProbeData, seed: int) -> RegressionScore:
    """Score a perceptron with one hidden layer of 100 units, trained for at most 3,000 epochs."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    with warnings.catch_warnings():
        # The paper's numbers are also for at most 3,000 epochs, whether or not they suffice.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MLPRegressor(max_iter=3000, random_state=seed).fit(data.train, data.targets)
    return _score(model, data)


def _score(model: Any, data: ProbeData) -> RegressionScore:
    from sklearn.metrics import mean_squared_error, r2_score

    predicted = model.predict(data.test)
    return RegressionScore(
        float(r2_score(data.test_targets, predicted)), float(mean_squared_error(data.test_targets, predicted))
    )


def umap_projection(features: np.ndarray, seed: int) -> np.ndarray:
    """Project embeddings ``[n, features]`` by UMAP with default settings, without labels.

    Returns:
        ``[n, 2]``, scaled to 0..1 along each axis.
    """
    import umap

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="umap")
        neighbours = min(15, len(features) - 1)
        flat = umap.UMAP(random_state=seed, n_jobs=1, n_neighbors=neighbours).fit_transform(features)
    flat = np.asarray(flat, dtype=np.float64)
    low, high = flat.min(axis=0), flat.max(axis=0)
    return np.asarray((flat - low) / np.maximum(high - low, 1e-9))


class ProbeRow(NamedTuple):
    """Features that are probed: samples of z or means of z of a model, or raw pixels for no model."""

    name: str
    model: Model | None
    sampled: bool

    @property
    def key(self) -> str:
        """Name in the keys of values."""
        return self.name.lower().replace(",", "").replace(" ", "-")


def probe_rows(context: EvaluationContext) -> list[ProbeRow]:
    """Return the features to probe: samples of z and means of z of each model, and raw pixels."""
    found = [
        ProbeRow(f"{LABELS[model.network.kind]}, {'sampled' if sampled else 'mean'} z", model, sampled)
        for sampled in (True, False)
        for model in context.models
    ]
    return [*found, ProbeRow("Raw pixels", None, False)]


def probe_features(
    context: EvaluationContext, images: Float[Tensor, "batch 1 size size"], seed: int
) -> dict[str, np.ndarray]:
    """Return the features of images, float64 ``[batch, features]``, by the name of the row."""
    found: dict[str, Tensor] = {}
    latents = {model.name: context.encode(model, images) for model in context.models}
    for row in probe_rows(context):
        if row.model is None:
            found[row.name] = pixel_features(images)
            continue
        latent, network = latents[row.model.name], row.model.network
        found[row.name] = latent.mean
        if row.sampled:
            noise = torch.randn(latent.mean.shape, generator=torch.Generator().manual_seed(seed))
            found[row.name] = (
                network.sample(latent, noise) if isinstance(network, ConvVAE) else latent.sample(noise)
            )
    return {name: features.double().numpy() for name, features in found.items()}
