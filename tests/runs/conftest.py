"""What the tests of tracking share."""

import pytest
from fake_wandb import FakeServer


@pytest.fixture
def server():
    """A server; `cut` ends it, as a network that is gone would."""
    made = FakeServer()
    yield made
    made.cut()
