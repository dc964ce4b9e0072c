import json
import os
import time
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from programs import run
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

import sketchembed
from sketchembed.cli import main
from sketchembed.data.episodes import Episodes
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources import omniglot_images
from sketchembed.errors import CheckpointError, ConfigError
from sketchembed.evaluation import models
from sketchembed.evaluation.fewshot import methods
from sketchembed.evaluation.fewshot.methods import EmbeddingMethod, pixel_features
from sketchembed.evaluation.fewshot.protocol import check_images, untrained_baselines
from sketchembed.evaluation.fewshot.scores import EpisodeSetting, measure
from sketchembed.evaluation.models import newest_model
from sketchembed.hub.registry import MODEL_KEY, describe
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.networks.protonet import ProtoNet, ProtoNetConfig
from sketchembed.networks.resnet import ResNet, ResNetConfig
from sketchembed.runs.ranks import Ranks

TINY = ModelConfig(width=8, latent=12, hidden=10, hyper=6, embedding=2, mixtures=3, max_length=12)


def image_set(classes=12, each=7, size=28):
    random = np.random.default_rng(0)
    shapes = random.integers(0, 256, (classes, 1, 1, size, size))
    noisy = shapes + random.normal(0, 160, (classes, each, 1, size, size))
    return ImageSet(
        noisy.clip(0, 255).astype(np.uint8).reshape(-1, 1, size, size),
        np.repeat(np.arange(classes), each),
        [f"class{at}" for at in range(classes)],
        [f"{at}" for _ in range(classes) for at in range(each)],
        ["a", "b"] * (classes // 2),
        {"data": "Omniglot", "split": "vinyals", "part": "test"},
    )


def test_accuracies_match_a_scikit_learn_loop():
    data = image_set()
    episodes = Episodes(data, way=5, shot=2, seed=3)
    method = EmbeddingMethod("pixels", pixel_features)
    method.prepare(data, Ranks())
    (score,) = measure([method], episodes, 30)
    expected = []
    for number in range(30):
        batch = episodes.batch([number])
        ink = 1 - data.images.reshape(len(data), -1) / 255
        rows = ink / np.linalg.norm(ink, axis=1, keepdims=True)
        model = LogisticRegression(tol=1e-8, max_iter=10_000)
        model.fit(rows[batch.support[0]], np.repeat(np.arange(5), 2))
        expected.append(model.score(rows[batch.query[0]], batch.query_labels[0]))
    np.testing.assert_allclose(score.accuracies, expected, atol=1e-9)
    assert score.mean == pytest.approx(100 * np.mean(expected))
    assert score.interval == pytest.approx(100 * 1.96 * np.std(expected) / np.sqrt(30))
    assert score.digest == episodes.digest(30)


def test_precomputed_gram_matrix_does_not_change_accuracies():
    # With more features than images, the Gram matrix is computed in advance.
    data = image_set(each=40)
    few = data.select(data.class_names[:6])
    episodes = Episodes(few, way=3, shot=4)
    method = EmbeddingMethod("pixels", pixel_features)
    method.prepare(few, Ranks())
    assert method.gram is not None
    with_gram = measure([method], episodes, 20)[0].accuracies
    method.gram = None
    np.testing.assert_allclose(measure([method], episodes, 20)[0].accuracies, with_gram, atol=0.01)


def test_two_heads_share_one_gram_matrix_computed_in_blocks(monkeypatch):
    monkeypatch.setattr(methods, "GPU_IMAGES", 64)  # 240 images: four blocks
    monkeypatch.setattr(methods, "CPU_PIXELS", 3000)
    monkeypatch.setattr(methods, "CPU_NUMBERS", 30_000)
    data = image_set(classes=6, each=40)
    raw, alone = EmbeddingMethod("raw", pixel_features), EmbeddingMethod("alone", pixel_features, "neighbour")
    shared = EmbeddingMethod("shared", pixel_features, "neighbour", shared=raw)
    for method in (raw, alone, shared):
        method.prepare(data, Ranks())
    ink = 1 - data.images.reshape(len(data), -1) / 255
    rows = ink / np.linalg.norm(ink, axis=1, keepdims=True)
    assert shared.gram is raw.gram
    # With u = 2^-24 and any order of summation, float32 rounds the product of two unit vectors of n numbers
    # by at most n u, and each norm by half of that. A misplaced block differs by more than 0.01.
    count = rows.shape[1]
    np.testing.assert_allclose(raw.gram, rows @ rows.T, rtol=0, atol=(2 * count + 8) * 2**-24)
    # Sums of small integers are exact.
    levels = EmbeddingMethod("levels", lambda images: (3 * pixel_features(images)).round(), normalise=False)
    levels.prepare(data, Ranks())
    whole = np.rint(3 * ink)
    np.testing.assert_array_equal(levels.gram, whole @ whole.T)
    batch = Episodes(data, way=3, shot=4).batch(range(20))
    expected = [
        KNeighborsClassifier(1).fit(rows[support], np.repeat(np.arange(3), 4)).predict(rows[query])
        for support, query in zip(batch.support, batch.query, strict=True)
    ]
    for method in (alone, shared):
        np.testing.assert_array_equal(method.predict(batch, 3, 4), expected)


def test_missing_queries_do_not_count():
    data = image_set()
    rows = np.concatenate([np.arange(10), np.arange(14, len(data))])  # class1 has three images
    uneven = ImageSet(
        data.images[rows], data.labels[rows], data.class_names, [data.names[row] for row in rows]
    )
    method = EmbeddingMethod("perfect", lambda images: images.flatten(1))
    method.prepare(uneven, Ranks())
    method.features = torch.nn.functional.one_hot(torch.from_numpy(uneven.labels), 12).float()
    method.gram = None
    assert measure([method], Episodes(uneven, way=3, shot=2), 60)[0].accuracies.min() == 1


@pytest.mark.parametrize("text", ["20w", "w1s", "20 way 1 shot", "20w1s5"])
def test_invalid_setting_raises(text):
    with pytest.raises(ConfigError, match="is not a few-shot setting"):
        EpisodeSetting.parse(text)
    assert str(EpisodeSetting.parse(" 20w1s")) == "20w1s"


def test_checkpoint_for_other_images_raises():
    photos = SketchEmbedNet(ModelConfig(**(TINY.to_dict() | {"channels": 3, "image_size": 84})))
    with pytest.raises(CheckpointError, match="takes images of 3 x 84 x 84; expected a model for .* 1 x 28"):
        check_images(photos, image_set())


@pytest.fixture
def omniglot(tmp_path, monkeypatch):
    """Return a data folder; random images replace Omniglot, so no published file is read."""
    data = image_set(classes=4 * 6)
    monkeypatch.setenv("SKETCHEMBED_DATA", str(tmp_path))
    monkeypatch.setattr(omniglot_images, "load_omniglot", lambda *_: data)
    monkeypatch.setattr(omniglot_images, "select_part", lambda images, *_: images)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return tmp_path


def evaluate(*options):
    few = ["--settings", "5w1s,5w2s", "--episodes", "150"]
    main(["evaluate", "fewshot", "--accelerator", "cpu", *few, *options])


def test_command_writes_a_table_and_json(omniglot, tmp_path, capsys):
    path = sketchembed.save(SketchEmbedNet(TINY), tmp_path / "net.safetensors")
    evaluate("--checkpoint", str(path), "--out", str(tmp_path / "report"))
    found = json.loads((tmp_path / "report.json").read_text())
    assert [row["method"] for row in found["rows"]] == [
        "SketchEmbedding (net)",
        "Raw pixels",
        "k-nearest neighbours",
        "Random CNN (Conv4)",
    ]
    scores = found["rows"][1]["scores"]
    assert [score["setting"] for score in scores] == ["5w1s", "5w2s"]
    assert scores[0]["episodes"] == 150
    assert scores[0]["digest"] == found["rows"][0]["scores"][0]["digest"]
    table = (tmp_path / "report.md").read_text()
    assert f"| Raw pixels | {scores[0]['mean']:.2f} ± {scores[0]['ci95']:.2f} |" in table
    assert "| *Random CNN (Conv4)* | *67.96* |" in table
    assert table in capsys.readouterr().out
    figure = ElementTree.parse(tmp_path / "report.svg")
    words = {text for element in figure.iter() if (text := "".join(element.itertext()).strip())}
    assert {"5w1s", "5w2s", "Raw pixels", "paper: Random CNN (Conv4)"} <= words


def make_run(folder, steps=(1,), net=None, **facts):
    """Write the checkpoints and the run.json of a training run."""
    net = net or SketchEmbedNet(TINY)
    (folder / "checkpoints").mkdir(parents=True)
    for step in steps:
        state = {f"net.{name}": value for name, value in net.state_dict().items()}
        torch.save(
            {"state_dict": state, MODEL_KEY: describe(net)}, folder / "checkpoints" / f"step-{step}.ckpt"
        )
    (folder / "run.json").write_text(json.dumps({"kind": net.kind} | facts))
    return folder


def rows(path):
    return json.loads(path.read_text())["rows"]


def test_command_without_a_checkpoint_uses_the_newest_run(omniglot, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(models, "PACKAGED", tmp_path / "package")
    options = ("--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "report"))
    evaluate(*options)
    assert "baselines only" in capsys.readouterr().out
    assert len(rows(tmp_path / "report.json")) == 3
    sketchembed.save(SketchEmbedNet(TINY), tmp_path / "package" / "quickdraw-conv4.safetensors")
    evaluate(*options, "--baselines", "none")
    assert "model   quickdraw-conv4, a packaged model: no run in" in capsys.readouterr().out
    assert [row["method"] for row in rows(tmp_path / "report.json")] == ["SketchEmbedding (quickdraw-conv4)"]
    run = make_run(tmp_path / "runs" / "one", data={"source": "quickdraw", "drawings": 7})
    make_run(tmp_path / "runs" / "proto-seed0", net=ProtoNet(ProtoNetConfig(width=4)))
    evaluate(*options, "--baselines", "none")
    (row,) = rows(tmp_path / "report.json")
    assert row["method"] == "SketchEmbedding (one)"
    assert row["about"] == {
        "head": "logistic",
        "checkpoint": str(run / "checkpoints" / "step-1.ckpt"),
        "step": 1,
        "trained_on": "quickdraw",
        "drawings": 7,
        "parameters": sum(parameter.numel() for parameter in SketchEmbedNet(TINY).parameters()),
    }


def test_newest_trained_baseline_of_each_family_is_used(omniglot, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "PACKAGED", tmp_path / "package")
    runs = tmp_path / "runs"
    net = ProtoNet(ProtoNetConfig(width=4))
    for number, name in enumerate(("proto-seed0", "proto-seed1", "other-seed0", "photos-seed0")):
        photos = ProtoNet(ProtoNetConfig(width=4, channels=3, image_size=84))
        file = make_run(runs / name, net=photos if "photos" in name else net) / "checkpoints" / "step-1.ckpt"
        os.utime(file, (number, number))
    # A classifier judges drawings and is not a baseline.
    make_run(runs / "judge", net=ResNet(ResNetConfig(18, classes=3, width=4, stem="small", image_size=28)))
    evaluate("--runs", str(runs), "--out", str(tmp_path / "report"), "--baselines", "trained")
    names = [row["method"] for row in rows(tmp_path / "report.json")]
    # The older seed is skipped, and so is the model for photos.
    assert names == ["ProtoNet, supervised (other-seed0)", "ProtoNet, supervised (proto-seed1)"]


def test_newest_run_is_chosen_for_the_image_channels(omniglot, tmp_path):
    runs = tmp_path / "runs"
    photos = SketchEmbedNet(ModelConfig(**(TINY.to_dict() | {"channels": 3, "image_size": 84})))
    for number, (name, net) in enumerate({"old": None, "drawings": None, "photos": photos}.items()):
        file = make_run(runs / name, net=net) / "checkpoints" / "step-1.ckpt"
        os.utime(file, (number, number))
    evaluate("--runs", str(runs), "--out", str(tmp_path / "report"), "--baselines", "none")
    assert [row["method"] for row in rows(tmp_path / "report.json")] == ["SketchEmbedding (drawings)"]
    assert [newest_model(runs, channels).run for channels in (3, 1, None)] == ["photos", "drawings", "photos"]


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 84)])
def test_package_has_a_default_model_for_drawings_and_photos(channels, size):
    network = models.default_model(channels).network
    assert (network.config.channels, network.config.image_size) == (channels, size)


