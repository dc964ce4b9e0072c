"""A W&B sweep file, and the command line of each of its runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sketchembed.errors import ConfigError, check_known
from sketchembed.files.reading import MAX_TEXT, read_file
from sketchembed.files.serialization import parse_yaml
from sketchembed.runs.sweep_space import Point, check_parameter, grid_points, random_points

KNOWN_KEYS = (
    *("name", "project", "entity", "description", "program", "command", "method", "metric", "parameters"),
    *("run_cap", "early_terminate", "apiVersion", "kind", "controller", "job", "image_uri", "scheduler"),
)
SERVER_KEYS = ("early_terminate", "scheduler", "job", "image_uri")
COMMANDS = (
    ["sketchembed", "fit"],
    ["python", "-m", "sketchembed", "fit"],
    ["python", "-m", "sketchembed.cli", "fit"],
)
ARGS = "${args}"
OWN = ("run.name", "run.resume")
"""Options of `sketchembed fit` that only the sweep may set."""


@dataclass(frozen=True)
class SweepFile:
    """A W&B sweep file with the method ``grid`` or ``random``.

    Attributes:
        name: name of the sweep; by default the name of the file.
        method: ``grid`` or ``random``.
        constants: options with the same value in all runs.
        varied: the swept parameters, checked by :func:`~sketchembed.runs.sweep_space.check_parameter`.
        before: words of the command between ``sketchembed fit`` and the parameters.
        after: words of the command after the parameters.
        cap: largest number of runs; None for all.
    """

    path: Path
    name: str
    method: str
    constants: dict[str, Any]
    varied: dict[str, dict[str, Any]]
    before: list[str]
    after: list[str]
    cap: int | None = None

    @classmethod
    def read(cls, path: Path) -> SweepFile:
        """Read a sweep file.

        Raises:
            DataError: if the file cannot be read.
            ConfigError: if it is not a sweep file, or uses features that only W&B's servers have.
        """
        fix = "`ls sweeps` lists the sweeps of the paper"
        content = read_file(path, str(path), expected="a sweep file", fix=fix, most=MAX_TEXT)
        try:
            found = parse_yaml(content.decode("utf-8"))
        except ValueError as error:
            raise _invalid(path, f"is not valid YAML ({error})", "a W&B sweep file") from error
        if not isinstance(found, dict):
            raise _invalid(path, "is not a mapping", "`method`, `parameters` and `command`")
        for key in found:
            check_known(f"setting of a sweep ({path})", str(key), KNOWN_KEYS)
        method, cap = found.get("method"), found.get("run_cap")
        if method not in ("grid", "random"):
            expected = "grid or random; `wandb agent` runs other searches"
            raise _invalid(path, f"has the method {method}", expected)
        for key in SERVER_KEYS:
            if key in found:
                raise _invalid(path, f"has {key}", "none; only W&B's servers support it, with `wandb agent`")
        if cap is not None and (not isinstance(cap, int) or cap < 1):
            raise _invalid(path, f"has the run_cap {cap!r}", "1 or more")
        constants, varied = _parameters(path, found.get("parameters"))
        before, after = _command(path, found)
        name = str(found.get("name") or path.stem)
        return cls(path, name, str(method), constants, varied, before, after, cap)

    def points(self, count: int | None = None, seed: int = 0) -> dict[str, Point]:
        """Return the point of every run, by the name of the run.

        Args:
            count: largest number of runs; by default the `run_cap` of the file.
            seed: seed of a random search.
        """
        count = count or self.cap
        if self.method == "grid":
            points = grid_points(self.varied)[:count]
        elif count is None:
            expected = "`run_cap` in the file, or --count N"
            raise _invalid(self.path, "is a random search without an end", expected)
        else:
            points = random_points(self.varied, count, seed)
        names = ["-".join(_short(key) + _as_name(value) for key, value in point.items()) for point in points]
        # Numbers replace names that are long, or that differ only in replaced letters.
        if len({name.lower() for name in names}) < len(names) or max(map(len, names)) > 100:
            names = [f"run{number:03d}" for number in range(1, len(points) + 1)]
        return dict(zip(names, points, strict=True))

    def folder(self, options: Sequence[str]) -> Path:
        """Return the folder of the sweep's runs: the option ``run.root``, or ``runs/sweep-NAME``."""
        given = _named(options).get("run.root") or self.constants.get("run.root")
        return Path(given or f"runs/sweep-{_as_name(self.name)}")

    def words(self, name: str, point: Mapping[str, Any], options: Sequence[str]) -> list[str]:
        """Return the command line of a run after ``sketchembed fit``.

        The options override the constants of the file, and the swept parameters override both.
        """
        given = _named(options)
        for option in (*self.varied, *OWN):
            if option in given:
                why = "is varied by the sweep" if option in self.varied else "is set by the sweep"
                raise ConfigError(f"--{option} {why}", expected="other options", fix="Remove it")
        if "fit" in options[:1]:
            expected = "options of `sketchembed fit`"
            raise ConfigError("`fit` is not an option", expected=expected, fix="Remove the word")
        own = {"run.root": self.folder(options), "run.name": name}
        constants = {key: value for key, value in self.constants.items() if key not in own}
        return [*self.before, *flags(constants), *options, *flags({**own, **point}), *self.after]


