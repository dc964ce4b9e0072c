"""`sketchembed page`: write the HTML page of a run."""

from __future__ import annotations

from pathlib import Path

from sketchembed.cli.parser import command
from sketchembed.errors import ConfigError
from sketchembed.files.writing import check_output
from sketchembed.reporting.run_page import write_run_page
from sketchembed.reporting.runs_page import is_run, update_runs_page


def page(run: Path) -> None:
    """Write the page of a run again, and the page of all runs next to it.

    Args:
        run: folder of the run.
    """
    if not is_run(run):
        raise ConfigError(
            f"there is no run at {run}",
            expected="the folder of a run, with its run.json, config.yaml or metrics.jsonl",
            fix="Check the path; `ls runs` lists the runs",
        )
    check_output(run)
    print(write_run_page(run))
    update_runs_page(run)


run = command(page, "page")
