"""Train a few steps with every configuration file, with tiny networks on small data sets."""

import io
import json
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from programs import check_same, outcome

from sketchembed.cli import fit
from sketchembed.cli.sweep import plan_sweep
from sketchembed.data.sources import omniglot, omniglot_images, quickdraw
from sketchembed.hub.model_files import load_network
from sketchembed.runs.sweep_file import SweepFile
from sketchembed.training.checkpointing import Checkpoints

CONF = Path(__file__).parents[2] / "conf"
SWEEPS = sorted((CONF.parent / "sweeps").glob("*.yaml"))
STACKS = {
    "quickdraw.yaml": ["quickdraw.yaml", "debug.yaml"],
    "cpu.yaml": ["quickdraw.yaml", "simple.yaml", "cpu.yaml", "debug.yaml"],
    "long.yaml": ["quickdraw.yaml", "simple.yaml", "cpu.yaml", "long.yaml", "debug.yaml"],
    "embedding.yaml": ["quickdraw.yaml", "simple.yaml", "cpu.yaml", "embedding.yaml", "debug.yaml"],
    "gpu.yaml": ["quickdraw.yaml", "simple.yaml", "cpu.yaml", "gpu.yaml", "debug.yaml"],
    "paper-decoder.yaml": ["quickdraw.yaml", "simple.yaml", "cpu.yaml", "paper-decoder.yaml", "debug.yaml"],
    "simple.yaml": ["quickdraw.yaml", "simple.yaml", "debug.yaml"],
    "resnet12.yaml": ["quickdraw.yaml", "resnet12.yaml", "debug.yaml"],
    "resnet12-cpu.yaml": ["quickdraw.yaml", "simple.yaml", "cpu.yaml", "resnet12-cpu.yaml", "debug.yaml"],
    "omniglot.yaml": ["quickdraw.yaml", "omniglot.yaml", "debug.yaml"],
    "released.yaml": ["quickdraw.yaml", "released.yaml", "debug.yaml"],
    "released-omniglot.yaml": [
        *("quickdraw.yaml", "omniglot.yaml", "released.yaml", "released-omniglot.yaml", "debug.yaml")
    ],
    "debug.yaml": ["quickdraw.yaml", "omniglot.yaml", "cpu.yaml", "debug.yaml"],
}
VAE_STACKS = {
    "vae.yaml": ["vae.yaml"],
    "omniglot.yaml": ["vae.yaml", "omniglot.yaml"],
    "mini-imagenet.yaml": ["vae.yaml", "mini-imagenet.yaml"],
    "vae-sketchy.yaml": ["vae.yaml", "vae-sketchy.yaml"],
}
CONTRASTIVE = {
    "contrastive.yaml": ["contrastive.yaml"],
    "contrastive-mini-imagenet.yaml": ["contrastive.yaml", "contrastive-mini-imagenet.yaml"],
}
SMALL = {
    "model.init_args.network.width": "4",
    "model.init_args.network.hidden": "16",
    "model.init_args.network.hyper": "8",
    "model.init_args.network.latent": "8",
    "data.init_args.batch_size": "4",
}
PAIRS = {
    "sketchy.yaml": ["quickdraw.yaml", "sketchy.yaml"],
    "sketchy-cpu.yaml": ["quickdraw.yaml", "sketchy.yaml", "sketchy-cpu.yaml"],
    "released-sketchy.yaml": ["quickdraw.yaml", "sketchy.yaml", "released.yaml", "released-sketchy.yaml"],
    "traced.yaml": ["quickdraw.yaml", "sketchy.yaml", "traced.yaml"],
    "traced-cpu.yaml": [
        *("quickdraw.yaml", "sketchy.yaml", "sketchy-cpu.yaml"),
        *("traced.yaml", "traced-cpu.yaml"),
    ],
}
CLASSIFIERS = {
    "classifier.yaml": ["classifier.yaml"],
    "classifier-cpu.yaml": ["classifier.yaml", "classifier-cpu.yaml"],
}
EPISODIC = {
    "protonet.yaml": ["protonet.yaml"],
    "maml.yaml": ["maml.yaml"],
    "episodes-mini-imagenet.yaml": ["protonet.yaml", "episodes-mini-imagenet.yaml"],
    "protonet-mini-imagenet.yaml": [
        *("protonet.yaml", "episodes-mini-imagenet.yaml", "protonet-mini-imagenet.yaml")
    ],
    "maml-mini-imagenet.yaml": ["maml.yaml", "episodes-mini-imagenet.yaml", "maml-mini-imagenet.yaml"],
}
EPISODES = {
    "model.network.width": "8",
    "data.source": "images",
    "data.way": "4",
    "data.shot": "1",
    "data.query": "1",
    "data.validation_episodes": "2",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder in the published layouts: drawings, characters, and photos with and without sketches."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    (folder / "quickdraw").mkdir()
    for name in ("cat", "bee", *quickdraw.class_names("unseen")[:2]):
        lines = []
        for key in range(120):
            strokes = [random.integers(0, 256, (2, random.integers(2, 9))).tolist() for _ in range(3)]
            lines.append(
                json.dumps({"word": name, "key_id": str(key), "recognized": True, "drawing": strokes})
            )
        (folder / "quickdraw" / f"{name}.ndjson").write_text("\n".join(lines))
    (folder / "omniglot").mkdir()
    characters = [name for part in omniglot.SPLIT for name in omniglot.vinyals_split()[part][:6]]
    for part in ("strokes_background", "strokes_evaluation"):
        with zipfile.ZipFile(folder / "omniglot" / f"{part}.zip", "w") as archive:
            for character in characters if part == "strokes_background" else []:
                points = random.integers(0, 105, (9, 2))
                text = "START\n" + "".join(f"{x},-{y},0\n" for x, y in points) + "BREAK\n"
                archive.writestr(f"{part}/{character}/0001_01.txt", text)
    for part, label in (("train", "n01"), ("val", "n02")):
        (folder / "mini_imagenet" / part / label).mkdir(parents=True)
        for number in range(5):
            photo = Image.fromarray(random.integers(0, 256, (84, 84, 3), dtype=np.uint8))
            photo.save(folder / "mini_imagenet" / part / label / f"{number}.png")
    for label in ("cat", "bee"):
        for kind in ("photo", "sketches"):
            (folder / "sketchy" / kind / label).mkdir(parents=True)
        for number in range(30):
            name = f"n02000000_{number}"
            photo = Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8))
            photo.save(folder / "sketchy" / "photo" / label / f"{name}.jpg")
            lines = "".join(f"L {x} {y} " for x, y in random.integers(0, 400, (6, 2)))
            svg = f'<svg xmlns="http://www.w3.org/2000/svg"><path d="M 9 9 {lines}"/></svg>'
            (folder / "sketchy" / "sketches" / label / f"{name}-1.svg").write_text(svg)
    return folder


