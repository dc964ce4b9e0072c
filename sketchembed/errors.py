"""Errors for users, which say what was found, what was expected and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Any


class SketchEmbedError(Exception):
    """An error that the user can correct. The command line prints it as one line and exits with `status`.

    Args:
        found: what was found, with the name of the file or option.
        expected: what was expected instead.
        fix: what to do next.
    """

    status = 2

    def __init__(self, found: str, *, expected: str, fix: str) -> None:
        super().__init__(f"{found}; expected {expected}. {fix}")
        self.found = found
        self._parts = (found, expected, fix)

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling, so that the error can be passed between processes."""
        found, expected, fix = self._parts
        return partial(type(self), expected=expected, fix=fix), (found,)


class ConfigError(SketchEmbedError):
    """An option is out of its range, or contradicts another one."""


class DataError(SketchEmbedError):
    """A data file or data set is missing or invalid."""


class CheckpointError(SketchEmbedError):
    """A checkpoint or weights file is missing or invalid."""


class NonFiniteError(SketchEmbedError):
    """A loss, a gradient or a weight is not finite, and training stops."""

    status = 1


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    """Raise a ConfigError if a name is not one of the known ones; `what` is its kind, for the message."""
    options = list(known)
    if name not in options:
        raise ConfigError(
            f"there is no {what} '{name}'",
            expected=f"one of {', '.join(options)}",
            fix=f"The nearest: {nearest(name, options)}",
        )


def check_range(what: str, value: float | int, least: float | int, most: float | int | None = None) -> None:
    """Raise a ConfigError unless the value of the option `what` is at least `least` and at most `most`."""
    if not value >= least or (most is not None and value > most):
        expected = f"{least} or more" if most is None else f"{least} to {most}"
        raise ConfigError(f"{what} is {value}", expected=expected, fix=f"Change --{what}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the three known names that are most similar to `name`, quoted and joined, for a message."""
    options = list(known)
    lowered = {option.lower(): option for option in options}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.4)
    picked = [lowered[option] for option in close] or sorted(options)[:3]
    return ", ".join(f"'{option}'" for option in picked)
