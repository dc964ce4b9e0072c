"""A sweep file of W&B's: its runs, and the command line of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sketchembed.errors import ConfigError, check_known
from sketchembed.files.reading import MAX_TEXT, read_file
from sketchembed.files.serialization import parse_yaml
from sketchembed.runs.sweep_space import Point, described, drawn, grid

KNOWN = (
    *("name", "project", "entity", "description", "program", "command", "method", "metric", "parameters"),
    *("run_cap", "early_terminate", "apiVersion", "kind", "controller", "job", "image_uri", "scheduler"),
)
ARGS = "${args}"
OWN = ("run.name", "run.resume")
"""Options of `sketchembed fit` that a sweep sets itself."""


@dataclass(frozen=True)
class SweepFile:
    """What a sweep file says.

    Attributes:
        path: of the file.
        name: of the sweep; the file's if it says none.
        method: ``grid`` or ``random``.
        constants: options that are the same in all runs.
        varied: the swept parameters, by :func:`~sketchembed.runs.sweep_space.described`.
        before: words of the command between ``sketchembed fit`` and the parameters.
        after: words after the parameters.
        cap: the most runs; None for all.
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
            DataError: if there is none.
            ConfigError: if it is no sweep, or asks for what only W&B's servers do.
        """
        content = read_file(
            path,
            str(path),
            expected="a sweep file",
            fix="`ls sweeps` lists those that come along",
            most=MAX_TEXT,
        )
        try:
            found = parse_yaml(content.decode("utf-8"))
        except ValueError as error:
            raise _wrong(path, f"is no YAML ({error})", "a sweep file of W&B's") from error
        if not isinstance(found, dict):
            raise _wrong(path, "is no mapping", "`method`, `parameters` and `command`")
        for key in found:
            check_known(f"setting of a sweep ({path})", str(key), KNOWN)
        method = found.get("method")
        if method not in ("grid", "random"):
            raise _wrong(
                path,
                f"has the method {method}",
                "grid or random: other searches are W&B's own, by `wandb agent`",
            )
        for key in ("early_terminate", "scheduler", "job", "image_uri"):
            if key in found:
                raise _wrong(path, f"has {key}", "none: only W&B's servers do that, by `wandb agent`")
        given = found.get("parameters")
        if not isinstance(given, dict) or not given:
            raise _wrong(path, "has no parameters", "`parameters` with one or more")
        parameters = {str(name): described(str(name), about) for name, about in given.items()}
        constants = {
            name: about["value"] for name, about in parameters.items() if about["distribution"] == "constant"
        }
        root = constants.get("run.root", "")
        if not isinstance(root, str):
            raise _wrong(path, f"has the run.root {root!r}", "a folder")
        varied = {name: about for name, about in parameters.items() if name not in constants}
        for name in (*OWN, "run.root"):
            if name in varied:
                raise _wrong(path, f"varies {name}", "options of the training alone")
        if not varied:
            raise _wrong(path, "has constant parameters alone", "one with `values`, or `min` and `max`")
        cap = found.get("run_cap")
        if cap is not None and (not isinstance(cap, int) or cap < 1):
            raise _wrong(path, f"has the run_cap {cap!r}", "1 or more")
        before, after = _command(path, found)
        name = str(found.get("name") or path.stem)
        return cls(path, name, str(method), constants, varied, before, after, cap)

    def points(self, count: int | None = None, seed: int = 0) -> dict[str, Point]:
        """Return the swept parameters of every run by the run's name.

        Args:
            count: the most runs; the file's `run_cap` if not given.
            seed: of a random sweep.

        Raises:
            ConfigError: if a random sweep does not say how many.
        """
        count = count or self.cap
        if self.method == "grid":
            points = grid(self.varied)[:count]
        elif count is None:
            raise _wrong(self.path, "draws at random without an end", "`run_cap` in the file, or --count N")
        else:
            points = drawn(self.varied, count, seed)
        names = [
            "-".join(f"{_short(key)}{_plain(value)}" for key, value in point.items()) for point in points
        ]
        # Long values, and those that differ in signs only, have numbers instead.
        if len({name.lower() for name in names}) < len(names) or max(map(len, names)) > 100:
            names = [f"run{number:03d}" for number in range(1, len(points) + 1)]
        return dict(zip(names, points, strict=True))

    def folder(self, options: Sequence[str]) -> Path:
        """Return the folder of the sweep's runs: the option ``run.root``, or ``runs/sweep-NAME``.

        Args:
            options: further ones of `sketchembed fit`.
        """
        given = _named(options).get("run.root") or self.constants.get("run.root")
        return Path(given or f"runs/sweep-{_plain(self.name)}")

    def words(self, name: str, point: Mapping[str, Any], options: Sequence[str]) -> list[str]:
        """Return what follows ``sketchembed fit`` on the command line of a run.

        Further options come after the file's constants, which they overrule, and before the swept
        parameters, which nothing does.

        Args:
            name: of the run.
            point: its swept parameters.
            options: further ones of `sketchembed fit`.

        Raises:
            ConfigError: if the options say what the sweep does.
        """
        given = _named(options)
        for option in (*self.varied, *OWN):
            if option in given:
                why = "is what the sweep varies" if option in self.varied else "is the sweep's to set"
                raise ConfigError(f"--{option} {why}", expected="other options", fix="Leave it out")
        if "fit" in options[:1]:
            raise ConfigError(
                "`fit` is no option",
                expected="options of `sketchembed fit`, without the word",
                fix="Leave it out",
            )
        own = {"run.root": self.folder(options), "run.name": name}
        return [
            *self.before,
            *flags({key: value for key, value in self.constants.items() if key not in own}),
            *options,
            *flags(own),
            *flags(point),
            *self.after,
        ]


def flags(values: Mapping[str, Any]) -> list[str]:
    """Return options as an agent of W&B's writes them, ``--name=value``."""
    return [f"--{name}={value}" for name, value in values.items()]


