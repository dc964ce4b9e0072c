"""Entry point of the command line: find the module of a subcommand and run it."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from sketchembed._version import __version__
from sketchembed.errors import SketchEmbedError, check_known

COMMANDS = {
    "fit": "train a model",
    "sweep": "execute the runs of a W&B sweep file, without an account",
    "data": "download and prepare data sets",
    "evaluate": "evaluate a trained model on one task of the paper",
    "report": "write one page of all evaluations of a model, next to the paper's numbers",
    "results": "evaluate the packaged models and write RESULTS.md",
    "draw": "draw images with a trained model",
    "embed": "embed a folder of pictures and write a table",
    "search": "find the pictures of a folder that are most similar to one",
    "models": "list the packaged models",
    "export": "write a checkpoint's model as safetensors",
    "page": "write a run's page again",
    "runs": "write the page of all runs again",
    "dashboard": "create a view of the project on W&B",
    "completion": "print a script that completes commands and options in a shell",
}
"""Subcommands with a one-line description."""
MODULES = {"models": "model_list", "search": "picture_search"}
"""Modules of the subcommands that are not called ``sketchembed.cli.NAME``."""
EXTRAS = {"fit": "train", "data": "train", "sweep": "train", "evaluate": "evaluate", "report": "evaluate"}
"""Extras with the packages that a subcommand needs; the others need none, or have ``all``."""


def usage() -> str:
    """Return the list of subcommands."""
    lines = [f"sketchembed {__version__}", "", "usage: sketchembed COMMAND ...", ""]
    lines += [f"  {name:10} {about}" for name, about in COMMANDS.items()]
    return "\n".join([*lines, "", "`sketchembed COMMAND --help` lists the options of a command."])


def command_module(name: str) -> Any:
    """Import the module of a subcommand, whose function ``run`` takes the arguments.

    It is imported on demand: `sketchembed --help` must not wait for torch.
    """
    return import_module(f"sketchembed.cli.{MODULES.get(name, name)}")


def _dispatch(args: list[str]) -> None:
    if not args or args[0] in ("-h", "--help"):
        print(usage())
    elif args[0] == "--version":
        print(__version__)
    else:
        check_known("command", args[0], COMMANDS)
        command_module(args[0]).run(args[1:])


def main(args: list[str] | None = None) -> None:
    """Run the command line of the process, or `args`."""
    run_guarded(_dispatch, sys.argv[1:] if args is None else args)


def run_guarded(function: Callable[[list[str]], None], args: list[str]) -> None:
    """Run a command, and print an error that the user can correct in one line.

    The exit status is 2 for such an error, and 1 if training stopped at a non-finite loss.
    """
    try:
        function(args)
    except SketchEmbedError as error:
        print(f"sketchembed: {error}", file=sys.stderr)
        raise SystemExit(error.status) from None
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "sketchembed"):
            raise
        extra = EXTRAS.get(next(iter(args), ""), "all")
        print(
            f"sketchembed: {missing} is not installed; expected the optional packages of this command. "
            f"Install them: pip install 'sketchembed[{extra}]'",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    except OSError as error:
        what = str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"the disk is full ({error}). Free some space and run the command again"
        print(f"sketchembed: {what}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("sketchembed: stopped", file=sys.stderr)
        raise SystemExit(130) from None