def test_several_models_get_the_same_episodes(omniglot, tmp_path):
    torch.manual_seed(0)
    paths = [sketchembed.save(SketchEmbedNet(TINY), tmp_path / f"{name}.safetensors") for name in "ab"]
    evaluate("--checkpoint", f"{paths[0]},{paths[1]}", "--out", str(tmp_path / "both"))
    evaluate("--checkpoint", str(paths[1]), "--out", str(tmp_path / "one"), "--baselines", "none")
    both = {row["method"]: row["scores"] for row in rows(tmp_path / "both.json")}
    assert list(both)[:2] == ["SketchEmbedding (a)", "SketchEmbedding (b)"]
    assert both["SketchEmbedding (b)"] == rows(tmp_path / "one.json")[0]["scores"]


def test_every_checkpoint_of_the_runs_is_evaluated(omniglot, tmp_path):
    torch.manual_seed(0)
    for name in "ab":
        make_run(tmp_path / name, steps=(20, 3, 100))
    evaluate("--checkpoints", f"{tmp_path / 'a'},{tmp_path / 'b'}", "--out", str(tmp_path / "report"))
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["curves"]["a"] == {
        "3": "SketchEmbedding (a), step 3",
        "20": "SketchEmbedding (a), step 20",
        "100": "SketchEmbedding (a), step 100",
    }
    assert len(found["rows"]) == 6
    assert "steps" in (tmp_path / "report.svg").read_text()


