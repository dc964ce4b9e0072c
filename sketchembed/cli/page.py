"""`sketchembed page`: write the HTML page of a run."""

from __future__ import annotations

from pathlib import Path

from sketchembed.cli.parser import command
from sketchembed.reporting.run_page import write_run_page
from sketchembed.reporting.runs_page import update_runs_page


def page(run: Path) -> None:
    """Write the page of a run again, and the page of all runs next to it.

    Args:
        run: folder of the run.
    """
    print(write_run_page(run))
    update_runs_page(run)


run = command(page, "page")
