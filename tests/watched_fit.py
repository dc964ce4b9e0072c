"""Run `sketchembed fit` and record what the tests of distributed training compare.

Usage: ``python watched_fit.py OUT FIT-ARGUMENTS ... [+ FIT-ARGUMENTS ...]`` trains one run after the other.
Rank 0 writes all logged values in full precision to ``OUT/curve-RUN.jsonl``. Rank r writes the indices of its
training drawings to ``OUT/seen-RUN-r.jsonl``, one batch per line. In the fourth step it writes its process ID
to ``OUT/pid-r``.

Environment variables: ``WATCHED_DRAWINGS`` is the number of training drawings. If ``WATCHED_FAIL`` is set,
rank 1 raises in the fourth step. ``WATCHED_PAUSE`` is the time in seconds that all ranks sleep in that step.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from sketchembed.cli import main
from sketchembed.data.datamodules.drawing_datamodule import DrawingDataModule
from sketchembed.data.sampling import StepBatchSampler
from sketchembed.runs.run_logger import RunLogger
from sketchembed.training.task import Task


def train(out: Path, arguments: Sequence[str]) -> None:
    """Train one run after the other. Their arguments are separated by ``+``."""
    watcher = _Watcher(out)
    runs: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "+":
            runs.append([])
        else:
            runs[-1].append(argument)
    for number, words in enumerate(runs):
        watcher.run = number
        main(["fit", *words])


class _Watcher:
    def __init__(self, out: Path) -> None:
        self.out, self.run = out, 0
        self.rank = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))
        wrappers = {
            (RunLogger, "log_metrics"): self.log,
            (StepBatchSampler, "__iter__"): self.iterate,
            (DrawingDataModule, "setup"): self.set_up,
            (Task, "_training_generator"): self.generate,
        }
        for (owner, name), wrapper in wrappers.items():
            setattr(owner, name, _wrapped(wrapper, getattr(owner, name)))

    def log(self, original, logger, metrics, step=None):
        if self.rank == 0:
            with (self.out / f"curve-{self.run}.jsonl").open("a") as file:
                values = {name: float(value) for name, value in metrics.items()}
                file.write(json.dumps({"step": step, **values}) + "\n")
        original(logger, metrics, step)

    def iterate(self, original, sampler):
        with (self.out / f"seen-{self.run}-{self.rank}.jsonl").open("w", buffering=1) as file:
            for batch in original(sampler):
                file.write(json.dumps(batch) + "\n")
                yield batch

    def set_up(self, original, module, stage=None):
        original(module, stage)
        if "WATCHED_DRAWINGS" in os.environ:
            module.train_indices = module.train_indices[: int(os.environ["WATCHED_DRAWINGS"])]

    def generate(self, original, task, *args):
        if task.global_step == 3:
            (self.out / f"pid-{self.rank}").write_text(str(os.getpid()))
            if self.rank == 1 and "WATCHED_FAIL" in os.environ:
                raise ArithmeticError("the pen is broken")
            time.sleep(float(os.environ.get("WATCHED_PAUSE", "0")))
        return original(task, *args)


def _wrapped(wrapper, original):
    return lambda owner, *args, **options: wrapper(original, owner, *args, **options)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), sys.argv[2:])