@pytest.mark.slow
def test_wandb_gets_table_figure_and_scores(omniglot, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(models, "PACKAGED", tmp_path / "package")
    evaluate("--runs", str(tmp_path), "--out", str(tmp_path / "results" / "report"))
    (run,) = (tmp_path / "results" / "wandb").glob("offline-run-*")
    (table,) = run.glob("files/media/table/fewshot/*.json")
    first = rows(tmp_path / "results" / "report.json")[0]["scores"][0]
    kept = json.loads(table.read_text())["data"][0]
    assert kept[:2] == ["Raw pixels", "5w1s"]
    assert kept[2] == pytest.approx(first["mean"], abs=1e-4)
    assert kept[5] == first["digest"]
    (figure,) = run.glob("files/media/html/fewshot/*.html")
    assert "<svg" in figure.read_text()
    log, until = next(run.glob("*.wandb")), time.monotonic() + 20
    # W&B writes its log in a separate process, which may end a moment later.
    while b"fewshot/Raw pixels/5w1s" not in log.read_bytes():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--head", "logit"), "no head 'logit'"),
        (("--query", "0"), "query is '0'"),
        (("--query", "many"), "query is 'many'"),
        (("--episodes", "0"), "episodes is 0"),
        (("--devices", "two"), "devices is 'two'"),
        (("--settings", "25w1s"), "24 classes, 1 too few"),
        (("--settings", "5w7s"), "class 'class0' has 7 images, 1 too few"),
        (("--checkpoint", "nowhere"), "there is no checkpoint at nowhere"),
        (("--checkpoints", "nowhere"), "there is no step-N.ckpt in nowhere"),
        (("--baselines", "pixel"), "there is no baseline 'pixel'"),
        (("--split", "lake-runs"), "there are no one-shot runs in"),
    ],
)
def test_invalid_options_give_a_one_line_error(options, message, omniglot, capsys):
    with pytest.raises(SystemExit) as error:
        evaluate("--runs", str(omniglot / "runs"), *options)
    assert error.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def save_accuracies(devices, out):
    ranks = Ranks.launch(str(devices), "cpu")
    data = image_set(classes=30, each=20)
    methods = untrained_baselines(data, "logistic", ranks.device, ["pixels", "neighbours", "random"])
    for method in methods:
        method.prepare(data, ranks)
    scores = measure(methods, Episodes(data, way=5, shot=1), 330, ranks)
    if ranks.is_rank_zero:
        np.save(out, np.stack([score.accuracies for score in scores]))


