"""`sketchembed evaluate PART`: one figure or table of the paper, from a checkpoint."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

from sketchembed.evaluation.clusters.stroke_clusters import clusters
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.fewshot.fewshot_part import fewshot
from sketchembed.evaluation.generation.composition import compose
from sketchembed.evaluation.generation.interpolation import interpolate
from sketchembed.evaluation.generation.one_shot import one_shot
from sketchembed.evaluation.probing.relations import relations
from sketchembed.evaluation.probing.spatial import spatial
from sketchembed.evaluation.recognizability.recognizability_part import recognizability
from sketchembed.evaluation.retrieval.search import retrieve
from sketchembed.reporting.part import Part

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
"""Evaluations of a checkpoint, in the order of a report. Each takes a context and its own options."""


def make(name: str, context: EvaluationContext, **options: Any) -> Part:
    """Make one part, and add what is known of its models and its time.

    Args:
        name: of the part.
        context: the checkpoint and what stands beside it.
        options: of the part; its defaults if not given.
    """
    begun = time.perf_counter()
    part = PARTS[name](context, **options)
    part.facts = context.facts() | part.facts
    part.seconds = round(time.perf_counter() - begun, 1)
    return part


def about(name: str) -> str:
    """Return what a part is, in a line."""
    return (inspect.getdoc(PARTS[name]) or "").splitlines()[0].rstrip(".")
