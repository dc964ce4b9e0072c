"""Recognizability: inputs and predictions of the classifiers, and their cache."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from programs import run
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from sketchembed.cli import main
from sketchembed.data.datamodules.labelled_datamodule import LabelledQuickdrawDataModule
from sketchembed.data.sources import quickdraw
from sketchembed.errors import CheckpointError, ConfigError
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.parts import make
from sketchembed.evaluation.recognizability import predictions
from sketchembed.evaluation.recognizability.predictions import (
    DRAWN,
    HELD_OUT,
    SCALED,
    TRAINING,
    VAE,
    Choices,
    classify,
    measure,
)
from sketchembed.hub.model_files import load_network, save
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig, scale
from sketchembed.networks.resnet import ResNet, ResNetConfig
from sketchembed.runs.ranks import Ranks
from sketchembed.training import recognizability_classifier
from sketchembed.training.recognizability_classifier import Recipe, classifier, load, trained

TINY = ModelConfig(width=8, latent=12, hidden=10, hyper=6, embedding=2, mixtures=3, max_length=12)
WIDTH = 8
"""Width of trained networks. With 4 channels, PyTorch's gradient of convolutions crashes on some CPUs."""
CLASSES = {"seen": quickdraw.class_names("seen")[:3], "unseen": quickdraw.class_names("unseen")[:3]}


def make_data(folder):
    """Write Quick, Draw! files of three classes per set: noisy polygons of three, five and eight corners."""
    (folder / "quickdraw").mkdir(parents=True)
    random = np.random.default_rng(0)
    for names in CLASSES.values():
        for name, corners in zip(names, (3, 5, 8), strict=True):
            lines = []
            for key in range(40):
                angles = random.random() + np.arange(corners + 1) * 2 * np.pi / corners
                points = (
                    127 + 100 * np.stack([np.cos(angles), np.sin(angles)]) + random.normal(0, 4, angles.shape)
                )
                drawing = [points.round().astype(int).clip(0, 255).tolist()]
                lines.append(
                    json.dumps({"word": name, "key_id": str(key), "recognized": True, "drawing": drawing})
                )
            (folder / "quickdraw" / f"{name}.ndjson").write_text("\n".join(lines))
    return folder


