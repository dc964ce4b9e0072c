"""Test the page of results: measured once, with the rows of the paper and the command of each table."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from programs import run
from scipy import stats

import sketchembed
from sketchembed.cli import main, results
from sketchembed.cli.results import Plan
from sketchembed.errors import SketchEmbedError
from sketchembed.files.reading import digest
from sketchembed.hub.model_files import PACKAGED, find
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.reporting.results_page import fewshot_tables
from sketchembed.runs.provenance import provenance

TINY = ModelConfig(width=8, latent=12, hidden=10, hyper=6, embedding=2, mixtures=3, max_length=12)


def scored(name, means, ci95=0.2):
    settings = ("5w1s", "20w1s")
    scores = [
        {"setting": key, "mean": value, "ci95": ci95, "episodes": 9, "seed": 0, "digest": f"d{key}"}
        for key, value in zip(settings, means, strict=True)
    ]
    return {"method": f"SketchEmbedding ({name})", "about": {}, "scores": scores}


def test_mean_over_seeds_has_a_confidence_interval():
    values = [90.0, 91.0, 93.5]
    report = {
        "rows": [scored(f"a-seed{at}", (value, value / 2)) for at, value in enumerate(values)],
        "paper": {"SketchEmbedding": {"5w1s": 96.37}},
        "seconds": 3.2,
    }
    ((table,), facts) = fewshot_tables(report, {"A": [f"a-seed{at}" for at in range(3)]})
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert table.rows[3] == ["A, mean of 3 seeds", f"91.50 ± {(high - low) / 2:.2f}", table.rows[3][2]]
    assert table.rows[0] == ["SketchEmbedding (a-seed0)", "90.00 ± 0.20", "45.00 ± 0.20"]
    assert table.paper == [["SketchEmbedding", "96.37", None]]
    assert facts["digests"] == "5w1s d5w1s, 20w1s d20w1s"
    with pytest.raises(ValueError, match="the mean A is over a-seed0, b, but 1 of them"):
        fewshot_tables(report, {"A": ["a-seed0", "b"]})


def write_plan(folder, **section):
    section = {"name": "one", "title": "One", "evaluate": "fewshot --episodes 3"} | section
    (folder / "plan.yaml").write_text(yaml.safe_dump({"about": "Words.", "sections": [section]}))
    return folder / "plan.yaml"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"evaluate": ""}, "section 'one' with the command ''"),
        ({"name": "../one"}, "section '../one'"),
        ({"evaluat": "fewshot"}, "Section has no 'evaluat'"),
        ({"evaluate": ["fewshot"]}, "is not a list of results"),
    ],
)
def test_invalid_plan_gives_a_clear_error(section, message, tmp_path):
    with pytest.raises(SketchEmbedError, match=re.escape(message)):
        Plan.read(write_plan(tmp_path, **section))


def test_packaged_plan_names_existing_models():
    plan = Plan.read(Path(results.__file__).with_name("results.yaml"))
    for section in plan.sections:
        assert section.models
        for model in section.models:
            assert find(model).parent == PACKAGED
            assert provenance(find(model))["config"]
        for models in section.means.values():
            assert set(models) <= set(section.models)


def test_failed_section_gives_a_one_line_error(tmp_path, capsys):
    plan = write_plan(tmp_path, evaluate="fewshot --checkpoint none-such --episodes 3")
    for options, message in (
        (["--only", "two"], "there is no section 'two'"),
        ([], "there is no checkpoint at"),
    ):
        with pytest.raises(SystemExit):
            main(["results", "--plan", str(plan), "--out", str(tmp_path / "R.md"), *options])
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert message in line
    assert not (tmp_path / "R.md").exists()


@pytest.fixture
def fast_start(monkeypatch):
    """Start the evaluations in processes that start fast."""

    def forked(command, **_):
        assert command[:3] == [sys.executable, "-m", "sketchembed"]
        return subprocess.CompletedProcess(command, run(main, command[3:]).returncode)

    monkeypatch.setattr(subprocess, "run", forked)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(900)  # the first test that needs Omniglot reads all of it
@pytest.mark.usefixtures("real_omniglot", "fast_start")
def test_results_are_measured_once_and_reused(tmp_path, real_data, monkeypatch, capfd):
    monkeypatch.setenv("SKETCHEMBED_DATA", str(real_data))
    torch.manual_seed(0)
    known = {"preset": "cpu", "seed": 4, "step": 2000, "drawings": 14087, "seconds": 1800.0, "device": "cpu"}
    known["config"] = "model:\n  init_args:\n    init_from: before\n"
    weights = sketchembed.save(SketchEmbedNet(TINY), tmp_path / "net.safetensors", provenance=known)
    command = f"fewshot --checkpoint {weights} --settings 5w1s --episodes 20 --baselines pixels"
    plan = write_plan(tmp_path, evaluate=command, note="A note.")
    out = tmp_path / "RESULTS.md"
    words = ["results", "--plan", str(plan), "--out", str(out), "--kept", str(tmp_path / "kept")]
    main(words)
    page = out.read_text()
    (row,) = re.findall(r"\| SketchEmbedding \(net\) \| (.*) \|", page)
    found = json.loads((tmp_path / "kept" / "one" / "fewshot.json").read_text())
    assert row == "{mean:.2f} ± {ci95:.2f}".format(**found["rows"][0]["scores"][0])
    for text in (
        "Words.",
        "A note.",
        f"`sketchembed evaluate {command}`",
        "| *Random CNN (Conv4)* | *67.96* |",
    ):
        assert text in page
    row = "| cpu, initialised from before |  | 14,087 |  | 4 | 2,000 | 0.50 h, 1 × cpu | 0.0 MB |"
    assert f"{row} {digest(weights)[:16]} |" in page
    assert "[1/1] one: sketchembed evaluate" in capfd.readouterr().out
    main(words)
    assert "[1/1] one: kept from before" in capfd.readouterr().out
    assert out.read_text() == page
    # Other rows of the paper change the page without a new measurement.
    paper = {"alpha_max 0.50": {"5w1s": 91.39}}
    write_plan(tmp_path, evaluate=command, note="A note.", paper=paper)
    main(words)
    assert "[1/1] one: kept from before" in capfd.readouterr().out
    assert "| *alpha_max 0.50* | *91.39* |" in out.read_text()
    assert "Random CNN" not in out.read_text()
    # Other weights with the same name are measured again.
    torch.manual_seed(1)
    sketchembed.save(SketchEmbedNet(TINY), weights, provenance=known)
    main([*words, "--only", "one"])
    assert "[1/1] one: sketchembed evaluate" in capfd.readouterr().out


def test_readme_numbers_are_on_the_results_page():
    root = PACKAGED.parents[2]
    page = {tuple(re.findall(r"[\d.]+ ± [\d.]+", line)) for line in (root / "RESULTS.md").open()}
    shown = (root / "README.md").read_text()
    rows = [tuple(re.findall(r"[\d.]+ ± [\d.]+", line)) for line in shown.splitlines()]
    rows = [row for row in rows if row]
    assert len(rows) >= 2
    assert set(rows) <= page
