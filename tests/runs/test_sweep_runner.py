"""Run sweeps on one machine, with runs that finish, fail or are killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from sketchembed.cli import main, sweep
from sketchembed.errors import SketchEmbedError
from sketchembed.runs import sweep_runner
from sketchembed.runs.sweep_folder import SweepFolder

FAKE_FIT = """
import json, os, pathlib, sys, time
given = dict(word[2:].split("=", 1) for word in sys.argv[1:] if "=" in word)
root, name = pathlib.Path(given["run.root"]), given["run.name"]
started = root.parent / "started"
with started.open("a") as file:
    file.write(name + "\\n")
if (root.parent / "broken").exists() and given["seed_everything"] == "2":
    sys.exit("sketchembed: the pen is dry")
run = root / name
run.mkdir()
beside = list(root.parent.glob("going-*"))
going = root.parent / f"going-{name}"
going.write_text("")
(run / "run.json").write_text(json.dumps({"max_steps": 4}))
(run / "metrics.jsonl").write_text(json.dumps({"step": 3, "train/loss": 1.5}) + "\\n")
met = root.parent / "met"
if beside:
    met.write_text("")
while (root.parent / "meet").exists() and not met.exists():
    time.sleep(0.01)
time.sleep(0.4)
going.unlink()
(run / "run.json").write_text(json.dumps({"finished": True, "beside": len(beside)}))
"""


def sweep_file(tmp_path, **more):
    path = tmp_path / "mine.yaml"
    found = {
        "command": ["sketchembed", "fit", "--preset=debug", "${args}"],
        "method": "grid",
        "parameters": {
            "curriculum.alpha_max": {"values": [0.0, 0.5]},
            "seed_everything": {"values": [1, 2]},
            "run.root": {"value": str(tmp_path / "runs")},
            **more,
        },
    }
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    return path


@pytest.fixture
def fake_fit(tmp_path, monkeypatch):
    """Replace the training by a script; return a function that lists the runs started since its last call."""
    (tmp_path / "fit.py").write_text(FAKE_FIT)
    monkeypatch.setattr(sweep_runner, "FIT", [sys.executable, str(tmp_path / "fit.py")])
    monkeypatch.setattr(sweep, "check_options", lambda folder: None)

    def started():
        file = tmp_path / "started"
        names = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return names

    return started


def test_failed_runs_are_reported_and_retried(tmp_path, fake_fit, capsys):
    path, broken = sweep_file(tmp_path), tmp_path / "broken"
    broken.write_text("")
    with pytest.raises(SystemExit) as stopped:
        main(["sweep", str(path), "--jobs", "2"])
    assert stopped.value.code == 2
    assert sorted(fake_fit()) == [f"alpha_max{alpha}-seed{seed}" for alpha in ("0", "0.5") for seed in (1, 2)]
    output = capsys.readouterr()
    assert "alpha_max0-seed2 failed: the pen is dry (exit status 1)" in output.err
    assert "2 of 4 failed; the same command tries them again" in output.err
    table = (tmp_path / "runs" / "sweep.md").read_text()
    assert "2 of 4 runs are done" in table
    assert "| alpha_max0.5-seed2 | 0.5 | 2 | failed: the pen is dry (exit status 1) |" in table
    broken.unlink()
    main(["sweep", str(path)])
    assert fake_fit() == ["alpha_max0-seed2", "alpha_max0.5-seed2"]
    assert "4 of 4 runs are done" in (tmp_path / "runs" / "sweep.md").read_text()
    main(["sweep", str(path), "--jobs=2"])
    assert fake_fit() == []
    assert capsys.readouterr().out.count("done before") == 6


def test_jobs_run_concurrently_after_the_first_start(tmp_path, fake_fit):
    (tmp_path / "meet").write_text("")  # the first run waits for a second one
    main(["sweep", str(sweep_file(tmp_path)), "--jobs", "2"])
    beside = [json.loads(file.read_text())["beside"] for file in (tmp_path / "runs").glob("*/run.json")]
    assert max(beside) == 1
    assert len(beside) == 4


def test_dry_run_lists_the_runs_and_starts_none(tmp_path, fake_fit, capsys):
    main(["sweep", str(sweep_file(tmp_path)), "--dry-run", "--", "--trainer.max_steps", "9"])
    output = capsys.readouterr().out
    assert output.count("not started") == 4
    assert "--trainer.max_steps 9" in output
    assert fake_fit() == []
    assert not (tmp_path / "runs").exists()


def test_other_options_in_the_same_folder_raise(tmp_path, fake_fit):
    path = sweep_file(tmp_path)
    main(["sweep", str(path), "--count", "1"])
    with pytest.raises(SystemExit) as stopped:
        main(["sweep", str(path), "--trainer.max_steps", "9"])
    assert stopped.value.code == 2
    with pytest.raises(SketchEmbedError, match=r"then none, now --trainer.max_steps 9"):
        sweep.run([str(path), "--trainer.max_steps", "9"])
    # A larger count is allowed.
    fake_fit()
    main(["sweep", str(path), "--count", "2"])
    assert fake_fit() == ["alpha_max0-seed2"]


def test_folder_in_use_by_another_process_is_not_touched(tmp_path, fake_fit, monkeypatch, capsys):
    monkeypatch.setattr("sketchembed.runs.sweep_folder.LOCK_WAIT", 0.3)
    lock = SweepFolder(tmp_path / "runs", "mine", {}).hold()
    with pytest.raises(SystemExit) as stopped:
        main(["sweep", str(sweep_file(tmp_path))])
    assert stopped.value.code == 2
    assert f"in use by another process ({os.getpid()})" in capsys.readouterr().err
    lock.close()
    assert fake_fit() == []


def test_points_of_wandb_runs_are_read_from_configurations(tmp_path):
    for number, (alpha, seed) in enumerate(((0.0, 1), (0.5, 1), (0.5, 2))):
        run = tmp_path / f"quickdraw-auto-seed{seed}-{number}"
        run.mkdir()
        config = {
            "seed_everything": seed,
            "curriculum": {"alpha_max": alpha, "every": 3},
            "model": {"init_args": {"seed": seed}},
            "run": {"name": None, "root": str(tmp_path)},
        }
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        (run / "run.json").write_text(json.dumps({"finished": number < 2, "max_steps": 9}))
    folder = SweepFolder.read(tmp_path)
    assert [run.point for run in folder.runs.values()] == [
        {"seed_everything": seed, "curriculum.alpha_max": alpha}
        for alpha, seed in ((0.0, 1), (0.5, 1), (0.5, 2))
    ]
    assert [folder.state(name) for name in folder.runs] == ["done", "done", "started"]
    with pytest.raises(SketchEmbedError, match="holds no sweep"):
        SweepFolder.read(tmp_path / "quickdraw-auto-seed1-0")


# ---- real training ------------------------------------------------------------------------------------


def processes_of(folder):
    """Return the processes whose command line names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


