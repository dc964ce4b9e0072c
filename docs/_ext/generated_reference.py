"""Generate the reference: the Python API, the help of every command, and every configuration key.

The pages are written to ``docs/generated`` before Sphinx reads its sources.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args
from unittest import mock

from jsonargparse import ArgumentParser
from sphinx.application import Sphinx

import sketchembed
from sketchembed.cli import data, dispatch
from sketchembed.data import datamodules
from sketchembed.evaluation.parts import PARTS
from sketchembed.training import presets

WIDTH = "100"  # columns of a help text
EMPTY = (inspect.Parameter.empty, "==SUPPRESS==")
NESTED = {"data": list(data.COMMANDS), "evaluate": list(PARTS)}
"""Subcommands of commands."""
GROUPS = {
    "curriculum": "sketchembed.training.curriculum.Curriculum",
    "gallery": "sketchembed.training.gallery.Gallery",
    "monitor": "sketchembed.training.progress.Monitor",
    "milestones": "sketchembed.training.checkpointing.Milestones",
    "finite": "sketchembed.training.finite.Finite",
    "checkpoint": "sketchembed.training.checkpointing.Checkpoints",
    "run": "sketchembed.runs.folder.RunOptions",
}
"""Option groups of ``sketchembed fit``, as in ``sketchembed.cli.fit``."""


def help_of(words: list[str]) -> str:
    """Return what a command prints with ``--help``."""
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": WIDTH}),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        dispatch.main([*words, "--help"])
    text = printed.getvalue().strip()
    if "sage:" not in text:
        raise RuntimeError(f"`sketchembed {' '.join(words)} --help` printed no usage: {text[:200]}")
    return text


def command_pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of a page for each command."""
    for name, about in dispatch.COMMANDS.items():
        lines = [f"# sketchembed {name}", "", f"{about[0].upper()}{about[1:]}.", ""]
        for words in ([name], *([name, part] for part in NESTED.get(name, []))):
            lines += [f"## sketchembed {' '.join(words)}", ""] if len(words) > 1 else []
            lines += ["```text", help_of(words), "```", ""]
        yield f"command-{name}", "\n".join(lines)


def options_of(kind: type, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield key, type, default and description of each option of a class, as the command line parses them."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, prefix, fail_untyped=False)
    for action in parser._actions:
        # A group of options, such as a dataclass, has an action of its own without a type.
        hint = getattr(action, "_typehint", None) or action.type
        if hint is None or not action.dest.startswith(f"{prefix}.") or action.dest.endswith(".help"):
            continue
        yield action.dest, _type_name(hint), _default(action.default), action.help or ""
        for part in (hint, *get_args(hint)):
            if isinstance(part, type) and is_dataclass(part):
                yield from options_of(part, action.dest)


def _type_name(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
    text = re.sub(r"(?:\w+\.)+(\w+)", r"\1", text)
    text = re.sub(r"Optional\[(.*)\]$", r"\1 | None", text)
    return re.sub(r"Literal\[(.*?)\]", lambda found: found[1].replace(", ", " | "), text)


def _default(value: Any) -> str:
    return "" if value in EMPTY else str(value) if value != "" else '""'


def table(rows: list[tuple[str, ...]], heads: tuple[str, ...]) -> list[str]:
    """Return a Markdown table."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    rules = ["---"] * len(heads)
    return ["| " + " | ".join(row) + " |" for row in (list(heads), rules, *cells)]


def configuration_page() -> str:
    """Return the page of all configuration keys."""
    lines = [
        "# Configuration keys",
        "",
        "Every key is an option of `sketchembed fit` (`--curriculum.alpha_max 0.75`) and a line of a",
        "configuration file. `trainer` takes the arguments of Lightning's `Trainer`, which",
        "[`sketchembed fit --help`](command-fit.md) lists. Below `model` and `data`, the keys depend on",
        "`class_path`. The defaults are those of the classes; the presets override them.",
        "",
        "## Presets",
        "",
        "A preset is a list of files of `conf/`. Later files override earlier ones.",
        "",
    ]
    rows = [
        (f"`{name}`", ", ".join(f"`{file}`" for file in files)) for name, files in presets.PRESETS.items()
    ]
    lines += table(rows, ("preset", "files"))
    sections = [(f"`{key}`", "", key, _import(path)) for key, path in GROUPS.items()]
    tasks = importlib.import_module("sketchembed.training")
    for key, module in (("model", tasks), ("data", datamodules)):
        sections += [
            (f"`{key}.class_path: {name}`", name, f"{key}.init_args", getattr(module, name))
            for name in module.__all__
        ]
    for title, _, prefix, kind in sections:
        about = (inspect.getdoc(kind) or "").splitlines()
        rows = [
            (f"`{key}`", f"`{hint}`", f"`{default}`" if default else "", _plain(text))
            for key, hint, default, text in options_of(kind, prefix)
        ]
        lines += ["", f"## {title}", "", _plain(about[0]) if about else "", ""]
        lines += table(rows, ("key", "type", "default", "meaning")) if rows else ["It has no options."]
    return "\n".join([*lines, ""])


def _import(path: str) -> type:
    module, _, name = path.rpartition(".")
    found: type = getattr(importlib.import_module(module), name)
    return found


def _plain(text: str) -> str:
    """Return reStructuredText markup as Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?([\w]+)`", r"`\1`", text).replace("``", "`")
    return re.sub(r"\s*\((?:required|type|default).*\)$", "", text)


def python_page() -> str:
    """Return the page of the names that ``import sketchembed`` provides."""
    lines = ["# Python API", "", (inspect.getdoc(sketchembed) or "").splitlines()[0], ""]
    for name in sorted(sketchembed.__all__, key=str.lower):
        value = getattr(sketchembed, name)
        if name.startswith("_"):
            continue
        lines += [f"## {name}", "", "```{eval-rst}"]
        if inspect.isclass(value):
            lines += [f".. autoclass:: sketchembed.{name}", "   :members:"]
            lines += ["   :inherited-members: Module"] if hasattr(value, "embed") else []
        else:
            lines += [f".. autofunction:: sketchembed.{name}"]
        lines += ["```", ""]
    return "\n".join(lines)


def generate(app: Sphinx) -> None:
    """Write the pages; a page that did not change keeps its time, so that Sphinx does not read it again."""
    folder = Path(app.srcdir) / "generated"
    pages = {"python": python_page(), "configuration": configuration_page(), **dict(command_pages())}
    if folder.exists() and {path.stem for path in folder.iterdir()} - set(pages):
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the generator."""
    app.connect("builder-inited", generate)
    return {"parallel_read_safe": True}
