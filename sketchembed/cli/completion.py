"""`sketchembed completion`: a script with which a shell completes commands, options and values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from jsonargparse import capture_parser

from sketchembed.cli.dispatch import COMMANDS, command_module
from sketchembed.cli.fit_options import SHORT
from sketchembed.cli.parser import command
from sketchembed.errors import ConfigError
from sketchembed.evaluation.parts import PARTS
from sketchembed.training.presets import AUTO, PRESETS


def completion(shell: Literal["bash", "zsh", "tcsh"]) -> None:
    """Print a script that completes the commands, options and values of sketchembed in a shell.

    For Bash: sketchembed completion bash > ~/.local/share/bash-completion/completions/sketchembed. For Zsh:
    sketchembed completion zsh > FOLDER/_sketchembed, with a FOLDER of $fpath. Then start a new shell.

    Args:
        shell: the shell.
    """
    try:
        shtab = import_module("shtab")
    except ImportError as error:
        raise ConfigError(
            f"completion needs shtab ({error})", expected="that package", fix="Install it: pip install shtab"
        ) from error
    print(shtab.complete(command_tree(shtab.FILE), shell))


def command_tree(file: Any) -> argparse.ArgumentParser:
    """Return a parser with all commands and their options; `file` marks arguments that are paths."""
    root = argparse.ArgumentParser(prog="sketchembed")
    root.add_argument("--version", action="store_true")
    commands = root.add_subparsers()
    for name, about in COMMANDS.items():
        parser = commands.add_parser(name, help=about)
        run = command_module(name).run
        if name == "evaluate":
            parts = parser.add_subparsers()
            for part in PARTS:
                _copy(_parser(partial(run, [part])), parts.add_parser(part, help=part), file)
        elif name == "sweep":
            parser.add_argument("file").complete = file  # type: ignore[attr-defined]
        else:
            # `fit` prints a line about its preset, unless it has a configuration file.
            _copy(_parser(partial(run, ["--config", "none"] if name == "fit" else [])), parser, file)
        if name == "fit":
            parser.add_argument("--preset", choices=[*AUTO, *PRESETS])
            parser.add_argument("--device", choices=["auto", "cpu", "cuda"])
            for option in SHORT:
                parser.add_argument(option)
    return root


def _parser(run: Callable[[], None]) -> Any:
    """Return the parser of a command."""
    try:
        return capture_parser(run)
    except ConfigError as error:  # `fit` replaces all exceptions, including the one with its parser
        found: Any = error.__cause__
        return next(one.choices["fit"] for one in found.parser._actions if one.dest == "subcommand")


def _copy(source: Any, target: argparse.ArgumentParser, file: Any) -> None:
    """Add the options, arguments and subcommands of a parser to another one."""
    for action in source._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner = target.add_subparsers()
            for name, parser in action.choices.items():
                _copy(parser, inner.add_parser(name, help=name), file)  # shtab omits those without help
        elif "--help" not in action.option_strings:
            hint = getattr(action, "_typehint", None)
            choices = [str(value) for value in get_args(hint)] if get_origin(hint) is Literal else None
            names = [option for option in action.option_strings if not option.endswith("+")]
            added = target.add_argument(*(names or [action.dest]), choices=choices)
            if not choices and (hint is Path or Path in get_args(hint) or not action.option_strings):
                added.complete = file  # type: ignore[attr-defined]


run = command(completion, "completion")
