"""`sketchembed dashboard`: create a view of the project on W&B."""

from __future__ import annotations

from sketchembed.cli.parser import command, normalize_options
from sketchembed.reporting.wandb_dashboard import dashboard


def run(args: list[str]) -> None:
    """Run the command; ``--dry-run`` takes no value."""
    args = ["--dry_run=true" if word == "--dry_run" else word for word in normalize_options(args)]
    command(dashboard, "dashboard")(args)
