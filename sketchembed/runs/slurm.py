"""What SLURM says of the processes that it has started with `srun`.

Processes and their places (``SLURM_PROCID``, ``SLURM_LOCALID``, ``SLURM_NODEID``) are Lightning's to read. It
does not count them by itself, though: told nothing, each process would train a run of its own.
"""

from __future__ import annotations

import os

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from sketchembed.errors import ConfigError


def started() -> bool:
    """Return whether `srun` has started this process, with no `torchrun` in between."""
    return SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()


def processes() -> tuple[int, int]:
    """Return how many processes there are on each machine, and how many machines.

    Raises:
        ConfigError: if the job says how many there are in all, but not on each machine.
    """
    every, each = (os.environ.get(f"SLURM_{name}") for name in ("NTASKS", "NTASKS_PER_NODE"))
    if each is None and every != "1":
        raise ConfigError(
            f"SLURM has started {every} processes by --ntasks",
            expected="--ntasks-per-node, the number of GPUs of each machine",
            fix="Submit the job with it, as docs/slurm.sbatch does",
        )
    return int(each or 1), int(os.environ.get("SLURM_NNODES", "1"))


def environment() -> SLURMEnvironment:
    """Return Lightning's view of SLURM, but without its own way to go on with a job.

    On a signal it would save beside the run's checkpoints, and ask for the job anew from within; here a run
    goes on from its own folder, and the job's script asks.
    """
    return SLURMEnvironment(auto_requeue=False)
