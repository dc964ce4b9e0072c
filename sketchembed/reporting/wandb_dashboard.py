"""The project's view on W&B as code: sampled sketches next to the losses, and few-shot scores."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from sketchembed.errors import ConfigError

STEP = "trainer/global_step"
SAMPLES, DRAWINGS = "samples", "drawings"  # the names of the sheet and the table
LOSSES = (("loss", "Total loss"), ("pen", "Pen loss"), ("stroke", "Stroke loss"), ("pixel", "Pixel loss"))
PARTS = ("train", "val", "unseen")
# Further metrics of a training: name, title, and whether the scale is logarithmic.
PROGRESS = (
    ("train/alpha", "α: weight of the pixel loss", False),
    ("train/lr", "Learning rate", True),
    ("train/grad_norm", "Gradient norm before clipping", True),
    ("train/drawings_per_second", "Drawings per second", False),
    ("train/kl", "KL divergence of z", False),
)
FEWSHOT = (
    ("Omniglot", "fewshot/omniglot-vinyals-test", ("5w1s", "5w5s", "20w1s", "20w5s")),
    ("mini-ImageNet", "fewshot/mini-imagenet-ravi-test", ("5w1s", "5w5s", "5w20s", "5w50s")),
)
"""Few-shot scores in the summary of a training: data set, first part of the names, and settings."""


def dashboard(
    entity: str | None = None,
    project: str = "sketchembed",
    name: str = "sketchembed",
    dry_run: bool = False,
    out: Path | None = None,
) -> None:
    """Create a saved view of a W&B project: sketches next to losses, α, and few-shot scores.

    Args:
        entity: W&B user or team.
        project: W&B project.
        name: name of the view.
        dry_run: print the view instead of saving it; needs no account.
        out: file to which the view is written instead of printing it.
    """
    if not entity and not dry_run:
        raise ConfigError(
            "--entity is missing",
            expected="the W&B user or team that owns the project",
            fix="Add --entity, or print the view with --dry_run",
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
        except Exception as error:  # W&B does not document the exceptions
            first, *_ = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(
                f"the view could not be saved ({first})",
                expected="a network, and a W&B account that may change the project",
                fix="Log in with `wandb login`; the first run creates the project",
            ) from error
        print(view.url)


def workspace(entity: str, project: str, name: str) -> Any:
    """Return the view as an object of W&B; see :func:`dashboard` for the arguments."""
    try:
        panels: Any = import_module("wandb_workspaces.reports.v2")
        spaces: Any = import_module("wandb_workspaces.workspaces")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed",
            expected="the package wandb-workspaces",
            fix="Install it with `pip install wandb-workspaces`",
        ) from error

    def line(title: str, *metrics: str, log: bool = False) -> Any:
        return panels.LinePlot(title=title, x=STEP, y=list(metrics), log_y=log, smoothing_factor=0.0)

    sketches = panels.MediaBrowser(title="Sampled sketches", media_keys=[SAMPLES], num_columns=1)
    drawings = panels.WeavePanelSummaryTable(table_name=DRAWINGS)
    losses = [line(title, *(f"{part}/{term}" for part in PARTS)) for term, title in LOSSES]
    progress = [line(title, metric, log=log) for metric, title, log in PROGRESS]
    scores = [
        panels.BarPlot(title=f"{data}, {setting}, accuracy in %", metrics=[f"{key}/{setting}"])
        for data, key, settings in FEWSHOT
        for setting in settings
    ]
    sections = [
        ("Sketches and losses", [sketches, *losses, progress[0]], 3, 2),
        ("Drawings", [drawings], 1, 1),
        ("Progress of the training", progress[1:], 4, 1),
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
    """Return the JSON values that W&B receives for a view."""
    model = view._to_model().spec
    values: dict[str, Any] = json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
    return values
