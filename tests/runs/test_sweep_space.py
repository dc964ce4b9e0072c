"""Compare the points of a sweep with those of W&B's own engine."""

import json
import warnings

import numpy as np
import pytest

from sketchembed.errors import SketchEmbedError
from sketchembed.runs.sweep_space import check_parameter, grid_points, quantile, random_points

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sweeps.params import HyperParameter

    import sweeps

GRIDS = [
    {"a": {"values": [0.0, 0.25, 0.5]}, "b": {"values": [1, 2]}, "c": {"value": "x"}},
    {"a": {"min": 1, "max": 4}, "b.c": {"values": [True, None, [1, 2]]}},
    {"a": {"values": [1, 1, 2]}},
]
RANDOM = [
    {"values": ["a", "b", "c"]},
    {"value": 7},
    {"min": 1, "max": 5},
    {"min": 0.5, "max": 2.0},
    {"distribution": "uniform", "min": 0, "max": 2},
    {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
]


def parameters(given):
    return {name: check_parameter(name, about) for name, about in given.items()}


@pytest.mark.parametrize("given", GRIDS)
def test_grid_equals_wandb(given):
    theirs = []
    while (run := sweeps.next_run({"method": "grid", "parameters": given}, theirs)) is not None:
        theirs.append(run)
    expected = [{name: value["value"] for name, value in run.config.items()} for run in theirs]
    as_text = [json.dumps(point, sort_keys=True) for point in grid_points(parameters(given))]
    assert sorted(as_text) == sorted(json.dumps(point, sort_keys=True) for point in expected)


@pytest.mark.parametrize("given", RANDOM)
def test_quantiles_equal_wandb(given):
    theirs = HyperParameter("a", dict(given))
    mine = check_parameter("a", given)
    for fraction in (0.013, 0.19, 0.21, 0.48, 0.52, 0.77, 0.991):
        value, expected = quantile(mine, fraction), theirs.ppf(fraction)
        assert value == (pytest.approx(float(expected)) if isinstance(value, float) else expected)
        assert isinstance(value, int) == isinstance(expected, int | np.integer)


def test_random_points_depend_on_the_seed_and_not_on_the_count():
    space = parameters({"a": {"min": 0.0, "max": 1.0}, "b": {"values": [1, 2, 3]}})
    few, many = random_points(space, 3, seed=4), random_points(space, 200, seed=4)
    assert many[:3] == few
    assert random_points(space, 3, seed=5) != few
    assert np.mean([point["a"] for point in many]) == pytest.approx(0.5, abs=0.07)
    assert {point["b"] for point in many} == {1, 2, 3}


def test_points_equal_those_of_version_0_1_0():
    space = parameters(
        {
            "rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
            "width": {"min": 8, "max": 64},
            "head": {"values": ["a", "b"]},
        }
    )
    expected = [
        {"rate": 0.0010559497443981645, "width": 62, "head": "a"},
        {"rate": 0.00046104655762289545, "width": 42, "head": "b"},
        {"rate": 0.0007885519075630162, "width": 32, "head": "a"},
    ]
    for point, old in zip(random_points(space, 3, seed=1), expected, strict=True):
        assert point == {**old, "rate": pytest.approx(old["rate"], rel=1e-12)}
    # A grid keeps the order of the file, which is not alphabetical here.
    grid = grid_points(parameters({"b": {"values": [2, 1]}, "a": {"values": [True, False]}}))
    assert [tuple(point.values()) for point in grid] == [(2, True), (2, False), (1, True), (1, False)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"parameters": {"b": {"value": 1}}}, "nested"),
        (3, "the parameter a is 3"),
        ({"values": []}, r"the values \[\]"),
        ({"vales": [1]}, "`vales`; expected `values`"),
        ({"min": 2, "max": 1}, "min less than max"),
        ({"min": 1}, "`max` and `min`"),
        ({"min": "1e-3", "max": 1.0}, "'1e-3'; expected a number"),
        ({"min": True, "max": 3}, "True; expected a number"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 3}, "0.5; expected a number"),
        ({"distribution": "beta"}, "no distribution for a here 'beta'"),
        ({"distribution": "log_uniform", "min": -3, "max": 0}, "no distribution for a here 'log_uniform'"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "logarithm"),
        ({"values": [1, 2], "probabilities": [0.5, 0.5]}, "`probabilities`, `values`; expected `values`"),
        ({"distribution": "normal", "sigma": 1}, "no distribution for a here 'normal'"),
    ],
)
def test_invalid_parameter_gives_a_one_line_error(given, message):
    with pytest.raises(SketchEmbedError, match=message) as caught:
        check_parameter("a", given)
    assert "\n" not in str(caught.value)


def test_grid_of_a_continuous_distribution_raises():
    with pytest.raises(SketchEmbedError, match="continuous distribution .uniform. in a grid"):
        grid_points(parameters({"a": {"min": 0.0, "max": 1.0}}))
