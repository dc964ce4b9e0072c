"""`sketchembed models`: list the packaged models."""

from __future__ import annotations

from sketchembed.cli.parser import command
from sketchembed.hub.catalog import models as packaged_models


def models() -> None:
    """List the packaged models: name, purpose, training data, size, score and licence."""
    print(packaged_models())


run = command(models, "models")