def test_all_configuration_files_are_tested():
    kinds = (STACKS, VAE_STACKS, CONTRASTIVE, PAIRS, CLASSIFIERS, EPISODIC)
    stacks = [stack for kind in kinds for stack in kind.values()]
    assert {path.name for path in CONF.iterdir()} == {file for stack in stacks for file in stack}


@pytest.mark.parametrize("name", STACKS)
def test_file_trains(name, data, tmp_path, monkeypatch):
    monkeypatch.setenv("SKETCHEMBED_DATA", str(data))
    configs = [part for file in STACKS[name] for part in ("--config", str(CONF / file))]
    fit.run([*configs, "--trainer.accelerator", "cpu", "--run.root", str(tmp_path)])
    (run,) = tmp_path.glob("*/")
    facts = json.loads((run / "run.json").read_text())
    assert facts["finished"] is True
    assert facts["steps"] == 6
    assert facts["data"]["source"] == ("omniglot" if "omniglot.yaml" in STACKS[name] else "quickdraw")
    assert facts["model"]["encoder"] == ("resnet12" if name.startswith("resnet12") else "conv4")
    assert (
        facts["model"]["max_length"]
        == yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["max_length"]
    )


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_first_run_of_a_sweep_trains(path, data, tmp_path, monkeypatch):
    monkeypatch.setenv("SKETCHEMBED_DATA", str(data))
    options = ["--preset", "debug", "--trainer.accelerator", "cpu", "--run.root", str(tmp_path)]
    folder = plan_sweep(SweepFile.read(path), options)
    name, first = next(iter(folder.runs.items()))
    fit.run(first.words)
    run = folder.finished(name)
    assert run == tmp_path / name
    config = yaml.safe_load((run / "config.yaml").read_text())
    ((key, value),) = first.point.items()
    assert (config["curriculum"]["alpha_max"] if "." in key else config[key]) == value
    # Twelve milestones in six steps are one per step. Each milestone is a model file.
    found = [load_network(file).kind for file in (run / "milestones").glob("*")]
    assert found == ([] if path.stem == "seeds" else ["sketchembednet"] * 6)


