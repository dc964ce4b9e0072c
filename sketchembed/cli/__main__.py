"""Run the command line: ``python -m sketchembed.cli``."""

from sketchembed.cli import main

main()
