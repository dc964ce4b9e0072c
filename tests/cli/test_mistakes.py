"""Check that wrong values give one line, before anything is computed or written."""

import os

import numpy as np
import pytest
from PIL import Image

from sketchembed.cli import main
from sketchembed.data.sources import quickdraw_download
from sketchembed.errors import ConfigError
from sketchembed.evaluation.pictures import Pictures
from sketchembed.runs.ranks import Ranks


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder without data; a download fails the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKETCHEMBED_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_MODE", "disabled")

    def refuse(*_, **__):
        pytest.fail("an unannounced download")

    monkeypatch.setattr(quickdraw_download, "download", refuse)
    Image.fromarray(np.eye(30, dtype=np.uint8) * 255).save("a.png")
    (tmp_path / "a.txt").write_text("notes\n")
    (tmp_path / "empty.ckpt").touch()
    return tmp_path


def error_of(line, capsys, status=2):
    with pytest.raises(SystemExit) as caught:
        main(line.split() if isinstance(line, str) else line)
    assert caught.value.code == status
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("page runs/nope", "there is no run at runs/nope"),
        ("export quickdraw-conv4 m.onnx", "out is m.onnx; expected a name that ends in .safetensors"),
        ("draw a.png a.png", "a.png cannot be read as a model: it is a PNG image"),
        ("draw a.png a.txt", r"a.txt cannot be read as a model: it is a text that begins with 'notes\n'"),
        ("draw a.png empty.ckpt", "empty.ckpt cannot be read as a model: it is an empty file"),
        ("export a.png m.safetensors", "a.png cannot be read as a model: it is a PNG image"),
        (
            "embed a.png quickdraw-conv4 --out z.txt",
            "the table is z.txt; expected a name that ends in .parquet",
        ),
        ("search a.png . quickdraw-conv4 --out z.txt", "out is z.txt"),
        ("search a.png none quickdraw-conv4", "there is no image at none"),
        ("evaluate retrieve a.png", "there are no drawings of Quick, Draw! in "),
        ("evaluate compose", "there are no drawings of Quick, Draw! in "),
        (["evaluate", "compose", "unicorn - cat"], "there is no class 'unicorn'"),
        (["evaluate", "compose", "cat - dog", "--temperature", "-1"], "temperature is -1"),
        ("evaluate recognizability --vae none", "there are no drawings of Quick, Draw! in "),
    ],
)
def test_mistake_gives_one_line_and_writes_nothing(line, says, folder, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (text,) = error_of(line, capsys).splitlines()
    assert says in text
    assert sorted(os.listdir(folder)) == ["a.png", "a.txt", "empty.ckpt"]


@pytest.mark.parametrize(
    "line",
    [
        "draw a.png quickdraw-conv4 --out a.png/out",
        "embed a.png quickdraw-conv4 --out a.png/z.npz",
        "search a.png . quickdraw-conv4 --out a.png/z.png",
        "export quickdraw-conv4 a.png/z.safetensors",
        "evaluate compose --out a.png",
        "evaluate fewshot --out a.png/fewshot",
        "report --out a.png",
        "results --out a.png/RESULTS.md",
        "fit --preset debug --run.root a.png --device cpu",
    ],
)
def test_output_is_checked_before_anything_is_computed(line, folder, capsys, monkeypatch):
    monkeypatch.setattr(
        "sketchembed.hub.model_files.load_network", lambda *_: pytest.fail("a model was loaded")
    )
    monkeypatch.setattr(Pictures, "quickdraw", lambda *_: pytest.fail("data were opened"))
    (text,) = error_of(line, capsys).splitlines()
    assert "a.png is not a folder" in text


def test_missing_gpu_gives_one_line(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="there is no device for accelerator cuda, devices 1"):
        Ranks.launch("1", "cuda")


def test_report_prints_the_same_error_once(folder, capsys):
    options = ["--parts", "compose,interpolate,retrieve", "--vae", "none", "--checkpoint", "quickdraw-conv4"]
    text = error_of(["report", *options], capsys)
    assert "compose, interpolate, retrieve could not be computed: there are no drawings" in text
    assert text.count("there are no drawings") == 1


def test_only_the_chosen_classes_are_prepared(folder, capsys, monkeypatch):
    from sketchembed.data.datamodules.quickdraw_datamodule import QuickdrawDataModule

    source = folder / "data" / "quickdraw" / "sketchrnn"
    source.mkdir(parents=True)
    drawing = np.array([[3, 4, 0], [5, 6, 1]], dtype=np.int16)
    for name in ("cat", "snowman", "tree"):
        parts = {
            part: np.array([drawing, drawing, None], dtype=object)[:2] for part in ("train", "valid", "test")
        }
        np.savez(source / f"{name}.npz", **parts)
    main(["data", "quickdraw", "--classes", "cat,snowman", "--per-class", "4"])
    output = capsys.readouterr().out
    assert "8 drawings of 2 classes kept" in output
    assert "sketchembed fit '--data.init_args.classes=[cat,snowman]' --data.init_args.per_class=4" in output
    chosen = QuickdrawDataModule(classes=["snowman", "cat"], per_class=4).prepare_store()
    assert chosen.class_names == ["cat", "snowman"]
    assert str(chosen.path) in output
    whole = QuickdrawDataModule(per_class=4).prepare_store()
    assert whole.class_names == ["cat", "snowman", "tree"]
    # A store of all classes is used if there is no other one.
    assert QuickdrawDataModule(classes=["tree"], per_class=4).prepare_store().path == whole.path