def train(files, options, data, folder, monkeypatch):
    """Train six steps with a stack of files and further options; return the run and its facts."""
    monkeypatch.setenv("SKETCHEMBED_DATA", str(data))
    options = options | {
        "trainer.max_steps": "6",
        "trainer.val_check_interval": "3",
        "trainer.log_every_n_steps": "1",
        "trainer.accelerator": "cpu",
        "run.wandb": "disabled",
        "run.root": str(folder),
    }
    configs = [part for file in files for part in ("--config", str(CONF / file))]
    fit.run([*configs, *(part for key, value in options.items() for part in (f"--{key}", value))])
    (run,) = folder.glob("*/")
    return run, json.loads((run / "run.json").read_text())


@pytest.mark.parametrize("name", PAIRS)
def test_file_trains_on_photos_with_sketches(name, data, tmp_path, monkeypatch):
    run, facts = train(PAIRS[name], SMALL | {"gallery.every": "6"}, data, tmp_path, monkeypatch)
    assert (facts["finished"], facts["steps"]) == (True, 6)
    traced = name.startswith("traced")
    assert facts["data"]["source"] == ("traced mini_imagenet" if traced else "sketchy")
    assert facts["data"]["classes_unseen"] == (0 if traced else 1)  # bees are among the ten held-out classes
    net = load_network(run)
    assert (net.config.channels, net.config.image_size, net.config.max_length) == (3, 84, 100)
    assert net.config.encoder == "resnet12"
    (samples,) = (run / "samples").glob("step-*.json")
    if not traced:
        item = json.loads(samples.read_text())["items"][-1]
        assert item["photo"].startswith("data:image/png;base64,")
        assert (item["class"], item["seen"], len(item["input"])) == ("bee", False, 1)


def test_training_starts_from_the_weights_of_another_run(data, tmp_path, monkeypatch):
    first, _ = train(PAIRS["traced-cpu.yaml"], SMALL, data, tmp_path / "first", monkeypatch)
    options = SMALL | {"model.init_args.init_from": str(first), "model.init_args.lr": "1e-30"}
    second, _ = train(PAIRS["sketchy-cpu.yaml"], options, data, tmp_path / "second", monkeypatch)
    before, after = load_network(first), load_network(second)
    for (name, one), other in zip(before.named_parameters(), after.parameters(), strict=True):
        assert one.equal(other), name
    assert before.offset_scale != after.offset_scale  # the scale comes from the data, not from the weights


