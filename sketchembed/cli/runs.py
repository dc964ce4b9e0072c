"""`sketchembed runs`: write the HTML page of all runs."""

from __future__ import annotations

from pathlib import Path

from sketchembed.cli.parser import command
from sketchembed.errors import SketchEmbedError
from sketchembed.reporting.runs_page import write_runs_page


def runs(root: Path = Path("runs")) -> None:
    """Write the page of all runs, a table to sort and filter.

    Args:
        root: folder of the runs.
    """
    try:
        print(write_runs_page(root))
    except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
        raise SketchEmbedError(
            str(error), expected="a folder of runs", fix="Name it: sketchembed runs FOLDER"
        ) from None


def run(args: list[str]) -> None:
    """Run the command; the folder may be given as a positional argument.

    Args:
        args: command line after the word ``runs``.
    """
    named = [f"--root={args[0]}", *args[1:]] if args and not args[0].startswith("-") else args
    command(runs, "runs")(named)
