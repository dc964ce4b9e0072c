"""Execute every command and every Python block of the README and of the documentation."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from documentation.blocks import LANGUAGES, OUTPUTS, PAGES, ROOT, Block, blocks_of, commands_of, shortened
from sketchembed.cli import data as data_command
from sketchembed.cli import main
from sketchembed.cli.dispatch import COMMANDS
from sketchembed.data.doodles import generate
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources import omniglot, omniglot_images, quickdraw
from sketchembed.evaluation.probing import relations, spatial
from sketchembed.hub.registry import MODEL_KEY, describe
from sketchembed.networks import ModelConfig, SketchEmbedNet

BLOCKS = {page: blocks_of(page) for page in PAGES}
EXECUTED = ("run", "few", "dry")
RUN_PAGES = [page for page, blocks in BLOCKS.items() if any(block.how in EXECUTED for block in blocks)]
CLASSES = (
    *("cat", "circle", "square", "snowman", "television", "cloud", "basket", "compass", "power outlet"),
    *("jacket", "elbow"),
)
TINY = {"width": 8, "latent": 12, "hidden": 10, "hyper": 6, "embedding": 2, "mixtures": 3, "max_length": 24}
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_every_block_is_executed():
    """A block without a note, or with a note that names no existing test, is an error."""
    ci = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    counts: Counter[str] = Counter()
    for block in (block for blocks in BLOCKS.values() for block in blocks):
        if block.language in OUTPUTS:
            continue
        assert block.language in LANGUAGES, f"{block}: a block is {LANGUAGES} or {OUTPUTS}"
        assert block.how, f"{block}: no test runs this block; see tests/documentation/blocks.py"
        counts[block.how] += 1
        if block.how == "ci":
            for line in commands_of(block):
                assert any(done.startswith(line) for done in ci), f"{block}: .ci/run lacks `{line}`"
        if block.how == "by":
            file, _, name = block.detail.partition("::")
            assert f"def {name}(" in (ROOT / file).read_text("utf-8"), f"{block}: there is no {block.detail}"
    print(dict(counts))
    assert sum(counts[how] for how in EXECUTED) > counts["by"] + counts["ci"]


def test_commands_in_the_text_exist():
    for page in PAGES:
        for code in re.findall(r"`((?:make|sketchembed) [^`]+)`", page.read_text("utf-8")):
            program, name = code.split()[:2]
            known = MAKE_TARGETS if program == "make" else COMMANDS
            assert name in known or not re.fullmatch("[a-z][a-z-]*", name), f"{page.name}: `{code}`"


def write_drawings(folder: Path, random: np.random.Generator) -> None:
    """Write Quick, Draw! files with drawings of doodles under the names of the classes."""
    folder.mkdir()
    shapes = generate.class_names()
    names = [*CLASSES, *quickdraw.class_names("unseen")[:3]]
    for number, name in enumerate(names):
        lines = []
        for key in range(24):
            sketch = generate.doodle(shapes[number % len(shapes)], random)
            strokes = [stroke.astype(int).T.tolist() for stroke in sketch.strokes]
            lines.append({"word": name, "key_id": str(key), "recognized": True, "drawing": strokes})
        (folder / f"{name}.ndjson").write_text("\n".join(map(json.dumps, lines)))


def write_photos(folder: Path, random: np.random.Generator) -> None:
    """Write mini-ImageNet and Sketchy with a few random photos and sketches."""

    def photo(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.kron(random.integers(0, 256, (7, 7, 3)), np.ones((12, 12, 1)))
        Image.fromarray(pixels.astype(np.uint8)).save(path)

    for number in range(15):
        for label, part in enumerate(("train", "val", *["test"] * 5)):
            photo(folder / "mini_imagenet" / part / f"n{label:08}" / f"{number}.png")
        for label in ("cat", "bee"):
            name = f"n02000000_{number}"
            photo(folder / "sketchy" / "photo" / label / f"{name}.jpg")
            lines = "".join(f"L {x} {y} " for x, y in random.integers(0, 400, (6, 2)))
            sketch = folder / "sketchy" / "sketches" / label / f"{name}-1.svg"
            sketch.parent.mkdir(parents=True, exist_ok=True)
            sketch.write_text(f'<svg xmlns="http://www.w3.org/2000/svg"><path d="M 9 9 {lines}"/></svg>')


def write_characters(folder: Path, random: np.random.Generator) -> None:
    """Write Omniglot's strokes with a few characters."""
    folder.mkdir()
    names = [name for part in omniglot.vinyals_split().values() for name in part[:6]]
    for part in ("strokes_background", "strokes_evaluation"):
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
            for name in names if part == "strokes_background" else []:
                rows = "".join(f"{x},-{y},0\n" for x, y in random.integers(0, 105, (9, 2)))
                archive.writestr(f"{part}/{name}/0001_01.txt", f"START\n{rows}BREAK\n")


