from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from sketchembed.evaluation.retrieval.ranking import BLOCK, chance, rank, similarities


@pytest.fixture
def vectors():
    """Return more than one block of queries, from classes of different sizes; one has a single member."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.concatenate([np.repeat(np.arange(9), 40), [9], np.repeat(10, 3)]))
    return torch.from_numpy(random.normal(size=(len(labels), 16)) + 0.3 * labels[:, None]).float(), labels


def test_average_precision_matches_scikit_learn(vectors):
    z, labels = vectors
    assert len(z) > BLOCK
    found = rank(z, labels)
    close = cosine_similarity(z.double().numpy())
    for query in range(len(z)):
        others = np.arange(len(z)) != query
        right = labels[others] == labels[query]
        if not right.any():
            assert np.isnan(found.average_precision[query])
            assert np.isnan(found.precision[5][query])
            continue
        expected = average_precision_score(right, close[query][others])
        assert found.average_precision[query] == pytest.approx(expected, abs=1e-6)
        order = np.argsort(-close[query][others])
        for first in (1, 5, 10):
            assert found.precision[first][query] == pytest.approx(right[order][:first].mean())


def test_classes_have_equal_weight(vectors):
    z, labels = vectors
    found = rank(z, labels)
    means = [np.mean(found.average_precision[labels == label]) for label in [*range(9), 10]]
    assert found.mean(found.average_precision) == pytest.approx(np.mean(means))
    spread = np.std(means, ddof=1) / np.sqrt(len(means))
    assert found.interval(found.average_precision) == pytest.approx(1.96 * spread)
    assert set(found.by_class(found.average_precision)) == {*range(9), 10}


def test_chance_is_the_mean_over_all_rankings():
    expected = chance(np.repeat([0, 1, 2], [4, 3, 1]), (3,))
    for label, right in ((0, 3), (1, 2)):
        rankings = [np.isin(range(7), places) for places in combinations(range(7), right)]
        scores = [average_precision_score(ranking, -np.arange(7)) for ranking in rankings]
        assert expected.by_class(expected.average_precision)[label] == pytest.approx(np.mean(scores))
        precisions = [ranking[:3].mean() for ranking in rankings]
        assert expected.by_class(expected.precision[3])[label] == pytest.approx(np.mean(precisions))
    assert 2 not in expected.by_class(expected.average_precision)


def test_similarities_are_cosines(vectors):
    z, _ = vectors
    np.testing.assert_allclose(similarities(z[:5], z), cosine_similarity(z[:5], z), atol=1e-6)
