"""What the tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, or skip."""
    folder = os.environ.get("SKETCHEMBED_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SKETCHEMBED_DATA does not point to real data")
    return Path(folder)


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