def characters(*_: object) -> ImageSet:
    """Return random images in place of Omniglot's: 24 classes with 6 images each."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (24 * 6, 1, 28, 28), dtype=np.uint8)
    names = [str(at) for _ in range(24) for at in range(6)]
    about = {"data": "Omniglot", "split": "vinyals", "part": "test"}
    return ImageSet(
        images, np.repeat(np.arange(24), 6), [f"class{at}" for at in range(24)], names, ["a", "b"] * 12, about
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A data folder with a few drawings, characters and photos in the published layouts."""
    folder, random = tmp_path_factory.mktemp("published") / "data", np.random.default_rng(0)
    folder.mkdir()
    write_drawings(folder / "quickdraw", random)
    write_characters(folder / "omniglot", random)
    write_photos(folder, random)
    return folder


@pytest.fixture
def place(published, tmp_path, monkeypatch) -> Path:
    """The working folder of a page: a checkout with data, runs and pictures."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("conf", "sweeps", "docs", "Makefile", "pyproject.toml", "tests"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()
    torch.manual_seed(5)
    # The layout of a run, whose last checkpoint is loaded.
    net = SketchEmbedNet(ModelConfig(**TINY), offset_scale=20.0)
    weights = {f"net.{name}": value for name, value in net.state_dict().items()}
    checkpoints = folder / "runs" / "quickdraw-cpu-seed0" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save({MODEL_KEY: describe(net), "state_dict": weights}, checkpoints / "step-2.ckpt")
    picture = generate.doodle("house", np.random.default_rng(0))
    picture.to_png(folder / "photo-of-a-drawing.png")
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.jpg")
    (tmp_path / "pictures").mkdir()
    for number in range(12):
        Image.fromarray(np.roll(pixels, number, axis=0)).save(tmp_path / "pictures" / f"{number}.png")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SKETCHEMBED_DATA", str(published))
    monkeypatch.setattr(omniglot_images, "load_omniglot", characters)
    monkeypatch.setattr(omniglot_images, "select_part", lambda images, *_: images)
    # Two dimensions stand in for UMAP, whose compilation takes a quarter of a minute.
    for part in (relations, spatial):
        monkeypatch.setattr(part, "umap_projection", lambda features, seed: features[:, :2])
    # The classes that the published folder lacks are not downloaded.
    monkeypatch.setattr(data_command, "download_quickdraw", lambda *_, **__: {})
    return folder


def make_commands(words: list[str]) -> list[list[str]]:
    """Return the commands that `make` would run for a target."""
    done = ["-o", ".venv/.ready"]
    answer = subprocess.run(["make", "-n", *done, *words], capture_output=True, text=True, check=True)
    lines = [line.removeprefix("@") for line in answer.stdout.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(".venv/bin/sketchembed")]


def run_command(line: str, few: bool) -> None:
    """Run one line: commands of this package in this process, others in a shell."""
    words = shlex.split(line)
    runs = [words]
    if words[0] == "make" and words[1] != "help":
        runs = make_commands(words[1:])
        assert runs, f"`{line}` runs no command of the package"
    for given in ([os.path.expanduser(word) for word in run] for run in runs):
        if given[0] in ("sketchembed", ".venv/bin/sketchembed"):
            main(shortened(given[1:]) if few else given[1:])
        elif given[:1] in (["python"], [".venv/bin/python"]):
            subprocess.run([sys.executable, *given[1:]], check=True, timeout=120)
        else:
            subprocess.run(["bash", "-ec", line], check=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_PAGES, ids=lambda page: page.stem)
def test_page_runs_from_top_to_bottom(page, place):
    names: dict[str, object] = {"__name__": "__main__"}
    for block in BLOCKS[page]:
        if block.how not in EXECUTED or block.language in OUTPUTS:
            continue
        try:
            run_block(block, names)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{block} failed: {type(error).__name__}: {error}") from error


def run_block(block: Block, names: dict[str, object]) -> None:
    """Run a block. Python blocks of a page share their names, and all blocks share the folder."""
    if block.language == "python":
        exec(compile(block.text, str(block), "exec"), names)
        return
    for line in commands_of(block):
        if block.how == "dry":
            subprocess.run(["make", "-n", *shlex.split(line)[1:]], check=True, stdout=subprocess.DEVNULL)
            continue
        try:
            run_command(line, block.how == "few")
        except SystemExit as stopped:
            if stopped.code:
                raise
