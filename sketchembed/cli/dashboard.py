"""`sketchembed dashboard`: create a view of the project on W&B."""

from __future__ import annotations

from sketchembed.cli.parser import command
from sketchembed.reporting.wandb_dashboard import dashboard

run = command(dashboard, "dashboard")
