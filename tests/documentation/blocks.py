"""Fenced code blocks of Markdown files, and how a test executes them.

The comment before a block says how: ``<!-- test: run -->`` executes it as written; ``<!-- test: few -->``
with few steps, episodes or drawings; ``<!-- test: dry -->`` with ``make -n``, for what runs the tests;
``<!-- test: ci -->`` says that ``.ci/run`` contains its lines;
``<!-- test: by tests/x.py::test_y -->`` names a test that runs the same, for what needs a cluster, several
processes, Docker or a server.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from sketchembed.training.presets import AUTO, PRESETS, read_preset

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = ("bash", "python")
OUTPUTS = ("text", "bibtex", "yaml")
"""Languages of blocks that show something. A directive, such as ``{toctree}``, is no block."""
_FENCE = re.compile(r"^ *```(.*)$")
_NOTE = re.compile(r"^ *<!-- test: (run|few|dry|ci|by)\b ?(.*?) *-->$")
CPU = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.precision", "32-true"]
STEPS = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--trainer.limit_val_batches", "1"]
FIT = [*CPU, *STEPS, "--trainer.log_every_n_steps", "1", "--run.wandb", "disabled"]
DRAWING = [
    *("--model.init_args.network.width", "8", "--model.init_args.network.hidden", "8"),
    *("--model.init_args.network.hyper", "4", "--model.init_args.network.latent", "8"),
    *(
        "--gallery.every",
        "2",
        "--gallery.seen",
        "1",
        "--gallery.unseen",
        "1",
        "--data.init_args.batch_size",
        "4",
    ),
]
EPISODE = [
    *("--model.network.width", "8", "--data.source", "images", "--data.way", "3", "--data.shot", "1"),
    *("--data.query", "1", "--data.validation_episodes", "1", "--trainer.accumulate_grad_batches", "1"),
]
WIDTH = ["--model.init_args.network.width", "8", "--data.init_args.batch_size", "4"]
FEW_STEPS = {
    "DrawingTask": DRAWING,
    "PhotoDrawingTask": DRAWING,
    "AutoencodingTask": WIDTH,
    "ContrastiveTask": WIDTH,
    "ClassificationTask": WIDTH,
    "PrototypicalTask": EPISODE,
    "MAMLTask": EPISODE,
}
"""Options that make a training of each task short."""
FEW = {
    "fewshot": {"episodes": 2, "settings": "5w1s"},
    "recognizability": {"steps": 2, "network": "resnet18", "drawings": 4},
    "one-shot": {"measured": 4, "shown": 2, "samples": 2},
    "relations": {"train": 8, "test": 8, "repeats": 2},
    "spatial": {"train": 16, "few": 8, "test": 8, "repeats": 2, "nonlinear_repeats": 2},
    "compose": {"examples": 4, "shown": 2},
    "interpolate": {"size": 3},
    "clusters": {"drawings": 6, "rows": 2, "columns": 2},
    "retrieve": {"queries": 2, "gallery": 4, "measured": 4, "nearest": 2},
}
"""Options that make each evaluation short."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, line number, language, text, and how it is tested."""

    page: Path
    line: int
    language: str
    text: str
    how: str
    detail: str

    def __str__(self) -> str:
        """Return page and line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, without directives."""
    blocks: list[Block] = []
    lines = page.read_text("utf-8").splitlines()
    start, language = None, ""
    for number, line in enumerate(lines):
        if not (fence := _FENCE.match(line)):
            continue
        if start is None:
            start, language = number, fence[1]
            continue
        if not language.startswith("{"):
            note = _NOTE.match(lines[start - 1]) if start else None
            how, detail = (note[1], note[2]) if note else ("", "")
            text = "\n".join(lines[start + 1 : number])
            blocks.append(Block(page, start + 1, language, text, how, detail))
        start = None
    return blocks


def commands_of(block: Block) -> list[str]:
    """Return the command lines of a block, without comments and with continued lines joined."""
    text = re.sub(r"\\\n\s*", "", block.text)
    lines = [re.sub(r"(^|\s+)#\s.*$", "", line).rstrip() for line in text.splitlines()]
    return [line for line in lines if line]


def shortened(words: list[str]) -> list[str]:
    """Return the words after `sketchembed` with options for few steps, episodes or drawings."""
    command, rest = words[0], words[1:]
    if command == "fit":
        return [*words, *FIT, *FEW_STEPS[_task(rest)]]
    if command == "evaluate":
        few = FEW[rest[0]]
        return [
            *words,
            "--accelerator",
            "cpu",
            *(part for key in few for part in (f"--{key}", str(few[key]))),
        ]
    if command == "report":
        few = {f"{part}.{key}": value for part in FEW for key, value in FEW[part].items()}
        named = [rest[at + 1].split(",") for at, word in enumerate(rest) if word == "--parts"]
        chosen = named[0] if named else ["one-shot", "interpolate"]
        words = words if named else [*words, "--parts", ",".join(chosen)]
        kept = {key: value for key, value in few.items() if key.split(".")[0] in chosen}
        return [
            *words,
            "--accelerator",
            "cpu",
            *(part for key in kept for part in (f"--{key}", str(kept[key]))),
        ]
    if command == "sweep":
        return [*words, "--dry_run", "--count", "1"]
    if command == "data":
        return [*words, "--per_class", "28"] if rest[0] == "doodles" else words
    raise ValueError(f"`sketchembed {shlex.join(words)}` has no short form; test it with `run`")


def _task(words: list[str]) -> str:
    """Return the class of the task that a command line of `fit` trains."""
    presets = [words[at + 1] for at, word in enumerate(words) if word == "--preset"]
    name = presets[-1] if presets else "auto"
    name = AUTO[name][1] if name in AUTO else name
    assert name in PRESETS, name
    task: str = read_preset(name)["model"]["class_path"]
    return task.rpartition(".")[2]
