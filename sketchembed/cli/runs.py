"""`sketchembed runs`: write the HTML page of all runs."""

from __future__ import annotations

from pathlib import Path

from sketchembed.cli.parser import command, name_first_argument
from sketchembed.errors import SketchEmbedError
from sketchembed.reporting.runs_page import write_runs_page


def runs(root: Path = Path("runs")) -> None:
    """Write the page of all runs, a table that can be sorted and filtered.

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
    """Run the command; the folder may be given without ``--root``."""
    command(runs, "runs")(name_first_argument(args, "root"))
