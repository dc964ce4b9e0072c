"""Parsers of the subcommands, which report an invalid command line in one line that names the option."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter, auto_cli

from sketchembed.errors import ConfigError, nearest

_KEY = re.compile(r'Parser key "([^"]+)":')
_CLASS = re.compile(r"Problem with given class_path '([\w.]+)'")
_UNKNOWN_SETTING = re.compile(r"Option '([^']+)' is not accepted")
_WRONG_TYPE = re.compile(r"Expected an? (.+?)\. Got value: (.*)")
_UNKNOWN_OPTION = re.compile(r"unrecognized arguments: (.*)", re.IGNORECASE)
_CLASS_NAME = re.compile(r"<class '(?:\w+\.)*(\w+)'>")
_MISSING = re.compile(r"the following arguments are required: (.*)")
BOOLEANS = ("true", "false", "yes", "no")


class PlainTypeFormatter(DefaultHelpFormatter):
    """Help that names a type as ``Path``, not ``<class 'Path'>``."""

    def _expand_help(self, action: argparse.Action) -> str:
        return _CLASS_NAME.sub(r"\1", super()._expand_help(action))


class OneLineErrorParser(ArgumentParser):
    """A parser that reports an error in one line, without its usage."""

    help_option = "--help"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": PlainTypeFormatter} | kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a ConfigError, except in a parser that jsonargparse uses inside another one."""
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        options = [word for action in parser._actions for word in action.option_strings]
        found, expected = summarize_error(message, options)
        program = parser.prog.replace(" [options]", "")
        fix = f"`{program} {self.help_option}` lists the options"
        raise ConfigError(found, expected=expected, fix=fix) from ex


def normalize_options(args: list[str]) -> list[str]:
    """Replace the hyphens in the option names of a command line, such as ``--per-class``, by underscores."""
    return [
        "=".join([part.replace("-", "_").replace("__", "--", 1), *rest])
        if part.startswith("--")
        else argument
        for argument in args
        for part, *rest in [argument.split("=", 1)]
    ]


def rename_device(args: list[str]) -> list[str]:
    """Return a command line with ``--accelerator`` for ``--device``, which other commands have."""
    renamed = {"--device": "--accelerator"}
    return [
        renamed.get(option, option) + equals + value
        for option, equals, value in (word.partition("=") for word in args)
    ]


def name_first_argument(args: list[str], name: str) -> list[str]:
    """Return a command line whose first word, if it is not an option, is the value of the option `name`."""
    # A value such as "-circle + square" contains spaces.
    if not args or (args[0].startswith("-") and " " not in args[0]):
        return args
    return [f"--{name}={args[0]}", *args[1:]]


def command(function: Any, name: str) -> Callable[[list[str]], None]:
    """Return a subcommand that parses the arguments of a function, or of a dict of functions by name.

    An option of true and false may be given without a value, which is then true. In a docstring, ``{models}``
    stands for the names of the packaged models.
    """

    def run(args: list[str]) -> None:
        functions = function.values() if isinstance(function, dict) else [function]
        switches = {
            f"--{found.name}"
            for one in functions
            for found in inspect.signature(one).parameters.values()
            if found.annotation in (bool, "bool")
        }
        for one in functions:
            if "{models}" in (one.__doc__ or ""):
                from sketchembed.hub.catalog import models  # imports torch

                names = ", ".join(model.name for model in models())
                one.__doc__ = one.__doc__.replace("{models}", names)
        auto_cli(
            function,
            args=_add_true(normalize_options(args), switches),
            as_positional=True,
            parser_class=OneLineErrorParser,
            prog=f"sketchembed {name}",
        )

    return run


def _add_true(args: list[str], switches: set[str]) -> list[str]:
    """Return a command line in which every switch has a value."""
    return [
        f"{word}=true" if word in switches and following.lower() not in BOOLEANS else word
        for word, following in zip(args, [*args[1:], ""], strict=False)
    ]


def summarize_error(message: str, options: Iterable[str] = ()) -> tuple[str, str]:
    """Return what was found and what was expected, from a message of a parser with the given options."""
    if unknown := _UNKNOWN_OPTION.search(message):
        name = unknown[1].split()[0].partition("=")[0]
        if not name.startswith("-"):
            return f"{name} does not belong to an option", "options before values, such as --out FILE"
        known = [option for option in options if option.startswith("--")]
        return f"there is no option {name}", f"an option, perhaps {nearest(name, known)}"
    # The first lines lead to the wrong value. Later lines are about other types that were tried.
    where, owner = "-", ""
    for line in message.splitlines():
        if key := _KEY.search(line):
            where += ("-" if where == "-" else ".") + key[1]
            line = line[key.end() :]
        if holder := _CLASS.search(line):
            owner = holder[1]
        if unknown := _UNKNOWN_SETTING.search(line):
            names = _parameters(owner)
            expected = f"one of its own, perhaps {nearest(unknown[1], names)}" if names else "one of its own"
            return f"{where} has no setting '{unknown[1]}'", expected
        if wrong := _WRONG_TYPE.search(line):
            return f"{where} is {wrong[2]}", _describe_type(wrong[1])
    given = re.search(r"Given value: (.*)", message)
    if given and where != "-":
        types = [kind for kind in re.findall(r"- Expected an? (.+)", message) if "NoneType" not in kind]
        return f"{where} is {given[1]}", " or ".join(map(_describe_type, types)) or "a value of its type"
    if missing := _MISSING.search(message):
        return f"{missing[1]} is missing", "all required arguments"
    text = " ".join(_KEY.sub(r"--\1:", message).split())[:300]
    return text, "an option's value"


def _describe_type(kind: str) -> str:
    """Return a type in plain words."""
    name = _CLASS_NAME.sub(r"\1", kind)
    if name.startswith("typing.Literal["):
        return f"one of {name[len('typing.Literal[') : -1]}"
    names = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
    names |= {"Sequence": "a list, such as [0, 0.5]", "list": "a list, such as [0, 0.5]", "dict": "a mapping"}
    return names.get(name, name if " " in name else f"a {name}")


def _parameters(path: str) -> list[str]:
    """Return the parameters of a class and its base classes by its import path; none if it was not imported.

    It is not imported here, because importing a class that an untrusted configuration names runs code.
    """
    module, _, name = path.rpartition(".")
    found: dict[str, None] = {}
    try:
        for kind in inspect.getmro(getattr(sys.modules[module], name)):
            found |= dict.fromkeys(inspect.signature(kind).parameters)
    except (KeyError, AttributeError, ValueError, TypeError):
        pass
    return [name for name in found if name not in ("self", "args", "kwargs")]
