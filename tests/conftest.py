"""What the tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, or skip."""
    folder = os.environ.get("SKETCHEMBED_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SKETCHEMBED_DATA does not point to real data")
    return Path(folder)
