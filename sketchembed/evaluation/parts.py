"""The parts of a report: each reproduces a figure or table of the paper for one checkpoint."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

from sketchembed.evaluation.clusters.stroke_clusters import clusters
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.fewshot.protocol import fewshot
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
"""Functions from an evaluation context and options to a part, in the order of a report."""


def make(name: str, context: EvaluationContext, **options: Any) -> Part:
    """Compute one part, and add the facts about its models and its duration."""
    begun = time.perf_counter()
    part = PARTS[name](context, **options)
    part.facts = context.facts() | part.facts
    part.seconds = round(time.perf_counter() - begun, 1)
    return part


def summary(name: str) -> str:
    """Return a one-line description of a part, without a full stop."""
    return (inspect.getdoc(PARTS[name]) or "").splitlines()[0].rstrip(".")
