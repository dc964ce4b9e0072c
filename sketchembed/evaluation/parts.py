"""`sketchembed evaluate PART`: one figure or table of the paper, from a checkpoint."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from sketchembed.evaluation.clusters.stroke_clusters import clusters
from sketchembed.evaluation.context import Study
from sketchembed.evaluation.fewshot.fewshot_part import fewshot
from sketchembed.evaluation.generation.composition import compose
from sketchembed.evaluation.generation.interpolation import interpolate
from sketchembed.evaluation.generation.one_shot import one_shot
from sketchembed.evaluation.probing.relations import relations
from sketchembed.evaluation.probing.spatial import spatial
from sketchembed.evaluation.recognizability.recognizability_part import recognizability
from sketchembed.evaluation.retrieval.search import retrieve
from sketchembed.evaluation.wandb_results import track_parts
from sketchembed.reporting.part import Part
from sketchembed.runs.folder import RunOptions
from sketchembed.runs.process import tune_process

PARTS: dict[str, Callable[..., Part]] = {
    "fewshot": fewshot,
    "recognizability": recognizability,
    "one-shot": one_shot,
    "relations": relations,
    "spatial": spatial,
    "compose": compose,
    "interpolate": interpolate,
    "clusters": clusters,
    "retrieve": retrieve,
}
"""What can be asked of a checkpoint, in the order of a report. Each takes a study and options of its own."""


def make(name: str, study: Study, **options: Any) -> Part:
    """Make one part, and add what is known of its models and its time.

    Args:
        name: of the part.
        study: the checkpoint and what stands beside it.
        options: of the part; its defaults if not given.
    """
    begun = time.perf_counter()
    part = PARTS[name](study, **options)
    part.facts = study.facts() | part.facts
    part.seconds = round(time.perf_counter() - begun, 1)
    return part


def about(name: str) -> str:
    """Return what a part is, in a line."""
    return (inspect.getdoc(PARTS[name]) or "").splitlines()[0].rstrip(".")


def run_part(name: str, args: list[str]) -> None:
    """Parse a part's command line, make the part, write it and track it.

    Args:
        name: of the part.
        args: without the program's and the part's name.
    """
    from sketchembed.command_line import OneLine

    parser = OneLine(prog=f"sketchembed evaluate {name}", description=about(name) + ".")
    parser.add_function_arguments(PARTS[name], skip={"study"}, as_positional=True, fail_untyped=True)
    parser.add_class_arguments(Study)
    given = dict(parser.instantiate(parser.parse_args(_named(PARTS[name], args))))
    shared = {field.name: given.pop(field.name) for field in fields(Study)}
    tune_process()
    study = Study(**shared)
    part = make(name, study, **given)
    if not study.sharing.first:
        return
    print(part.markdown())
    for path in part.write(study.out):
        print(path)
    mode = RunOptions(wandb=study.wandb).wandb_mode()
    if where := track_parts(name, [part], mode, study.project, study.out):
        print(where)


def _named(function: Callable[..., Part], args: list[str]) -> list[str]:
    """Return a command line in which a word that comes first has the name of the part's first option.

    What a part is asked about may so be said without a name, and be left out.
    """
    options = [found for found in inspect.signature(function).parameters.values() if found.name != "study"]
    # What has a blank, as "-circle + square", is a word.
    if not args or (args[0].startswith("-") and " " not in args[0]) or not options:
        return args
    if options[0].default is inspect.Parameter.empty:
        return args
    return [f"--{options[0].name}={args[0]}", *args[1:]]
