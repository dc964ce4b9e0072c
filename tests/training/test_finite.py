"""Non-finite steps, in training end to end on a few doodles."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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


def fitting(data, tmp_path):
    return [
        *("fit", "--config", str(CONF / "quickdraw.yaml"), "--config", str(CONF / "debug.yaml")),
        *("--data", "DoodlesDataModule", "--data.init_args.folder", str(data)),
        *("--data.init_args.per_class", "30", "--data.init_args.validation_drawings", "2"),
        *("--trainer.accelerator", "cpu", "--run.root", str(tmp_path / "runs"), "--gallery.every", "100"),
        *("--trainer.val_check_interval", "100", "--checkpoint.every_n_train_steps", "2"),
    ]


@pytest.fixture
def command(data, tmp_path, monkeypatch):
    """Run a command line of six steps of training, and return the run's folder."""

    def run(*more, name="run"):
        main([*fitting(data, tmp_path), "--run.name", name, *more])
        return tmp_path / "runs" / name

    return run


def members(data, batch):
    module = DoodlesDataModule(str(data), batch_size=8, per_class=30)
    module.setup()
    return module.batch_members(batch, 0, 1)["indices"]


@pytest.fixture
def broken(data, monkeypatch):
    """Put a nan into a drawing's coordinates: the fifth one of batch 4."""
    bad = members(data, 4)[4]
    assert all(bad not in members(data, batch) for batch in (0, 1, 2, 3, 5, 6, 7, 8))
    original = DrawingDataset.__getitem__

    def gather(self, indices):
        rows = original(self, indices)
        rows[[at for at, index in enumerate(indices) if index == bad], 3, 0] = float("nan")
        return rows

    monkeypatch.setattr(DrawingDataset, "__getitem__", gather)
    return bad


class Cut(Exception):
    """Ends a run from outside."""


class Vanish(torch.autograd.Function):
    """The identity, whose gradient is nan."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")


def replace_terms(monkeypatch, change, step=4):
    """Let `change` replace the terms of a step's loss."""
    original = DrawingTask.terms

    def terms(self, *args):
        found = original(self, *args)
        return change(found) if self.training and self.global_step == step else found

    monkeypatch.setattr(DrawingTask, "terms", terms)


@pytest.fixture
def fused(monkeypatch):
    """Let the optimiser be the one that leaves steps out by a number on the device, as on CUDA."""

    def configure(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr, eps=1e-7, fused=True)
        factor = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.learning_rate(step) / self.lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": factor, "interval": "step"}}

    monkeypatch.setattr(DrawingTask, "configure_optimizers", configure)


def stopped(command, *more, **options):
    with pytest.raises(SystemExit) as caught:
        command(*more, **options)
    return caught.value.code


def end(run, step=6):
    return read_raw(run / "checkpoints" / f"step-{step}.ckpt")


def same(one, other):
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
def test_fused_optimiser_s_gradients_are_clipped_in_mixed_precision(command, monkeypatch, algorithm):
    seen, most = [], 1e-3
    take = torch.optim.Adam.step

    def step(self, closure):
        def watched():
            loss = closure()
            grads = [
                p.grad.flatten() for group in self.param_groups for p in group["params"] if p.grad is not None
            ]
            seen.append(torch.cat(grads))
            return loss

        return take(self, watched)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    clip = ("--trainer.gradient_clip_val", str(most), "--trainer.gradient_clip_algorithm", algorithm)
    command("--trainer.precision", "bf16-mixed", *clip)
    assert seen
    for gradient in seen:
        size = gradient.abs().max() if algorithm == "value" else gradient.norm()
        assert 0.5 * most < float(size) <= most * (1 + 1e-4)


# ---- stop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["at once", "later"])
def test_nan_in_a_drawing_stops_with_one_message_that_names_term_step_and_drawings(
    command, broken, data, tmp_path, capsys, request, way
):
    if way == "later":
        request.getfixturevalue("fused")
    assert stopped(command) == 1
    said = capsys.readouterr().err
    run = tmp_path / "runs" / "run"
    assert said.startswith("sketchembed: step 4 is not finite: ")
    assert "Traceback" not in said
    assert "stroke is nan" in said
    first = members(data, 4)[0]
    assert f"batch 4 contains {first} (" in said
    assert f"the batch itself has non-finite numbers in {broken} (" in said
    assert "--finite.action skip" in said
    # The checkpoints before are whole.
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"step-2.ckpt", "step-4.ckpt"}
    assert "The same command resumes from step-4.ckpt; with --finite.action skip it skips" in said
    facts = json.loads((run / "run.json").read_text())
    assert facts["finished"] is False
    (event,) = facts["non_finite"]["events"]
    assert (event["step"], event["action"]) == (4, "stop")
    assert "stroke is nan" in event["what"]


