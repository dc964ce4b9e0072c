"""Check whether the loss and the gradients of a training step are finite, and describe a step that fails."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor, distributed

Value = TypeVar("Value")
SHOWN = 3  # number of names that a message lists before it says how many more there are


@dataclass(frozen=True)
class NonFiniteStep:
    """A training step with a non-finite loss, gradient or weight."""

    step: int
    batch: int  # the first batch of the step, in the order of the data
    ranks: list[int]  # with a non-finite loss; batch norm over all ranks can spread NaN to others
    world_size: int
    terms: dict[str, float]  # the loss and its terms; one loss per batch if gradients are accumulated
    gradients: list[str]  # parameters with non-finite gradients
    weights: list[str]  # weights and buffers that were non-finite before the step
    items: list[str]  # the drawings of the step, as "index (class)", or its episodes
    broken: list[str]  # items whose data contain non-finite numbers

    @property
    def failed(self) -> dict[str, float]:
        """The non-finite loss terms."""
        return {name: value for name, value in self.terms.items() if not math.isfinite(value)}

    def cause(self) -> str:
        """Return a short description of what is not finite."""
        where = ""
        if self.ranks and self.world_size > 1:
            where = f"on rank {', '.join(map(str, self.ranks))} of {self.world_size} "
        if self.failed:
            # The total loss is named only if all of its terms are finite.
            named = {name: value for name, value in self.failed.items() if name != "loss"} or self.failed
            return where + ", ".join(f"{name} is {value}" for name, value in named.items())
        if self.gradients:
            return f"{where}the gradient of {some(self.gradients)}"
        return f"{where}{some(self.weights)} after the step"

    def details(self) -> Iterator[str]:
        """Yield further facts, one at a time."""
        finite = [f"{name} {value:.4g}" for name, value in self.terms.items() if math.isfinite(value)]
        if finite:
            yield f"the finite terms are {', '.join(finite)}"
        if self.failed and self.gradients:
            yield f"the gradients of {some(self.gradients)} are not finite either"
        if self.weights:
            yield f"{some(self.weights)} were not finite before the step"
        if self.items:
            yield f"batch {self.batch} contains {some(self.items)}"
        if self.broken:
            yield f"the batch itself has non-finite numbers in {some(self.broken)}"


class StepCheck(NamedTuple):
    """The result of checking a step; its numbers may still be on the device."""

    step: int
    batch: int  # the first batch of the step
    batches: list[Any]  # of this rank; several if gradients are accumulated
    terms: dict[str, Tensor]  # as the step logged them
    losses: Float[Tensor, " batches"]
    names: list[str]  # parameters that have gradients
    finite: Bool[Tensor, " names"]
    failed: Float[Tensor, ""]  # 1 if a loss or a gradient of any rank is not finite, else 0
    copied: torch.cuda.Event | None = None  # after this event `failed` is on the host

    def copy_to_host(self) -> StepCheck:
        """Start to copy `failed` to the host without waiting for it."""
        if not self.failed.is_cuda:
            return self
        host = torch.empty((), pin_memory=True).copy_(self.failed, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        return self._replace(failed=host, copied=copied)

    def has_failed(self) -> bool:
        """Return whether the step failed; wait for the copy if there is one."""
        if self.copied is not None:
            self.copied.synchronize()
        return bool(self.failed)

    def describe(self, trainer: pl.Trainer, values: Mapping[str, Tensor]) -> NonFiniteStep:
        """Return the facts about a failed step, of all ranks; every rank must call it.

        `values` are the weights and buffers before the step. The trainer's data module names the drawings.
        """
        data: Any = getattr(trainer, "datamodule", None)
        items: list[str] = []
        if hasattr(data, "batch_members"):
            for number in range(self.batch, self.batch + len(self.batches)):
                items += item_names(data.batch_members(number, trainer.global_rank, trainer.world_size))
        # A row of an episode is a class, which has no name here.
        broken = [items[row] if row < len(items) > 1 else f"row {row}" for row in broken_rows(self.batches)]
        losses, all_items, all_broken = zip(
            *gather(trainer, (self.losses.tolist(), items, broken)), strict=True
        )
        by_batch = list(zip(*losses, strict=True))
        if getattr(trainer.lightning_module, "shares_batches", True):
            means = [sum(shares) / len(losses) for shares in by_batch]
        else:
            means = [loss for shares in by_batch for loss in shares]
        several = {f"loss of batch {number}": loss for number, loss in enumerate(means, 1)}
        terms = {name: float(value) for name, value in self.terms.items()}
        return NonFiniteStep(
            step=self.step,
            batch=self.batch,
            ranks=[rank for rank, own in enumerate(losses) if not all(map(math.isfinite, own))],
            world_size=len(losses),
            terms=terms | (several if len(means) > 1 else {"loss": means[0]}),
            gradients=[name for name, good in zip(self.names, self.finite.tolist(), strict=True) if not good],
            weights=non_finite_names(values),
            items=[item for part in all_items for item in part],
            broken=[item for part in all_broken for item in part],
        )


def check_step(
    trainer: pl.Trainer, task: pl.LightningModule, batches: list[Any], losses: Sequence[Tensor], scaled: bool
) -> StepCheck:
    """Check the losses and the gradients of a step before the optimizer uses them.

    With `scaled`, a gradient scaler handles infinite gradients, so only the losses are checked.
    """
    gradients = {
        name: parameter.grad
        for name, parameter in task.named_parameters()
        if parameter.grad is not None and parameter.grad.numel()
    }
    all_losses, finite = torch.stack(list(losses)).float(), are_finite(list(gradients.values()))
    good = torch.isfinite(all_losses).all()
    if not scaled:
        good = good & finite.all()
    failed = (~good).float()
    if trainer.world_size > 1:
        distributed.all_reduce(failed, distributed.ReduceOp.MAX)
    # Copies, because the next launch of a captured step overwrites its results.
    terms = {
        name.removeprefix("train/"): value.detach().clone()
        for name, value in getattr(task, "logged", {}).items()
        if isinstance(value, Tensor)
    }
    first = (trainer.global_step + int(getattr(task, "step_offset", 0))) * len(batches)
    return StepCheck(trainer.global_step, first, batches, terms, all_losses, list(gradients), finite, failed)


def gather(trainer: pl.Trainer, value: Value) -> list[Value]:
    """Return the values of all ranks."""
    if trainer.world_size == 1:
        return [value]
    values: list[Any] = [None] * trainer.world_size
    distributed.all_gather_object(values, value)
    return values


def are_finite(gradients: Sequence[Tensor]) -> Bool[Tensor, " n"]:
    """Return for each gradient whether all of its numbers are finite.

    The minimum and the maximum decide. On a CPU this is sixty times as fast as a test of every number, and
    unlike a sum of squares it does not overflow for large finite gradients.
    """
    bounds = torch.stack([bound.float() for gradient in gradients for bound in torch.aminmax(gradient)])
    return torch.isfinite(bounds).view(-1, 2).all(1)


def non_finite_names(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that contain non-finite numbers."""
    return [
        name
        for name, value in tensors.items()
        if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]


def item_names(members: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return a name for each item of ``batch_members`` of the data: ``index (class)``, or ``episode id``."""
    if "episodes" in members:
        return [f"episode {number}" for number in members["episodes"]]
    return [f"{index} ({name})" for index, name in zip(members["indices"], members["classes"], strict=True)]


def broken_rows(batches: Sequence[Any]) -> list[int]:
    """Return the rows with non-finite numbers, counted through all batches.

    A batch is a tensor, or a tuple of tensors with the same first dimension.
    """
    found, before = set[int](), 0
    for batch in batches:
        values: list[Tensor] = [batch] if isinstance(batch, Tensor) else list(batch)
        for value in values:
            if value.ndim > 1:
                bad = ~torch.isfinite(value.flatten(1)).all(1)
                found |= {before + int(row) for row in bad.nonzero()}
        before += len(values[0])
    return sorted(found)


def some(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
