"""Test run folders, checkpoints, weights and configurations of earlier versions.

``released_files/0.1.0`` was written by that version: an unfinished run of 6 of 11 steps, its data (generated
drawings in the sketch-rnn format) and its initial weights.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from packaging.version import Version

import sketchembed
from sketchembed.cli import main
from sketchembed.errors import ConfigError
from sketchembed.hub.model_files import read_raw
from sketchembed.runs.folder import trains_alike
from sketchembed.runs.renamed import update_arguments, update_config
from sketchembed.training.drawing import DrawingTask

FILES = Path(__file__).parents[1] / "released_files"
FIXTURE = FILES / "0.1.0"
VERSIONS = sorted(path.name for path in FILES.iterdir() if path.is_dir())
LOSSES = [1.7353066205978394, 1.79515540599823, 1.6647536754608154, 1.819714069366455, 1.830621361732483]
"""Losses of steps 6 to 10 when version 0.1.0 resumed the run."""
DATA = {"folder": "data", "batch_size": 8, "validation_drawings": 4}
NETWORK = {"width": 4, "hidden": 24, "hyper": 12, "embedding": 3}
COMMAND = [
    *("fit", "--preset", "debug"),
    *(word for name, value in DATA.items() for word in (f"--data.init_args.{name}", str(value))),
    *(word for name, value in NETWORK.items() for word in (f"--model.init_args.network.{name}", str(value))),
    *("--model.init_args.kl_weight", "0.01", "--model.init_args.input_augmentation.rotation", "10"),
    *("--model.init_args.begin_with", "start.safetensors", "--trainer.accelerator", "cpu"),
    *("--trainer.precision", "32-true", "--trainer.max_steps", "11", "--curriculum.alpha_max", "0.4"),
    *("--checkpoint.every_n_train_steps", "6", "--finite.action", "skip"),
    *("--run.root", "runs", "--run.name", "run-0.1.0", "--run.wandb", "disabled"),
]


@pytest.fixture
def old_run(tmp_path, monkeypatch):
    """A copy of the run's folder, in a working directory with its data."""
    shutil.copytree(FIXTURE, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Path("runs") / "run-0.1.0"


def losses(run):
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row["train/loss"] for row in rows if "train/loss" in row}


def test_same_command_resumes_with_the_same_losses(old_run, capsys):
    before = losses(old_run)
    main(COMMAND)
    output = capsys.readouterr().out
    assert "note    --model.init_args.begin_with is now --model.init_args.init_from" in output
    assert "resume  from step-6.ckpt" in output
    assert [path.name for path in Path("runs").glob("*/")] == ["run-0.1.0"]
    after = losses(old_run)
    assert {step: after[step] for step in range(6)} == before
    assert [after[step] for step in range(6, 10)] == pytest.approx(LOSSES[:4], rel=1e-4)
    assert after[10] == pytest.approx(LOSSES[4], rel=1e-2)  # rounding in float32 has grown
    assert json.loads((old_run / "run.json").read_text())["finished"] is True
    described = yaml.safe_load((old_run / "config.yaml").read_text())
    assert described["model"]["class_path"] == "sketchembed.training.DrawingTask"
    assert described["data"]["class_path"] == "sketchembed.data.QuickdrawDataModule"


def test_run_with_a_rollback_keeps_its_step_offset(old_run, monkeypatch):
    file = old_run / "checkpoints" / "step-6.ckpt"
    checkpoint = read_raw(file)
    checkpoint["callbacks"]["Finite"] |= {"went_back": 1, "passed_over": 2}
    torch.save(checkpoint, file)
    seeds = []
    original = DrawingTask.training_step

    def train(self, batch, batch_idx):
        ahead = self._generator(self.global_step + 2, 0).initial_seed()
        members = self.trainer.datamodule.batch_members(self.global_step + 2, 0, 1)["indices"]
        assert torch.equal(batch, self.trainer.datamodule.dataset[members])
        seeds.append((self._training_generator(batch_idx).initial_seed(), ahead))
        return original(self, batch, batch_idx)

    monkeypatch.setattr(DrawingTask, "training_step", train)
    main([*COMMAND, "--finite.action", "rollback", "--finite.rollbacks", "3"])
    assert len(seeds) == 5
    assert all(one == other for one, other in seeds)
    assert read_raw(old_run / "checkpoints" / "step-11.ckpt")["callbacks"]["Finite"]["step_offset"] == 2


