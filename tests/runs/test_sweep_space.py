"""The points of a sweep, held against W&B's own engine."""

import json
import warnings

import numpy as np
import pytest

from sketchembed.errors import SketchEmbedError
from sketchembed.runs.sweep_space import at, described, drawn, grid

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sweeps.params import HyperParameter

    import sweeps

GRIDS = [
    {"a": {"values": [0.0, 0.25, 0.5]}, "b": {"values": [1, 2]}, "c": {"value": "x"}},
    {"a": {"min": 1, "max": 4}, "b.c": {"values": [True, None, [1, 2]]}},
    {"a": {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}},
    {"a": {"values": [1, 1, 2]}},
]
DRAWN = [
    {"values": ["a", "b", "c"]},
    {"values": [1, 2, 3], "probabilities": [0.2, 0.3, 0.5]},
    {"value": 7},
    {"min": 1, "max": 5},
    {"min": 0.5, "max": 2.0},
    {"distribution": "uniform", "min": 0, "max": 2},
    {"distribution": "q_uniform", "min": 0.0, "max": 10.0, "q": 0.5},
    {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
    {"distribution": "q_log_uniform_values", "min": 1, "max": 1000, "q": 2},
    {"distribution": "normal", "mu": 3.0, "sigma": 0.5},
    {"distribution": "q_normal", "q": 0.25},
    {"distribution": "log_normal", "sigma": 0.5},
    {"distribution": "q_log_normal", "mu": 1.0, "q": 0.5},
]


def parameters(given):
    return {name: described(name, about) for name, about in given.items()}


@pytest.mark.parametrize("given", GRIDS)
def test_grid_is_that_of_wandb(given):
    theirs = []
    while (run := sweeps.next_run({"method": "grid", "parameters": given}, theirs)) is not None:
        theirs.append(run)
    expected = [{name: value["value"] for name, value in run.config.items()} for run in theirs]
    as_text = [json.dumps(point, sort_keys=True) for point in grid(parameters(given))]
    assert sorted(as_text) == sorted(json.dumps(point, sort_keys=True) for point in expected)


@pytest.mark.parametrize("given", DRAWN)
def test_values_at_a_quantile_are_those_of_wandb(given):
    theirs = HyperParameter("a", dict(given))
    mine = described("a", given)
    for quantile in (0.013, 0.19, 0.21, 0.48, 0.52, 0.77, 0.991):
        value, expected = at(mine, quantile), theirs.ppf(quantile)
        assert value == (pytest.approx(float(expected)) if isinstance(value, float) else expected)
        assert isinstance(value, int) == isinstance(expected, int | np.integer)


def test_more_random_points_begin_with_the_same_ones_and_seeds_differ():
    space = parameters({"a": {"min": 0.0, "max": 1.0}, "b": {"values": [1, 2, 3]}})
    few, many = drawn(space, 3, seed=4), drawn(space, 200, seed=4)
    assert many[:3] == few
    assert drawn(space, 3, seed=5) != few
    assert np.mean([point["a"] for point in many]) == pytest.approx(0.5, abs=0.07)
    assert {point["b"] for point in many} == {1, 2, 3}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"parameters": {"b": {"value": 1}}}, "nested"),
        (3, "the parameter a is 3"),
        ({"values": []}, r"the values \[\]"),
        ({"vales": [1]}, "`vales`; expected `values`"),
        ({"min": 2, "max": 1}, "min less than max"),
        ({"min": 1}, "`max` and `min`"),
        ({"min": "1e-3", "max": 1.0}, "'1e-3'; expected a number"),
        ({"distribution": "beta"}, "no distribution for a here 'beta'"),
        ({"distribution": "log_uniform", "min": -3, "max": 0}, "no distribution for a here 'log_uniform'"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "logarithm"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "a sum of 1"),
        ({"distribution": "normal", "sigma": -1}, "below 0"),
    ],
)
def test_what_cannot_be_followed_is_one_line(given, says):
    with pytest.raises(SketchEmbedError, match=says) as caught:
        described("a", given)
    assert "\n" not in str(caught.value)


def test_grid_of_a_distribution_without_a_list_is_refused():
    with pytest.raises(SketchEmbedError, match="drawn at random .normal. in a grid"):
        grid(parameters({"a": {"distribution": "normal"}}))
