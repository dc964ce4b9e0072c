"""Restrict what untrusted configuration files can name, and how large they can be.

jsonargparse reads them with YAML's safe loader and checks the type of every value. Two risks are left: it
imports the named classes and functions before it checks their types, and YAML aliases can make a few lines
arbitrarily large.
"""

from __future__ import annotations

import os
from dataclasses import is_dataclass
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader, set_parsing_settings

from sketchembed.errors import ConfigError
from sketchembed.files.serialization import has_aliases
from sketchembed.runs.renamed import update_config

IMPORTS_VARIABLE = "SKETCHEMBED_IMPORTS"
"""Environment variable with further modules that configurations may name, separated by commas."""
ALLOWED = ("sketchembed", "pytorch_lightning")
# Objects that call arbitrary functions.
DENIED = ("pytorch_lightning.callbacks.LambdaCallback", "pytorch_lightning.callbacks.lambda_function")
MAX_LETTERS = 1 << 18  # those of this package have about 3,000
# jsonargparse's own loader, which reads numbers and nulls as its parsers expect them.
_plain_loader = get_loader("yaml")


def trust_no_configuration() -> None:
    """Let configurations name only this package, Lightning and the modules of :data:`IMPORTS_VARIABLE`."""
    own = [name.strip() for name in os.environ.get(IMPORTS_VARIABLE, "").split(",") if name.strip()]
    try:
        set_parsing_settings(
            import_path_denylist=["*", *DENIED],
            import_path_allowlist=[*ALLOWED, *own],
            instantiate_subclass_spec_in_any=False,
            # A dataclass is a group of options, even if it has a base class.
            subclasses_disabled=[is_dataclass],
        )
    except ValueError as error:
        raise ConfigError(
            f"{IMPORTS_VARIABLE} is '{','.join(own)[:80]}' ({error})",
            expected="names of modules, separated by commas",
            fix=f"Set it as in {IMPORTS_VARIABLE}=mymodule, or unset it",
        ) from error
    set_loader("yaml", _load, (yaml.YAMLError, ValueError))


def _load(text: str) -> Any:
    """Load a configuration, or the value of an option, with the current names of old options."""
    if len(text) > MAX_LETTERS:
        raise yaml.YAMLError(f"a configuration of {len(text):,} letters, more than {MAX_LETTERS:,}")
    try:
        if has_aliases(text):
            raise yaml.YAMLError("aliases (*name) are not supported")
        return update_config(_plain_loader(text))
    except RecursionError:
        raise yaml.YAMLError("values that are nested too deeply") from None
