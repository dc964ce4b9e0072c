"""Weights keep the provenance of their model when they leave the folder of the run."""

import json

import pytest
import yaml
from safetensors import safe_open

import sketchembed
from sketchembed.cli import main
from sketchembed.evaluation.models import Model
from sketchembed.hub.model_files import read_provenance
from sketchembed.runs.folder import Run
from sketchembed.runs.metrics import last_time
from sketchembed.runs.provenance import provenance, run_provenance


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of two steps."""
    root = tmp_path_factory.mktemp("runs")
    options = ["--run.root", str(root), "--run.name", "tiny", "--data.init_args.per_class", "28"]
    data = ["--data", "sketchembed.data.datamodules.doodles_datamodule.DoodlesDataModule"]
    folder = ["--data.init_args.folder", str(root / "data"), "--seed_everything", "3"]
    main(["fit", "--preset", "debug", *data, *options, *folder, "--trainer.max_steps", "3"])
    return root / "tiny"


def test_export_keeps_the_provenance(run, tmp_path, capsys):
    (checkpoint,) = (run / "checkpoints").glob("step-3.ckpt")
    known = provenance(checkpoint)
    facts = json.loads((run / "run.json").read_text())
    assert known["run"] == "tiny"
    assert known["preset"] == "debug"
    assert (known["seed"], known["step"]) == (3, 3)
    assert known["drawings"] == facts["data"]["drawings"] > 0
    assert known["data_digest"] == facts["data"]["digest"][:16]
    assert known["classes"] == facts["data"]["classes_seen"]
    assert known["seconds"] == json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["time"]
    main(["export", str(run), str(tmp_path / "tiny.safetensors"), "--dtype", "float16"])
    assert provenance(tmp_path / "tiny.safetensors") == known
    with safe_open(tmp_path / "tiny.safetensors", framework="pt") as file:
        assert set(file.metadata()) == {"sketchembed", "origin"}
    facts = Model.load(tmp_path / "tiny.safetensors").facts
    assert (facts["step"], facts["trained_on"], facts["drawings"]) == (3, "doodles", known["drawings"])


def test_configuration_contains_no_local_folder(run, tmp_path):
    config = provenance(run / "checkpoints" / "step-3.ckpt")["config"]
    assert str(run.parent) not in config
    plain = yaml.safe_load(config)
    assert plain["data"]["init_args"]["per_class"] == 28
    # The configuration trains the same model again.
    (tmp_path / "again.yaml").write_text(config)
    where = ["--data.init_args.folder", str(run.parent / "data"), "--run.root", str(tmp_path)]
    main(["fit", "--config", str(tmp_path / "again.yaml"), *where, "--run.name", "again"])
    one, other = (sketchembed.load(folder).state_dict() for folder in (run, tmp_path / "again"))
    different = {name: float((one[name] - other[name]).abs().max()) for name in one}
    assert not any(different.values()), different


def test_paths_in_the_configuration_are_reduced_to_names(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "model: {init_args: {init_from: /home/me/runs/before}}\n"
        "data: {init_args: {folder: /home/me/data, photos: /home/me/pictures}}\n"
        "run: {root: /home/me/runs}\n"
    )
    assert yaml.safe_load(run_provenance(Run(tmp_path))["config"]) == {
        "model": {"init_args": {"init_from": "before"}},
        "data": {"init_args": {"folder": None, "photos": "pictures"}},
    }


def test_missing_provenance_is_empty(run, tmp_path):
    sketchembed.save(sketchembed.load(run), tmp_path / "bare.safetensors")
    assert provenance(tmp_path / "bare.safetensors") == read_provenance(tmp_path / "bare.safetensors") == {}
    (tmp_path / "empty").mkdir()
    assert set(provenance(tmp_path / "empty" / "checkpoints" / "step-1.ckpt")) == {"run", "step"}
    assert last_time(tmp_path / "empty" / "metrics.jsonl") is None
