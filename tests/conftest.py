"""What the tests share."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from fake_wandb import FakeServer

os.environ["WANDB_MODE"] = "disabled"
if not torch.cuda.is_available():
    # Before anything imports Triton: its kernels are tested in its interpreter where there is no GPU.
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let more runs be killed than there is time for every day."""
    parser.addoption("--kills", type=int, default=4, help="runs that test_resume.py kills at random")


@pytest.fixture(scope="session", autouse=True)
def published_data() -> Iterator[Path | None]:
    """The folder SKETCHEMBED_DATA as it was given, which tests only read.

    The variable is unset for the whole session, so no test depends on it or writes there by default.
    """
    given = os.environ.get("SKETCHEMBED_DATA")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SKETCHEMBED_DATA", raising=False)
        yield Path(given).resolve() if given and Path(given).is_dir() else None


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size and the time of change of everything in a folder, by its path."""
    found = {}
    for place, folders, files in os.walk(folder, followlinks=True):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            status = os.stat(path, follow_symlinks=os.path.exists(path))
            found[path] = (status.st_size, status.st_mtime_ns)
    return found


@pytest.fixture(scope="module", autouse=True)
def published_data_unchanged(published_data: Path | None) -> Iterator[None]:
    """Fail if anything in SKETCHEMBED_DATA changed while a module of tests ran."""
    before = listing(published_data) if published_data else {}
    yield
    after = listing(published_data) if published_data else {}
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    assert not changed, f"{len(changed)} paths in SKETCHEMBED_DATA changed, the first: {changed[:5]}"


@pytest.fixture(scope="session")
def real_data(published_data: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of links to the real data, or skip.

    What is prepared from them is kept in this folder, for all tests and all workers of pytest-xdist.
    """
    if published_data is None:
        pytest.skip("SKETCHEMBED_DATA does not point to real data")
    temporary = tmp_path_factory.getbasetemp()
    folder = (temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary) / "real_data"
    folder.mkdir(exist_ok=True)
    for path in published_data.iterdir():
        if path.name != "prepared":
            with contextlib.suppress(FileExistsError):
                (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="session")
def real_omniglot(real_data: Path) -> Path:
    """The folder of the prepared Omniglot images.

    A process without run-time type checks prepares them. With the checks it takes several times as long.
    """
    prepare = """
import sys
from pathlib import Path
from sketchembed.data.sources import omniglot_images
omniglot_images.load_omniglot(Path(sys.argv[1]), Path(sys.argv[2]))
"""
    prepared = real_data / "prepared"
    subprocess.run([sys.executable, "-c", prepare, str(real_data / "omniglot"), str(prepared)], check=True)
    return prepared


@pytest.fixture(scope="session")
def real_classes(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """From names of Quick, Draw! classes to a data folder of links to their files: all take long to read."""

    @functools.cache
    def folder_of(*names: str) -> Path:
        folder = tmp_path_factory.mktemp("real_classes")
        (folder / "quickdraw").mkdir()
        for name in names:
            path = real_data / "quickdraw" / "sketchrnn" / f"{name}.npz"
            if not path.is_file():
                pytest.skip(f"SKETCHEMBED_DATA does not hold the class '{name}'")
            (folder / "quickdraw" / path.name).symlink_to(path)
        return folder

    return folder_of


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small products on busy cores wait for each other's threads longer than they compute."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def denormal_numbers_as_they_were() -> Iterator[None]:
    """Training flushes denormal numbers to zero in the whole process, which Hypothesis refuses to bear."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A W&B server; `cut` ends it, as a lost network would."""
    made = FakeServer()
    yield made
    made.cut()
