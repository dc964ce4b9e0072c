"""Options and class paths of older versions, and what they are called now.

Configurations name classes by their short names, which are unique in this package. A path of a class of this
package is therefore reduced to its last part, and files can move.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

from sketchembed.errors import ConfigError
from sketchembed.files.serialization import parse_yaml

RENAMED = {"model.init_args.begin_with": "model.init_args.init_from"}  # since version 0.1.0
REMOVED: dict[str, Any] = {
    "model.init_args.kl_tolerance": 0.2,
    "model.init_args.pixel_loss.size": None,
    "model.init_args.augmentation.reorder": 0.0,
    "model.init_args.augmentation.reverse": 0.0,
    "model.init_args.input_augmentation.reorder": 0.0,
    "model.init_args.input_augmentation.reverse": 0.0,
    "data.init_args.split_seed": 0,
    "data.init_args.kanji": False,
    "data.init_args.flip": False,
}
"""Options that were removed, with the value that they have now."""
ADDED: dict[str, Any] = {
    "model.init_args.adam": "pytorch",
    "model.init_args.density_constant": 0.0,
    "model.init_args.renderer": "device",
    "model.init_args.pixel_loss.boxes": "own",
    "model.init_args.pixel_loss.dots": "point",
    "model.init_args.pixel_loss.length_floor": 0.0,
    "model.init_args.pixel_loss.log_offset": 0.0,
    "model.init_args.pixel_loss.neglected": 22.0,
    "model.init_args.network.copies": 1,
    "model.init_args.network.input_range": 1,
    "model.init_args.network.gate_biases": 1,
    "model.init_args.network.initial_weights": "default",
    "data.init_args.scale_of": "training",
    "data.init_args.resampling": "bilinear",
}
"""Options that earlier versions lack, with the value that behaves like them."""
IGNORED = ("finite.rollbacks",)  # removed, and without an effect on results
REPLACED = {("finite.action", "rollback"): "stop"}  # removed values, and what replaces them
_CLASS_PATH = re.compile(r"sketchembed(?:\.\w+)*\.(\w+)")
_CLASS_OPTIONS = ("model", "data", "model.class_path", "data.class_path")
_MISSING = object()


def short_class_path(path: Any) -> Any:
    """Return the name of a class of this package from any of its paths; other values unchanged."""
    found = _CLASS_PATH.fullmatch(path) if isinstance(path, str) else None
    return found[1] if found else path


def update_config(config: Any) -> Any:
    """Return a configuration, or a part of one, with the current names; other values unchanged.

    Raises:
        ConfigError: if a removed option has a value that is not supported any more.
    """
    if not isinstance(config, dict):
        return config
    config = _update_classes(config)
    for old, new in RENAMED.items():
        value = pop_option(config, old)
        group, name = _group(config, new)
        if value is not _MISSING and group is not None:
            group.setdefault(name, value)
    for path, kept in REMOVED.items():
        found = pop_option(config, path)
        if found is not _MISSING and found != kept:
            raise _unsupported(path, found, kept)
    for path in IGNORED:
        pop_option(config, path)
    for (path, old), new in REPLACED.items():
        group, name = _group(config, path)
        if group is not None and group.get(name) == old:
            group[name] = new
    return config


def update_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return command-line arguments with the current names, and a note for each that was changed."""
    updated, notes, words = list[str](), list[str](), iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        path = _full_path(option)
        if not option.startswith("--"):
            updated.append(word)
        elif path in REMOVED or path in IGNORED:
            value = value if equals else next(words, "")
            if path in REMOVED and _parsed(value) != REMOVED[path]:
                raise _unsupported(path, value, REMOVED[path])
            notes.append(f"{option} is ignored: the option was removed")
        elif path in RENAMED:
            updated.append(f"--{RENAMED[path]}{equals}{value}")
            notes.append(f"{option} is now --{RENAMED[path]}")
        elif path in _CLASS_OPTIONS or any(path == old for old, _ in REPLACED):
            value = value if equals else next(words, "")
            new = REPLACED.get((path, value), short_class_path(value) if path in _CLASS_OPTIONS else value)
            updated += [f"{option}={new}"] if equals else [option, new]
            if new != value:
                notes.append(f"{option} {value} is now {option} {new}")
        else:
            updated.append(word)
    return updated, notes


def _full_path(option: str) -> str:
    """Return the path of an option, of which ``init_args`` may be left out on the command line."""
    group, dot, rest = option.removeprefix("--").partition(".")
    short = group in ("model", "data") and dot and not rest.startswith(("init_args.", "class_path"))
    return f"{group}.init_args.{rest}" if short else group + dot + rest


def _parsed(value: str) -> Any:
    with contextlib.suppress(ValueError):
        return parse_yaml(value)
    return value


def _unsupported(path: str, found: Any, value: Any) -> ConfigError:
    return ConfigError(
        f"{path} is {found}, and the option was removed",
        expected=f"no {path}; it behaves like {value} now",
        fix="Remove the option, or use version 0.1.0",
    )


def _update_classes(config: Any) -> Any:
    """Return a copy with short class names."""
    if isinstance(config, list):
        return [_update_classes(value) for value in config]
    if not isinstance(config, dict):
        return config
    return {
        key: short_class_path(value) if key == "class_path" else _update_classes(value)
        for key, value in config.items()
    }


def _group(config: Any, path: str) -> tuple[dict[str, Any] | None, str]:
    """Return the mapping that contains an option, or None, and the last part of the option's path."""
    *groups, name = path.split(".")
    inner = config
    for group in groups:
        inner = inner.get(group) if isinstance(inner, dict) else None
    return (inner if isinstance(inner, dict) else None), name


def pop_added(config: Any) -> None:
    """Remove options that earlier versions lack from a configuration, if their values behave like these."""
    for path, value in ADDED.items():
        group, name = _group(config, path)
        if group is not None and group.get(name) == value:
            del group[name]


def pop_option(config: Any, path: str) -> Any:
    """Remove an option from a configuration and return its value; :data:`_MISSING` if there is none."""
    group, name = _group(config, path)
    return _MISSING if group is None else group.pop(name, _MISSING)