def test_each_loss_and_all_drawings_of_accumulated_batches_are_named(command, broken, data, capsys):
    assert stopped(command, "--trainer.accumulate_grad_batches", "2") == 1
    # Step 2 consists of batches 4 and 5.
    said = capsys.readouterr().err
    assert "step 2 is not finite: loss of batch 1 is nan" in said
    assert "loss of batch 2 " in said
    assert f"batch 4 contains {members(data, 4)[0]} (" in said
    assert "and 13 more" in said  # of 16
    assert f"the batch itself has non-finite numbers in {broken} (" in said


def test_the_same_command_stops_at_the_same_step_and_goes_past_it_if_it_may(command, broken, capsys):
    assert stopped(command) == 1
    capsys.readouterr()
    assert stopped(command) == 1
    said = capsys.readouterr()
    assert "resume  from step-4.ckpt" in said.out
    assert "step 4 is not finite" in said.err
    run = command("--finite.action", "skip")
    assert json.loads((run / "run.json").read_text())["finished"] is True
    assert end(run)["callbacks"]["Finite"]["skipped"] == 1


def test_nan_in_the_gradient_alone_names_the_parameters(command, monkeypatch, capsys):
    replace_terms(monkeypatch, lambda terms: terms._replace(pen=Vanish.apply(terms.pen)))
    assert stopped(command) == 1
    said = capsys.readouterr().err
    assert "step 4 is not finite: the gradient of net." in said
    assert "the finite terms are loss " in said


def test_huge_learning_rate_ends_at_a_loss_and_never_in_a_checkpoint(command, tmp_path, capsys):
    assert stopped(command, "--model.init_args.lr", "1e30", "--trainer.gradient_clip_val", "null") == 1
    said = capsys.readouterr().err
    assert " is not finite: " in said
    for file in (tmp_path / "runs" / "run" / "checkpoints").glob("*.ckpt"):
        assert all(torch.isfinite(value).all() for value in read_raw(file)["state_dict"].values())


def set_weight(monkeypatch, step):
    """Set a weight to infinity after so many steps of the optimiser."""
    original = DrawingTask.optimizer_step

    def take(self, *args, **options):
        original(self, *args, **options)
        if self.global_step + 1 == step:
            self.net.mean.weight.data[0, 0] = float("inf")

    monkeypatch.setattr(DrawingTask, "optimizer_step", take)


@pytest.mark.parametrize(
    ("step", "says"), [(3, "net.mean.weight were not finite before the step"), (4, "net.mean.weight after")]
)
def test_infinite_weight_is_named_and_not_saved(command, monkeypatch, tmp_path, capsys, step, says):
    set_weight(monkeypatch, step)
    assert stopped(command, "--finite.action", "skip") == 1
    said = capsys.readouterr().err
    assert says in said
    assert "skipping steps does not help" in said
    assert [path.name for path in (tmp_path / "runs" / "run" / "checkpoints").iterdir()] == ["step-2.ckpt"]


# ---- skip ------------------------------------------------------------------------------------------


def without_step(monkeypatch, step):
    """Leave a step out as Lightning itself does where there is no loss."""
    original = DrawingTask.training_step

    def train(self, batch, batch_idx):
        return None if self.global_step == step else original(self, batch, batch_idx)

    monkeypatch.setattr(DrawingTask, "training_step", train)


@pytest.mark.parametrize(("what", "way"), [("loss", "at once"), ("gradient", "later")])
def test_skipping_equals_a_run_in_which_the_batch_was_not_there(
    command, data, monkeypatch, capsys, request, way, what
):
    if way == "later":
        request.getfixturevalue("fused")
    with monkeypatch.context() as patch:
        without_step(patch, 4)
        other = end(command(name="without"))
    if what == "loss":
        request.getfixturevalue("broken")
    else:
        replace_terms(monkeypatch, lambda terms: terms._replace(pen=Vanish.apply(terms.pen)))
    capsys.readouterr()
    run = command("--finite.action", "skip")
    assert "!!! step 4 is not finite (" in capsys.readouterr().out
    same(end(run), other)
    # Adam has counted five of the six steps.
    assert {int(state["step"]) for state in end(run)["optimizer_states"][0]["state"].values()} == {5}
    assert [line["step"] for line in metrics(run) if "train/loss" in line] == [0, 1, 2, 3, 4, 5]
    facts = json.loads((run / "run.json").read_text())
    assert facts["non_finite"]["skipped"] == 1
    assert '"step":4,' in (run / "index.html").read_text().replace(" ", "")