def _command(path: Path, found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the words of a sweep's command before and after its parameters, behind ``sketchembed fit``."""
    program = str(found.get("program") or "sketchembed")
    given = found.get("command") or ["${env}", "${interpreter}", "${program}", ARGS]
    if not isinstance(given, list):
        raise _wrong(path, "has a command that is no list", "a list of words")
    macros = {"${program}": program, "${interpreter}": "python"}
    words = [
        macros.get(str(word), str(word)) for word in given if str(word) not in ("${env}", "/usr/bin/env")
    ]
    shown = " ".join(map(str, given))
    for start in (
        ["sketchembed", "fit"],
        ["python", "-m", "sketchembed", "fit"],
        ["python", "-m", "sketchembed.cli", "fit"],
    ):
        if words[: len(start)] == start:
            words = words[len(start) :]
            break
    else:
        raise _wrong(path, f"runs `{shown}`", "a command that begins with `sketchembed fit`, to be run here")
    if words.count(ARGS) != 1 or any("${" in word for word in words if word != ARGS):
        raise _wrong(path, f"runs `{shown}`", f"`{ARGS}` once, and nothing else to be filled in")
    place = words.index(ARGS)
    return words[:place], words[place + 1 :]


def _named(options: Sequence[str]) -> dict[str, str]:
    """Return what a command line gives, by the options' names; the value is the rest or the next word."""
    named = {}
    for word, following in zip(options, [*options[1:], ""], strict=False):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            named[name] = value if equals else following
    return named


def _short(name: str) -> str:
    last = name.rpartition(".")[2]
    return "seed" if last == "seed_everything" else last


def _plain(value: Any) -> str:
    """Return a value as a part of a folder's name."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("_") or "_"


def _wrong(path: Path, what: str, expected: str) -> ConfigError:
    return ConfigError(f"{path} {what}", expected=expected, fix="Correct it, or take another")
