import pytest
import pytorch_lightning as pl
import torch

from sketchembed.files import progress_bar
from sketchembed.training import progress
from sketchembed.training.progress import Monitor


def steps(monitor, numbers, max_steps=100):
    """Call a monitor after steps with these numbers, like a trainer; return the trainer."""

    class Trainer(pl.Trainer):
        global_step = numbers[0] - 1
        callback_metrics = {"train/loss": torch.tensor(1.5)}  # noqa: RUF012

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", max_steps=max_steps, log_every_n_steps=10**6, **quiet)
    model = pl.LightningModule()
    monitor.on_train_start(trainer, model)
    for Trainer.global_step in numbers:
        monitor.on_train_batch_end(trainer, model, None, None)
    return trainer, model


@pytest.mark.parametrize("late", [False, True])
def test_slow_steps_are_printed_before_their_turn(late, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LATE", 0.0 if late else 1e9)
    monitor = Monitor(print_every=4)
    capsys.readouterr()
    trainer, model = steps(monitor, range(41, 51))
    printed = [line.split()[:4] for line in capsys.readouterr().out.splitlines()]
    assert printed == [
        ["step", f"{step}/100", "loss", "1.500"] for step in (range(41, 51) if late else (44, 48))
    ]
    assert [bar.amount for bar in progress_bar._display.bars] == ["50 of 100 (50%)"]
    monitor.on_exception(trainer, model, KeyboardInterrupt())
    monitor.teardown(trainer, model, "fit")
    assert progress_bar._display.bars == []


def test_no_progress_on_request(capsys):
    steps(Monitor(print_every=0), [1, 50, 100])
    assert progress_bar._display.bars == []
    assert capsys.readouterr().out == ""
