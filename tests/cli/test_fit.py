"""Train end to end on a few doodles, with tiny networks."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from programs import run, start

import sketchembed
from sketchembed.cli import fit, main
from sketchembed.hub.model_files import read_raw

CONF = Path(__file__).parents[2] / "conf"
DOODLES = "DoodlesDataModule"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with a few doodles, prepared once."""
    from sketchembed.data.datamodules.doodles_datamodule import DoodlesDataModule

    folder = tmp_path_factory.mktemp("data")
    DoodlesDataModule(str(folder), per_class=30).prepare_store()
    return folder


def arguments(data, tmp_path, *more):
    return [
        *("--config", str(CONF / "quickdraw.yaml"), "--config", str(CONF / "debug.yaml")),
        *("--data", DOODLES, "--data.init_args.folder", str(data), "--data.init_args.per_class", "30"),
        *("--trainer.accelerator", "cpu", "--run.root", str(tmp_path / "runs")),
        *more,
    ]


@pytest.fixture
def train(data, tmp_path, monkeypatch):

    def run(*more):
        fit.run(arguments(data, tmp_path, *more))
        return max((tmp_path / "runs").glob("*/"), key=lambda path: path.stat().st_mtime)

    return run


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run):
    return read_raw(run / "checkpoints" / "step-6.ckpt")["state_dict"]


def test_run_writes_files_metrics_and_samples(train, capsys):
    run = train()
    output = capsys.readouterr().out
    assert "data    doodles" in output
    assert "step      6/6" in output
    assert run.name == "doodles-custom-seed0"
    names = {path.name for path in run.iterdir()}
    assert {"run.json", "config.yaml", "metrics.jsonl", "samples", "checkpoints", "index.html"} <= names
    facts = json.loads((run / "run.json").read_text())
    assert facts["finished"] is True
    assert facts["data"]["source"] == "doodles"
    logged = set().union(*metrics(run))
    terms = {
        f"{part}/{term}" for part in ("train", "val", "unseen") for term in ("loss", "pen", "stroke", "pixel")
    }
    assert terms | {"train/alpha", "train/lr", "train/grad_norm", "train/drawings_per_second"} <= logged
    samples = sorted(path.name for path in (run / "samples").iterdir())
    assert samples == ["step-00000003.json", "step-00000006.json"]
    items = json.loads((run / "samples" / samples[0]).read_text())["items"]
    assert [item["seen"] for item in items] == [True, True, False, False]
    assert [sample["temperature"] for sample in items[0]["samples"]] == [0.0, 0.5]
    net = sketchembed.load(run)
    assert net.embed(torch.rand(2, 1, 28, 28)).shape == (2, 16)
    assert net.offset_scale == pytest.approx(facts["data"]["offset_scale"])


def test_alpha_increases_with_the_step_and_is_logged(train):
    run = train("--curriculum.alpha_max", "0.4")
    alphas = [line["train/alpha"] for line in metrics(run) if "train/alpha" in line]
    assert alphas == pytest.approx([0, 0.25, 0.25, 0.4, 0.4, 0.4])


def test_resumed_run_equals_an_uninterrupted_run(train, monkeypatch, capsys):
    whole = train("--run.name", "whole")

    class Stop(Exception):
        pass

    from sketchembed.training.progress import Monitor

    original = Monitor.on_train_batch_end

    def stop(self, trainer, *rest, **options):
        original(self, trainer, *rest, **options)
        if trainer.global_step == 5:
            raise Stop

    monkeypatch.setattr(Monitor, "on_train_batch_end", stop)
    with pytest.raises(Stop):
        train("--run.name", "cut")
    assert json.loads((whole.parent / "cut" / "run.json").read_text())["failed"].startswith("Stop")
    assert ">failed</span>" in (whole.parent / "index.html").read_text()
    monkeypatch.setattr(Monitor, "on_train_batch_end", original)
    cut = train("--run.name", "cut")
    assert cut.name == "cut"
    assert ">failed</span>" not in (whole.parent / "index.html").read_text()
    assert "resume  from step-3.ckpt" in capsys.readouterr().out
    assert [line["step"] for line in metrics(cut) if "train/loss" in line] == [0, 1, 2, 3, 4, 5]
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(cut)[name]), name


def test_run_page_exists_after_the_first_logged_steps(data, tmp_path, monkeypatch):
    from sketchembed.training.progress import Monitor

    run = tmp_path / "runs" / "vae"
    pages = []

    def look(self, trainer, *_, **__):
        page = run / "index.html"
        pages.append(page.read_text() if page.exists() else None)

    monkeypatch.setattr(Monitor, "on_train_batch_end", look)
    fit.run(
        [
            *("--preset", "vae", "--data", DOODLES, "--data.init_args.folder", str(data)),
            *("--data.init_args.per_class", "30", "--data.init_args.batch_size", "8"),
            *("--data.init_args.validation_drawings", "4", "--model.init_args.network.width", "4"),
            *("--trainer.max_steps", "4", "--trainer.log_every_n_steps", "2", "--trainer.accelerator", "cpu"),
            *("--trainer.precision", "32-true", "--run.wandb", "disabled"),
            *("--run.root", str(tmp_path / "runs"), "--run.name", "vae"),
        ]
    )
    assert [page is not None for page in pages] == [False, False, True, True]
    assert "train/reconstruction" in pages[2]


