"""A step whose loss or gradient is not finite: what is known of it, and a file from which it can be replayed.

The file is a checkpoint of the weights and buffers before the step, which loads as any other, and beside them
under the key ``non_finite`` the step's batch and all that its numbers depend on, as plain values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sketchembed.data.datamodules.episode_datamodule import EpisodeImages
from sketchembed.data.datamodules.labelled_datamodule import LabelledDrawings
from sketchembed.data.datamodules.pair_datamodule import Pair
from sketchembed.errors import CheckpointError
from sketchembed.hub.model_files import read_raw
from sketchembed.runs.checkpoints import AtomicCheckpointIO

KEY = "non_finite"
"""Where a checkpoint keeps what is known of the step."""
BATCHES: dict[str, type] = {kind.__name__: kind for kind in (Pair, LabelledDrawings, EpisodeImages)}
"""The kinds of batches, besides plain tensors."""
SHOWN = 3
"""Names that a line of text lists; of more it says how many there are."""


@dataclass(frozen=True)
class Incident:
    """What is known of a step that was not finite.

    Attributes:
        step: number of the optimiser step, from 0.
        batch: number of the step's first batch in the order of the data.
        ranks: processes whose own loss was not finite. Where they share a batch, batch norm may have spread
            it to others.
        world: number of processes.
        terms: of the loss, by name, as the step logged them; a loss for each of several accumulated batches.
        gradients: names of the parameters whose gradients have numbers that are not finite.
        weights: names of the weights and buffers that were not finite before the step.
        members: what the batches are made of: ``indices`` in the store and ``classes``, or ``episodes``.
        broken: places in the batches of items that have numbers which are not finite.
    """

    step: int
    batch: int
    ranks: list[int]
    world: int
    terms: dict[str, float]
    gradients: list[str]
    weights: list[str]
    members: dict[str, list[Any]]
    broken: list[int]

    @property
    def failed(self) -> dict[str, float]:
        """The terms that are not finite."""
        return {name: value for name, value in self.terms.items() if not math.isfinite(value)}

    @property
    def file_name(self) -> str:
        """Name of the file to replay."""
        return f"step-{self.step}.ckpt"

    def cause(self) -> str:
        """Return in a few words what is not finite."""
        ranks = ", ".join(map(str, self.ranks))
        return (f"on rank {ranks} of {self.world} " if ranks and self.world > 1 else "") + self._cause()

    def _cause(self) -> str:
        if self.failed:
            # The sum of all is worth a word only where none of its terms is to blame.
            named = {name: value for name, value in self.failed.items() if name != "loss"} or self.failed
            return ", ".join(f"{name} is {value}" for name, value in named.items())
        if self.gradients:
            return f"the gradient of {some(self.gradients)}"
        return f"{some(self.weights)} after the step"

    def lines(self) -> Iterator[str]:
        """Yield what is known, a line each."""
        finite = [f"{name} {value:.4g}" for name, value in self.terms.items() if math.isfinite(value)]
        if finite:
            yield f"finite are {', '.join(finite)}"
        if self.failed and self.gradients:
            yield f"so are not the gradients of {some(self.gradients)}"
        if self.weights:
            yield f"before the step {some(self.weights)} were not finite"
        names = self.names()
        if names:
            yield f"batch {self.batch} is of {some(names)}"
        if self.broken:
            which = [names[at] if "indices" in self.members else f"item {at}" for at in self.broken]
            yield f"the batch itself has numbers that are not finite, of {some(which)}"

    def names(self) -> list[str]:
        """Return what each item of the batches is called: its index in the store, and its class."""
        if "episodes" in self.members:
            return [f"episode {number}" for number in self.members["episodes"]]
        pairs = zip(self.members.get("indices", []), self.members.get("classes", []), strict=True)
        return [f"{index} ({name})" for index, name in pairs]


def some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that have numbers which are not finite."""
    return [
        name
        for name, value in tensors.items()
        if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]


# ---- batches as plain values -----------------------------------------------------------------------


