"""Whether a step is finite: one number, which is computed, reduced and fetched without the host's waiting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor, distributed

from sketchembed.training.incident import Incident, broken_items, not_finite, pack, together


class Share(NamedTuple):
    """What one process knows of a step that is bad.

    Attributes:
        losses: of its batches.
        weights: names of the weights and buffers that were not finite before the step.
        batches: packed.
    """

    losses: list[float]
    weights: list[str]
    batches: list[dict[str, Any]]


class Verdict(NamedTuple):
    """A step as it was judged; the numbers may still be on their way from the device.

    Attributes:
        step: number of the optimiser step.
        step_offset: see :class:`~sketchembed.training.task.Task`.
        alpha: α of the step, for tasks that have one.
        batches: of this process; several where gradients are accumulated.
        terms: of the loss, as the step logged them.
        losses: of each batch of this process.
        names: of the parameters that have gradients.
        finite: of each gradient, whether it is finite.
        bad: 1 if a loss or gradient of any process is not finite, else 0.
        arrived: when `bad` is on the host; None if it is there, or has to be asked for.
    """

    step: int
    step_offset: int
    alpha: float | None
    batches: list[Any]
    terms: dict[str, Tensor]
    losses: Float[Tensor, " batches"]
    names: list[str]
    finite: Bool[Tensor, " names"]
    bad: Float[Tensor, ""]
    arrived: torch.cuda.Event | None = None

    def sent(self) -> Verdict:
        """Send `bad` to the host, and don't wait."""
        if not self.bad.is_cuda:
            return self
        host = torch.empty((), pin_memory=True).copy_(self.bad, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        return self._replace(bad=host, arrived=arrived)

    def is_bad(self) -> bool:
        """Return the verdict, once it is there."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return bool(self.bad)

    def share(self, values: dict[str, Tensor]) -> Share:
        """Return what the other processes have to know of this one, of a step that is bad.

        Args:
            values: weights and buffers before the step.
        """
        return Share(self.losses.tolist(), not_finite(values), [pack(batch) for batch in self.batches])

    def incident(self, trainer: pl.Trainer, shares: Sequence[Share]) -> tuple[Incident, list[dict[str, Any]]]:
        """Return what is known of a step that is bad, and its batches, as one process would have had them.

        Args:
            trainer: whose data say what the batches are made of.
            shares: of all processes.
        """
        shared = bool(getattr(trainer.lightning_module, "shares_batches", True))
        world, accumulated = len(shares), len(self.batches)
        batches = together([share.batches for share in shares], shared)
        by_batch = list(zip(*(share.losses for share in shares), strict=True))
        losses = [sum(of) / world for of in by_batch] if shared else [loss for of in by_batch for loss in of]
        terms = {name: float(value) for name, value in self.terms.items()}
        several = {f"loss of batch {at}": loss for at, loss in enumerate(losses, 1)}
        terms |= several if len(losses) > 1 else {"loss": losses[0]}
        first = (self.step + self.step_offset) * accumulated
        members: dict[str, list[Any]] = {}
        data: Any = getattr(trainer, "datamodule", None)
        if hasattr(data, "batch_members"):
            for number in range(first, first + accumulated):
                for rank in range(1 if shared else world):
                    for name, found in data.batch_members(number, rank, 1 if shared else world).items():
                        members.setdefault(name, []).extend(found)
        gradients = [name for name, good in zip(self.names, self.finite.tolist(), strict=True) if not good]
        ranks = [rank for rank, share in enumerate(shares) if not all(map(math.isfinite, share.losses))]
        weights, broken = shares[0].weights, broken_items(batches)
        found = Incident(self.step, first, ranks, world, terms, gradients, weights, members, broken)
        return found, batches


def judge(
    trainer: pl.Trainer, task: pl.LightningModule, batches: list[Any], losses: Sequence[Tensor], scaled: bool
) -> Verdict:
    """Judge a step before the optimiser takes it.

    Args:
        trainer: at the step.
        task: with its gradients.
        batches: of the step.
        losses: of each of them.
        scaled: whether a gradient scaler judges the gradients, which may be infinite then.
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
    bad = (~good).float()
    if trainer.world_size > 1:
        distributed.all_reduce(bad, distributed.ReduceOp.MAX)
    # Copies, since the next launch of a captured step overwrites its results.
    terms = {
        name.removeprefix("train/"): value.detach().clone()
        for name, value in getattr(task, "logged", {}).items()
        if isinstance(value, Tensor)
    }
    alpha: Any = getattr(task, "alpha", None)
    step_offset = int(getattr(task, "step_offset", 0))
    return Verdict(
        trainer.global_step, step_offset, alpha, batches, terms, all_losses, list(gradients), finite, bad
    )


def are_finite(gradients: Sequence[Tensor]) -> Bool[Tensor, " n"]:
    """Return of each gradient whether all of its numbers are finite.

    The smallest and the largest number say it; on a CPU they are found sixty times as fast as each number is
    asked for itself, or as the norm of maxima. A sum of squares would be infinite where large gradients are
    finite.
    """
    bounds = torch.stack([bound.float() for gradient in gradients for bound in torch.aminmax(gradient)])
    return torch.isfinite(bounds).view(-1, 2).all(1)
