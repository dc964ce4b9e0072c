"""Check that a mistake on the command line gives a one-line error with a suggestion."""

import re
import sys

import pytest

from sketchembed.cli import main
from sketchembed.cli.parser import summarize_error

NETWORK = "--model.init_args.network"


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("fit --preset cpu --foo 3", "there is no option --foo; expected an option"),
        ("fit --preset cpu --trainer.maxsteps 3", "no option --trainer.maxsteps; .*'--trainer.max_steps'"),
        ("fit --preset cpu --trainer.max_steps x", "--trainer.max_steps is x; expected a whole number"),
        ("fit --preset cpu --curriculum.alphamax 1", "perhaps '--curriculum.alpha_max'"),
        (f"fit --preset cpu {NETWORK}.widht 3", "--model.network has no setting 'widht'; .*perhaps 'width'"),
        (f"fit --preset cpu {NETWORK}.width x", "--model.network.width is x; expected a whole number"),
        (
            "fit --preset cpu --data.init_args.batchsize 3",
            "--data has no setting .*'batch_size'",
        ),
        ("fit --preset cpu --run.resume perhaps", "--run.resume is perhaps; expected one of 'auto', 'never'"),
        ("fit --preset cpu --seed_everything x", "--seed_everything is x; expected true or false or a whole"),
        ("fit --preset cpu --seed_everything 4294967296", "expected 0 to 4294967295"),
        ("fit --preset cpu --gallery.temperatures x", "temperatures is x; expected a list, such as"),
        ("fit --config none.yaml", "--config: File does not exist: .*none.yaml"),
        ("fit --preset debug --trainer.log_every_n_steps 0", "log_every_n_steps is 0; expected 1 or more"),
        ("fit --steps x", "--trainer.max_steps is x; .* `sketchembed fit --help_all` lists the options"),
        ("fit --preset protonet --batch_size 3", "--data has no setting 'batch_size'"),
        ("fit --device cuda:99", "there is no device 'cuda:99'; expected one of auto, cpu"),
        ("fit --trainer.accelerator tpu", "there is no device for accelerator tpu"),
        ("evaluate fewshot --episods 3", "perhaps '--episodes'.* `sketchembed evaluate fewshot --help`"),
        ("evaluate fewshot runs/a", "runs/a does not belong to an option; expected options before values"),
        ("evaluate relations --seed x", "--seed is x; .* `sketchembed evaluate relations --help`"),
        ("report --partz a", "there is no option --partz; .*'--parts'"),
        ("data quickdraw --perclass 3", "'--per_class'.* `sketchembed data quickdraw --help`"),
        ("draw", "images, checkpoint is missing; .* `sketchembed draw --help`"),
    ],
)
def test_mistake_gives_a_one_line_error(line, pattern, capsys):
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert caught.value.code == 2
    (answer,) = capsys.readouterr().err.strip().splitlines()
    assert answer.startswith("sketchembed: ")
    assert re.search(pattern, answer), answer


def test_help_names_types_in_plain_words(capsys):
    with pytest.raises(SystemExit):
        main(["draw", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "(required, type: Path)" in shown
    assert "<class" not in shown


def test_class_named_in_a_message_is_not_imported():
    # A configuration may come from a stranger, and an import runs code.
    assert "this" not in sys.modules
    message = "Problem with given class_path 'this.Zen':\n  Option 'x' is not accepted"
    assert summarize_error(message) == ("- has no setting 'x'", "one of its own")
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    "line", ["fit --help", "fit --help_all", "evaluate fewshot --help", "data --help", "report --help"]
)
def test_help_is_printed(line, capsys):
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert caught.value.code == 0
    words = line.removesuffix(" --help").replace("fit --help_all", "[options] fit")
    assert f"usage: sketchembed {words}" in capsys.readouterr().out