def test_skipped_stopped_and_started_again_ends_where_the_whole_run_ends(command, broken, monkeypatch):
    from sketchembed.training.progress import Monitor

    whole = command("--finite.action", "skip", "--trainer.max_steps", "8", name="whole")
    original = Monitor.on_train_batch_end

    def stop(self, trainer, *rest, **options):
        original(self, trainer, *rest, **options)
        if trainer.global_step == 7:
            raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "on_train_batch_end", stop)
        with pytest.raises(Cut):
            command("--finite.action", "skip", "--trainer.max_steps", "8", name="cut")
    cut = command("--finite.action", "skip", "--trainer.max_steps", "8", name="cut")
    same(end(cut, 8), end(whole, 8))
    for run in (cut, whole):
        assert json.loads((run / "run.json").read_text())["non_finite"]["skipped"] == 1
    states = [end(run, 8)["callbacks"]["Finite"] for run in (cut, whole)]
    assert states[0] == states[1]


def test_too_many_in_a_row_stop(command, monkeypatch, capsys):
    replace_terms(monkeypatch, lambda terms: terms._replace(pen=terms.pen * float("inf")), 2)
    replace = DrawingTask.terms

    def terms(self, *args):
        found = replace(self, *args)
        return found._replace(kl=found.kl * float("nan")) if self.training and self.global_step > 3 else found

    monkeypatch.setattr(DrawingTask, "terms", terms)
    # The divergence weighs nothing, and so may be what it wants.
    command("--finite.action", "skip", "--finite.skips", "1", name="weightless")
    capsys.readouterr()
    weighed = ["--model.init_args.kl_weight", "0.1", "--finite.action", "skip", "--finite.skips", "1"]
    assert stopped(command, *weighed) == 1
    said = capsys.readouterr()
    assert said.out.count("and is skipped") == 2
    assert "step 2 is not finite (pen is inf)" in said.out
    assert "step 4 is not finite (kl is nan)" in said.out
    assert "step 5 is not finite: kl is nan" in said.err
    assert "2 steps in a row failed, more than --finite.skips 1" in said.err


# ---- parts -----------------------------------------------------------------------------------------


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="finite.skips is 0"):
        Finite(skips=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_number_of_a_gradient_decides_and_large_ones_do_not(bad):
    gradients = [torch.full((3, 4), 3e38), torch.full((5,), -3e38), torch.randn(7, 2)]
    assert are_finite(gradients).all()
    gradients[1][2] = bad
    assert are_finite(gradients).tolist() == [True, False, True]


def test_state_of_version_0_1_0_keeps_the_offset_of_a_run_that_went_back():
    finite = Finite()
    old = {"skipped": 1, "in_a_row": 0, "went_back": 1, "passed_over": 2, "events": [{"step": 4}]}
    finite.load_state_dict(old)
    assert finite.state_key == "Finite"
    assert finite.state_dict() == {"skipped": 1, "in_a_row": 0, "step_offset": 2, "events": [{"step": 4}]}


# ---- several processes -----------------------------------------------------------------------------

SCRIPT = """
import sys
from sketchembed.cli import main
from sketchembed.training.drawing import DrawingTask

original = DrawingTask.terms


def terms(self, *args):
    found = original(self, *args)
    bad = self.training and self.global_step == 4 and self.global_rank == 1
    # The gradient stays finite: without a word from the second process the first one knows of nothing.
    return found._replace(pen=found.pen + float("nan")) if bad else found


DrawingTask.terms = terms
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_two_processes_agree_on_what_only_one_of_them_sees(data, tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    words = [sys.executable, str(tmp_path / "train.py"), *fitting(data, tmp_path), "--trainer.devices", "2"]
    words += ["--trainer.strategy", "ddp"]

    def run(*more):
        return subprocess.run([*words, *more], capture_output=True, text=True, timeout=240, check=False)

    done = run("--run.name", "stop")
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("step 4 is not finite: on rank 1 of 2 pen is nan") == 1
    assert "Traceback" not in done.stderr
    # The drawings of both processes are those that one process has.
    module = DoodlesDataModule(str(data), batch_size=8, per_class=30)
    module.setup()
    named = [f"{index} ({name})" for index, name in zip(*module.batch_members(4, 0, 1).values(), strict=True)]
    assert f"batch 4 contains {', '.join(named[:3])} and 5 more" in done.stderr

    done = run("--run.name", "skip", "--finite.action", "skip")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("and is skipped") == 1
    last = end(tmp_path / "runs" / "skip")
    assert last["callbacks"]["Finite"]["skipped"] == 1
    assert {int(state["step"]) for state in last["optimizer_states"][0]["state"].values()} == {5}
