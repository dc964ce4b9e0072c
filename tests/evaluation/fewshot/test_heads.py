import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from sketchembed.errors import ConfigError
from sketchembed.evaluation.fewshot import logistic
from sketchembed.evaluation.fewshot.heads import HEADS, Products
from sketchembed.evaluation.fewshot.logistic import fit_logistic
from sketchembed.evaluation.fewshot.protocol import FewShotProtocol


def problem(way, shot, episodes=12, features=24, spread=0.6, seed=0):
    """Return support and query features of unit length, and the labels of the support."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.randn(episodes, way, 1, features, generator=random)

    def around(count):
        noise = torch.randn(episodes, way, count, features, generator=random)
        return torch.nn.functional.normalize((centres + spread * noise + 1).flatten(1, 2), dim=-1).double()

    return around(shot), around(7), torch.arange(way).repeat_interleave(shot)


def products(support, query):
    between = query @ support.mT
    return Products(
        support @ support.mT, lambda weight: between if weight is None else between @ weight, lambda: support
    )


@pytest.mark.parametrize(("way", "shot"), [(20, 1), (20, 5), (5, 1), (5, 5), (2, 40)])
@pytest.mark.parametrize("c", [1.0, 30.0])
def test_solver_matches_scikit_learn(way, shot, c):
    support, query, labels = problem(way, shot)
    ours = fit_logistic(support @ support.mT, labels.expand(len(support), -1), way, c)
    scores = query @ support.mT @ ours.weight + ours.bias.unsqueeze(1)
    for row in range(4):
        theirs = LogisticRegression(C=c, tol=1e-10, max_iter=20_000).fit(support[row], labels)
        expected = theirs.decision_function(query[row])
        if way > 2:
            np.testing.assert_allclose(
                torch.log_softmax(scores[row], -1).exp().numpy(), theirs.predict_proba(query[row]), atol=1e-5
            )
        else:
            # For two classes scikit-learn fits a single vector, so the same penalty counts twice.
            assert (np.sign(expected) == np.sign((scores[row, :, 1] - scores[row, :, 0]).numpy())).all()
        assert (theirs.predict(query[row]) == scores[row].argmax(-1).numpy()).mean() >= 0.99


def test_solver_reaches_the_minimum_found_by_scipy():
    support, _, labels = problem(3, 2, episodes=1, features=4)
    x, y = support[0].numpy(), labels.numpy()

    def objective(flat):
        weight, bias = flat[:12].reshape(4, 3), flat[12:]
        scores = x @ weight + bias
        return (logsumexp(scores, axis=1) - scores[np.arange(6), y]).sum() + (weight**2).sum() / 2

    best = minimize(objective, np.zeros(15), method="BFGS", options={"gtol": 1e-9})
    ours = fit_logistic(support @ support.mT, labels[None], 3)
    weight = (support.mT @ ours.weight)[0]
    value = objective(np.concatenate([weight.numpy().ravel(), ours.bias[0].numpy()]))
    assert value == pytest.approx(best.fun, abs=1e-9)


def test_solver_handles_equal_images_and_different_scales():
    support, query, labels = problem(5, 5)
    support[0, 1] = support[0, 0]
    support[1] *= 1e3
    ours = fit_logistic(support @ support.mT, labels.expand(len(support), -1), 5)
    assert torch.isfinite(query @ support.mT @ ours.weight + ours.bias.unsqueeze(1)).all()
    alone = fit_logistic(support[:1] @ support[:1].mT, labels[None], 5)
    torch.testing.assert_close(ours.weight[:1], alone.weight, atol=1e-6, rtol=1e-6)


def test_solver_converges_while_other_problems_are_solved(monkeypatch):
    # Many images in few dimensions: some problems converge fully while others are still iterating.
    support, _, labels = problem(5, 20, episodes=60, features=3)
    steps, step = [], logistic._newton_step
    monkeypatch.setattr(logistic, "_newton_step", lambda *args: steps.append(1) or step(*args))
    gram = support @ support.mT
    ours = fit_logistic(gram, labels.expand(len(support), -1), 5)
    assert len(steps) < 10
    missed = torch.softmax(gram @ ours.weight + ours.bias.unsqueeze(1), -1)
    missed = missed - torch.nn.functional.one_hot(labels, 5)
    # The objective's gradient with respect to the biases and to the feature weights.
    assert missed.sum(1).abs().max() < 1e-6
    assert (support.mT @ (ours.weight + missed)).abs().max() < 1e-6


def test_logistic_head_agrees_with_its_reference():
    support, query, labels = problem(20, 5, episodes=3)
    both = [HEADS[name](products(support, query), labels, 20) for name in ("logistic", "logistic-sklearn")]
    assert (both[0] == both[1]).double().mean() >= 0.998


@pytest.mark.parametrize(
    ("name", "theirs"), [("centroid", NearestCentroid()), ("neighbour", KNeighborsClassifier(1))]
)
def test_other_heads_match_scikit_learn(name, theirs):
    support, query, labels = problem(6, 3, spread=1.5)
    support, query = support * 1.7, query * 0.4  # lengths matter
    answers = HEADS[name](products(support, query), labels, 6)
    for row in range(len(support)):
        expected = theirs.fit(support[row].numpy(), labels.numpy()).predict(query[row].numpy())
        np.testing.assert_array_equal(answers[row].numpy(), expected)


def test_unknown_head_error_suggests_the_nearest():
    with pytest.raises(ConfigError, match="no head 'logistics'.*The nearest: 'logistic'"):
        FewShotProtocol(head="logistics")