def test_old_configuration_trains(old_run):
    config = str(old_run / "config.yaml")
    shutil.copy(config, "old.yaml")
    options = ["--run.name", "again", "--trainer.max_steps", "1", "--trainer.check_val_every_n_epoch", "null"]
    main(["fit", "--config", "old.yaml", *options])
    before = losses(old_run)
    assert losses(Path("runs") / "again")[0] == pytest.approx(before[0], rel=1e-4)


@pytest.mark.parametrize("version", VERSIONS)
def test_files_of_a_version_load(version):
    folder = FILES / version
    (run,) = folder.glob("runs/*")
    (checkpoint,) = run.glob("checkpoints/*.ckpt")
    (weights,) = folder.glob("*.safetensors")
    image = torch.rand(2, 1, 28, 28)
    of_run, of_checkpoint, of_weights = (
        sketchembed.load(path).embed(image) for path in (run, checkpoint, weights)
    )
    assert of_run.shape == of_weights.shape == (2, 16)
    assert torch.equal(of_run, of_checkpoint)
    # Version 0.1.0 has initial weights; write.py exports those of the run.
    assert torch.equal(of_run, of_weights) == (version != "0.1.0")


def test_current_version_has_files():
    assert Version(sketchembed.__version__).base_version in VERSIONS


def test_old_names_on_the_command_line_are_updated():
    updated, notes = update_arguments(
        [
            *("--data", "sketchembed.data.modules.DoodlesDataModule", "--model.begin_with=a/b"),
            *("--finite.rollbacks", "3", "--model.init_args.kl_tolerance=0.2", "--trainer.max_steps", "1"),
        ]
    )
    assert updated == [
        *("--data", "DoodlesDataModule", "--model.init_args.init_from=a/b", "--trainer.max_steps", "1"),
    ]
    assert len(notes) == 4
    assert notes[0] == "--data sketchembed.data.modules.DoodlesDataModule is now --data DoodlesDataModule"
    assert update_arguments(["--model", "mine.Task", "--finite.action", "skip"])[1] == []
    with pytest.raises(ConfigError, match="kl_tolerance is 0.5, and the option was removed"):
        update_arguments(["--model.init_args.kl_tolerance", "0.5"])


def test_old_names_in_configurations_are_updated():
    old = {
        "model": {"class_path": "sketchembed.tasks.drawing.DrawingTask", "init_args": {"begin_with": "a"}},
        "finite": {"action": "rollback", "rollbacks": 3, "skips": 4},
        "trainer": {"callbacks": [{"class_path": "mine.Callback"}]},
    }
    assert update_config(old) == {
        "model": {"class_path": "DrawingTask", "init_args": {"init_from": "a"}},
        "finite": {"action": "stop", "skips": 4},
        "trainer": {"callbacks": [{"class_path": "mine.Callback"}]},
    }
    assert old["model"]["class_path"] == "sketchembed.tasks.drawing.DrawingTask"
    with pytest.raises(ConfigError, match="split_seed is 1, and the option was removed"):
        update_config({"data": {"init_args": {"split_seed": 1}}})


def test_configurations_are_compared_by_current_names():
    def config(path, **more):
        return yaml.safe_dump({"model": {"class_path": path, "init_args": {"lr": 1.0} | more}})

    old = config("sketchembed.tasks.drawing.DrawingTask", begin_with="a", kl_tolerance=0.2)
    assert trains_alike(old, config("sketchembed.training.DrawingTask", init_from="a"))
    assert not trains_alike(old, config("sketchembed.training.DrawingTask", init_from="b"))
    assert not trains_alike(old, config("sketchembed.training.PhotoDrawingTask", init_from="a"))
    assert trains_alike(old, config("DrawingTask", init_from="a", adam="pytorch", renderer="device"))
    assert not trains_alike(old, config("DrawingTask", init_from="a", adam="keras"))
    removed = config("sketchembed.tasks.drawing.DrawingTask", begin_with="a", kl_tolerance=0.5)
    assert not trains_alike(removed, config("sketchembed.training.DrawingTask", init_from="a"))
