"""Configuration files from anywhere: what they may name, and how much there may be of it.

jsonargparse reads them with YAML's safe loader, which makes plain values, and checks every value's type. What
is left are two things: it imports the classes and functions that a file names, before it knows their types;
and a few lines of YAML, whose aliases repeat each other, are as large as one likes.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader, set_parsing_settings

from sketchembed.errors import ConfigError
from sketchembed.files.serialization import has_aliases

IMPORTS_VARIABLE = "SKETCHEMBED_IMPORTS"
"""Names modules, with commas between them, of which a configuration may take classes and functions too."""
ALLOWED = ("sketchembed", "pytorch_lightning")
DENIED = ("pytorch_lightning.callbacks.LambdaCallback", "pytorch_lightning.callbacks.lambda_function")
"""Call whatever they are told."""
LETTERS = 1 << 18
"""Of a configuration; the largest of this package has some three thousand."""


def trust_no_configuration() -> None:
    """Let configurations name this package, Lightning and a user's own modules, and be of finite size.

    Raises:
        ConfigError: if :data:`IMPORTS_VARIABLE` names what can be no module.
    """
    own = [name.strip() for name in os.environ.get(IMPORTS_VARIABLE, "").split(",") if name.strip()]
    try:
        set_parsing_settings(
            import_path_denylist=["*", *DENIED],
            import_path_allowlist=[*ALLOWED, *own],
            instantiate_subclass_spec_in_any=False,
        )
    except ValueError as error:
        raise ConfigError(
            f"{IMPORTS_VARIABLE} is '{','.join(own)[:80]}' ({error})",
            expected="names of modules, with commas between them",
            fix=f"Set it as in {IMPORTS_VARIABLE}=mymodule, or leave it out",
        ) from error
    set_loader("yaml", _load, (yaml.YAMLError, ValueError))


@functools.cache
def _plain_loader() -> Any:
    """Return jsonargparse's own loader, which knows its parsers' ways with numbers and nulls."""
    return get_loader("yaml")


_plain_loader()


def _load(text: str) -> Any:
    """Load a configuration, or the value of an option."""
    if len(text) > LETTERS:
        raise yaml.YAMLError(f"a configuration of {len(text):,} letters, more than {LETTERS:,}")
    try:
        if has_aliases(text):
            raise yaml.YAMLError("aliases (*name), which a configuration here has no need of")
        return _plain_loader()(text)
    except RecursionError:
        raise yaml.YAMLError("values that are nested too deeply") from None
