"""Train end to end on a few doodles, with non-finite steps."""

import json
from pathlib import Path

import pytest
import torch
from programs import run

from sketchembed.cli import main
from sketchembed.data import DoodlesDataModule
from sketchembed.data.datamodules.drawing_datamodule import DrawingDataset
from sketchembed.errors import ConfigError
from sketchembed.hub.model_files import read_raw
from sketchembed.training.drawing import DrawingTask
from sketchembed.training.finite import Finite
from sketchembed.training.step_check import are_finite

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    DoodlesDataModule(str(folder), per_class=30).prepare_store()
    return folder


def fit_args(data, tmp_path):
    return [
        *("fit", "--config", str(CONF / "quickdraw.yaml"), "--config", str(CONF / "debug.yaml")),
        *("--data", "DoodlesDataModule", "--data.init_args.folder", str(data)),
        *("--data.init_args.per_class", "30", "--data.init_args.validation_drawings", "2"),
        *("--trainer.accelerator", "cpu", "--run.root", str(tmp_path / "runs"), "--gallery.every", "100"),
        *("--trainer.val_check_interval", "100", "--checkpoint.every_n_train_steps", "2"),
    ]


@pytest.fixture
def command(data, tmp_path, monkeypatch):
    """A function that trains for six steps and returns the folder of the run."""

    def run(*more, name="run"):
        main([*fit_args(data, tmp_path), "--run.name", name, *more])
        return tmp_path / "runs" / name

    return run


def members(data, batch):
    module = DoodlesDataModule(str(data), batch_size=8, per_class=30)
    module.setup()
    return module.batch_members(batch, 0, 1)["indices"]


@pytest.fixture
def broken(data, monkeypatch):
    """Put a NaN into the coordinates of the fifth drawing of batch 4; return the index of the drawing."""
    bad = members(data, 4)[4]
    assert all(bad not in members(data, batch) for batch in (0, 1, 2, 3, 5, 6, 7, 8))
    original = DrawingDataset.__getitem__

    def gather(self, indices):
        rows = original(self, indices)
        rows[[at for at, index in enumerate(indices) if index == bad], 3, 0] = float("nan")
        return rows

    monkeypatch.setattr(DrawingDataset, "__getitem__", gather)
    return bad


class Interrupted(Exception):
    """Interrupts a run."""


