"""Plain values from a stranger's file as a dataclass, or an error that names the field."""

from __future__ import annotations

import json
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

Made = TypeVar("Made")


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Return what JSON says.

    Args:
        text: the JSON.
        options: those of :func:`json.loads`.

    Raises:
        ValueError: if it is none; also where it is nested too deeply to be read.
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_yaml(text: str) -> Any:
    """Return what YAML says, plain values alone.

    Args:
        text: the YAML, without aliases: a few lines of them repeat each other to any size.

    Raises:
        ValueError: if it is none, has aliases, or is nested too deeply to be read.
    """
    try:
        if has_aliases(text):
            raise ValueError("it has aliases (*name)")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def has_aliases(text: str) -> bool:
    """Return whether YAML repeats parts of itself, by which a few lines are as large as one likes."""
    return "*" in text and any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))


def build(kind: type[Made], values: Any) -> Made:
    """Make a dataclass of plain values, of whose types nothing is known yet.

    Args:
        kind: the dataclass; its fields may be other dataclasses, lists, dictionaries, literals and unions.
        values: by the names of the fields.

    Raises:
        ValueError: if a value is not of its field's type, missing, or of no field.
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
    return kind(**{name: _value(value, hints[name], name) for name, value in values.items()})


def _value(value: Any, hint: Any, name: str) -> Any:
    """Return a value that is of an annotated type, dataclasses within it made."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if is_dataclass(hint):
        return build(hint, value)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        if type(value) in inner:
            return value  # an int where a float would do too stays one
        for one in inner:
            try:
                return _value(value, one, name)
            except ValueError:
                continue
    elif origin is Literal:
        if any(value == one and type(value) is type(one) for one in inner):
            return value
    elif origin is list:
        if isinstance(value, list):
            return [_value(one, inner[0], name) for one in value]
    elif origin is dict:
        if isinstance(value, dict):
            return {_value(key, inner[0], name): _value(one, inner[1], name) for key, one in value.items()}
    elif hint is float:
        # Not a truth value, and nothing that a float cannot hold.
        if isinstance(value, float) or (type(value) is int and abs(value) <= 2**53):
            return float(value)
    elif hint is type(None):
        if value is None:
            return None
    elif type(value) is hint:
        return value
    raise ValueError(f"'{name}' is {_shown(value)}, not {getattr(hint, '__name__', hint)}")


def _shown(value: Any) -> str:
    """Return a value as a message has it: short, and of letters that any terminal shows."""
    if isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    return ascii(value)[:40] if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