def wait_until(condition, seconds=200.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def runs(tmp_path):
    """The folder of the sweep. After the test, all processes that use it are killed."""
    yield tmp_path / "runs"
    kill(processes_of(tmp_path / "mine.yaml") + processes_of(tmp_path / "runs"))


def kill(pids):
    for number in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_killed_sweep_resumes_and_finishes_all_runs(tmp_path, runs):
    from sketchembed.data.datamodules.doodles_datamodule import DoodlesDataModule

    DoodlesDataModule(str(tmp_path / "data"), per_class=30).prepare_store()
    constants = {
        "data": "sketchembed.data.datamodules.doodles_datamodule.DoodlesDataModule",
        "data.init_args.folder": str(tmp_path / "data"),
        "data.init_args.per_class": 30,
        "seed_everything": 1,
        "trainer.max_steps": 20,
        "trainer.val_check_interval": 20,
        "trainer.accelerator": "cpu",
        "gallery.every": 1000,
        "checkpoint.every_n_train_steps": 2,
    }
    path = sweep_file(tmp_path, **{name: {"value": value} for name, value in constants.items()})
    words = [sys.executable, "-m", "sketchembed", "sweep", str(path), "--jobs", "2"]

    def begin():
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)

    # Kill only the sweep: its runs must end by themselves.
    process = begin()
    wait_until(lambda: list(runs.glob("*/checkpoints/*.ckpt")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not processes_of(runs))
    unfinished = [file for file in runs.glob("*/run.json") if not json.loads(file.read_text())["finished"]]
    assert unfinished
    # Kill the sweep and its runs at once.
    process = begin()
    wait_until(lambda: len(processes_of(runs)) >= 2 and (tmp_path / "log").read_text().count("started") >= 3)
    kill([process.pid, *processes_of(runs)])
    process.wait()
    assert begin().wait(500) == 0, (tmp_path / "log").read_text()
    rows = [line for line in (runs / "sweep.md").read_text().splitlines() if "| done |" in line]
    assert len(rows) == 2
    # Each run used one folder and logged every step once.
    assert sorted(file.parent.name for file in runs.glob("*/run.json")) == [
        f"alpha_max{alpha}" for alpha in ("0", "0.5")
    ]
    assert any("resume  from" in log.read_text() for log in (runs / "logs").iterdir())
    for file in runs.glob("*/metrics.jsonl"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert [line["step"] for line in lines if "train/loss" in line] == list(range(20))
