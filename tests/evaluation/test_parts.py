"""Code that the evaluations of a checkpoint share: the context, drawings by class, report parts."""

import json
import re

import numpy as np
import pytest
import torch

from sketchembed.cli import main
from sketchembed.data.doodles import generate
from sketchembed.data.store import DrawingStore
from sketchembed.errors import CheckpointError, DataError
from sketchembed.evaluation import parts
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.pictures import Pictures, sketch_images
from sketchembed.hub.model_files import save
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig
from sketchembed.reporting.part import Drawings, Figure, Part, Table
from sketchembed.sketch import Sketch

TINY = ModelConfig(width=8, latent=12, hidden=10, hyper=6, embedding=2, mixtures=3, max_length=12)
PART = Part(
    "probe",
    "A probe",
    "What was asked.",
    [Table("Table 9", ["model", "R²"], [["ours", 0.98765], ["theirs", None]], [["ours", "0.9"]], "A note.")],
    [Figure("figure-9", "A figure", "<svg/>", "What is seen")],
    [Drawings("Some", [{"class": "cat", "seen": True, "input": [[0, 0, 1, 1]], "samples": []}])],
    {"probe/r2": 0.98765},
    {"drawings": 3},
    1.5,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> DrawingStore:
    return generate.prepare(tmp_path_factory.mktemp("store") / "doodles", per_class=12, max_length=64)


@pytest.fixture
def pictures(store) -> Pictures:
    return Pictures(store, store.class_names[:-2], store.class_names[-2:])


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    return save(SketchEmbedNet(TINY, offset_scale=20.0), tmp_path / "model.safetensors")


def test_drawings_of_a_class_are_chosen_by_a_seed(store, pictures):
    name = store.class_names[3]
    chosen = pictures.select(name, 5, seed=1)
    assert {store.class_names[label] for label in store.labels[chosen]} == {name}
    assert len(set(chosen.tolist())) == 5
    np.testing.assert_array_equal(chosen, pictures.select(name, 5, seed=1))
    assert chosen.tolist() != pictures.select(name, 5, seed=2).tolist()
    images = pictures.images(chosen)
    assert images.shape == (5, 1, 28, 28)
    # Dark lines on white, with an empty margin.
    assert images.amin() < 0.2
    assert images.median() == 1
    assert images[..., 0].amin() == 1


def test_missing_class_error_suggests_the_nearest(store, pictures):
    name = store.class_names[0]
    with pytest.raises(DataError, match=f"no class '{name}s'.*'{name}'"):
        pictures.select(name + "s")
    with pytest.raises(DataError, match="12 drawings of .* 8 too few"):
        pictures.select(name, 20)


def test_held_out_drawings_match_the_store(doodle_pictures):
    store, pictures = doodle_pictures.store, doodle_pictures
    seen, unseen = pictures.seen[0], pictures.unseen[0]
    found = pictures.select_up_to(seen, 100, held_out=True)
    assert sorted(store.partitions[found]) == [1, 2]
    train = store.select([seen], "train")
    assert sorted([*found, *train]) == pictures.select(seen).tolist()
    np.testing.assert_array_equal(pictures.select_up_to(unseen, 100, held_out=True), pictures.select(unseen))
    few = pictures.select_up_to(unseen, 5, seed=3)
    np.testing.assert_array_equal(few, pictures.select(unseen, 5, seed=3))
    for sketch, rows in zip(pictures.sketches(few), pictures.strokes(few), strict=True):
        same = Sketch.from_stroke5(rows.numpy()).scaled(pictures.dataset.offset_scale)
        np.testing.assert_allclose(sketch.points - sketch.points[0], same.points, atol=1e-3)
        np.testing.assert_array_equal(sketch.lifted, same.lifted)
    again = sketch_images([Sketch.from_strokes([]), *pictures.sketches(few)])
    assert again[0].amin() == 1
    np.testing.assert_allclose(again[1:], pictures.images(few), atol=1e-3)


def test_part_is_written_and_read(tmp_path):
    files = PART.write(tmp_path)
    assert [file.name for file in files] == ["figure-9.svg", "probe.md", "probe.json"]
    assert Part.read(tmp_path / "probe.json") == PART
    text = (tmp_path / "probe.md").read_text()
    assert "| ours | 0.9877 |\n| theirs |  |\n| *ours* | *0.9* |" in text
    (tmp_path / "probe.json").write_text('{"name": "probe"}')
    with pytest.raises(ValueError, match="not a part of a report"):
        Part.read(tmp_path / "probe.json")


def test_part_command_has_part_and_context_options(tmp_path, checkpoint, monkeypatch, capsys):
    def probe(context: EvaluationContext, words: str, count: int = 3) -> Part:
        """Probe something.

        Args:
            context: the model.
            words: to say.
            count: how often.
        """
        z = context.embed(context.model, torch.rand(count, 1, 28, 28))
        return Part("probe", words, values={"probe/size": float(z.shape[1])})

    monkeypatch.setitem(parts.PARTS, "probe", probe)
    given = ["--count", "2", "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out")]
    main(["evaluate", "probe", "two words", *given])
    assert "### two words" in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert written["values"] == {"probe/size": 12.0}
    assert written["facts"]["model.checkpoint"] == str(checkpoint)
    assert written["facts"]["seed"] == 0
    main(["evaluate"])
    assert re.search("probe +Probe something", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("given", "words"),
    [([], "none"), (["two words"], "two words"), (["-a + b"], "-a + b"), (["--words", "x"], "x")],
)
def test_first_option_of_a_part_is_optional_or_positional(
    given, words, tmp_path, checkpoint, monkeypatch, capsys
):
    def probe(context: EvaluationContext, words: str = "none", count: int = 3) -> Part:
        """Probe something.

        Args:
            context: the model.
            words: to say.
            count: how often.
        """
        return Part("probe", words)

    monkeypatch.setitem(parts.PARTS, "probe", probe)
    main(["evaluate", "probe", *given, "--count=2", f"--checkpoint={checkpoint}", f"--out={tmp_path}"])
    assert f"### {words}\n" in capsys.readouterr().out


def test_context_draws_like_the_model(checkpoint):
    context = EvaluationContext(str(checkpoint), vae="none")
    images = torch.rand(3, 1, 28, 28)
    drawn = context.decode(context.embed(context.model, images), temperature=0.5)
    assert drawn == context.net.draw(images, temperature=0.5, seed=0)
    assert all(isinstance(sketch, Sketch) for sketch in drawn)


def test_context_rejects_models_that_cannot_be_evaluated(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr("sketchembed.evaluation.models.PACKAGED", tmp_path / "package")
    with pytest.raises(CheckpointError, match="there is none in"):
        _ = EvaluationContext(runs=tmp_path / "none").model
    torch.manual_seed(0)
    vae = save(ConvVAE(ConvVAEConfig(width=8, latent=6)), tmp_path / "vae.safetensors")
    with pytest.raises(CheckpointError, match="conv-vae, which cannot draw"):
        _ = EvaluationContext(str(vae)).model
    with pytest.raises(CheckpointError, match="sketchembednet for images of 1 x 28.*Conv-VAE"):
        _ = EvaluationContext(str(checkpoint), str(checkpoint)).baseline
    context = EvaluationContext(str(checkpoint), str(vae))
    assert [type(model.network) for model in context.models] == [SketchEmbedNet, ConvVAE]
    images = torch.rand(2, 1, 28, 28)
    z = context.embed(context.models[1], images)
    assert z.shape == (2, 6)
    np.testing.assert_allclose(
        context.decode_baseline(z), context.models[1].network.reconstruct(images), atol=1e-6
    )
