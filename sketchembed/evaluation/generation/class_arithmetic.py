"""Arithmetic on classes as a person writes it: ``snowman - circle + 0.5 * square``."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence

from sketchembed.errors import ConfigError, nearest

Weights = dict[str, float]
"""How much of each class, in the order in which they are named."""

MAX_LETTERS = 10_000
"""Of a sum."""
MAX_TRIED = 8
"""Beginnings with hyphens of what is no name that are compared with the names."""
WINDOW = 24
"""Letters shown on either side of a mistake."""
_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![^\W_])")
_NAME = re.compile(r"[^\W_][\w'’.]*(?:(?:-|\s+)[^\W\d_][\w'’.]*)*")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_SIGNS = {"−": "-", "–": "-", "×": "*", "·": "*", "÷": "/"}


def parse(text: str, names: Sequence[str]) -> Weights:
    """Return the sum that a text means.

    There are ``+``, ``-``, ``*`` and ``/`` with numbers, and parentheses. Names may hold blanks and hyphens
    (``ice cream``, ``t-shirt``); a hyphen is part of a name where that gives a known one. Names may stand in
    quotes, and their letters' case does not matter.

    Args:
        text: what a person wrote.
        names: of the known classes.

    Raises:
        ConfigError: if it cannot be read, names an unknown class, or is no sum of classes; with the place.
    """
    return _Parser(text, names).parse()


def written(weights: Weights) -> str:
    """Return a sum as text, factors to six digits, in the form that :func:`parse` reads."""
    parts: list[str] = []
    for name, weight in weights.items():
        sign = "-" if weight < 0 else "+" if parts else ""
        size = abs(weight)
        shown = name if _NAME.fullmatch(name) else f'"{name}"'
        factor = "" if size == 1 else f"{size:.6g} * "
        parts.append(f"{sign} {factor}{shown}" if parts else f"{sign}{factor}{shown}")
    return " ".join(parts)


class _Parser:
    """Recursive descent: a sum of products of numbers, names and parentheses."""

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self.text, self.at = re.sub(r"\s", " ", text), 0
        self.names = list(names)
        self.known = {_folded(name): name for name in names}

    def parse(self) -> Weights:
        if len(self.text) > MAX_LETTERS:
            raise self._mistake(f"it has {len(self.text):,} letters", f"at most {MAX_LETTERS:,}")
        try:
            value = self._sum()
        except RecursionError:
            raise self._mistake("it is nested too deeply", "fewer parentheses and signs") from None
        if self._peek():
            raise self._mistake(f"'{self._peek()}' is out of place", "+, -, * or the end")
        if not isinstance(value, dict):
            raise self._mistake("there is no class in it", "at least one class", at=0)
        if not all(math.isfinite(weight) for weight in value.values()):
            raise self._mistake("a factor is too large", "numbers of a usual size", at=0)
        return value

    # ---- grammar -------------------------------------------------------------------------------

    def _sum(self) -> Weights | float:
        value = self._product()
        while (sign := self._peek()) in ("+", "-"):
            at = self.at
            self.at += 1
            other = self._product()
            if isinstance(value, dict) != isinstance(other, dict):
                raise self._mistake("a number cannot be added to a class", "a factor, as in 2 * cat", at)
            value = _add(value, other, 1.0 if sign == "+" else -1.0)
        return value

    def _product(self) -> Weights | float:
        value = self._factor()
        while (sign := self._peek()) in ("*", "/"):
            at = self.at
            self.at += 1
            other = self._factor()
            if isinstance(other, dict) and (sign == "/" or isinstance(value, dict)):
                done = "divide by" if sign == "/" else "multiply by"
                raise self._mistake(f"one cannot {done} a class", "a number there", at)
            if sign == "/":
                if other == 0:
                    raise self._mistake("one cannot divide by 0", "another number", at)
                assert not isinstance(other, dict)
                value = _scale(value, 1.0 / other)
            elif isinstance(other, dict):
                assert not isinstance(value, dict)
                value = _scale(other, value)
            else:
                value = _scale(value, other)
        return value

    def _factor(self) -> Weights | float:
        sign = self._peek()
        if sign in ("+", "-"):
            self.at += 1
            return _scale(self._factor(), 1.0 if sign == "+" else -1.0)
        if sign == "(":
            opened = self.at
            self.at += 1
            value = self._sum()
            if self._peek() != ")":
                raise self._mistake("a parenthesis is not closed", "a )", opened)
            self.at += 1
            return value
        if number := _NUMBER.match(self.text, self.at):
            self.at = number.end()
            return float(number.group())
        return {self._name(): 1.0}

    # ---- words ---------------------------------------------------------------------------------

    def _peek(self) -> str:
        """Return the next sign or letter, past blanks; nothing at the end."""
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        letter = self.text[self.at : self.at + 1]
        return _SIGNS.get(letter, letter)

    def _name(self) -> str:
        start, letter = self.at, self.text[self.at : self.at + 1]
        if letter in _QUOTES and letter:
            end = self.text.find(_QUOTES[letter], start + 1)
            if end < 0:
                raise self._mistake("a quote is not closed", f"a {_QUOTES[letter]} after the name")
            self.at = end + 1
            return self._look_up([self.text[start + 1 : end]], start)
        found = _NAME.match(self.text, start)
        if not found:
            what = f"'{letter}' is out of place" if letter else "something is missing at the end"
            raise self._mistake(what, "a class or a number")
        # The longest beginning that is a name: in snowman-circle the hyphen is a minus.
        # One that is far longer than any name, even with blanks to spare, is none.
        run = found.group()[: 4 * max(map(len, self.known), default=1)]
        ends = [len(run), *(place.start() for place in reversed(list(re.finditer("-", run))))]
        wanted = [run[:end] for end in ends]
        name = self._look_up(wanted, start)
        length = next(len(piece) for piece in wanted if self.known.get(_folded(piece)) == name)
        self.at = start + length
        return name

    def _look_up(self, wanted: Sequence[str], at: int) -> str:
        for piece in wanted:
            if _folded(piece) in self.known:
                return self.known[_folded(piece)]

        def likeness(piece: str) -> float:
            folded = _folded(piece)
            close = difflib.get_close_matches(folded, self.known, n=1, cutoff=0.0)
            return max((difflib.SequenceMatcher(None, folded, name).ratio() for name in close), default=0)

        # The last ones are the shortest.
        meant = max(wanted[-MAX_TRIED:], key=likeness)[:40]
        raise self._mistake(f"there is no class '{meant}'", f"one of {len(self.names)} classes", at, meant)

    def _mistake(self, found: str, expected: str, at: int | None = None, name: str = "") -> ConfigError:
        """Return an error with an excerpt, in which a caret stands before the place."""
        place = self.at if at is None else at
        before, after = self.text[max(place - WINDOW, 0) : place], self.text[place : place + WINDOW]
        before = "…" + before if place > WINDOW else before
        after = after + "…" if place + WINDOW < len(self.text) else after
        fix = (
            f"The nearest: {nearest(name, self.names)}"
            if name
            else "Write it as: 2 * cat - (dog + 'ice cream')"
        )
        excerpt = f"{before}▸{after}"
        return ConfigError(f"{found}, at ▸ in: {excerpt}", expected=expected, fix=fix)


def _folded(name: str) -> str:
    return " ".join(name.replace("’", "'").split()).casefold()


def _scale(value: Weights | float, factor: float) -> Weights | float:
    if isinstance(value, dict):
        return {name: weight * factor for name, weight in value.items()}
    return value * factor


def _add(one: Weights | float, other: Weights | float, factor: float) -> Weights | float:
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: one.get(name, 0.0) + factor * other.get(name, 0.0) for name in {**one, **other}}
    assert not isinstance(one, dict)
    assert not isinstance(other, dict)
    return one + factor * other
