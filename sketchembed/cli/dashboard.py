"""`sketchembed dashboard`: make a view of the project on W&B."""

from __future__ import annotations

from sketchembed.cli.parser import command, underscored
from sketchembed.reporting.wandb_dashboard import dashboard


def run(args: list[str]) -> None:
    """Run the command; ``--dry-run`` takes no value.

    Args:
        args: command line after the word ``dashboard``.
    """
    command(dashboard, "dashboard")(
        ["--dry_run=true" if word == "--dry_run" else word for word in underscored(args)]
    )