def flags(values: Mapping[str, Any]) -> list[str]:
    """Return options as W&B agents write them, ``--name=value``."""
    return [f"--{name}={value}" for name, value in values.items()]


def _parameters(path: Path, given: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the constant values and the swept parameters of a file."""
    if not isinstance(given, dict) or not given:
        raise _invalid(path, "has no parameters", "`parameters` with one or more")
    parameters = {str(name): check_parameter(str(name), about) for name, about in given.items()}
    constants = {name: about["value"] for name, about in parameters.items() if "value" in about}
    root = constants.get("run.root", "")
    if not isinstance(root, str):
        raise _invalid(path, f"has the run.root {root!r}", "a folder")
    varied = {name: about for name, about in parameters.items() if name not in constants}
    for name in (*OWN, "run.root"):
        if name in varied:
            raise _invalid(path, f"varies {name}", "other options of `sketchembed fit`")
    if not varied:
        raise _invalid(path, "has only constant parameters", "one with `values`, or `min` and `max`")
    return constants, varied


def _command(path: Path, found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the words between ``sketchembed fit`` and the parameters, and those after the parameters."""
    program = str(found.get("program") or "sketchembed")
    given = found.get("command") or ["${env}", "${interpreter}", "${program}", ARGS]
    if not isinstance(given, list):
        raise _invalid(path, "has a command that is not a list", "a list of words")
    macros = {"${program}": program, "${interpreter}": "python"}
    given = list(map(str, given))
    shown = " ".join(given)
    words = [macros.get(word, word) for word in given if word not in ("${env}", "/usr/bin/env")]
    for start in COMMANDS:
        if words[: len(start)] == start:
            words = words[len(start) :]
            break
    else:
        raise _invalid(path, f"runs `{shown}`", "a command that begins with `sketchembed fit`")
    if words.count(ARGS) != 1 or any("${" in word for word in words if word != ARGS):
        raise _invalid(path, f"runs `{shown}`", f"`{ARGS}` once, and no other variables")
    place = words.index(ARGS)
    return words[:place], words[place + 1 :]


def _named(options: Sequence[str]) -> dict[str, str]:
    """Return the options of a command line by name, with ``=value`` or the next word as their value."""
    named = {}
    for word, following in zip(options, [*options[1:], ""], strict=False):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            named[name] = value if equals else following
    return named


def _short(name: str) -> str:
    last = name.rpartition(".")[2]
    return "seed" if last == "seed_everything" else last


def _as_name(value: Any) -> str:
    """Return a value as a part of a folder's name."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("_") or "_"


def _invalid(path: Path, what: str, expected: str) -> ConfigError:
    return ConfigError(f"{path} {what}", expected=expected, fix="Correct it, or use another file")
