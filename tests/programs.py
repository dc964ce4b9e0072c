"""Programs that tests run in subprocesses, to kill them or to let them compute together.

The subprocesses are forked from a process that has imported everything, so they start within milliseconds.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

CONF = Path(__file__).parents[1] / "conf"
DOODLES = "DoodlesDataModule"
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["sketchembed.cli.fit", "sketchembed.evaluation", "programs"])


class Ended(NamedTuple):
    """A program that has ended."""

    returncode: int
    stdout: str
    stderr: str


def start(
    program: Callable, *args: Any, log: Path, err: Path | None = None, env: Mapping | None = None
) -> Any:
    """Call a function in a subprocess.

    Args:
        program: a function of a module.
        args: its arguments.
        log: file to which the subprocess appends its output.
        err: file to which it appends its error output, if not to `log`.
        env: its environment variables, if not those of this process.
    """
    variables = dict(os.environ if env is None else env)
    process = processes.Process(target=_call, args=(program, args, log, err or log, variables))
    process.start()
    return process


def run(
    program: Callable, *args: Any, ranks: int = 1, env: Mapping | None = None, timeout: float = 250
) -> Ended:
    """Call a function in as many subprocesses as there are ranks, and wait.

    Several ranks get the environment variables of `torchrun`, whose agent also serves the ranks' store.

    Returns:
        The highest exit status and the joined output of all ranks.
    """
    with tempfile.TemporaryDirectory() as name:
        files = [(Path(name, f"out-{rank}"), Path(name, f"err-{rank}")) for rank in range(ranks)]
        variables = [dict(os.environ if env is None else env) for _ in files]
        if ranks > 1:
            store = _store()
            for rank, each in enumerate(variables):
                each |= _torchrun_variables(rank, ranks, store.port)
        started = [
            start(program, *args, log=out, err=err, env=each)
            for (out, err), each in zip(files, variables, strict=True)
        ]
        deadline = time.monotonic() + timeout
        for process in started:
            process.join(max(deadline - time.monotonic(), 0))
        late = [process for process in started if process.exitcode is None]
        for process in late:
            process.kill()
            process.join()
        out, err = ("".join(path.read_text() for path in each) for each in zip(*files, strict=True))
        assert not late, f"{len(late)} of {ranks} processes ran for more than {timeout} s:\n{out}\n{err}"
        return Ended(max(process.exitcode % 256 for process in started), out, err)


def _call(program: Callable, args: Sequence, log: Path, err: Path, variables: Mapping) -> None:
    for number, path in ((1, log), (2, err)):
        with path.open("a") as file:
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.environ.clear()
    os.environ.update(variables)
    import torch

    torch.set_num_threads(1)
    # A shell that runs the tests in its background has told them to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    program(*args)


def _store() -> Any:
    from torch.distributed import TCPStore

    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def _torchrun_variables(rank: int, ranks: int, port: int) -> dict[str, str]:
    return {
        **{"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"},
        **{"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        **{"TORCHELASTIC_RUN_ID": "tests", "TORCHELASTIC_USE_AGENT_STORE": "True"},
    }


class Place(NamedTuple):
    """A function call at which a process gets a signal. By default it kills itself with SIGKILL.

    Attributes:
        function: qualified name of the called function, such as ``os.replace``.
        mention: text that the arguments of the call contain.
        after: whether the signal comes after the call instead of before it.
        signal: signal that the process sends itself.
        limit: if given, no signal is sent. Instead, no file may exceed this size in bytes from then on.
    """

    function: str
    mention: str = ""
    after: bool = False
    signal: signal.Signals = signal.SIGKILL
    limit: int | None = None

    def install(self) -> None:
        """Wrap the function so that a matching call triggers the signal."""
        owner_name, _, name = self.function.rpartition(".")
        try:
            owner: Any = importlib.import_module(owner_name)
        except ModuleNotFoundError:  # the owner is a class, not a module
            module, _, class_name = owner_name.rpartition(".")
            owner = getattr(importlib.import_module(module), class_name)
        original = getattr(owner, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            matches = self.mention in f"{args} {kwargs}"
            if matches and not self.after:
                self._trigger()
            result = original(*args, **kwargs)
            if matches and self.after:
                self._trigger()
            return result

        setattr(owner, name, wrapper)

    def _trigger(self) -> None:
        if self.limit is None:
            os.kill(os.getpid(), self.signal)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, self.limit))


def train(args: Sequence[str], place: Place | None = None) -> None:
    """Run `sketchembed fit`, which gets a signal at a place."""
    from sketchembed.cli import main

    os.environ["WANDB_MODE"] = "disabled"
    if place is not None:
        place.install()
    main(["fit", *args])


def finish(args: list[str], log: Path, place: Place | None = None, timeout: float = 600) -> int:
    """Run `sketchembed fit` and return its exit status, which is -9 if it was killed."""
    process = start(train, args, place, log=log)
    process.join(timeout)
    assert process.exitcode is not None, log.read_text()
    return int(process.exitcode)


def arguments(data: Path, root: Path, *more: str) -> list[str]:
    """Return arguments for a tiny CPU training on doodles that validates and saves within a few steps."""
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
    """Return the parts of a run that must not depend on whether it was killed."""
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
    """Return a value with its tensors as bytes, so that values compare bit for bit."""
    import torch

    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def check_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Check that two outcomes are equal. The error names the parts that differ."""
    differing = {
        (name, part)
        for name in one
        for part in (one[name] if isinstance(one[name], dict) else [""])
        if (one[name].get(part) != other[name].get(part) if part else one[name] != other[name])
    }
    assert not differing, differing
    assert one == other
