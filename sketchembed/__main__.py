"""Run the command line: ``python -m sketchembed``."""

from sketchembed.cli import main

main()
