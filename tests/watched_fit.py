"""`sketchembed fit` as a program, with what the tests of several processes want to see.

Usage: ``python watched_fit.py OUT FIT-ARGUMENTS ... [+ FIT-ARGUMENTS ...]``, one run after the other. The
first process writes all logged numbers in full to ``OUT/curve-RUN.jsonl``. Process r writes the drawings that
it trains on to ``OUT/seen-RUN-r.jsonl``, a batch a line, and its number to ``OUT/pid-r`` in the fourth step.
``WATCHED_DRAWINGS`` leaves so many drawings to train on. ``WATCHED_FAIL`` makes process 1 raise in the fourth
step, ``WATCHED_PAUSE`` makes all sleep there for so many seconds.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch

from sketchembed.cli import main
from sketchembed.data.datamodules.drawing_datamodule import DrawingDataModule
from sketchembed.data.sampling import StepBatchSampler
from sketchembed.runs.run_logger import RunLogger
from sketchembed.training.task import Task

torch.set_num_threads(1)
out, run = Path(sys.argv[1]), 0


def rank() -> int:
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def written(self, metrics, step=None):
    if rank() == 0:
        with (out / f"curve-{run}.jsonl").open("a") as file:
            values = {name: float(value) for name, value in metrics.items()}
            file.write(json.dumps({"step": step, **values}) + "\n")
    log(self, metrics, step)


def noted(self):
    with (out / f"seen-{run}-{rank()}.jsonl").open("w", buffering=1) as file:
        for batch in batches(self):
            file.write(json.dumps(batch) + "\n")
            yield batch


def fewer(self, stage=None):
    setup(self, stage)
    if "WATCHED_DRAWINGS" in os.environ:
        self.train_indices = self.train_indices[: int(os.environ["WATCHED_DRAWINGS"])]


def failing(self, *args):
    if self.global_step == 3:
        (out / f"pid-{rank()}").write_text(str(os.getpid()))
        if rank() == 1 and "WATCHED_FAIL" in os.environ:
            raise ArithmeticError("the pen is broken")
        time.sleep(float(os.environ.get("WATCHED_PAUSE", "0")))
    return generator(self, *args)


log, RunLogger.log_metrics = RunLogger.log_metrics, written
batches, StepBatchSampler.__iter__ = StepBatchSampler.__iter__, noted
setup, DrawingDataModule.setup = DrawingDataModule.setup, fewer
generator, Task._training_generator = Task._training_generator, failing

arguments = [[]]
for argument in sys.argv[2:]:
    if argument == "+":
        arguments.append([])
    else:
        arguments[-1].append(argument)
for chosen in arguments:
    main(["fit", *chosen])
    run += 1
