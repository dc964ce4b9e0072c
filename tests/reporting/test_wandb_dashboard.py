"""The dashboard: built with W&B's package, and sent to a fake server."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from fake_wandb import environment, metrics_of, records

from sketchembed.cli import main
from sketchembed.evaluation.fewshot.fewshot_table import FewShotReport
from sketchembed.evaluation.fewshot.scores import EpisodeSetting, Score
from sketchembed.evaluation.wandb_results import save_scores
from sketchembed.reporting.wandb_dashboard import spec, workspace


def panels(plain):
    """Return the panels of a spec by title, without their random names."""
    sections = plain["section"]["panelBankConfig"]["sections"]
    shown = [panel["config"] for one in sections for panel in one["panels"]]
    return {config.get("chartTitle", "table"): config for config in shown}


def test_dry_run_writes_the_spec_and_needs_no_account(tmp_path, capsys):
    main(["dashboard", "--dry-run", "--out", str(tmp_path / "view.json")])
    written = json.loads((tmp_path / "view.json").read_text())
    shown = panels(written)
    assert shown["Sampled sketches"]["mediaKeys"] == ["samples"]
    assert shown["Pixel loss"]["metrics"] == ["train/pixel", "val/pixel", "unseen/pixel"]
    assert {panel["xAxis"] for panel in shown.values() if "xAxis" in panel} == {"trainer/global_step"}
    first = written["section"]["panelBankConfig"]["sections"][0]["panels"]
    assert '"drawings"' in json.dumps(shown["table"])
    assert [panel["viewType"] for panel in first] == ["Media Browser", *["Run History Line Plot"] * 5]


def test_saved_view_matches_the_dry_run(server, tmp_path):
    command = [
        sys.executable,
        "-m",
        "sketchembed",
        "dashboard",
        "--entity",
        "e",
        "--project",
        "p",
    ]
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(tmp_path, server.url),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    (sent,) = server.views
    assert (sent["entityName"], sent["projectName"], sent["displayName"]) == ("e", "p", "sketchembed")
    assert panels(json.loads(sent["spec"])) == panels(spec(workspace("e", "p", "sketchembed")))
    assert ran.stdout.startswith(server.url)


@pytest.mark.parametrize(("missing", "options"), [(True, ["--entity", "e"]), (False, [])])
def test_missing_package_or_entity_gives_a_one_line_error(missing, options, monkeypatch, capsys):
    if missing:
        monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(SystemExit) as error:
        main(["dashboard", *options])
    assert error.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert ("pip install wandb-workspaces" if missing else "--entity is missing") in line


def test_scores_are_saved_under_the_dashboard_metric_names(tmp_path):
    run = tmp_path / "runs" / "a"
    (run / "wandb").mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"finished": True, "wandb_id": "abcd1234"}))
    score = Score(EpisodeSetting(5, 1), np.array([0.5, 1.0]), 0, None, "d1")
    checkpoints = {
        step: {"checkpoint": str(run / "checkpoints" / f"step-{step}.ckpt"), "step": step} for step in (9, 10)
    }
    report = FewShotReport(
        {"data": "Omniglot", "split": "vinyals", "part": "test"},
        {"at 9": checkpoints[9], "at 10": checkpoints[10], "Raw pixels": {}},
    )
    for name, method in (
        ("at 9", Score(EpisodeSetting(5, 1), np.zeros(2), 0, None, "d1")),
        ("at 10", score),
        ("Raw pixels", score),
    ):
        report.add(name, method)
    save_scores(report, "offline", "p")
    (kept,) = json.loads((run / "scores.json").read_text())["Omniglot vinyals test"]["scores"]
    assert (kept["setting"], kept["mean"], kept["digest"]) == ("5w1s", 75.0, "d1")
    assert "75.00 <small>" in (tmp_path / "runs" / "index.html").read_text()
    (log,) = run.glob("wandb/offline-run-*-abcd1234/run-abcd1234.wandb")
    key, until = "fewshot/omniglot-vinyals-test/5w1s", time.monotonic() + 20
    # W&B writes its log in a separate process, which may end a moment later.
    while key.encode() not in log.read_bytes():
        assert time.monotonic() < until
        time.sleep(0.1)
    summaries = [record.summary.update for record in records(log.parent) if record.HasField("summary")]
    assert {item.key: item.value_json for one in summaries for item in one}[key] == "75.0"
    assert key in metrics_of(spec(workspace("e", "p", "n")))
