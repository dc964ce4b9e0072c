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


def log_and_write(self, metrics, step=None):
    if rank() == 0:
        with (out / f"curve-{run}.jsonl").open("a") as file:
            values = {name: float(value) for name, value in metrics.items()}
            file.write(json.dumps({"step": step, **values}) + "\n")
    original_log(self, metrics, step)


def iterate_and_write(self):
    with (out / f"seen-{run}-{rank()}.jsonl").open("w", buffering=1) as file:
        for batch in original_iter(self):
            file.write(json.dumps(batch) + "\n")
            yield batch


def setup_with_limit(self, stage=None):
    original_setup(self, stage)
    if "WATCHED_DRAWINGS" in os.environ:
        self.train_indices = self.train_indices[: int(os.environ["WATCHED_DRAWINGS"])]


def generator_with_failure(self, *args):
    if self.global_step == 3:
        (out / f"pid-{rank()}").write_text(str(os.getpid()))
        if rank() == 1 and "WATCHED_FAIL" in os.environ:
            raise ArithmeticError("the pen is broken")
        time.sleep(float(os.environ.get("WATCHED_PAUSE", "0")))
    return original_generator(self, *args)


original_log, RunLogger.log_metrics = RunLogger.log_metrics, log_and_write
original_iter, StepBatchSampler.__iter__ = StepBatchSampler.__iter__, iterate_and_write
original_setup, DrawingDataModule.setup = DrawingDataModule.setup, setup_with_limit
original_generator, Task._training_generator = Task._training_generator, generator_with_failure

arguments = [[]]
for argument in sys.argv[2:]:
    if argument == "+":
        arguments.append([])
    else:
        arguments[-1].append(argument)
for chosen in arguments:
    main(["fit", *chosen])
    run += 1
