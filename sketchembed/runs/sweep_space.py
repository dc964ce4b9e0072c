"""Parameters of a W&B sweep file, and the points of a grid or random search over them.

W&B's package `sweeps` is not used: its random search takes no seed, its grid is not in the order of the file,
and it takes a second to import. `wandb agent` runs files with other distributions.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from sketchembed.errors import ConfigError, check_known

# Keys of each distribution, all of them required.
KEYS: dict[str, set[str]] = {
    "constant": {"value"},
    "categorical": {"values"},
    "int_uniform": {"min", "max"},
    "uniform": {"min", "max"},
    "log_uniform_values": {"min", "max"},
}

Point = dict[str, Any]
"""Values of the swept parameters of one run, by name."""


def check_parameter(name: str, given: Any) -> dict[str, Any]:
    """Return a parameter of a sweep file with its distribution, or raise a ConfigError."""
    if not isinstance(given, Mapping) or "parameters" in given:
        raise ConfigError(
            f"the parameter {name} is {'nested' if isinstance(given, Mapping) else repr(given)}",
            expected="`value`, `values`, or `min` and `max`",
            fix="Name an option of `sketchembed fit` with dots, as curriculum.alpha_max",
        )
    kind = str(given.get("distribution") or _default_distribution(given))
    check_known(f"distribution for {name} here", kind, KEYS)
    keys = set(given) - {"distribution"}
    if keys != KEYS[kind]:
        found = ", ".join(f"`{key}`" for key in sorted(map(str, keys))) or "nothing"
        wanted = " and ".join(f"`{key}`" for key in sorted(KEYS[kind]))
        raise _invalid(name, found, f"{wanted} of the distribution {kind}")
    if kind == "categorical" and not (isinstance(given["values"], list) and given["values"]):
        raise _invalid(name, f"the values {given['values']}", "a list of one or more")
    if "min" in given:
        _check_range(name, kind, given["min"], given["max"])
    return {**given, "distribution": kind}


def _default_distribution(given: Mapping[str, Any]) -> str:
    if "value" in given:
        return "constant"
    if "min" in given or "max" in given:
        whole = all(isinstance(given.get(key), int) for key in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    return "categorical"


def _check_range(name: str, kind: str, low: Any, high: Any) -> None:
    types = int if kind == "int_uniform" else (int, float)
    for number in (low, high):
        if isinstance(number, bool) or not isinstance(number, types):
            raise _invalid(name, repr(number), "a number (YAML's are written 1.0e-3)")
    if low >= high:
        raise _invalid(name, f"min {low} and max {high}", "min less than max")
    if kind == "log_uniform_values" and low <= 0:
        raise _invalid(name, f"min {low}", "more than 0, since its logarithm is uniform")


def _invalid(name: str, found: str, expected: str) -> ConfigError:
    return ConfigError(f"the parameter {name} has {found}", expected=expected, fix="Correct the sweep file")


def quantile(parameter: Mapping[str, Any], fraction: float) -> Any:
    """Return a quantile of a parameter's distribution, for a fraction in [0, 1)."""
    kind = parameter["distribution"]
    if kind == "constant":
        return parameter["value"]
    if kind == "categorical":
        return parameter["values"][int(fraction * len(parameter["values"]))]
    low, high = parameter["min"], parameter["max"]
    if kind == "int_uniform":
        return low + int(fraction * (high - low + 1))
    if kind == "log_uniform_values":
        low, high = np.log(low), np.log(high)
        return float(np.exp(low + fraction * (high - low)))
    return float(low + fraction * (high - low))


def grid_points(parameters: Mapping[str, Mapping[str, Any]]) -> list[Point]:
    """Return the distinct combinations of the parameters' values; the last parameter varies fastest."""
    columns = []
    for name, parameter in parameters.items():
        kind = parameter["distribution"]
        if kind == "int_uniform":
            columns.append(list(range(parameter["min"], parameter["max"] + 1)))
        elif kind in ("constant", "categorical"):
            columns.append(parameter.get("values", [parameter.get("value")]))
        else:
            raise ConfigError(
                f"the parameter {name} has a continuous distribution ({kind}) in a grid",
                expected="`value`, `values`, or whole `min` and `max`",
                fix="List its values, or set `method: random`",
            )
    points = (dict(zip(parameters, values, strict=True)) for values in itertools.product(*columns))
    return list({repr(point): point for point in points}.values())


def random_points(parameters: Mapping[str, Mapping[str, Any]], count: int, seed: int = 0) -> list[Point]:
    """Return random points; with a larger `count`, the first points are the same."""
    points = []
    for number in range(count):
        fractions = np.random.default_rng([seed, number]).random(len(parameters)).tolist()
        values = map(quantile, parameters.values(), fractions)
        points.append(dict(zip(parameters, values, strict=True)))
    return points
