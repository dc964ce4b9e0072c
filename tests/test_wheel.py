"""Test the wheel outside the checkout, with only the distributions that it declares."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image, ImageDraw

from sketchembed.cli.dispatch import COMMANDS
from sketchembed.hub.packaged import MODELS

ROOT = Path(__file__).parents[1]

EMBED = """
import sys
import sketchembed
net = sketchembed.load("quickdraw-conv4")
import torch
z = net.embed(torch.rand(2, 1, 28, 28))
assert z.shape == (2, 256) and z.isfinite().all()
assert "site-packages" in sketchembed.__file__
print(*{"pytorch_lightning", "wandb", "sklearn", "matplotlib"} & set(sys.modules))
"""

EXTRAS = {"fit": "train", "data": "train", "sweep": "train"}
EXTRAS |= {"evaluate": "evaluate", "report": "evaluate", "completion": "all"}

MISSING = """
import sketchembed
from sketchembed.errors import CheckpointError
try:
    sketchembed.load_network("quickdraw-alpha050")
except CheckpointError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (path,) = folder.glob("*.whl")
    return path


def required(requirements, extras=()):
    """Return the names of all distributions that the requirements need, directly or indirectly."""
    found = {}
    waiting = [(Requirement(text), extra) for text in requirements for extra in ("", *extras)]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        wanted = {"", *requirement.extras}
        if name == "sketchembed":  # an extra that names other extras
            waiting += [(Requirement(text), inner) for text in requirements for inner in wanted - {""}]
            continue
        new = wanted - found.setdefault(name, set())
        found[name] |= new
        for text in metadata.requires(name) or []:
            waiting += [(Requirement(text), inner) for inner in new]
    return set(found)


def environment(folder, wheel, extras=()):
    """Make a virtual environment with the wheel and links to what it requires; return its bin folder."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        (name,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        requirements = metadata.PathDistribution(site / Path(name).parent).requires
    for name in required(requirements, extras):
        distribution = metadata.distribution(name)
        tops = {
            path.parts[0] for path in distribution.files or [] if path.parts[0] not in ("..", "__pycache__")
        }
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(Path(distribution.locate_file(top)).resolve())
    return folder / "bin"


@pytest.fixture
def run(tmp_path):
    """A function that runs a command outside the checkout and returns its output."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SKETCHEMBED_DATA")
    }

    def command(*words, status=0):
        done = subprocess.run(
            [str(word) for word in words],
            cwd=tmp_path,
            env=kept | {"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"},
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    return command


@pytest.fixture
def picture(tmp_path):
    image = Image.new("L", (80, 80), 255)
    ImageDraw.Draw(image).ellipse((15, 15, 65, 65), outline=0, width=4)
    image.save(tmp_path / "circle.png")
    return tmp_path / "circle.png"


@pytest.mark.slow
def test_wheel_is_small_and_contains_only_the_models_for_it(wheel):
    assert wheel.stat().st_size <= 12_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = [Path(name).stem for name in archive.namelist() if name.endswith(".safetensors")]
    assert sorted(names) == sorted(name for name, model in MODELS.items() if model.in_wheel)


@pytest.mark.slow
def test_core_embeds_and_draws(wheel, run, picture, tmp_path):
    python = environment(tmp_path / "core", wheel) / "python"
    assert run(python, "-c", EMBED).split() == []
    message = run(python, "-c", MISSING)
    assert "alpha050' is not in this installation" in message
    assert "Get sketchembed/hub/weights/quickdraw-alpha050.safetensors from the source repository" in message
    missing = "from importlib.util import find_spec; print(find_spec('pytorch_lightning'))"
    assert run(python, "-c", missing).split() == ["None"]
    run(python, "-m", "sketchembed", "draw", picture, "quickdraw-drawer-conv4", "--out", "drawn")
    assert {path.suffix for path in (tmp_path / "drawn").iterdir()} == {".svg", ".png"}
    for name in COMMANDS:
        text = run(python, "-m", "sketchembed", name, "--help", status=2 if name in EXTRAS else 0)
        if name in EXTRAS:
            (line,) = text.splitlines()
            assert line.startswith("sketchembed: ")
            assert line.endswith(f" Install them: pip install 'sketchembed[{EXTRAS[name]}]'")


@pytest.mark.slow
def test_train_extra_trains(wheel, run, picture, tmp_path):
    python = environment(tmp_path / "train", wheel, ("train",)) / "python"
    options = ("--data", "DoodlesDataModule", "--data.init_args.per_class", "20", "--run.name", "two")
    run(python, "-m", "sketchembed", "fit", "--preset", "debug", *options, "--trainer.max_steps", "2")
    assert (tmp_path / "runs" / "two" / "index.html").exists()
    run(python, "-m", "sketchembed", "draw", picture, "runs/two", "--out", "drawn")
    assert len(list((tmp_path / "drawn").glob("*.svg"))) == 1