def test_runs_are_equal_only_with_the_same_seed(train):
    first, second, other = train(), train("--run.resume", "never"), train("--seed_everything", "1")
    assert [run.name for run in (first, second, other)] == [
        "doodles-custom-seed0",
        "doodles-custom-seed0-2",
        "doodles-custom-seed1",
    ]
    key = "net.mean.weight"
    assert torch.equal(weights(first)[key], weights(second)[key])
    assert not torch.equal(weights(first)[key], weights(other)[key])


def test_offline_wandb_gets_samples_and_configuration(train, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = train("--run.wandb", "offline")
    offline = list((run / "wandb").glob("offline-run-*"))
    assert len(offline) == 1
    assert list(offline[0].glob("files/media/images/samples_*.png"))
    log = next(offline[0].glob("*.wandb")).read_bytes()
    assert b'"alpha_max": 0.5' in log or b'"alpha_max":0.5' in log
    assert b'"source": "doodles"' in log or b'"source":"doodles"' in log


def test_training_works_without_wandb_installed(train, monkeypatch, capsys):
    monkeypatch.setattr("pytorch_lightning.loggers.wandb._WANDB_AVAILABLE", False)
    run = train("--run.wandb", "offline")
    assert "W&B is not used" in capsys.readouterr().out
    assert (run / "index.html").exists()


@pytest.mark.parametrize(
    "option", ["--model.init_args.learning_rate=1", "--curriculum.gamma=1", "--colour=red"]
)
def test_unknown_option_gives_a_clear_error(option, data, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["fit", *arguments(data, tmp_path, option)])
    assert caught.value.code == 2
    output = capsys.readouterr().err
    assert option.lstrip("-").partition("=")[0].rpartition(".")[2] in output
    assert "Traceback" not in output


def test_unknown_command_gives_a_clear_error(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["fitt"])
    assert caught.value.code == 2
    assert "no command 'fitt'" in capsys.readouterr().err
    main([])
    assert "usage: sketchembed COMMAND" in capsys.readouterr().out


def test_unsuitable_checkpoint_gives_a_clear_error(train, data, tmp_path, monkeypatch, capsys):
    run = train()
    last = run / "checkpoints" / "step-6.ckpt"
    (tmp_path / "cut.ckpt").write_bytes(last.read_bytes()[:-900])
    for path, options, message in (
        (last, ["--model.init_args.network.hidden", "24"], "of shape [96, 16], not [80, 16]"),
        (tmp_path / "cut.ckpt", [], "cannot be read"),
        (tmp_path / "none.ckpt", [], "there is no checkpoint"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["fit", *arguments(data, tmp_path, "--ckpt_path", str(path), *options)])
        assert caught.value.code == 2
        output = capsys.readouterr().err
        assert message in output, output
        assert "Traceback" not in output


def test_data_command_accepts_commas_and_hyphens(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKETCHEMBED_DATA", raising=False)
    for arguments in (
        ["--classes", "cat,snoman", "--per-class", "3"],
        ["--classes=[snoman]", "--per_class=3"],
    ):
        with pytest.raises(SystemExit) as caught:
            main(["data", "quickdraw", *arguments])
        assert caught.value.code == 2
        assert "Did you mean 'snowman'" in capsys.readouterr().err
    main(["data", "doodles", "--per-class", "28"])
    assert "classes" in capsys.readouterr().out
    assert (tmp_path / "data" / "prepared" / "doodles" / "manifest.json").exists()


def test_interrupted_run_saves_a_checkpoint_and_resumes(data, tmp_path):
    words = arguments(data, tmp_path, "--trainer.max_steps", "100", "--checkpoint.every_n_train_steps", "10")
    words += ["--gallery.every", "1000", "--trainer.val_check_interval", "1000"]
    folder, log = tmp_path / "runs" / "doodles-custom-seed0", tmp_path / "log"
    process = start(main, ["fit", *words], log=log)
    while not list(folder.glob("checkpoints/*.ckpt")):
        assert process.is_alive(), log.read_text()
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130, log.read_text()
    assert "the same command resumes" in log.read_text()
    sketchembed.load(folder)
    done = run(main, ["fit", *words])
    assert done.returncode == 0, done.stderr
    assert "resume  from" in done.stdout
    assert json.loads((folder / "run.json").read_text())["finished"] is True
