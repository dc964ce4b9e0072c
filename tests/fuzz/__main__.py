"""``python -m tests.fuzz``: fuzz one reader, or all of them in sequence, each in its own process."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

LIMIT = 512
"""Memory in MB that the process may gain while it reads."""


def all_readers():
    """Return the readers by name. The imports are in the function because they load PyTorch."""
    from . import configs, downloads, drawings, models, pictures, reports

    modules = (drawings, pictures, models, reports, configs, downloads)
    return {reader.name: reader for module in modules for reader in module.READERS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--reader", default="all", help="a reader, 'all' (default), or 'list' for the names")
    parser.add_argument("--inputs", type=int, default=10_000, help="minimum number of inputs")
    parser.add_argument("--seconds", type=float, default=300, help="minimum time in seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the inputs that failed")
    parser.add_argument("--only", type=int, help="read only the input of this number, and show its error")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.reader == "list":
        print("\n".join(all_readers()))
        return
    if args.only is not None or args.inside:
        run_in_this_process(args)
        return
    names = list(all_readers()) if args.reader == "all" else args.reader.split(",")
    failed = [name for name in names if not run_in_subprocess(name, args)]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def run_in_subprocess(name: str, args: argparse.Namespace) -> bool:
    """Run one reader in a subprocess, which may crash, and print the results."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        command = [sys.executable, "-m", "tests.fuzz", "--reader", name, "--inside", str(work)]
        command += ["--inputs", str(args.inputs), "--seconds", str(args.seconds), "--seed", str(args.seed)]
        command += ["--keep", str(args.keep)] if args.keep else []
        ran = subprocess.run(command, check=False)
        if ran.returncode or not (work / "result.json").exists():
            at = (work / "number").read_text() if (work / "number").exists() else "none"
            print(f"{name}: the process ended with {ran.returncode} at input {at}", flush=True)
            return False
        found = json.loads((work / "result.json").read_text())
    refused = sum(found["refused"].values())
    print(
        f"{name}: {found['inputs']:,} inputs in {found['seconds']:.0f} s, {len(found['uncaught'])} uncaught, "
        f"slowest {found['slowest'][0]:.2f} s (input {found['slowest'][1]}), "
        f"memory +{found['grown']:.0f} MB, "
        f"answered {found['answered']:,}, refused {refused:,} in {len(found['refused'])} ways",
        flush=True,
    )
    for number, grown in found["largest"]:
        print(f"    +{grown:.0f} MB at input {number}")
    for what, count in sorted(found["refused"].items(), key=lambda item: -item[1])[:12]:
        print(f"    {100 * count / found['inputs']:5.1f} %  {what}")
    shown = set()
    for number, text in found["uncaught"]:
        kind = text.strip().splitlines()[-1][:60]
        if kind not in shown and len(shown) < 12:
            shown.add(kind)
            print(f"  ! input {number}:\n{text}", flush=True)
    return not found["uncaught"] and found["grown"] <= LIMIT


def run_in_this_process(args: argparse.Namespace) -> None:
    """Run one reader in this process."""
    import torch

    from .engine import limit_memory, run

    torch.set_num_threads(1)
    reader = all_readers()[args.reader]
    limit_memory()
    log = args.inside / "number" if args.inside else None
    found = run(reader, args.inputs, args.seconds, args.seed, args.keep, args.only, log)
    if args.inside:
        (args.inside / "result.json").write_text(json.dumps(asdict(found)))
    else:
        print("answered" if found.answered else f"refused: {next(iter(found.refused))}")


if __name__ == "__main__":
    main()
