"""Sums of classes written as text: ``snowman - circle + 0.5 * square``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sketchembed.errors import ConfigError, nearest

Weights = dict[str, float]  # the factor of each class, in the order in which the classes are named

MAX_LENGTH = 1_000  # characters of a sum
SIGNS = str.maketrans({"−": "-", "–": "-", "×": "*", "·": "*", "’": "'"})
"""Typographic characters and the ASCII characters that they stand for."""
FACTOR = r"(?:(\d{1,9}(?:\.\d{0,6})?|\.\d{1,6})\s*\*\s*)?"
EXAMPLE = "Write it as: 2 * cat - dog + t-shirt"


def parse(text: str, names: Sequence[str]) -> Weights:
    """Parse a sum of classes.

    A sum consists of terms joined by ``+`` and ``-``. A term is the name of a class, optionally after a
    factor (``0.5 * cat``). Names may contain blanks and hyphens (``ice cream``, ``t-shirt``) and are not
    case-sensitive. Factors of a class that is named several times are added.

    Raises:
        ConfigError: if the text is not a sum, or names an unknown class.
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(
            f"the sum has {len(text):,} characters", expected=f"at most {MAX_LENGTH:,}", fix=EXAMPLE
        )
    rest = _key(text)
    known = {_key(name): name for name in names}
    # The longest name comes first, and a sign or the end follows it: "t-shirt" is not "t" minus "shirt".
    choices = "|".join(re.escape(key) for key in sorted(known, key=len, reverse=True))
    term = re.compile(rf"([-+]?)\s*{FACTOR}({choices})\s*(?=[-+]|$)")
    weights: Weights = {}
    while rest or not weights:
        found = term.match(rest)
        if found is None or (weights and not found[1]):
            raise _mistake(rest, names)
        name = known[found[3]]
        factor = float(found[2] or 1) * (-1 if found[1] == "-" else 1)
        weights[name] = weights.get(name, 0.0) + factor
        rest = rest[found.end() :]
    return weights


def written(weights: Weights) -> str:
    """Return a sum as text that :func:`parse` reads, with at most six decimals in factors."""
    parts: list[str] = []
    for name, weight in weights.items():
        sign = "-" if weight < 0 else "+" if parts else ""
        factor = "" if abs(weight) == 1 else f"{abs(weight):.6f}".rstrip("0").rstrip(".") + " * "
        parts.append(f"{sign}{' ' if parts else ''}{factor}{name}")
    return " ".join(parts)


def _key(name: str) -> str:
    """Return a text in lower case, with ASCII signs and single blanks."""
    return " ".join(name.translate(SIGNS).split()).lower()


def _mistake(rest: str, names: Sequence[str]) -> ConfigError:
    """Return an error about the first term of a text that cannot be parsed."""
    shown = rest[:40]
    name = re.match(rf"[-+]?\s*{FACTOR}(.*?)\s*(?: [-+]|\+|$)", shown)
    if name is None or not re.search(r"\w", name[2]):
        where = f"there is no class at '{shown}'" if rest else "the sum ends where a class should follow"
        return ConfigError(where, expected="a sum of classes", fix=EXAMPLE)
    return ConfigError(
        f"there is no class '{name[2]}'",
        expected=f"one of {len(names)} classes in a sum",
        fix=f"The nearest: {nearest(name[2], names)}",
    )
