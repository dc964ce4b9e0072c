"""The artifacts of offline runs, read from W&B's log."""

import json
import time

import pytest
from fake_wandb import records

from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.wandb_results import track_parts
from sketchembed.reporting.part import Part, Table
from sketchembed.runs import wandb_artifacts
from sketchembed.runs.wandb_session import Session


@pytest.fixture(autouse=True)
def private_folders(tmp_path, monkeypatch):
    """Keep W&B's caches out of the home folder."""
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def logged(folder):
    """Return the records of the only run in a folder, once W&B's own process has written the last one."""
    (path,) = folder.glob("wandb/offline-run-*")
    until = time.monotonic() + 20
    while not (found := records(path)) or not found[-1].HasField("exit"):
        assert time.monotonic() < until, [record.WhichOneof("record_type") for record in found]
        time.sleep(0.1)
    return found


def test_evaluation_uses_the_version_of_the_weights_that_the_training_logged(tmp_path):
    file = tmp_path / "runs" / "a b" / "checkpoints" / "step-3.ckpt"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    training = Session("offline", tmp_path / "training", print, project="p", name="a b")
    training.run.log_artifact(wandb_artifacts.weights_artifact(file))
    training.finish()
    part = Part(
        "one-shot", "One shot", tables=[Table("T", ["name", "value"], [["a", 1.0]])], values={"x": 2.0}
    )
    out = tmp_path / "results"
    part.write(out)
    track_parts("one-shot", [part], EvaluationContext(wandb="offline", project="p", out=out), [file, file])

    (made,) = [record.artifact for record in logged(tmp_path / "training") if record.HasField("artifact")]
    found = logged(out)
    (run,) = [record.run for record in found if record.HasField("run")]
    assert (run.job_type, list(run.tags)) == ("evaluation", ["one-shot"])
    artifacts = {record.artifact.name: record.artifact for record in found if record.HasField("artifact")}
    used, scores = artifacts["a-b-weights"], artifacts["one-shot-scores"]
    assert (made.name, made.type, made.digest) == (used.name, used.type, used.digest)
    assert (made.use_after_commit, used.use_after_commit, scores.use_after_commit) == (False, True, False)
    assert [entry.path for entry in scores.manifest.contents] == ["one-shot.json"]
    assert [entry.local_path for entry in used.manifest.contents] == [str(file)]  # not copied


def test_version_of_data_depends_on_their_facts_but_not_on_their_folder(tmp_path):
    facts = {"source": "traced my photos", "digest": "d1", "drawings": 5, "announcement": None}
    names = ("here", "there")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "points.bin").write_bytes(b"123")
        (tmp_path / name / "manifest.json").write_text(json.dumps({"digests": {"points.bin": "0a1b"}}))
    here, there = (wandb_artifacts.data_artifact(facts | {"folder": str(tmp_path / name)}) for name in names)
    changed = wandb_artifacts.data_artifact(facts | {"folder": str(tmp_path / "here"), "digest": "d2"})
    assert here.name == "traced-my-photos-data"
    assert here.digest == there.digest != changed.digest
    entry = here.manifest.entries["points.bin"]
    assert (entry.ref, entry.digest, entry.size) == ((tmp_path / "here" / "points.bin").as_uri(), "0a1b", 3)
    assert "announcement" not in here.metadata