def test_accuracies_do_not_depend_on_the_process_count(tmp_path):
    found = []
    for count in (1, 3):
        out = tmp_path / f"out{count}.npy"
        ended = run(save_accuracies, count, out, ranks=count)
        assert ended.returncode == 0, ended.stderr
        found.append(np.load(out))
    assert found[0].shape == (3, 330)  # four blocks, split 2 + 1 + 1
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(900)  # the first test that needs Omniglot reads all of it
def test_solver_agrees_with_scikit_learn_on_real_omniglot(real_data):
    images = omniglot_images.load_omniglot(real_data / "omniglot", real_data / "prepared")
    data = omniglot_images.select_part(images, "vinyals", "test")
    methods = [
        EmbeddingMethod("raw", pixel_features),
        EmbeddingMethod("reference", pixel_features, "logistic-sklearn"),
    ]
    for method in methods:
        method.prepare(data, Ranks())
    episodes = Episodes(data, way=20, shot=1)
    ours, reference = measure(methods, episodes, 60)
    assert abs(ours.mean - reference.mean) <= 0.02
    assert 44 < ours.mean < 53
    batch = episodes.batch(range(40))
    answers = [method.predict(batch, 20, 1) for method in methods]
    assert (answers[0] == answers[1]).double().mean() >= 0.998
