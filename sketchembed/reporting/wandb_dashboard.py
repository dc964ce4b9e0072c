"""`sketchembed dashboard`: the project's workspace on W&B as code: sketches beside losses, and the scores."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from sketchembed.errors import ConfigError

STEP = "trainer/global_step"
SAMPLES = "samples"
LOSSES = (("loss", "Total loss"), ("pen", "Pen loss"), ("stroke", "Stroke loss"), ("pixel", "Pixel loss"))
PARTS = ("train", "val", "unseen")
COURSE = (
    ("train/alpha", "α: weight of the pixels", False),
    ("train/lr", "Learning rate", True),
    ("train/grad_norm", "Gradient norm, before clipping", True),
    ("train/drawings_per_second", "Drawings a second", False),
    ("train/kl", "KL divergence of z", False),
)
"""What shows how a training goes: metric, title, and whether on a logarithmic scale."""
FEWSHOT = (
    ("Omniglot", "fewshot/omniglot-vinyals-test", ("5w1s", "5w5s", "20w1s", "20w5s")),
    ("mini-ImageNet", "fewshot/mini-imagenet-ravi-test", ("5w1s", "5w5s", "5w20s", "5w50s")),
)
"""Few-shot scores in a training's summary: the data's name, the beginning of the keys, and the settings."""


def dashboard(
    entity: str | None = None,
    project: str = "sketchembed",
    name: str = "sketchembed",
    dry_run: bool = False,
    out: Path | None = None,
) -> None:
    """Make a saved view of a W&B project: sampled sketches beside losses by term, α, and few-shot scores.

    Args:
        entity: user or team of W&B.
        project: of W&B.
        name: of the view.
        dry_run: print what would be sent, and send nothing; needs no account.
        out: file to write it to, instead of printing it.
    """
    if not entity and not dry_run:
        raise ConfigError(
            "no entity was given",
            expected="the W&B user or team that the project belongs to",
            fix="Name it with --entity, or look at what would be sent with --dry_run",
        )
    view = workspace(entity or "entity", project, name)
    if dry_run or out:
        text = json.dumps(spec(view), indent=1)
        if out:
            out.write_text(text + "\n")
        print(out or text)
    if not dry_run:
        try:
            view.save()
        except Exception as error:  # of W&B's own kinds, none of which its package promises
            first, *_ = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(
                f"the view could not be saved ({first})",
                expected="a W&B account that may write to the project, and a network",
                fix="`wandb login` signs in; a project is there once it has a run",
            ) from error
        print(view.url)


def workspace(entity: str, project: str, name: str) -> Any:
    """Return the workspace.

    Args:
        entity: user or team of W&B.
        project: of W&B.
        name: of the view.

    Raises:
        ConfigError: if the package that builds it is not installed.
    """
    try:
        panels: Any = import_module("wandb_workspaces.reports.v2")
        spaces: Any = import_module("wandb_workspaces.workspaces")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed",
            expected="the package that builds W&B's workspaces",
            fix="Install it with `pip install wandb-workspaces`",
        ) from error

    def line(title: str, *metrics: str, log: bool = False) -> Any:
        return panels.LinePlot(title=title, x=STEP, y=list(metrics), log_y=log, smoothing_factor=0.0)

    sketches = panels.MediaBrowser(title="Sampled sketches", media_keys=[SAMPLES], num_columns=1)
    losses = [line(title, *(f"{part}/{term}" for part in PARTS)) for term, title in LOSSES]
    course = [line(title, metric, log=log) for metric, title, log in COURSE]
    scores = [
        panels.BarPlot(title=f"{data}, {setting}, accuracy in %", metrics=[f"{key}/{setting}"])
        for data, key, settings in FEWSHOT
        for setting in settings
    ]
    # Three columns: the sketches, and losses on their right and below.
    sections = [
        ("Sketches beside losses", [sketches, *losses, course[0]], 3, 2),
        ("Course of the training", course[1:], 4, 1),
        ("Few-shot classification", scores, 4, 2),
    ]
    return spaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            spaces.Section(
                name=title,
                panels=shown,
                is_open=True,
                layout_settings=spaces.SectionLayoutSettings(columns=columns, rows=rows),
            )
            for title, shown, columns, rows in sections
        ],
    )


def spec(view: Any) -> dict[str, Any]:
    """Return what is sent to W&B for a workspace, as plain values."""
    plain: dict[str, Any] = json.loads(
        view._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    )
    return plain


def metrics(plain: Any) -> set[str]:
    """Return the keys of all metrics and media that a spec names.

    Args:
        plain: what :func:`spec` returns, or a part of it.
    """
    if isinstance(plain, list):
        return set().union(*map(metrics, plain))
    if not isinstance(plain, dict):
        return set()
    named = {key for field in ("metrics", "mediaKeys") for key in plain.get(field, [])}
    named |= {plain["xAxis"]} if "metrics" in plain and "xAxis" in plain else set()
    return named.union(*map(metrics, plain.values()))
