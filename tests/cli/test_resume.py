"""Check that a run that is killed and resumed ends bit for bit like an uninterrupted run."""

import json
import random
import signal
import time

import pytest
from programs import Place, arguments, check_same, finish, outcome, start, train

PLACES = [
    Place("sketchembed.data.store_writer._put_in_place"),  # during data preparation
    Place("os.replace", "config.yaml"),  # the folder of the run is empty
    Place("sketchembed.training.drawing.DrawingTask.training_step"),  # in the first step
    Place("os.replace", "step-2.ckpt"),  # the first checkpoint is written but not yet renamed
    Place("os.replace", "step-2.ckpt", after=True),
    Place("sketchembed.training.drawing.DrawingTask.validation_step"),  # after step 3
    Place("os.replace", "step-00000003.json"),  # the drawings of step 3
    Place("pathlib.Path.unlink", "step-2.ckpt"),  # while an old checkpoint is removed: 2, 4 and 6 exist
    Place("os.replace", "metrics.jsonl"),  # while the metrics are rewound to the checkpoint
    Place("sketchembed.runs.folder.Run.note", "'finished': True"),  # after the last step
]
pytestmark = pytest.mark.timeout(3600)  # enough for twenty runs or a busy machine
OPTIONS = ("--trainer.max_steps", "8", "--checkpoint.every_n_train_steps", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a few doodles in ``data`` and an uninterrupted run in ``whole``."""
    folder = tmp_path_factory.mktemp("whole")
    args = arguments(folder / "data", folder / "whole", *OPTIONS)
    assert finish(args, folder / "log") == 0, (folder / "log").read_text()
    return folder


def test_run_killed_at_each_place_equals_an_uninterrupted_run(folder, tmp_path):
    log, root = tmp_path / "log", tmp_path / "runs"
    args = arguments(tmp_path / "data", root, *OPTIONS)
    ids = set()
    for place in PLACES:
        assert finish(args, log, place) == -signal.SIGKILL, (place, log.read_text())
        if (root / "run" / "run.json").exists():
            ids.add(json.loads((root / "run" / "run.json").read_text())["wandb_id"])
    last = root / "run" / "checkpoints" / "step-8.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    assert finish(args, log) == 0, log.read_text()
    assert f"warning {last} cannot be read" in log.read_text()
    assert log.read_text().count("resume  from step-6.ckpt") >= 2
    assert [path.name for path in root.glob("*/")] == ["run"]
    assert len(ids) == 1
    check_same(outcome(folder / "whole" / "run"), outcome(root / "run"))


def test_stop_signal_saves_the_step_and_the_run_resumes(folder, tmp_path):
    log = tmp_path / "log"
    args = arguments(folder / "data", tmp_path, *OPTIONS)
    task = "sketchembed.training.drawing.DrawingTask"
    for place, step in (
        (Place(f"{task}.training_step", signal=signal.SIGTERM), 1),
        (Place(f"{task}.validation_step", signal=signal.SIGUSR1), 3),
        (Place("os.replace", "step-4.ckpt", signal=signal.SIGINT), 4),
    ):
        assert finish(args, log, place) == 128 + place.signal, log.read_text()
        message = (
            f"stopped by {place.signal.name} at step {step}; the same command resumes from step-{step}.ckpt"
        )
        assert message in log.read_text()
    assert "Traceback" not in log.read_text()
    assert finish(args, log) == 0, log.read_text()
    check_same(outcome(folder / "whole" / "run"), outcome(tmp_path / "run"))


def test_full_disk_gives_a_clear_error_and_keeps_checkpoints(folder, tmp_path):
    log = tmp_path / "log"
    args = arguments(folder / "data", tmp_path, *OPTIONS)
    size = 50_000  # smaller than a checkpoint, larger than any other file
    assert finish(args, log, Place("os.replace", "step-2.ckpt", after=True, limit=size)) == 2
    output = log.read_text()
    assert "step-4.ckpt could not be written (File too large)" in output
    assert "Free some space and run the same command again; the previous checkpoint is intact" in output
    assert "Traceback" not in output
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-2.ckpt"]
    assert finish(args, log) == 0, log.read_text()
    check_same(outcome(folder / "whole" / "run"), outcome(tmp_path / "run"))


@pytest.mark.slow
def test_run_killed_at_random_equals_an_uninterrupted_run(folder, tmp_path, request):
    every, steps = 4, 30
    options = ("--trainer.max_steps", str(steps), "--checkpoint.every_n_train_steps", str(every))
    options += ("--trainer.val_check_interval", "7", "--gallery.every", "10")
    log = tmp_path / "log"
    args = arguments(folder / "data", tmp_path / "whole", *options)
    assert finish(args, log) == 0, log.read_text()
    expected = outcome(tmp_path / "whole" / "run")
    chance = random.Random(request.config.getoption("--kills"))
    for number in range(request.config.getoption("--kills")):
        root = tmp_path / f"runs-{number}"
        run = root / "run"
        # Every fourth run prepares its own data and may be killed meanwhile.
        own = tmp_path / f"data-{number}" if number % 4 == 3 else folder / "data"
        args = arguments(own, root, *options)
        reports = []
        for attempt in range(1 + number % 3):
            process = start(train, args, log=log)
            if number % 4 == 2:  # while a checkpoint is being written
                min_steps = chance.randrange(0, steps - every)
                wait_for(process, run, min_steps, writing=True)
            elif number % 4 == 3 and attempt == 0:  # mostly before the first step
                process.join(chance.uniform(0, 3))
            else:
                min_steps = chance.randrange(0, steps)
                wait_for(process, run, min_steps)
                time.sleep(chance.uniform(0, 0.1))
            process.kill()
            process.join()
            saved = [int(path.stem.partition("-")[2]) for path in run.glob("checkpoints/step-*.ckpt")]
            lost = steps_logged(run) - max(saved, default=0)
            reports.append(f"after {steps_logged(run)} steps, lost {lost}")
            reports[-1] += ", writing" if list(run.glob("checkpoints/.*.part")) else ""
            assert lost <= every, reports
        assert finish(args, log) == 0, log.read_text()
        print(f"run {number}: {'; '.join(reports)}")
        assert [path.name for path in root.glob("*/")] == ["run"]
        check_same(expected, outcome(run))


def wait_for(process, run, steps, writing=False):
    """Wait for a number of logged steps and, with `writing`, until a checkpoint is being written."""
    while process.is_alive():
        if steps_logged(run) >= steps and (not writing or list(run.glob("checkpoints/.*.part"))):
            return
        time.sleep(0.0005)


def steps_logged(run):
    """Return the number of logged steps. The last line may be incomplete and is skipped."""
    if not (run / "metrics.jsonl").exists():
        return 0
    lines = (run / "metrics.jsonl").read_text().split("\n")[:-1]
    return max((json.loads(line)["step"] + 1 for line in lines), default=0)
