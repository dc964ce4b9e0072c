"""The command ``sketchembed``, one file per subcommand."""

from sketchembed.cli.dispatch import main

__all__ = ["main"]
