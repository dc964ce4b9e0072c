"""Errors that a person meets: what was found, what was expected, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Any


class SketchEmbedError(Exception):
    """A mistake that its reader can mend; the command line prints it as one line and exits with `status`.

    Args:
        found: what was found, naming the file or option.
        expected: what should have been there.
        fix: what to do next.
    """

    status = 2

    def __init__(self, found: str, *, expected: str, fix: str) -> None:
        """Join the three parts to one message."""
        super().__init__(f"{found}; expected {expected}. {fix}")
        self.found = found
        self._parts = (found, expected, fix)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error reach another process as it is."""
        found, expected, fix = self._parts
        return partial(type(self), expected=expected, fix=fix), (found,)


class ConfigError(SketchEmbedError):
    """An option's value is out of its range, or contradicts another one."""


class DataError(SketchEmbedError):
    """A data file or data set is not what it should be."""


class CheckpointError(SketchEmbedError):
    """A checkpoint or a weights file is not what it should be."""


class NonFiniteError(SketchEmbedError):
    """A loss, a gradient or a weight is not finite, and training ends."""

    status = 1


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    """Check a name that a user wrote.

    Args:
        what: the name is of.
        name: what was asked for.
        known: what there is.

    Raises:
        ConfigError: if it is none of them.
    """
    options = list(known)
    if name not in options:
        raise ConfigError(
            f"there is no {what} '{name}'",
            expected=f"one of {', '.join(options)}",
            fix=f"The nearest: {nearest(name, options)}",
        )


def check_range(what: str, value: int, least: int, most: int | None = None) -> None:
    """Check a number that a user wrote.

    Args:
        what: the option's name.
        value: what was given.
        least: the smallest allowed.
        most: the largest allowed; no limit if not given.

    Raises:
        ConfigError: if it is out of the range.
    """
    if value < least or (most is not None and value > most):
        expected = f"{least} or more" if most is None else f"{least} to {most}"
        raise ConfigError(f"{what} is {value}", expected=expected, fix=f"Set --{what} anew")


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Return the known names most like `name`, quoted and joined, for use in a message.

    Args:
        name: what was asked for.
        known: what there is.
        count: how many names at the most.
    """
    options = list(known)
    lowered = {option.lower(): option for option in options}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=count, cutoff=0.4)
    picked = [lowered[option] for option in close] or sorted(options)[:count]
    return ", ".join(f"'{option}'" for option in picked)
