"""`sketchembed sweep`: a sweep file's runs on this machine, without an account."""

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
from sketchembed.runs.sweep_file import SweepFile
from sketchembed.runs.sweep_folder import SweepFolder, SweepRun
from sketchembed.runs.sweep_runner import LocalSweep


def run(args: list[str]) -> None:
    """Run what is not done of a sweep, and say which runs failed.

    Args:
        args: the command line, without the program's and the command's name: a sweep file, options of the
            sweep, and any of `sketchembed fit`, which may also follow ``--``.

    Raises:
        SystemExit: with 2 if a run failed, 130 if it was stopped.
    """
    parser = ArgumentParser(
        prog="sketchembed sweep",
        usage="%(prog)s FILE [--jobs N] [--count N] [--seed N] [--dry_run] [options of `sketchembed fit`]",
        description="Run a W&B sweep file here. What is done is left out, what was stopped goes on.",
        allow_abbrev=False,
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, which share GPUs and cores")
    parser.add_argument("--count", type=int, help="the most runs; the file's run_cap if not given")
    parser.add_argument("--seed", type=int, default=0, help="of the points of a random sweep")
    parser.add_argument("--dry_run", "--dry-run", action="store_true", help="list the runs, and run none")
    if not args or args[0] in ("-h", "--help"):
        parser.print_help()
        return
    if args[0].startswith("-"):
        raise ConfigError(
            f"'{args[0]}' comes first",
            expected="the sweep file",
            fix="`sketchembed sweep sweeps/seeds.yaml ...`",
        )
    split = args.index("--") if "--" in args else len(args)
    given, options = parser.parse_known_args(args[1:split])
    options += args[split + 1 :]
    folder = planned(SweepFile.read(Path(args[0])), options, given.count, given.seed)
    check_options(folder)
    folder.check_same()
    if given.dry_run:
        for name, run in folder.runs.items():
            print(f"{name:24} {folder.state(name)}\n  {shlex.join(['sketchembed', 'fit', *run.words])}")
        return
    print(f"sweep   {folder.name}: {len(folder.runs)} runs in {folder.path}", flush=True)
    try:
        failed = LocalSweep(folder, given.jobs).run()
    except KeyboardInterrupt:
        print("sketchembed: the sweep was stopped; the same command goes on", file=sys.stderr)
        raise SystemExit(130) from None
    print(f"table   {folder.path / 'sweep.md'}; `sketchembed report --sweep {folder.path}` judges the runs")
    for name, message in failed.items():
        print(f"sketchembed: {name} failed: {message}", file=sys.stderr)
    if failed:
        print(
            f"sketchembed: {len(failed)} of {len(folder.runs)} failed; the same command tries them again",
            file=sys.stderr,
        )
        raise SystemExit(2)


def planned(file: SweepFile, options: Sequence[str], count: int | None = None, seed: int = 0) -> SweepFolder:
    """Return a sweep's folder with the command line of every run; nothing is written yet.

    Args:
        file: the sweep.
        options: further ones of `sketchembed fit`.
        count: the most runs.
        seed: of a random sweep.

    Raises:
        ConfigError: see :meth:`SweepFile.points` and :meth:`SweepFile.words`.
    """
    runs = {
        name: SweepRun(name, point, file.words(name, point, options))
        for name, point in file.points(count, seed).items()
    }
    return SweepFolder(file.folder(options), file.name, runs)


def check_options(folder: SweepFolder) -> None:
    """Let `sketchembed fit` parse every run's options before the first one begins.

    Args:
        folder: with the command lines.

    Raises:
        ConfigError: with what is wrong with one.
    """
    for name, run in folder.runs.items():
        said = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            try:
                fit.run([*run.words, "--print_config"])
            except SystemExit as stopped:
                code = stopped.code
        if code:
            # What comes before is the usage, of a hundred lines.
            wrong = " ".join(said.getvalue().rpartition("error:")[2].split())
            raise ConfigError(
                f"{name} cannot be run: {wrong[:400]}",
                expected="options of `sketchembed fit`",
                fix=f"It was `{shlex.join(['sketchembed', 'fit', *run.words])}`",
            )