@pytest.mark.parametrize("name", VAE_STACKS)
def test_vae_trains(name, data, tmp_path, monkeypatch):
    options = {
        "model.init_args.network.width": "4",
        "model.init_args.network.latent": "6",
        "data.init_args.batch_size": "8",
    }
    run, facts = train(VAE_STACKS[name], options, data, tmp_path, monkeypatch)
    assert (facts["finished"], facts["steps"]) == (True, 6)
    sources = {"vae.yaml": "quickdraw", "vae-sketchy.yaml": "sketchy"}
    assert facts["data"]["source"] == sources.get(name, name.removesuffix(".yaml"))
    logged = (run / "metrics.jsonl").read_text()
    assert all(f"{part}/{term}" in logged for part in ("train", "val") for term in ("reconstruction", "kl"))
    net = load_network(run)
    assert net.kind == "conv-vae"
    photos = name in ("mini-imagenet.yaml", "vae-sketchy.yaml")
    assert (net.config.channels, net.config.image_size) == ((3, 84) if photos else (1, 28))


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_contrastive_network_trains(name, data, tmp_path, monkeypatch):
    options = {"model.init_args.network.width": "8", "data.init_args.batch_size": "8"}
    run, facts = train(CONTRASTIVE[name], options, data, tmp_path, monkeypatch)
    assert (facts["finished"], facts["steps"]) == (True, 6)
    photos = name == "contrastive-mini-imagenet.yaml"
    assert facts["data"]["source"] == ("mini-imagenet" if photos else "quickdraw")
    logged = (run / "metrics.jsonl").read_text()
    parts = ("train", "val") if photos else ("train", "val", "unseen")
    assert all(f"{part}/{term}" in logged for part in parts for term in ("loss", "accuracy"))
    net = load_network(run)
    assert net.kind == "simclr"
    assert (net.config.channels, net.config.image_size) == ((3, 84) if photos else (1, 28))
    assert "SimCLR" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_trains(name, data, tmp_path, monkeypatch):
    options = {
        # With 4 channels, PyTorch's gradient of convolutions crashes on some CPUs.
        "model.init_args.network.width": "8",
        "data.init_args.which": "unseen",  # two of these classes are in the data
        "data.init_args.batch_size": "8",
    }
    run, facts = train(CLASSIFIERS[name], options, data, tmp_path, monkeypatch)
    assert (facts["finished"], facts["steps"], facts["kind"]) == (True, 6, "resnet")
    assert (facts["data"]["which"], facts["data"]["classes"]) == ("unseen", 2)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"val/loss", "val/accuracy", "train/accuracy"} <= set().union(*rows)
    rates = [row["train/lr"] for row in rows if "train/lr" in row]
    assert (rates[0] == 0.01) if name == "classifier.yaml" else (rates[0] == pytest.approx(3e-3 / 20))
    net = load_network(run)
    assert net.config.labels == sorted(quickdraw.class_names("unseen")[:2])
    assert (net.config.depth, net.config.stem) == (
        (101, "imagenet") if name == "classifier.yaml" else (18, "small")
    )


def picture(random, size, mode):
    image, out = Image.fromarray(random.integers(0, 256, (size, size), dtype=np.uint8)), io.BytesIO()
    image.convert(mode).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def labelled(tmp_path, monkeypatch):
    """A data folder in the published layouts: five classes per part, with three images each."""
    few = {part: names[:5] for part, names in omniglot.vinyals_split().items()}
    monkeypatch.setattr(omniglot_images, "vinyals_split", lambda: few)
    random, folder = np.random.default_rng(0), tmp_path / "data"
    (folder / "omniglot").mkdir(parents=True)
    with zipfile.ZipFile(folder / "omniglot" / "images_background.zip", "w") as archive:
        for character in (name for names in few.values() for name in names):
            for drawer in range(3):
                content = picture(random, 20, "1")
                archive.writestr(f"images_background/{character}/0001_{drawer}.png", content)
    zipfile.ZipFile(folder / "omniglot" / "images_evaluation.zip", "w").close()
    for number in range(10):
        label = folder / "mini_imagenet" / ("train" if number < 5 else "val") / f"n{number}"
        label.mkdir(parents=True)
        for photo in range(3):
            (label / f"{photo}.jpg").write_bytes(picture(random, 84, "RGB"))
    return folder


@pytest.mark.parametrize("name", EPISODIC)
def test_file_trains_on_episodes(name, labelled, tmp_path, monkeypatch):
    photos = "episodes-mini-imagenet.yaml" in EPISODIC[name]
    options = {
        "model.network.width": "8",
        "data.folder": str(labelled),
        **({} if photos else {"data.source": "images"}),
        "data.way": "4",
        "data.shot": "1",
        "data.query": "1",
        "data.validation_episodes": "2",
        "trainer.max_steps": "6",
        "trainer.val_check_interval": "3",
        "trainer.log_every_n_steps": "1",
        "trainer.accelerator": "cpu",
        "run.wandb": "disabled",
        "run.root": str(tmp_path / "runs"),
    }
    configs = [part for file in EPISODIC[name] for part in ("--config", str(CONF / file))]
    fit.run([*configs, *(part for key, value in options.items() for part in (f"--{key}", value))])
    (run,) = (tmp_path / "runs").glob("*/")
    facts = json.loads((run / "run.json").read_text())
    assert facts["steps"] == 6
    assert facts["data"]["source"] == ("mini-imagenet" if photos else "omniglot")
    assert "val/accuracy" in (run / "metrics.jsonl").read_text()
    net = load_network(run)
    assert net.kind == ("protonet" if "protonet.yaml" in EPISODIC[name] else "maml")
    assert (net.config.channels, net.config.image_size) == ((3, 84) if photos else (1, 28))


