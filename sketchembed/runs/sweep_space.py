"""The points of a sweep: what each run's swept parameters are.

The words are those of W&B's sweep files, and so is what they mean: a file gives the same grid, and values of
the same distributions, whether an agent of W&B's or this package runs it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from sketchembed.errors import ConfigError, check_known

KEYS: dict[str, tuple[set[str], dict[str, float | int]]] = {
    "constant": ({"value"}, {}),
    "categorical": ({"values"}, {}),
    "categorical_w_probabilities": ({"values", "probabilities"}, {}),
    "int_uniform": ({"min", "max"}, {}),
    "uniform": ({"min", "max"}, {}),
    "q_uniform": ({"min", "max"}, {"q": 1.0}),
    "log_uniform_values": ({"min", "max"}, {}),
    "q_log_uniform_values": ({"min", "max"}, {"q": 1.0}),
    "normal": (set(), {"mu": 0.0, "sigma": 1.0}),
    "q_normal": (set(), {"mu": 0.0, "sigma": 1.0, "q": 1.0}),
    "log_normal": (set(), {"mu": 0.0, "sigma": 1.0}),
    "q_log_normal": (set(), {"mu": 0.0, "sigma": 1.0, "q": 1.0}),
}
"""Of each distribution what must be said, and what may be, with its default."""
GRID = ("constant", "categorical", "int_uniform", "q_uniform")
"""Those with a list of values."""

Point = dict[str, Any]


def described(name: str, given: Any) -> dict[str, Any]:
    """Return a parameter's description with its distribution and its defaults, once it is checked.

    Args:
        name: of the parameter.
        given: as the file has it.

    Raises:
        ConfigError: if it is no description, or not one that can be followed here.
    """
    if not isinstance(given, Mapping) or "parameters" in given:
        raise ConfigError(
            f"the parameter {name} is {'nested' if isinstance(given, Mapping) else repr(given)}",
            expected="`value`, `values`, or `min` and `max`",
            fix="Name an option of `sketchembed fit` with dots, as curriculum.alpha_max",
        )
    kind = given.get("distribution") or _implied(given)
    check_known(f"distribution for {name} here", str(kind), KEYS)
    needed, defaults = KEYS[kind]
    keys = set(given) - {"distribution"}
    if not needed <= keys <= needed | set(defaults):
        wanted = " and ".join(f"`{key}`" for key in sorted(needed)) or "nothing"
        allowed = f" (and perhaps {', '.join(f'`{key}`' for key in defaults)})" if defaults else ""
        found = ", ".join(f"`{key}`" for key in sorted(map(str, keys))) or "nothing"
        raise ConfigError(
            f"the parameter {name} has {found}",
            expected=f"{wanted}{allowed} of the distribution {kind}",
            fix="Correct the sweep file",
        )
    about = {**defaults, **given, "distribution": kind}
    _check_values(name, about)
    return about


def _implied(given: Mapping[str, Any]) -> str:
    """Return the distribution of a description that names none."""
    if "value" in given:
        return "constant"
    if "min" in given or "max" in given:
        whole = all(isinstance(given.get(key), int) for key in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    return "categorical_w_probabilities" if "probabilities" in given else "categorical"


def _check_values(name: str, about: Mapping[str, Any]) -> None:
    def refuse(found: str, expected: str) -> None:
        raise ConfigError(
            f"the parameter {name} has {found}", expected=expected, fix="Correct the sweep file"
        )

    values, probabilities = about.get("values"), about.get("probabilities")
    if "values" in about and not (isinstance(values, list) and values):
        refuse(f"the values {values}", "a list of one or more")
    numbers = [about[key] for key in ("min", "max", "q", "mu", "sigma") if key in about]
    if probabilities is not None:
        numbers += probabilities if isinstance(probabilities, list) else [probabilities]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float):
            refuse(f"{number!r}", "a number (YAML's are written 1.0e-3)")
    if "min" in about and about["min"] >= about["max"]:
        refuse(f"min {about['min']} and max {about['max']}", "min less than max")
    if about["distribution"].endswith("log_uniform_values") and about["min"] <= 0:
        refuse(f"min {about['min']}", "more than 0, since its logarithm is uniform")
    if about.get("q", 1) <= 0 or about.get("sigma", 1) < 0:
        refuse(f"q {about.get('q')} and sigma {about.get('sigma')}", "neither below 0, and q above")
    if probabilities is not None and (
        len(probabilities) != len(about["values"])
        or min(probabilities) < 0
        or abs(sum(probabilities) - 1) > 1e-6
    ):
        refuse(f"the probabilities {probabilities}", "as many as values, with a sum of 1")


def at(about: Mapping[str, Any], quantile: float) -> Any:
    """Return a parameter's value at a quantile.

    Args:
        about: its description, by :func:`described`.
        quantile: 0 to 1; uniform ones give values of the distribution.
    """
    from scipy import stats

    kind = about["distribution"]
    if kind == "constant":
        return about["value"]
    if kind == "categorical":
        return about["values"][min(int(quantile * len(about["values"])), len(about["values"]) - 1)]
    if kind == "categorical_w_probabilities":
        ends = np.cumsum(about["probabilities"])
        return about["values"][min(int(np.searchsorted(ends, quantile, "right")), len(ends) - 1)]
    if kind == "int_uniform":
        return min(about["min"] + int(quantile * (about["max"] - about["min"] + 1)), about["max"])
    base = kind.removeprefix("q_")
    if base == "uniform":
        value = about["min"] + quantile * (about["max"] - about["min"])
    elif base == "log_uniform_values":
        low, high = np.log(about["min"]), np.log(about["max"])
        value = np.exp(low + quantile * (high - low))
    else:
        value = stats.norm.ppf(quantile, loc=about["mu"], scale=about["sigma"])
        value = np.exp(value) if base == "log_normal" else value
    if kind.startswith("q_"):
        steps = round(float(value) / about["q"])
        return steps * about["q"]
    return float(value)


def grid(parameters: Mapping[str, Mapping[str, Any]]) -> list[Point]:
    """Return every combination of the parameters' values, the last parameter changing fastest.

    Args:
        parameters: by name, by :func:`described`.

    Raises:
        ConfigError: if one has no list of values.
    """
    columns = []
    for name, about in parameters.items():
        kind = about["distribution"]
        if kind not in GRID:
            raise ConfigError(
                f"the parameter {name} is drawn at random ({kind}) in a grid",
                expected="`value`, `values`, whole `min` and `max`, or q_uniform",
                fix="List its values, or set `method: random`",
            )
        if kind == "int_uniform":
            columns.append(list(range(about["min"], about["max"] + 1)))
        elif kind == "q_uniform":  # without its end, as W&B's
            columns.append(np.arange(about["min"], about["max"], about["q"]).tolist())
        else:
            columns.append([about["value"]] if kind == "constant" else about["values"])
    # A value that is written twice is one run.
    points = (dict(zip(parameters, values, strict=True)) for values in itertools.product(*columns))
    return list({repr(point): point for point in points}.values())


def drawn(parameters: Mapping[str, Mapping[str, Any]], count: int, seed: int = 0) -> list[Point]:
    """Return points at random; more of them begin with the same ones.

    Args:
        parameters: by name, by :func:`described`.
        count: of points.
        seed: of the draw.
    """
    points = []
    for number in range(count):
        quantiles = np.random.default_rng([seed, number]).random(len(parameters))
        points.append(
            {
                name: at(about, float(quantile))
                for (name, about), quantile in zip(parameters.items(), quantiles, strict=True)
            }
        )
    return points
