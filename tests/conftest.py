"""Fixtures that all tests share."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
from fake_wandb import FakeServer

os.environ["WANDB_MODE"] = "disabled"
# UMAP's compiled loops would otherwise raise the number of OpenMP threads, also for PyTorch.
os.environ["NUMBA_NUM_THREADS"] = "1"
if not torch.cuda.is_available():
    # Triton reads this when it is imported. Without a GPU, its kernels run in its interpreter.
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the number of runs that `test_resume.py` kills."""
    parser.addoption("--kills", type=int, default=4, help="runs that test_resume.py kills at random")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with slow tests first, so that all processes end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


WHOLE_PROGRAMS = {"cli", "conf", "runs", "benchmarks", "test_finite.py"}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Check the shapes of tensors in tests of functions only: trainings would take twice as long."""
    parts = item.path.relative_to(Path(__file__).parent).parts
    whole = WHOLE_PROGRAMS.intersection(parts) or item.get_closest_marker("slow")
    jaxtyping.config.update("jaxtyping_disable", bool(whole or item.get_closest_marker("data")))


@pytest.fixture(scope="session", autouse=True)
def published_data() -> Iterator[Path | None]:
    """The folder in SKETCHEMBED_DATA, which tests only read.

    The variables of folders are unset for the whole session, so no test depends on them or writes there.
    """
    given = os.environ.get("SKETCHEMBED_DATA")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SKETCHEMBED_DATA", "SKETCHEMBED_PREPARED"):
            patch.delenv(name, raising=False)
        yield Path(given).resolve() if given and Path(given).is_dir() else None


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Map every path in a folder to its size and modification time."""
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
    """A folder of links to the real data. Without real data, the test is skipped.

    All tests and all workers of pytest-xdist share this folder and the data that are prepared in it.
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

    A process without run-time type checks prepares them. With the checks, this takes several times as long.
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
    """A function that makes a data folder with a few Quick, Draw! classes. Reading all classes takes long."""

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
def single_thread() -> None:
    """Use one thread: for small matrix products on busy cores, threads wait longer than they compute."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def process_settings() -> Iterator[None]:
    """Restore denormal numbers, which training flushes to zero and Hypothesis needs, and check the threads.

    With more threads, sums are rounded differently, and threads of three processes wait for each other.
    """
    yield
    torch.set_flush_denormal(False)
    assert torch.get_num_threads() == 1, "the test has changed the number of threads of this process"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A stand-in for the W&B server. Its method `cut` stops it like a lost network."""
    made = FakeServer()
    yield made
    made.cut()


@pytest.fixture(params=["compiled", "PyTorch"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Compute with the compiled functions, or with the PyTorch operations that replace them."""
    from sketchembed.raster import native

    if request.param == "PyTorch":
        monkeypatch.setattr(native, "SUFFIXES", {})
    elif why := native.why_not_native():
        pytest.skip(why)
    return str(request.param)
