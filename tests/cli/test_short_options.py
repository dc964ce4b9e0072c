"""Check the short options of `sketchembed fit`, its default preset and its help."""

import re

import pytest
import torch
import yaml

from sketchembed.cli import fit_options, main
from sketchembed.training.presets import ABOUT, PRESETS, read_preset


def test_short_options_are_replaced_in_place():
    words = ["--steps", "7", "--trainer.max_steps=9", "--batch-size=4", "--lr=0.1", "--device", "cpu"]
    assert fit_options.expand_short_options(words) == [
        *("--trainer.max_steps", "7", "--trainer.max_steps=9", "--data.init_args.batch_size=4"),
        *("--model.init_args.lr=0.1", "--trainer.accelerator=cpu"),
    ]


def test_a_single_gpu_can_be_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    words = fit_options.expand_short_options(["--device=cuda:1"])
    assert words == ["--trainer.accelerator=cuda", "--trainer.devices=[1]"]


@pytest.mark.parametrize(
    ("words", "preset"),
    [
        ([], "auto"),
        (["--preset", "vae"], "vae"),
        (["--trainer.max_steps", "1"], "auto"),
        (["--config=a.yaml"], None),
        (["-c", "a.yaml"], None),
        (["--data", "DoodlesDataModule"], "auto"),
        (["--model", "DrawingTask", "--data=DoodlesDataModule"], None),
        (["--config", "a.yaml", "--preset", "debug"], "debug"),
    ],
)
def test_preset_is_auto_unless_a_configuration_is_given(words, preset):
    assert fit_options.split_preset(words)[0] == preset


def test_printed_configuration_is_yaml_alone(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--preset", "cpu", "--print_config"])
    output = capsys.readouterr()
    assert yaml.safe_load(output.out)["model"]["class_path"].endswith("DrawingTask")
    assert output.err.startswith("preset  cpu")


def test_help_begins_with_the_preset_and_lists_every_preset_with_its_numbers(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    options = re.findall(r"^  (--[\w.]+)", text, re.M)
    assert options[:5] == ["--preset", "--steps", "--batch_size", "--lr", "--device"]
    assert set(ABOUT) == set(PRESETS)
    for name in PRESETS:
        (line,) = re.findall(rf"^  {name} .*", text, re.M)
        assert f"{read_preset(name)['trainer']['max_steps']:,}" in line
    assert len(text.splitlines()) <= 64  # two screens


def test_configuration_has_the_values_of_short_options(capsys):
    short = ["--steps", "12", "--batch_size", "34", "--lr", "0.56", "--device", "cpu"]
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--preset", "cpu", *short, "--print_config"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for line in ("max_steps: 12", "batch_size: 34", " lr: 0.56", "accelerator: cpu"):
        assert f"{line}\n" in text
