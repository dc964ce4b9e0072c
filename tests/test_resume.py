"""Runs that are killed with SIGKILL and started again end bit for bit where an undisturbed one ends."""

import json
import random
import signal
import time

import pytest
from killed_runs import Place, arguments, check_same, finish, outcome, start

PLACES = [
    Place("sketchembed.data.store._put_in_place"),  # while data are prepared
    Place("os.replace", "config.yaml"),  # the run is a folder with nothing in it
    Place("sketchembed.tasks.drawing.DrawingTask.training_step"),  # in the first step
    Place("os.replace", "step-2.ckpt"),  # its first checkpoint is written and not yet there
    Place("os.replace", "step-2.ckpt", after=True),
    Place("sketchembed.tasks.drawing.DrawingTask.validation_step"),  # after step 3
    Place("os.replace", "step-00000003.json"),  # the drawings of step 3
    Place("pathlib.Path.unlink", "step-2.ckpt"),  # while an old one is removed: now 2, 4 and 6 are there
    Place("os.replace", "metrics.jsonl"),  # while going back to the checkpoint
    Place("os.replace", "step-8.ckpt"),
    Place("sketchembed.runs.Run.note", "'finished': True"),  # after the last step
]
OPTIONS = ("--trainer.max_steps", "8", "--checkpoint.every_n_train_steps", "2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with few doodles, prepared once."""
    from sketchembed.data.modules import DoodlesDataModule

    folder = tmp_path_factory.mktemp("data")
    DoodlesDataModule(str(folder), per_class=30).prepare_store()
    return folder


def test_killed_at_every_place_it_ends_where_an_undisturbed_run_ends(tmp_path):
    log = tmp_path / "log"
    args = arguments(tmp_path / "data", tmp_path / "killed", *OPTIONS)
    for place in PLACES:
        assert finish(args, log, place) == -signal.SIGKILL, (place, log.read_text())
    assert finish(args, log) == 0, log.read_text()
    whole = arguments(tmp_path / "data", tmp_path / "whole", *OPTIONS)
    assert finish(whole, log) == 0, log.read_text()
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["run"]
    check_same(outcome(tmp_path / "whole" / "run"), outcome(tmp_path / "killed" / "run"))


def steps_logged(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines(keepends=True)[:-1]]
    return max((row["step"] + 1 for row in rows if "train/loss" in row), default=0)


@pytest.mark.slow
def test_killed_at_random_it_ends_where_an_undisturbed_run_ends(data, tmp_path, request):
    every = 5
    options = ("--trainer.max_steps", "60", "--checkpoint.every_n_train_steps", str(every))
    options += ("--trainer.val_check_interval", "7", "--gallery.every", "15")
    log = tmp_path / "log"
    begun = time.monotonic()
    assert finish(arguments(data, tmp_path / "whole", *options), log) == 0, log.read_text()
    lasts = time.monotonic() - begun
    wanted = outcome(tmp_path / "whole" / "run")
    chance = random.Random(0)
    for number in range(request.config.getoption("--kills")):
        root = tmp_path / f"runs-{number}"
        run = root / "run"
        # Every fourth prepares its own data, and may be killed while it does.
        own = tmp_path / f"data-{number}" if number % 4 == 3 else data
        args = arguments(own, root, *options)
        kills = []
        for _ in range(1 + number % 3):
            process = start(args, log)
            if number % 4 == 2:  # as soon as a checkpoint is being written, the first or a later one
                later = chance.randrange(4)
                while process.is_alive() and not (
                    len(list(run.glob("checkpoints/*.ckpt"))) >= min(later, 2)
                    and list(run.glob("checkpoints/.*.part"))
                ):
                    time.sleep(0.0005)
            else:
                process.join(chance.uniform(0, lasts))
            process.kill()
            process.join()
            if process.exitcode == 0:
                break
            at = steps_logged(run) if (run / "metrics.jsonl").exists() else 0
            saved = [int(path.stem.partition("-")[2]) for path in run.glob("checkpoints/step-*.ckpt")]
            writing = [path.name for path in run.glob("checkpoints/.*.part")]
            kills.append(f"at {at}, lost {at - max(saved, default=0)}{' writing' if writing else ''}")
            assert at - max(saved, default=0) <= every, kills
        if not json.loads((run / "run.json").read_text()).get("finished") if run.exists() else True:
            assert finish(args, log) == 0, log.read_text()
        print(f"run {number}: {'; '.join(kills) or 'was done before'}")
        assert [path.name for path in root.iterdir()] == ["run"]
        check_same(wanted, outcome(run))
