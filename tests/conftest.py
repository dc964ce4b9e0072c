"""What the tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch


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
