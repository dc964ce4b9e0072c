"""`sketchembed sweep`: execute the runs of a sweep file on this machine, without an account."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from sketchembed.cli import fit
from sketchembed.errors import ConfigError
from sketchembed.reporting.sweep_table import write_sweep_table
from sketchembed.runs.sweep_file import SweepFile
from sketchembed.runs.sweep_folder import SweepFolder, SweepRun
from sketchembed.runs.sweep_runner import LocalSweep


def run(args: list[str]) -> None:
    """Execute the unfinished runs of a sweep file, and print which ones failed.

    Options of `sketchembed fit` may stand among those of the sweep, or after ``--``.

    Raises:
        SystemExit: with 2 if a run failed, 130 if the sweep was stopped.
    """
    parser = _parser()
    if not args or args[0] in ("-h", "--help"):
        parser.print_help()
        return
    if args[0].startswith("-"):
        raise ConfigError(
            f"the first argument is '{args[0]}'",
            expected="a sweep file",
            fix="`sketchembed sweep sweeps/seeds.yaml ...`",
        )
    split = args.index("--") if "--" in args else len(args)
    given, options = parser.parse_known_args(args[1:split])
    options += args[split + 1 :]
    folder = plan_sweep(SweepFile.read(Path(args[0])), options, given.count, given.seed)
    check_options(folder)
    folder.check_same()
    if given.dry_run:
        for name, planned in folder.runs.items():
            print(f"{name:24} {folder.state(name)}\n  {_command(planned)}")
        return
    print(f"sweep   {folder.name}: {len(folder.runs)} runs in {folder.path}", flush=True)
    try:
        failed = LocalSweep(folder, given.jobs, write_sweep_table).run()
    except KeyboardInterrupt:
        print("sketchembed: the sweep was stopped; the same command resumes it", file=sys.stderr)
        raise SystemExit(130) from None
    table = folder.path / "sweep.md"
    print(f"table   {table}; `sketchembed report --sweep {folder.path}` evaluates the runs")
    for name, message in failed.items():
        print(f"sketchembed: {name} failed: {message}", file=sys.stderr)
    if failed:
        count = f"{len(failed)} of {len(folder.runs)}"
        print(f"sketchembed: {count} failed; the same command tries them again", file=sys.stderr)
        raise SystemExit(2)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="sketchembed sweep",
        usage="%(prog)s FILE [--jobs N] [--count N] [--seed N] [--dry_run] [options of `sketchembed fit`]",
        description="Run a W&B sweep file on this machine. Finished runs are skipped, stopped runs resume.",
        allow_abbrev=False,
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; they share GPUs and cores")
    parser.add_argument("--count", type=int, help="largest number of runs (default: run_cap of the file)")
    parser.add_argument("--seed", type=int, default=0, help="seed of a random search")
    parser.add_argument("--dry_run", "--dry-run", action="store_true", help="only list the runs")
    return parser


def plan_sweep(
    file: SweepFile, options: Sequence[str], count: int | None = None, seed: int = 0
) -> SweepFolder:
    """Return a sweep's folder with the command line of every run, without writing anything."""
    runs = {
        name: SweepRun(name, point, file.words(name, point, options))
        for name, point in file.points(count, seed).items()
    }
    return SweepFolder(file.folder(options), file.name, runs)


def check_options(folder: SweepFolder) -> None:
    """Check the options of every run with the parser of `sketchembed fit`, or raise a ConfigError."""
    for name, run in folder.runs.items():
        errors = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            try:
                fit.run([*run.words, "--print_config"])
            except SystemExit as stopped:
                code = stopped.code
        if code:
            message = " ".join(errors.getvalue().rpartition("error:")[2].split())
            raise ConfigError(
                f"{name} cannot be run: {message[:400]}",
                expected="options of `sketchembed fit`",
                fix=f"The command was `{_command(run)}`",
            )


def _command(run: SweepRun) -> str:
    return shlex.join(["sketchembed", "fit", *run.words])