class NaNGradient(torch.autograd.Function):
    """The identity with a gradient of NaN."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")


def replace_terms(monkeypatch, change, step=4):
    """Replace the loss terms of one step by the result of `change`."""
    original = DrawingTask.terms

    def terms(self, *args):
        found = original(self, *args)
        return change(found) if self.training and self.global_step == step else found

    monkeypatch.setattr(DrawingTask, "terms", terms)


@pytest.fixture
def fused(monkeypatch):
    """Use the fused optimiser, which skips a step by a value on the device, as on CUDA."""

    def configure(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr, eps=1e-7, fused=True)
        factor = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.learning_rate(step) / self.lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": factor, "interval": "step"}}

    monkeypatch.setattr(DrawingTask, "configure_optimizers", configure)


def exit_code(command, *more, **options):
    with pytest.raises(SystemExit) as caught:
        command(*more, **options)
    return caught.value.code


def checkpoint(run, step=6):
    return read_raw(run / "checkpoints" / f"step-{step}.ckpt")


def assert_same_state(one, other):
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    for number, state in one["optimizer_states"][0]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, other["optimizer_states"][0]["state"][number][name]), (number, name)
    assert one["lr_schedulers"] == other["lr_schedulers"]


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("algorithm", ["value", "norm"])
def test_fused_optimiser_clips_gradients_in_mixed_precision(command, monkeypatch, algorithm):
    seen, limit = [], 1e-3
    original_step = torch.optim.Adam.step

    def step(self, closure):
        def watched():
            loss = closure()
            grads = [
                p.grad.flatten() for group in self.param_groups for p in group["params"] if p.grad is not None
            ]
            seen.append(torch.cat(grads))
            return loss

        return original_step(self, watched)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    clip = ("--trainer.gradient_clip_val", str(limit), "--trainer.gradient_clip_algorithm", algorithm)
    command("--trainer.precision", "bf16-mixed", *clip)
    assert seen
    for gradient in seen:
        size = gradient.abs().max() if algorithm == "value" else gradient.norm()
        assert 0.5 * limit < float(size) <= limit * (1 + 1e-4)


# ---- stop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["at once", "later"])
def test_nan_in_a_drawing_stops_with_a_complete_message(
    command, broken, data, tmp_path, capsys, request, way
):
    if way == "later":
        request.getfixturevalue("fused")
    assert exit_code(command) == 1
    output = capsys.readouterr().err
    run = tmp_path / "runs" / "run"
    assert output.startswith("sketchembed: step 4 is not finite: ")
    assert "Traceback" not in output
    assert "stroke is nan" in output
    first = members(data, 4)[0]
    assert f"batch 4 contains {first} (" in output
    assert f"the batch itself has non-finite numbers in {broken} (" in output
    assert "--finite.action skip" in output
    # The earlier checkpoints are kept.
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"step-2.ckpt", "step-4.ckpt"}
    assert "The same command resumes from step-4.ckpt; with --finite.action skip it skips" in output
    facts = json.loads((run / "run.json").read_text())
    assert facts["finished"] is False
    (event,) = facts["non_finite"]["events"]
    assert (event["step"], event["action"]) == (4, "stop")
    assert "stroke is nan" in event["what"]


def test_message_names_all_losses_of_accumulated_batches(command, broken, data, capsys):
    assert exit_code(command, "--trainer.accumulate_grad_batches", "2") == 1
    # Step 2 consists of batches 4 and 5.
    output = capsys.readouterr().err
    assert "step 2 is not finite: loss of batch 1 is nan" in output
    assert "loss of batch 2 " in output
    assert f"batch 4 contains {members(data, 4)[0]} (" in output
    assert "and 13 more" in output  # the two batches have 16 drawings
    assert f"the batch itself has non-finite numbers in {broken} (" in output


def test_same_command_stops_again_unless_steps_are_skipped(command, broken, capsys):
    assert exit_code(command) == 1
    capsys.readouterr()
    assert exit_code(command) == 1
    output = capsys.readouterr()
    assert "resume  from step-4.ckpt" in output.out
    assert "step 4 is not finite" in output.err
    run = command("--finite.action", "skip")
    assert json.loads((run / "run.json").read_text())["finished"] is True
    assert checkpoint(run)["callbacks"]["Finite"]["skipped"] == 1


def test_nan_only_in_the_gradient_names_the_parameters(command, monkeypatch, capsys):
    replace_terms(monkeypatch, lambda terms: terms._replace(pen=NaNGradient.apply(terms.pen)))
    assert exit_code(command) == 1
    output = capsys.readouterr().err
    assert "step 4 is not finite: the gradient of net." in output
    assert "the finite terms are loss " in output


def test_huge_learning_rate_saves_no_non_finite_weights(command, tmp_path, capsys):
    assert exit_code(command, "--model.init_args.lr", "1e30", "--trainer.gradient_clip_val", "null") == 1
    output = capsys.readouterr().err
    assert " is not finite: " in output
    for file in (tmp_path / "runs" / "run" / "checkpoints").glob("*.ckpt"):
        assert all(torch.isfinite(value).all() for value in read_raw(file)["state_dict"].values())


def set_weight(monkeypatch, step):
    """Set a weight to infinity after a number of optimiser steps."""
    original = DrawingTask.optimizer_step

    def original_step(self, *args, **options):
        original(self, *args, **options)
        if self.global_step + 1 == step:
            self.net.mean.weight.data[0, 0] = float("inf")

    monkeypatch.setattr(DrawingTask, "optimizer_step", original_step)


@pytest.mark.parametrize(
    ("step", "error"), [(3, "net.mean.weight were not finite before the step"), (4, "net.mean.weight after")]
)
def test_infinite_weight_is_named_and_not_saved(command, monkeypatch, tmp_path, capsys, step, error):
    set_weight(monkeypatch, step)
    assert exit_code(command, "--finite.action", "skip") == 1
    output = capsys.readouterr().err
    assert error in output
    assert "skipping steps does not help" in output
    assert [path.name for path in (tmp_path / "runs" / "run" / "checkpoints").iterdir()] == ["step-2.ckpt"]


# ---- skip ------------------------------------------------------------------------------------------


def without_step(monkeypatch, step):
    """Skip a step the way Lightning does: return no loss."""
    original = DrawingTask.training_step

    def train(self, batch, batch_idx):
        return None if self.global_step == step else original(self, batch, batch_idx)

    monkeypatch.setattr(DrawingTask, "training_step", train)


@pytest.mark.parametrize(("what", "way"), [("loss", "at once"), ("gradient", "later")])
def test_skipped_step_equals_a_run_without_that_batch(command, data, monkeypatch, capsys, request, way, what):
    if way == "later":
        request.getfixturevalue("fused")
    with monkeypatch.context() as patch:
        without_step(patch, 4)
        other = checkpoint(command(name="without"))
    if what == "loss":
        request.getfixturevalue("broken")
    else:
        replace_terms(monkeypatch, lambda terms: terms._replace(pen=NaNGradient.apply(terms.pen)))
    capsys.readouterr()
    run = command("--finite.action", "skip")
    assert "!!! step 4 is not finite (" in capsys.readouterr().out
    assert_same_state(checkpoint(run), other)
    # Adam has counted five of the six steps.
    assert {int(state["step"]) for state in checkpoint(run)["optimizer_states"][0]["state"].values()} == {5}
    assert [line["step"] for line in metrics(run) if "train/loss" in line] == [0, 1, 2, 3, 4, 5]
    facts = json.loads((run / "run.json").read_text())
    assert facts["non_finite"]["skipped"] == 1
    assert '"step":4,' in (run / "index.html").read_text().replace(" ", "")


def test_resumed_run_with_a_skip_equals_the_whole_run(command, broken, monkeypatch):
    from sketchembed.training.progress import Monitor

    whole = command("--finite.action", "skip", "--trainer.max_steps", "8", name="whole")
    original = Monitor.on_train_batch_end

    def stop(self, trainer, *rest, **options):
        original(self, trainer, *rest, **options)
        if trainer.global_step == 7:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "on_train_batch_end", stop)
        with pytest.raises(Interrupted):
            command("--finite.action", "skip", "--trainer.max_steps", "8", name="cut")
    cut = command("--finite.action", "skip", "--trainer.max_steps", "8", name="cut")
    assert_same_state(checkpoint(cut, 8), checkpoint(whole, 8))
    for folder in (cut, whole):
        assert json.loads((folder / "run.json").read_text())["non_finite"]["skipped"] == 1
    states = [checkpoint(folder, 8)["callbacks"]["Finite"] for folder in (cut, whole)]
    assert states[0] == states[1]


def test_too_many_skips_in_a_row_stop_the_run(command, monkeypatch, capsys):
    replace_terms(monkeypatch, lambda terms: terms._replace(pen=terms.pen * float("inf")), 2)
    replace = DrawingTask.terms

    def terms(self, *args):
        found = replace(self, *args)
        return found._replace(kl=found.kl * float("nan")) if self.training and self.global_step > 3 else found

    monkeypatch.setattr(DrawingTask, "terms", terms)
    # The KL divergence has weight zero, so it may be NaN.
    command("--finite.action", "skip", "--finite.skips", "1", name="weightless")
    capsys.readouterr()
    weighed = ["--model.init_args.kl_weight", "0.1", "--finite.action", "skip", "--finite.skips", "1"]
    assert exit_code(command, *weighed) == 1
    output = capsys.readouterr()
    assert output.out.count("and is skipped") == 2
    assert "step 2 is not finite (pen is inf)" in output.out
    assert "step 4 is not finite (kl is nan)" in output.out
    assert "step 5 is not finite: kl is nan" in output.err
    assert "2 steps in a row failed, more than --finite.skips 1" in output.err


# ---- parts -----------------------------------------------------------------------------------------


def test_values_out_of_range_raise():
    with pytest.raises(ConfigError, match="finite.skips is 0"):
        Finite(skips=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_bad_value_makes_a_gradient_non_finite(bad):
    gradients = [torch.full((3, 4), 3e38), torch.full((5,), -3e38), torch.randn(7, 2)]
    assert are_finite(gradients).all()
    gradients[1][2] = bad
    assert are_finite(gradients).tolist() == [True, False, True]


def test_old_state_of_a_rollback_keeps_its_step_offset():
    finite = Finite()
    old = {"skipped": 1, "in_a_row": 0, "went_back": 1, "passed_over": 2, "events": [{"step": 4}]}
    finite.load_state_dict(old)
    assert finite.state_key == "Finite"
    assert finite.state_dict() == {"skipped": 1, "in_a_row": 0, "step_offset": 2, "events": [{"step": 4}]}


# ---- several processes -----------------------------------------------------------------------------


def train_with_nan_on_rank_1(words):
    original = DrawingTask.terms

    def terms(self, *args):
        found = original(self, *args)
        bad = self.training and self.global_step == 4 and self.global_rank == 1
        # The gradient stays finite, so the first process can only learn of this from the second one.
        return found._replace(pen=found.pen + float("nan")) if bad else found

    DrawingTask.terms = terms
    main(words)


def test_two_processes_agree_on_a_step_that_fails_on_one(data, tmp_path):
    words = [*fit_args(data, tmp_path), "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    done = run(train_with_nan_on_rank_1, [*words, "--run.name", "stop"], ranks=2)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("step 4 is not finite: on rank 1 of 2 pen is nan") == 1
    assert "Traceback" not in done.stderr
    # The message names the drawings of both processes, in the order of a single process.
    module = DoodlesDataModule(str(data), batch_size=8, per_class=30)
    module.setup()
    named = [f"{index} ({name})" for index, name in zip(*module.batch_members(4, 0, 1).values(), strict=True)]
    assert f"batch 4 contains {', '.join(named[:3])} and 5 more" in done.stderr

    words += ["--run.name", "skip", "--finite.action", "skip"]
    done = run(train_with_nan_on_rank_1, words, ranks=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("and is skipped") == 1
    last = checkpoint(tmp_path / "runs" / "skip")
    assert last["callbacks"]["Finite"]["skipped"] == 1
    assert {int(state["step"]) for state in last["optimizer_states"][0]["state"].values()} == {5}
