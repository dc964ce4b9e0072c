"""Fuzz the reader of configurations, ``sketchembed fit --config FILE``."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from random import Random

from sketchembed.cli.fit import FitCLI
from sketchembed.errors import ConfigError
from sketchembed.runs.process import quiet_lightning
from sketchembed.training.presets import conf_folder

from .engine import Case, Reader
from .structured import change_yaml

CLASSES = (
    b"subprocess.Popen", b"os.system", b"antigravity.geohash", b"sketchembed.cli.fit.os.system", b"eval",
    b"pytorch_lightning.callbacks.LambdaCallback", b"torch.nn.Linear",
    b"sketchembed.training.drawing.DrawingTask", b"DrawingTask", b"pytorch_lightning.trainer.os.system",
    b"functools.partial", b"x", b"sketchembed.",
)  # fmt: skip
EXTRA = (
    b"trainer:\n  callbacks:\n  - class_path: %s\n    init_args: {on_fit_start: os.system}\n",
    b"trainer:\n  callbacks: {class_path: %s}\n",
    b"trainer:\n  logger: {class_path: %s, init_args: {name: x}}\n",
    b"trainer:\n  strategy: {class_path: %s}\n",
    b"trainer:\n  profiler: {class_path: %s}\n",
    b"trainer:\n  plugins: [{class_path: %s, init_args: {args: [touch, executed]}}]\n",
    b"model: {class_path: %s}\n",
    b"model: %s\n",
    b"data: {class_path: %s, init_args: {folder: /tmp}}\n",
    b"data:\n  init_args:\n    classes: {class_path: %s}\n",
    b"curriculum: {class_path: %s}\n",
    b"gallery: %s\n",
    b"run: {class_path: %s}\n",
)


class Stop(Exception):
    """The configuration was read. No object is built."""


class ConfigReader(FitCLI):
    """Reads a configuration and stops."""

    def before_instantiate_classes(self) -> None:
        raise Stop


def config_seeds() -> list[Case]:
    names = ("quickdraw.yaml", "cpu.yaml", "debug.yaml", "vae.yaml", "contrastive.yaml", "sketchy.yaml")
    return [{"run.yaml": (conf_folder() / name).read_bytes()} for name in names]


def change_config(case: Case, random: Random) -> Case:
    content = case["run.yaml"]
    if random.random() < 0.35:
        return {"run.yaml": content + b"\n" + random.choice(EXTRA) % random.choice(CLASSES)}
    return {"run.yaml": change_yaml(content, random)}


def read_config(folder: Path) -> object:
    before = Path.cwd()
    os.chdir(folder if folder.is_dir() else "/")
    try:
        stderr = io.StringIO()
        with quiet_lightning(), contextlib.redirect_stderr(stderr):
            first = (
                []
                if b"class_path" in _content(folder)
                else ["--config", str(conf_folder() / "quickdraw.yaml")]
            )
            ConfigReader(["fit", *first, "--config", "run.yaml"])
    except Stop:
        return True
    except SystemExit:
        # The parser prints its usage and one line about the mistake, and exits.
        raise ConfigError(
            stderr.getvalue().partition("error:")[2], expected="a configuration", fix="Correct it"
        ) from None
    finally:
        os.chdir(before)
    return None


def _content(folder: Path) -> bytes:
    return (folder / "run.yaml").read_bytes() if (folder / "run.yaml").is_file() else b""


READERS = (Reader("config", config_seeds, read_config, change_config, (SystemExit, ConfigError)),)
