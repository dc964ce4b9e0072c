"""Run the benchmarks: ``python -m benchmarks --preset cpu``, with ``tests`` in PYTHONPATH."""

from __future__ import annotations

import sys

from benchmarks.commands import bench
from sketchembed.cli.dispatch import run_guarded
from sketchembed.cli.parser import command


def main(args: list[str] | None = None) -> None:
    """Run the benchmarks with `args`, or with the command line of the process."""
    run_guarded(command(bench, "bench"), sys.argv[1:] if args is None else args)


if __name__ == "__main__":
    main()
