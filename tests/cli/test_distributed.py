"""Check that training on several processes equals training on one, with real processes on a CPU."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import watched_fit
from PIL import Image
from programs import run

from sketchembed.data.datamodules.doodles_datamodule import DoodlesDataModule
from sketchembed.hub.model_files import read_raw

CONF = Path(__file__).parents[2] / "conf"
STEPS, BATCH, DRAWINGS = 20, 12, 100
SMALL = ["--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.log_every_n_steps", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with a few doodles, photos with sketches, and labelled photos."""
    folder = tmp_path_factory.mktemp("data")
    DoodlesDataModule(str(folder), per_class=28).prepare_store()
    random = np.random.default_rng(0)
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
    for part in ("train", "val"):
        for label in ("n01", "n02", "n03"):
            (folder / "mini_imagenet" / part / label).mkdir(parents=True)
            for number in range(5):
                photo = Image.fromarray(random.integers(0, 256, (84, 84, 3), dtype=np.uint8))
                photo.save(folder / "mini_imagenet" / part / label / f"{number}.png")
    return folder


def doodles(folder, *more):
    """Return options that use every random number, and every computation over a whole batch."""
    return [
        *("--config", str(CONF / "quickdraw.yaml"), "--config", str(CONF / "debug.yaml")),
        *(
            "--data",
            "DoodlesDataModule",
            "--data.init_args.per_class",
            "28",
        ),
        *("--data.init_args.batch_size", str(BATCH), "--run.root", str(folder / "runs"), *SMALL),
        *("--model.init_args.skip_padding", "true"),
        *("--model.init_args.kl_weight", "0.1"),
        *("--model.init_args.augmentation.rotation", "15", "--model.init_args.augmentation.flip", "0.5"),
        *("--model.init_args.augmentation.jitter", "0.02"),
        *("--trainer.max_steps", str(STEPS), "--trainer.val_check_interval", "10", "--gallery.every", "100"),
        *("--monitor.print_every", "0", "--checkpoint.every_n_train_steps", str(STEPS), *more),
    ]


def launch_two(launcher, folder, arguments):
    """Return a command that trains on two processes."""
    if launcher == "torchrun":
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        return [*launch, watched_fit.__file__, str(folder), *arguments]
    return [sys.executable, watched_fit.__file__, str(folder), *arguments, "--trainer.devices", "2"]


