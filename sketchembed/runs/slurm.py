"""The number of processes that `srun` has started. Without it, Lightning would train a run in each."""

from __future__ import annotations

import os

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from sketchembed.errors import ConfigError


def started() -> bool:
    """Return whether `srun` has started this process, and `torchrun` has not."""
    return SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()


def processes() -> tuple[int, int]:
    """Return the number of processes per machine, and the number of machines."""
    total, per_node = (os.environ.get(f"SLURM_{name}") for name in ("NTASKS", "NTASKS_PER_NODE"))
    if per_node is None and total != "1":
        raise ConfigError(
            f"SLURM has started {total} processes by --ntasks",
            expected="--ntasks-per-node, the number of GPUs of each machine",
            fix="Submit the job with it, as docs/slurm.sbatch does",
        )
    return int(per_node or 1), int(os.environ.get("SLURM_NNODES", "1"))


def environment() -> SLURMEnvironment:
    """Return Lightning's SLURM environment without automatic requeueing, which the job's script can do."""
    return SLURMEnvironment(auto_requeue=False)
