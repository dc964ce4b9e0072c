"""How a command line answers what it cannot parse: in one line, that names the option."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, auto_cli

from sketchembed.errors import ConfigError, nearest

_KEY = re.compile(r'Parser key "([^"]+)":')
_CLASS = re.compile(r"Problem with given class_path '([\w.]+)'")
_UNKNOWN = re.compile(r"Option '([^']+)' is not accepted")
_WRONG = re.compile(r"Expected an? (.+?)\. Got value: (.*)")
_STRANGE = re.compile(r"unrecognized arguments: (.*)", re.IGNORECASE)


class OneLine(ArgumentParser):
    """A parser whose answer to a mistake is one line and not its whole usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong.

        Raises:
            ConfigError: always, but for a parser within another, whose message becomes a part of it.
        """
        if not self.exit_on_error:  # one that jsonargparse uses within another
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        options = [word for action in parser._actions for word in action.option_strings]
        found, expected = plainly(message, options)
        program = parser.prog.replace(" [options]", "")
        raise ConfigError(found, expected=expected, fix=f"`{program} --help` lists the options") from ex


def underscored(args: list[str]) -> list[str]:
    """Return a command line with ``--per-class`` written as ``--per_class``."""
    return [
        "=".join([part.replace("-", "_").replace("__", "--", 1), *rest])
        if part.startswith("--")
        else argument
        for argument in args
        for part, *rest in [argument.split("=", 1)]
    ]


def command(function: Any, name: str) -> Callable[[list[str]], None]:
    """Return a subcommand that parses the arguments of `function` and calls it.

    Args:
        function: a typed function, or a dict of functions by the names of their subcommands.
        name: of the subcommand.
    """

    def run(args: list[str]) -> None:
        program = f"sketchembed {name}"
        auto_cli(function, args=underscored(args), as_positional=True, parser_class=OneLine, prog=program)

    return run


def plainly(message: str, options: Iterable[str] = ()) -> tuple[str, str]:
    """Return what a parser's message found and what it expected, without its detours.

    Args:
        message: of jsonargparse, of many lines.
        options: that the parser has.
    """
    strange = _STRANGE.search(message)
    if strange:
        name = strange[1].split()[0].partition("=")[0]
        known = [option for option in options if option.startswith("--")]
        return f"there is no option {name}", f"an option, perhaps {nearest(name, known)}"
    # The way down to the mistake: the first one, as what follows are the other types that were tried.
    where, owner = "-", ""
    for line in message.splitlines():
        if key := _KEY.search(line):
            where += ("-" if where == "-" else ".") + key[1]
            line = line[key.end() :]
        if holder := _CLASS.search(line):
            owner = holder[1]
        if unknown := _UNKNOWN.search(line):
            names = _arguments(owner)
            perhaps = f"one of its own, perhaps {nearest(unknown[1], names)}" if names else "one of its own"
            return f"{where} has no setting '{unknown[1]}'", perhaps
        if wrong := _WRONG.search(line):
            return f"{where} is {wrong[2]}", _named(wrong[1])
    given = re.search(r"Given value: (.*)", message)
    if given and where != "-":
        types = [kind for kind in re.findall(r"- Expected an? (.+)", message) if "NoneType" not in kind]
        return f"{where} is {given[1]}", " or ".join(map(_named, types)) or "a value of its type"
    lacks = re.search(r"the following arguments are required: (.*)", message)
    if lacks:
        return f"{lacks[1]} is missing", "all that it needs"
    text = " ".join(_KEY.sub(r"--\1:", message).split())[:300]
    return text, "an option's value"


def _named(kind: str) -> str:
    """Return a type as a person names it."""
    name = re.sub(r"<class '([\w.]+)'>", r"\1", kind).rpartition(".")[2] if "<class" in kind else kind
    if name.startswith("typing.Literal["):
        return f"one of {name[len('typing.Literal[') : -1]}"
    names = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
    names |= {"Sequence": "a list, such as [0, 0.5]", "list": "a list, such as [0, 0.5]", "dict": "a mapping"}
    return names.get(name, name if " " in name else f"a {name}")


def _arguments(path: str) -> list[str]:
    """Return the names of a class's arguments; none if it cannot be found.

    A configuration may be a stranger's, so nothing is imported that was not there already.
    """
    module, _, name = path.rpartition(".")
    try:
        made: Any = getattr(sys.modules[module], name)
        return [
            known for known in inspect.signature(made).parameters if known not in ("self", "args", "kwargs")
        ]
    except (KeyError, AttributeError, ValueError, TypeError):
        return []