def environment(data, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKETCHEMBED_")}
    own = {"SKETCHEMBED_DATA": str(data), "OMP_NUM_THREADS": "1", "WATCHED_DRAWINGS": str(DRAWINGS)}
    return kept | own | more


def train(data, folder, arguments, ranks=1):
    """Train in processes that are started like those of torchrun."""
    folder.mkdir(parents=True)
    ended = run(watched_fit.train, folder, arguments, ranks=ranks, env=environment(data))
    assert ended.returncode == 0, ended.stderr
    return ended


def curve(folder, number=0):
    """The metrics of each step."""
    rows: dict = {}
    for line in (folder / f"curve-{number}.jsonl").read_text().splitlines():
        row = json.loads(line)
        rows.setdefault(row["step"], {}).update(row)
    return rows


def assert_same_curves(one, other, steps, tolerance):
    assert len(one) == len(other) == steps
    for step, row in one.items():
        assert row.keys() == other[step].keys()
        for name, value in row.items():
            if name.partition("/")[2] not in ("drawings_per_second", "grad_norm"):
                near = pytest.approx(value, rel=tolerance, abs=tolerance / 100)
                assert other[step][name] == near, (step, name)


@pytest.mark.slow
def test_three_processes_give_the_curve_of_one(data, tmp_path):
    """Train in float64: training multiplies rounding errors, but a mistake is still much larger.

    Every drawing must also occur exactly once per epoch.
    """
    folders = {count: tmp_path / str(count) for count in (1, 3)}
    for count, folder in folders.items():
        arguments = doodles(folder, *options("trainer", precision="64-true"))
        output = train(data, folder, arguments, count).stdout
        assert output.count("model ") == 1  # only the first process prints
        (facts,) = (folder / "runs").glob("*/run.json")
        assert json.loads(facts.read_text())["finished"] is True
    curves = {count: curve(folder) for count, folder in folders.items()}
    assert {row["train/alpha"] for row in curves[1].values()} == {0.0, 0.25, 0.5}
    assert sum("val/pixel" in row for row in curves[1].values()) == 2
    # The 16 drawings of a validation set are one block, so only one process has validation drawings.
    assert_same_curves(curves[1], curves[3], STEPS, 1e-8)
    drawings = {}
    for count, folder in folders.items():
        shares = [
            [json.loads(line) for line in (folder / f"seen-0-{rank}.jsonl").read_text().splitlines()[:STEPS]]
            for rank in range(count)
        ]
        drawings[count] = [list(itertools.chain(*parts)) for parts in zip(*shares, strict=True)]
    assert drawings[1] == drawings[3]
    order = list(itertools.chain(*drawings[1]))
    for first in range(0, STEPS * BATCH - DRAWINGS, DRAWINGS):
        assert len(set(order[first : first + DRAWINGS])) == DRAWINGS


def options(prefix, **values):
    return [part for name, value in values.items() for part in (f"--{prefix}.{name}", str(value))]


def configs(*names):
    return [part for name in names for part in ("--config", str(CONF / f"{name}.yaml"))]


def other_tasks(folder, processes):
    """Return arguments for a few steps of photos with ResNet12, a VAE, SimCLR and a prototypical network."""
    common = ["--run.root", str(folder / "runs"), "--run.wandb", "disabled", "--trainer.max_steps", "4"]
    common += ["--model.init_args.lr", "1.0e-4", *SMALL]
    network, data = "model.init_args.network", "data.init_args"
    photos = [
        *configs("quickdraw", "sketchy", "debug"),
        *options("model.init_args.augmentation", rotation=10, flip=0.5),
        *options(data, batch_size=4),
        *options("trainer", accumulate_grad_batches=2),
    ]
    vae = [
        *configs("vae"),
        *("--data", "DoodlesDataModule"),
        *options(data, batch_size=8, per_class=28),
        *options(network, width=4, latent=8),
        *options("trainer", val_check_interval=2),
    ]
    contrastive = [
        *configs("contrastive"),
        *("--data", "DoodlesDataModule"),
        *options(data, batch_size=8, per_class=28),
        *options(network, width=8),
        *options("trainer", val_check_interval=2),
    ]
    episodes = [
        *configs("protonet", "episodes-mini-imagenet"),
        *options(data, way=2, shot=1, query=2, validation_way=2, validation_episodes=3),
        *options(network, width=4),
        *options("trainer", accumulate_grad_batches=2 // processes, val_check_interval=8 // processes),
    ]
    runs = photos, vae, contrastive, episodes
    return [word for run in runs for word in ("+", *run, *common)][1:]


@pytest.mark.slow
def test_other_tasks_give_the_same_curve_on_two_processes(data, tmp_path):
    for count in (1, 2):
        train(data, tmp_path / str(count), other_tasks(tmp_path / str(count), count), count)
    for number in (0, 1, 2):
        assert_same_curves(curve(tmp_path / "1", number), curve(tmp_path / "2", number), 4, 1e-5)
    # An episode is not divided. Two processes take one each, like one process that accumulates two.
    found = []
    for count in (1, 2):
        (folder,) = (tmp_path / str(count) / "runs").glob("miniimagenetepisode*")
        found.append(read_raw(folder / "checkpoints" / "step-4.ckpt")["state_dict"])
    for name, value in found[0].items():
        if "running" not in name and "batches" not in name:
            np.testing.assert_allclose(value, found[1][name], rtol=1e-4, atol=1e-5, err_msg=name)


def wait_for(path, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not path.exists() or not path.read_text():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "how"), [("lightning", "killed"), ("lightning", "raised"), ("torchrun", "killed")]
)
def test_death_of_one_process_ends_all_processes(launcher, how, data, tmp_path):
    more = {"WATCHED_FAIL": "1"} if how == "raised" else {"WATCHED_PAUSE": "2"}
    command = launch_two(launcher, tmp_path, doodles(tmp_path))
    process = subprocess.Popen(
        command, env=environment(data, **more), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    other, first = (wait_for(tmp_path / f"pid-{rank}", process) for rank in (1, 0))
    if how == "killed":
        os.kill(other, signal.SIGKILL)
    since = time.monotonic()
    _, output = process.communicate(timeout=60)
    print(f"{launcher}, {how}: ended after {time.monotonic() - since:.1f} s")
    assert process.returncode != 0
    assert ("the pen is broken" if how == "raised" else "SIGKILL") in output
    for pid in (other, first):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_user_error_is_printed_once(data, tmp_path):
    few = options("data.init_args", way=2, shot=1, query=2, validation_way=2, validation_episodes=1)
    episodes = [*configs("protonet", "episodes-mini-imagenet"), *few, "--run.root", str(tmp_path), *SMALL]
    ended = run(watched_fit.train, tmp_path, episodes, ranks=2, env=environment(data))
    assert ended.returncode == 2
    (line,) = ended.stderr.strip().splitlines()
    assert "1 validation episodes cannot be divided over 2 processes" in line
