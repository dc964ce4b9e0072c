"""Provenance of a model: what trained it, on which data, for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sketchembed.files.serialization import parse_yaml
from sketchembed.hub.model_files import read_provenance, step_of
from sketchembed.runs.folder import Run
from sketchembed.runs.metrics import last_time

# Groups of a configuration that do not change the trained model.
LOCAL = ("run", "ckpt_path", "checkpoint", "gallery", "monitor", "milestones", "finite")


def provenance(file: Path) -> dict[str, Any]:
    """Return the provenance of a checkpoint in a run's folder, or of published weights.

    Returns:
        the known ones of ``run``, ``preset``, ``seed``, ``step``, ``source``, ``drawings``, ``classes`` (in
        the training set), ``classes_unseen``, ``announcement`` (a warning about the data), ``data_digest``,
        ``seconds`` (of training), ``device``, ``processes``, ``version`` and ``config`` (YAML, without
        settings of one machine).
    """
    if file.suffix == ".safetensors":
        return read_provenance(file)
    if file.parent.name != "checkpoints":
        return {}
    return run_provenance(Run(file.parents[1]), step_of(file))


def run_provenance(run: Run, step: int | None = None) -> dict[str, Any]:
    """Return the provenance of a checkpoint of a run, by default the last one; see :func:`provenance`."""
    facts = run.facts
    data = facts.get("data")
    data = data if isinstance(data, dict) else {}
    config = _portable_config(run.config)
    found = {
        "run": run.path.name,
        **{key: facts.get(key) for key in ("preset", "device", "processes", "version")},
        "seed": config.get("seed_everything"),
        "step": step if step is not None else facts.get("steps"),
        "source": data.get("source"),
        "drawings": data.get("drawings"),
        "classes": data.get("classes_seen", data.get("classes")),
        "classes_unseen": data.get("classes_unseen"),
        "announcement": data.get("announcement"),
        "data_digest": str(data.get("digest") or "")[:16] or None,
        "seconds": last_time(run.metrics_file),
        "config": yaml.safe_dump(config, sort_keys=False) if config else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _portable_config(text: str | None) -> dict[str, Any]:
    """Return a configuration without the settings and paths of the machine that trained."""
    try:
        config = parse_yaml(text or "")
    except ValueError:
        return {}
    if not isinstance(config, dict):
        return {}
    config = {key: value for key, value in config.items() if key not in LOCAL}
    for group, name in (("data", "folder"), ("data", "photos"), ("model", "init_from")):
        given = config.get(group)
        arguments = given.get("init_args") if isinstance(given, dict) else None
        if isinstance(arguments, dict) and isinstance(arguments.get(name), str):
            arguments[name] = None if name == "folder" else Path(arguments[name]).name
    return config
