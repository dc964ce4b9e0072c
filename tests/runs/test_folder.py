import json
import os
import time

import pytest
from programs import processes

from sketchembed.errors import DataError
from sketchembed.runs.folder import Run, RunOptions
from sketchembed.runs.run_logger import RunLogger


def opened(tmp_path, config="a: 1\n", resume="auto"):
    return Run.open(tmp_path, "run", config, resume)


def with_checkpoint(run):
    run.checkpoints.mkdir()
    (run.checkpoints / "step-3.ckpt").write_bytes(b"x")
    run.release()
    return run


def test_same_command_resumes_an_unfinished_run(tmp_path):
    first = with_checkpoint(opened(tmp_path))
    again = opened(tmp_path)
    assert again.path == first.path
    assert again.last_checkpoint.name == "step-3.ckpt"
    assert again.facts["wandb_id"] == first.facts["wandb_id"]


@pytest.mark.parametrize(
    ("change", "config", "resume"),
    [({"finished": True}, "a: 1\n", "auto"), ({}, "a: 2\n", "auto"), ({}, "a: 1\n", "never")],
)
def test_finished_or_different_run_gets_a_new_folder(tmp_path, change, config, resume):
    first = with_checkpoint(opened(tmp_path))
    first.note(**change)
    other = opened(tmp_path, config, resume)
    assert other.path.name == "run-2"
    assert other.last_checkpoint is None


def test_active_run_is_not_resumed(tmp_path):
    first = opened(tmp_path)
    assert opened(tmp_path).path.name == "run-2"
    first.release()


def test_run_without_a_checkpoint_restarts_in_its_folder(tmp_path):
    first = opened(tmp_path)
    (first.path / "metrics.jsonl").write_text('{"step": 0, "train/loss": 1}\n')
    first.release()
    again = opened(tmp_path)
    assert again.path == first.path
    assert again.facts["wandb_id"] == first.facts["wandb_id"]
    again.rewind(0)
    assert not (again.path / "metrics.jsonl").read_text()


def _open_run_and_fork(folder, opened):
    Run.open(folder, "run", "a: 1\n")
    if not os.fork():  # like a data loading worker that outlives its parent
        time.sleep(30)
        os._exit(0)
    opened.set()
    time.sleep(30)


def test_killed_process_releases_its_run_despite_live_children(tmp_path):
    opened_there = processes.Event()
    process = processes.Process(target=_open_run_and_fork, args=(tmp_path, opened_there))
    process.start()
    assert opened_there.wait(250)
    assert opened(tmp_path).path.name == "run-2"
    process.kill()
    process.join()
    assert opened(tmp_path).path.name == "run"


def _open_at_once(folder, barrier, names):
    barrier.wait(250)
    run = Run.open(folder, "run", "a: 1\n")
    names.put(run.path.name)
    barrier.wait(250)  # no process releases its run before all have one


def test_simultaneous_commands_get_separate_runs(tmp_path):
    barrier, names = processes.Barrier(6), processes.Queue()
    started = [processes.Process(target=_open_at_once, args=(tmp_path, barrier, names)) for _ in range(6)]
    for process in started:
        process.start()
    found = sorted(names.get(timeout=250) for _ in started)
    for process in started:
        process.join(60)
    assert found == ["run", *(f"run-{number}" for number in range(2, 7))]


def test_moved_run_resumes_in_its_new_folder(tmp_path):
    def config(place, devices, batch):
        data = {"class_path": "Doodles", "init_args": {"folder": place, "batch_size": batch}}
        return json.dumps({"run": {"root": place}, "trainer": {"devices": devices}, "data": data})

    first = with_checkpoint(opened(tmp_path / "here", config("/here", 8, 64)))
    wandb_id = first.facts["wandb_id"]
    os.rename(tmp_path / "here", tmp_path / "there")
    again = opened(tmp_path / "there", config("/there", 1, 64))
    assert (again.path.name, again.last_checkpoint.name) == ("run", "step-3.ckpt")
    assert again.facts["wandb_id"] == wandb_id
    again.release()
    assert opened(tmp_path / "there", config("/there", 1, 32)).path.name == "run-2"


def test_resuming_with_other_data_raises(tmp_path):
    run = opened(tmp_path)
    run.note(data={"folder": "/here", "digest": "ab", "drawings": 10})
    run.check_data({"folder": "/there", "digest": "ab", "drawings": 10})
    with pytest.raises(DataError, match=r"'digest' was ab and is cd.*--run.resume never"):
        run.check_data({"folder": "/here", "digest": "cd", "drawings": 10})


def test_partial_files_of_killed_writers_are_removed(tmp_path):
    run = with_checkpoint(opened(tmp_path))
    for name in (".run.json.7.part", "checkpoints/.step-4.ckpt.7.part"):
        (run.path / name).write_bytes(b"x")
    opened(tmp_path)
    assert not list(run.path.rglob("*.part"))
    assert (run.checkpoints / "step-3.ckpt").exists()


def test_only_an_empty_folder_is_reused_as_a_run(tmp_path):
    (tmp_path / "run").mkdir()
    assert opened(tmp_path).path.name == "run"
    (tmp_path / "mine" / "run").mkdir(parents=True)
    (tmp_path / "mine" / "run" / "thesis.tex").touch()
    assert opened(tmp_path / "mine").path.name == "run-2"


def test_rewind_removes_records_after_the_checkpoint(tmp_path):
    run = opened(tmp_path)
    lines = [json.dumps({"step": step, "train/loss": 1.0}) for step in (0, 1, 2, 3)]
    lines += [json.dumps({"step": step, "val/loss": 1.0}) for step in (1, 2)]
    (run.path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 5, "ti')
    (run.path / "samples").mkdir()
    for step in (2, 4):
        (run.path / "samples" / f"step-{step:08d}.json").write_text("{}")
    run.rewind(2)
    kept = [json.loads(line)["step"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert kept == [0, 1, 1]
    assert [path.name for path in (run.path / "samples").iterdir()] == ["step-00000002.json"]


def test_logger_writes_lines_and_continues_the_time(tmp_path):
    run = opened(tmp_path)
    (run.path / "metrics.jsonl").write_text('{"step": 1, "time": 100.0}\n')
    logger = RunLogger(run)
    logger.log_metrics({"train/loss": 0.123456789, "epoch": 0, "train/bad": float("nan")}, step=2)
    logger.finalize("success")
    last = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 2
    assert last["time"] >= 100
    assert last["train/loss"] == 0.123457
    assert last["train/bad"] is None
    assert "epoch" not in last


def test_wandb_mode_is_offline_by_default_outside_sweeps(monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    assert RunOptions().wandb_mode() == "offline"
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    assert RunOptions().wandb_mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert RunOptions().wandb_mode() == "disabled"
    assert RunOptions(wandb="offline").wandb_mode() == "offline"