def pack(batch: Any) -> dict[str, Any]:
    """Return a batch as a name and tensors on the CPU.

    Args:
        batch: a tensor, or one of the kinds in `BATCHES`.

    Raises:
        TypeError: if it is anything else.
    """
    if isinstance(batch, Tensor):
        return {"kind": "Tensor", "values": [batch.detach().cpu()]}
    kind = type(batch).__name__
    if kind not in BATCHES:
        raise TypeError(f"no batch of {kind} can be saved")
    values = [getattr(batch, field.name) for field in fields(batch)] if is_dataclass(batch) else list(batch)
    return {"kind": kind, "values": [value.detach().cpu() for value in values]}


def unpack(packed: Mapping[str, Any]) -> Any:
    """Return the batch that :func:`pack` was given."""
    return packed["values"][0] if packed["kind"] == "Tensor" else BATCHES[packed["kind"]](*packed["values"])


def together(shares: Sequence[Sequence[dict[str, Any]]], shared: bool) -> list[dict[str, Any]]:
    """Return the packed batches of a step, as one process would have had them.

    Args:
        shares: batches of each process.
        shared: whether the processes share each batch, by rank; otherwise each has its own.
    """
    if not shared:
        return [batch for batches in zip(*shares, strict=True) for batch in batches]
    return [
        {"kind": parts[0]["kind"], "values": [torch.cat(values) for values in zip(*found, strict=True)]}
        for parts in zip(*shares, strict=True)
        for found in [[part["values"] for part in parts]]
    ]


def broken_items(batches: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the places, counted through all packed batches, of items with numbers that are not finite."""
    found, before = [], 0
    for batch in batches:
        values = batch["values"]
        for value in values:
            bad = ~torch.isfinite(value.flatten(1)).all(1) if value.ndim > 1 else value.new_zeros(0)
            found += [before + int(at) for at in bad.nonzero()]
        before += len(values[0])
    return sorted(set(found))


# ---- the file --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """All that a step's numbers depend on besides weights and batch.

    Attributes:
        alpha: α of the step; None for tasks that have none.
        step_offset: see :class:`~sketchembed.training.task.Task`.
        seed: of the random numbers; with the step and `step_offset` it says all of them.
        device: where the step was computed, ``cpu`` or ``cuda``.
        config: of the run, as YAML.
    """

    alpha: float | None
    step_offset: int
    seed: int
    device: str
    config: str


def write(
    path: Path,
    checkpoint: Mapping[str, Any],
    incident: Incident,
    setting: Setting,
    batches: Sequence[Mapping[str, Any]],
) -> None:
    """Write what is needed to replay a step.

    Args:
        path: the file.
        checkpoint: weights and buffers before the step, and the description of the model.
        incident: what is known.
        setting: what else the step depends on.
        batches: of the step, packed; several where gradients are accumulated.

    Raises:
        CheckpointError: if the disk is full or may not be written.
    """
    known = {field.name: getattr(incident, field.name) for field in fields(incident)}
    more = {field.name: getattr(setting, field.name) for field in fields(setting)}
    whole = {**checkpoint, KEY: {**known, **more, "batches": list(batches)}}
    AtomicCheckpointIO().save_checkpoint(whole, path)


def read(path: Path) -> tuple[dict[str, Any], Incident, Setting, list[Any]]:
    """Read such a file: the checkpoint, what is known, what the step depends on, and its batches.

    Raises:
        CheckpointError: if it is none.
    """
    checkpoint = read_raw(path) if path.is_file() else {}
    try:
        saved = checkpoint[KEY]
        incident = Incident(**{field.name: saved[field.name] for field in fields(Incident)})
        setting = Setting(**{field.name: saved[field.name] for field in fields(Setting)})
        batches = [unpack(packed) for packed in saved["batches"]]
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"{path} is no step to replay",
            expected="a file that training has left in a run's folder, non-finite/step-N.ckpt",
            fix="Check the path",
        ) from error
    return checkpoint, incident, setting, batches