def check_resumed_run(run, folder, resume, monkeypatch):
    """Copy a finished run as it was after step 2, resume it there, and compare the two."""
    cut = folder / "runs" / run.name
    shutil.copytree(run, cut)
    for step in (4, 6):
        (cut / "checkpoints" / f"step-{step}.ckpt").unlink()
    (cut / "run.json").write_text(
        json.dumps(json.loads((cut / "run.json").read_text()) | {"finished": False})
    )
    save = Checkpoints.on_train_batch_start

    def scramble(*args, **kwargs):
        # A step that uses the global generators would get other numbers.
        torch.manual_seed(7)
        np.random.seed(7)  # noqa: NPY002
        random.seed(7)
        save(*args, **kwargs)

    monkeypatch.setattr(Checkpoints, "on_train_batch_start", scramble)
    resume(folder / "runs")
    assert [path.name for path in (folder / "runs").glob("*/")] == [run.name]
    check_same(outcome(run), outcome(cut))


@pytest.mark.parametrize(
    ("files", "options"),
    [
        (STACKS["cpu.yaml"], {"gallery.every": "2", "data.init_args.num_workers": "0"}),
        (PAIRS["sketchy-cpu.yaml"], SMALL | {"gallery.every": "2"}),
        (VAE_STACKS["mini-imagenet.yaml"], {"model.init_args.network.width": "4"}),
        (CONTRASTIVE["contrastive.yaml"], {"model.init_args.network.width": "8"}),
        (CONTRASTIVE["contrastive-mini-imagenet.yaml"], {"model.init_args.network.width": "8"}),
        (CLASSIFIERS["classifier-cpu.yaml"], {"data.init_args.which": "unseen"}),
        (["protonet.yaml"], EPISODES),
        (["maml.yaml"], EPISODES),
    ],
    ids=["drawings", "photos", "vae", "contrastive", "contrastive photos", "classifier", "protonet", "maml"],
)
def test_every_task_resumes_exactly(files, options, request, tmp_path, monkeypatch):
    data = request.getfixturevalue("labelled" if options is EPISODES else "data")
    options = options | {"checkpoint.every_n_train_steps": "2", "checkpoint.save_top_k": "-1"}
    run, _ = train(files, options, data, tmp_path / "whole", monkeypatch)
    if "data.init_args.num_workers" in options:
        options["data.init_args.num_workers"] = "2"
    check_resumed_run(
        run, tmp_path / "cut", lambda root: train(files, options, data, root, monkeypatch), monkeypatch
    )


def test_paper_configuration_has_the_paper_values():
    # The values of appendix B and section 4.
    conf = yaml.safe_load((CONF / "quickdraw.yaml").read_text())
    model, network = conf["model"]["init_args"], conf["model"]["init_args"]["network"]
    assert (network["latent"], network["hidden"], network["embedding"], network["mixtures"]) == (
        256,
        1024,
        64,
        30,
    )
    assert (model["lr"], model["lr_decay"], model["lr_decay_steps"]) == (1e-3, 0.85, 15_000)
    assert model["pixel_loss"]["sigma"] == 2.0
    assert conf["curriculum"] == {"alpha_max": 0.5, "interval": 0.05, "every": 10_000}
    assert (conf["data"]["init_args"]["batch_size"], conf["data"]["init_args"]["max_length"]) == (256, 64)
    photos = yaml.safe_load((CONF / "sketchy.yaml").read_text())
    assert photos["curriculum"] == {"alpha_max": 0.75}
    assert (photos["data"]["init_args"]["batch_size"], photos["data"]["init_args"]["max_length"]) == (64, 100)
    assert photos["model"]["init_args"]["network"] == {
        "encoder": "resnet12",
        "width": 64,
        "image_size": 84,
        "channels": 3,
    }
    assert (conf["trainer"]["max_steps"], conf["trainer"]["gradient_clip_val"]) == (300_000, 1.0)
