"""Check in Bash that the printed script completes commands, options and values."""

import shutil
import subprocess

import pytest

from sketchembed.cli import main

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
$(complete -p sketchembed | sed 's/.*-F \\([^ ]*\\).*/\\1/') sketchembed "${COMP_WORDS[COMP_CWORD]}"
echo "${COMPREPLY[@]}"
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs Bash")
def test_bash_completes_commands_options_and_values(tmp_path, capsys):
    pytest.importorskip("shtab")
    main(["completion", "bash"])
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    for line, expected in {
        "dr": ["draw"],
        "fit --preset cpu-l": ["cpu-long"],
        "fit --trainer.max_s": ["--trainer.max_steps"],
        "fit --st": ["--steps"],
        "data quickdraw --cl": ["--classes"],
        "evaluate compose --expr": ["--expression"],
        "export --dtype fl": ["float32", "float16"],
        "completion z": ["zsh"],
    }.items():
        words = ["sketchembed", *line.split()]
        ran = subprocess.run(
            ["bash", "-c", ASK, "bash", str(script), *words], capture_output=True, text=True, check=True
        )
        assert ran.stdout.split() == expected, line
