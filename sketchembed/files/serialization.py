"""JSON, YAML and dataclasses from files that may come from anyone.

:func:`dataclass_from_dict` does not use jsonargparse, whose import takes longer than loading a model, and
which converts values ("8" to 8) instead of refusing them.
"""

from __future__ import annotations

import json
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Made = TypeVar("Made")


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Return the value of a JSON text, or raise a ValueError; `options` are those of :func:`json.loads`."""
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text without aliases, made of plain values, or raise a ValueError."""
    import yaml  # not needed to load a model

    try:
        if has_aliases(text):
            raise ValueError("it has aliases (*name)")
        # libyaml, where PyYAML has it, is ten times as fast on deeply nested text.
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def has_aliases(text: str) -> bool:
    """Return whether a YAML text has aliases, by which a few lines can expand to any size."""
    import yaml

    return "*" in text and any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))


def dataclass_from_dict(kind: type[Made], values: Any) -> Made:
    """Build a dataclass from plain values, after checking their types.

    Its fields may be dataclasses, lists, dictionaries, literals and unions.

    Raises:
        ValueError: if a value is missing, of the wrong type, or of an unknown field.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{kind.__name__} is {_shown(values)}, not a mapping")
    hints = get_type_hints(kind)
    known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"{kind.__name__} has no {_shown(unknown[0])}")
    for name, entry in known.items():
        if name not in values and entry.default is MISSING and entry.default_factory is MISSING:
            raise ValueError(f"{kind.__name__} lacks '{name}'")
    return kind(**{name: _checked(value, hints[name], name) for name, value in values.items()})


def _checked(value: Any, hint: Any, name: str) -> Any:
    """Return a value of an annotated type, or raise a ValueError that names it."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if is_dataclass(hint):
        return dataclass_from_dict(hint, value)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        if type(value) in inner:
            return value  # keeps an int an int if float is allowed too
        for one in inner:
            try:
                return _checked(value, one, name)
            except ValueError:
                continue
    elif origin is Literal:
        if any(value == one and type(value) is type(one) for one in inner):
            return value
    elif origin is list and isinstance(value, list):
        return [_checked(one, inner[0], name) for one in value]
    elif origin is dict and isinstance(value, dict):
        return {_checked(key, inner[0], name): _checked(one, inner[1], name) for key, one in value.items()}
    elif hint is float:
        # bool is not a number, and a larger int is not exact as a float.
        if isinstance(value, float) or (type(value) is int and abs(value) <= 2**53):
            return float(value)
    elif hint is type(None) and value is None:
        return None
    elif type(value) is hint:
        return value
    raise ValueError(f"'{name}' is {_shown(value)}, not {getattr(hint, '__name__', hint)}")


def _shown(value: Any) -> str:
    """Return a short ASCII text of a value for a message."""
    if isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    return ascii(value)[:40] if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