def make_models(folder):
    torch.manual_seed(0)
    net = save(SketchEmbedNet(TINY, offset_scale=20.0), folder / "net.safetensors")
    return str(net), str(save(ConvVAE(ConvVAEConfig(width=8, latent=6)), folder / "vae.safetensors"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of data and models."""
    folder = tmp_path_factory.mktemp("recognizability")
    make_data(folder / "data")
    make_models(folder)
    return folder


@pytest.fixture
def context(folder):
    paths = {"checkpoint": str(folder / "net.safetensors"), "vae": str(folder / "vae.safetensors")}
    options = {"out": folder / "out", "folder": str(folder / "data"), "accelerator": "cpu"}
    return EvaluationContext(**paths, **options, classifier=classifier)


def labelled_data(folder, which="seen"):
    data = LabelledQuickdrawDataModule(which, str(folder / "data"), batch_size=16, max_length=12)
    data.setup()
    return data


def classifier_of(data, seed=0, **sizes):
    torch.manual_seed(seed)
    config = ResNetConfig(
        **({"depth": 18, "width": 4, "classes": len(data.labels)} | sizes), labels=data.labels
    )
    return ResNet(config).eval()


def test_accuracy_on_real_drawings_matches_scikit_learn(folder, context):
    data = labelled_data(folder)
    # The network is untrained, but its batch-norm averages fit the data, so its answers vary.
    net = classifier_of(data).train()
    with torch.no_grad():
        for _ in range(60):
            net(context.pictures.images(data.drawings.train, 32))
        net.eval()
        net.fc.bias -= net(context.pictures.images(data.drawings.held_out, 32)).mean(0)
    found = measure(context, net, data)
    assert list(found.predicted) == [HELD_OUT, TRAINING, DRAWN, SCALED, VAE]
    assert set(found.inputs) == set(data.drawings.held_out)
    assert len(found.predicted[TRAINING]) == len(data.drawings.train)
    names = [data.store.class_names[data.store.labels[index]] for index in found.inputs]
    answers = [
        data.labels[int(net.predict(context.pictures.images([index], 32)))] for index in found.inputs.tolist()
    ]
    assert len(set(answers)) > 1
    assert [data.labels[number] for number in found.predicted[HELD_OUT]] == answers
    assert float(found.correct(HELD_OUT).double().mean()) == pytest.approx(accuracy_score(names, answers))
    assert found.class_mean(HELD_OUT) == pytest.approx(balanced_accuracy_score(names, answers))


def test_model_that_copies_its_input_scores_like_the_input(folder, context, monkeypatch):
    data = labelled_data(folder)
    net = classifier_of(data)
    truth = context.pictures.strokes(np.random.default_rng(0).permutation(data.drawings.held_out))
    monkeypatch.setattr(context.net, "generate", lambda z, *_, **__: truth[: len(z), :10])
    found = measure(context, net, data)
    assert torch.equal(found.predicted[DRAWN], found.predicted[HELD_OUT])
    assert torch.equal(found.rows, truth[:, : found.rows.shape[1]])
    assert not truth[:, found.rows.shape[1] :, :4].any()
    monkeypatch.setattr(context.baseline.network, "decode", lambda z: torch.full((len(z), 1, 32, 32), 60.0))
    blank = int(net.predict(torch.ones(1, 1, 32, 32)))
    assert set(measure(context, net, data).predicted[VAE].tolist()) == {blank}


def test_choices_change_the_judged_drawings(folder, context):
    data = labelled_data(folder)
    net = classifier_of(data)
    by_default = measure(context, net, data)
    again = measure(context, net, data, Choices())
    assert torch.equal(by_default.rows, again.rows)
    for choices in (Choices(z="mean"), Choices(temperature=1.0, component="argmax")):
        assert not torch.equal(measure(context, net, data, choices).rows, by_default.rows)
    own = measure(context, net, data, Choices(inputs="training", count=20))
    assert len(own.inputs) == 20
    assert set(own.inputs) < set(data.drawings.train)
    assert torch.equal(own.targets[DRAWN], own.targets[TRAINING])
    context.vae = "none"
    del context.baseline
    assert VAE not in measure(context, net, data).predicted


def test_batch_norm_training_mode_uses_block_statistics(folder):
    data = labelled_data(folder)
    net = classifier_of(data)
    images = torch.rand(10, 1, 32, 32)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    answers = classify(net, lambda rows: images[rows.start : rows.stop], 10, "training", Ranks())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.training

    # Evaluation mode gives the same answers once the block's statistics replace the averages.
    def use_block_statistics(norm, given):
        norm.running_mean.copy_(given[0].mean((0, 2, 3)))
        norm.running_var.copy_(given[0].var((0, 2, 3), unbiased=False))

    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(use_block_statistics)
    assert torch.equal(net.predict(images), answers)


def test_scaling_matches_tensorflow_resize():
    row = torch.tensor([0.0, 1.0])
    # Pixel centres at halves, edges repeated: 0, 1/4, 3/4, 1.
    torch.testing.assert_close(
        scale(row.expand(1, 1, 2, 2), 4)[0, 0, 0], torch.tensor([0.0, 0.25, 0.75, 1.0])
    )


@pytest.fixture
def quick(monkeypatch):
    """Replace the presets by tiny networks that train for a few steps and save halfway."""
    read = Recipe.of

    def tiny(preset, depth=None, steps=None):
        recipe = read(preset, depth, steps or 6)
        network = ResNetConfig(**(recipe.network.to_dict() | {"width": WIDTH}))
        return Recipe(preset, network, recipe.task, 16, recipe.steps, 3, "32-true")

    monkeypatch.setattr(Recipe, "of", tiny)
    return tiny


def test_part_trains_caches_and_reports_classifiers(folder, context, quick, capsys):
    part = make("recognizability", context)
    assert "training a ResNet-18 on" in capsys.readouterr().out
    assert [row[0] for row in part.tables[0].rows][2:4] == [
        "SketchEmbedNet, one drawing per input",
        "Conv-VAE, reconstructions",
    ]
    held = part.facts["seen.inputs"]
    assert part.values["seen/held-out/pictures"] == held == part.facts["seen.held_out_drawings"]
    share = part.values["unseen/sketchembednet/accuracy"]
    assert share / 100 * part.facts["unseen.inputs"] == pytest.approx(
        round(share / 100 * part.facts["unseen.inputs"])
    )
    assert f"({held} and " in part.about
    assert "81.44 ± 0.95" in part.markdown()
    for figure in part.figures:
        words = "".join(ElementTree.fromstring(figure.svg).itertext())
        assert "SketchEmbed" in words
    assert {item["class"] for item in part.drawings[0].items} == set(CLASSES["seen"] + CLASSES["unseen"])
    files = sorted((context.out / "classifiers").iterdir())
    assert [file.name.split("-")[0] for file in files] == ["seen", "unseen"]
    assert load_network(files[0]).config.labels == CLASSES["seen"]
    again = make("recognizability", context)
    assert "training" not in capsys.readouterr().out
    assert again.values == part.values
    more = make("recognizability", context, steps=7, network="resnet50")
    assert more.facts["seen.network"] == "ResNet-50"
    assert len(list((context.out / "classifiers").iterdir())) == 4


def test_interrupted_training_resumes_where_it_stopped(folder, quick, tmp_path, monkeypatch):
    data, recipe = labelled_data(folder), quick("classifier-cpu")

    def stop(*_):
        raise KeyboardInterrupt

    original_save = recognizability_classifier.save
    monkeypatch.setattr(recognizability_classifier, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, data, Ranks(), tmp_path / "a")
    (work,) = (tmp_path / "a").iterdir()
    last = work / "step-6.ckpt"
    assert last.exists()
    # Simulate a stop after three of the six steps.
    other = Recipe(**(vars(recipe) | {"steps": 3}))
    with pytest.raises(KeyboardInterrupt):
        trained(other, data, Ranks(), tmp_path / "b")
    (half,) = (tmp_path / "b").iterdir()
    last.unlink()
    (half / "step-3.ckpt").rename(work / "step-3.ckpt")
    monkeypatch.setattr(recognizability_classifier, "save", original_save)
    file = trained(recipe, data, Ranks(), tmp_path / "a")
    assert file.exists()
    assert not work.exists()
    resumed = load(file, data).state_dict()
    whole = load(trained(recipe, data, Ranks(), tmp_path / "c"), data)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed[name], value, msg=name)


def test_steps_scale_the_schedule():
    recipe = Recipe.of("classifier", depth=50, steps=1200)
    assert recipe.task["lr_steps"] == {400: 0.005, 800: 0.001, 1000: 0.0001}
    assert (recipe.network.depth, recipe.steps, recipe.batch_size) == (50, 1200, 256)
    assert recipe.limited(10_000_000) == recipe
    # A hundred passes over 768 drawings.
    assert recipe.limited(768).task["lr_steps"] == {100: 0.005, 200: 0.001, 250: 0.0001}
    small = Recipe.of("classifier-cpu", steps=80)
    assert small.task["lr_decay_steps"] == 80
    assert (small.network.width, small.network.image_size) == (16, 32)
    with pytest.raises(ConfigError, match="steps is 0"):
        Recipe.of("classifier", steps=0)


def test_given_classifier_must_have_the_same_classes(folder, context, tmp_path):
    data = labelled_data(folder)
    right = save(classifier_of(data), tmp_path / "right.safetensors")
    net, file, steps = classifier(data, Ranks(), tmp_path, preset="classifier-cpu", path=str(right))
    assert (file, steps) == (right, None)
    assert net.config.labels == CLASSES["seen"]
    other = save(classifier_of(labelled_data(folder, "unseen")), tmp_path / "other.safetensors")
    with pytest.raises(
        CheckpointError, match=f"has 3 classes, without '{CLASSES['seen'][0]}'.*the 3 seen classes"
    ):
        classifier(data, Ranks(), tmp_path, preset="classifier-cpu", path=str(other))
    with pytest.raises(CheckpointError, match="is a sketchembednet; expected a classifier"):
        classifier(data, Ranks(), tmp_path, preset="classifier-cpu", path=context.checkpoint)


def test_part_without_a_source_of_classifiers_raises(context):
    context.classifier = None
    with pytest.raises(ConfigError, match="context has no classifier"):
        make("recognizability", context)


def test_command_line_options_reach_the_part(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    for which in ("seen", "unseen"):
        save(classifier_of(labelled_data(folder, which)), tmp_path / f"{which}.safetensors")
    given = ["--checkpoint", str(folder / "net.safetensors"), "--vae", "none", "--accelerator", "cpu"]
    given += ["--folder", str(folder / "data"), "--out", str(tmp_path / "out")]
    named = [f"--{which}_classifier={tmp_path / which}.safetensors" for which in ("seen", "unseen")]
    main(["evaluate", "recognizability", *given, *named, "--drawings", "5", "--batch_norm", "training"])
    found = json.loads((tmp_path / "out" / "recognizability.json").read_text())
    assert found["values"]["seen/sketchembednet/pictures"] == 5
    assert found["facts"]["choices.batch_norm"] == "training"
    assert (tmp_path / "out" / "table-4.svg").exists()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["evaluate", "recognizability", *given, "--drawings", "0"])
    assert "drawings is 0; expected 1 or more" in capsys.readouterr().err


def save_scores(folder, devices, out):
    predictions.BLOCK = 5
    files = str(folder / "net.safetensors"), str(folder / "vae.safetensors")
    context = EvaluationContext(*files, folder=str(folder / "data"), devices=str(devices), accelerator="cpu")
    context.net  # noqa: B018  # drawn with before the classifier trains
    sizes = ResNetConfig(18, width=WIDTH, stem="small")
    recipe = Recipe("tiny", sizes, {"lr": 3e-3}, 16, 4, 2, "32-true")
    data = labelled_data(folder)
    file = trained(recipe, data, context.ranks, folder / f"trained{devices}")
    net = classifier_of(data)
    choices = Choices("training", temperature=0.5, batch_norm="training", count=13)
    found = measure(context, net, data, choices)
    total = torch.stack([value.double().sum() for value in load(file, data).state_dict().values()]).sum()
    mine = context.ranks.fabric.all_gather(total.reshape(1)).reshape(-1)
    assert (mine == mine[0]).all(), mine
    if context.ranks.is_rank_zero:
        torch.save({"rows": found.rows, **found.predicted}, out)
        assert file.exists()


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(folder, tmp_path):
    found = []
    for count in (1, 2):
        out = tmp_path / f"out{count}.pt"
        ended = run(save_scores, folder, count, out, ranks=count)
        assert ended.returncode == 0, ended.stderr
        found.append(torch.load(out))
    # Of 13 pictures in blocks of five, the two processes get ten and three.
    assert [len(found[0][key]) for key in (TRAINING, DRAWN, VAE)] == [13, 13, 13]
    for key, value in found[0].items():
        assert torch.equal(value, found[1][key]), key
