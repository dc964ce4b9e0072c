"""Runs that are killed: in processes of their own, at a chosen place or whenever the test says.

The processes are forked from one that has imported everything, so that a start takes no seconds.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

CONF = Path(__file__).parents[1] / "conf"
DOODLES = "DoodlesDataModule"
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["sketchembed.cli.fit", "killed_runs"])


class Place(NamedTuple):
    """Where something happens to a process; by default it kills itself with SIGKILL.

    Attributes:
        function: such as ``os.replace``, that is called there.
        mention: what the arguments of the fatal call say.
        after: whether it happens when the call is done rather than before.
        signal: what the process sends itself.
        limit: if given, no signal is sent: from here on no file may grow beyond so many bytes.
    """

    function: str
    mention: str = ""
    after: bool = False
    signal: signal.Signals = signal.SIGKILL
    limit: int | None = None

    def lay(self) -> None:
        """Have it happen where the function is called."""
        owner_name, _, name = self.function.rpartition(".")
        try:
            owner: Any = importlib.import_module(owner_name)
        except ModuleNotFoundError:  # a class
            module, _, of = owner_name.rpartition(".")
            owner = getattr(importlib.import_module(module), of)
        original = getattr(owner, name)

        def fatal(*args: Any, **kwargs: Any) -> Any:
            hit = self.mention in f"{args} {kwargs}"
            if hit and not self.after:
                self._happen()
            result = original(*args, **kwargs)
            if hit and self.after:
                self._happen()
            return result

        setattr(owner, name, fatal)

    def _happen(self) -> None:
        if self.limit is None:
            os.kill(os.getpid(), self.signal)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, self.limit))


def _train(args: list[str], log: Path, place: Place | None) -> None:
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    import torch

    from sketchembed.cli import main

    torch.set_num_threads(1)
    os.environ["WANDB_MODE"] = "disabled"
    if place is not None:
        place.lay()
    main(["fit", *args])


def start(args: list[str], log: Path, place: Place | None = None) -> Any:
    """Start `sketchembed fit` in a process of its own; its output goes to a file."""
    process = processes.Process(target=_train, args=(args, log, place))
    process.start()
    return process


def finish(args: list[str], log: Path, place: Place | None = None, timeout: float = 600) -> int:
    """Run `sketchembed fit`, and return its exit status; -9 if it was killed."""
    process = start(args, log, place)
    process.join(timeout)
    assert process.exitcode is not None, log.read_text()
    return int(process.exitcode)


def arguments(data: Path, root: Path, *more: str) -> list[str]:
    """Return the CPU preset, made tiny, with doodles; everything happens within a few steps."""
    return [
        *(
            part
            for name in ("quickdraw", "cpu", "debug")
            for part in ("--config", str(CONF / f"{name}.yaml"))
        ),
        *("--data", DOODLES, "--data.init_args.folder", str(data), "--data.init_args.per_class", "30"),
        *("--trainer.accelerator", "cpu", "--run.root", str(root), "--run.name", "run", *more),
    ]


def outcome(run: Path) -> dict[str, Any]:
    """Return all that must be the same of a run whether it was killed or not."""
    import torch

    checkpoints = sorted((run / "checkpoints").glob("*.ckpt"))
    last = max(checkpoints, key=lambda path: int(path.stem.partition("-")[2]))
    content = torch.load(last, weights_only=True)
    rows = []
    for line in (run / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        rows.append({k: v for k, v in row.items() if k not in ("time", "train/drawings_per_second")})
    facts = json.loads((run / "run.json").read_text())
    return {
        "checkpoint": {name: plain(part) for name, part in content.items()},
        "names": [path.name for path in checkpoints],
        "metrics": rows,
        "samples": {path.name: path.read_bytes() for path in sorted((run / "samples").glob("*"))},
        "finished": facts["finished"],
        "unfinished": [str(path) for path in run.rglob("*.part")],
    }


def plain(value: Any) -> Any:
    """Return a value with tensors as bytes, which compare bit for bit."""
    import torch

    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def check_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Compare two outcomes, and name what differs."""
    differing = {
        (name, part)
        for name in one
        for part in (one[name] if isinstance(one[name], dict) else [""])
        if (one[name].get(part) != other[name].get(part) if part else one[name] != other[name])
    }
    assert not differing, differing
    assert one == other
