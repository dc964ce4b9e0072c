"""Whether a step is finite: one number, which is computed, reduced and fetched without the host's waiting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor, distributed

from sketchembed.tasks.incident import Incident, broken_items, not_finite


class Verdict(NamedTuple):
    """A step as it was judged; the numbers may still be on their way from the device.

    Attributes:
        step: number of the optimiser step.
        passed_over: see :class:`~sketchembed.tasks.task.Task`.
        alpha: α of the step, for tasks that have one.
        batches: of this process; several where gradients are accumulated.
        terms: of the loss, as the step logged them.
        losses: of each batch.
        names: of the parameters that have gradients.
        finite: of each gradient, whether it is finite.
        bad: 1 if a loss or gradient of any process is not finite, else 0.
        arrived: when `bad` is on the host; None if it is there, or has to be asked for.
    """

    step: int
    passed_over: int
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

    def incident(self, trainer: pl.Trainer, values: dict[str, Tensor]) -> Incident:
        """Return what this process knows of a step that is bad.

        Args:
            trainer: whose data say what the batches are made of.
            values: weights and buffers before the step.
        """
        rank, world, accumulated = trainer.global_rank, trainer.world_size, len(self.batches)
        terms = {name: float(value) for name, value in self.terms.items()}
        if accumulated > 1:
            terms |= {f"loss of batch {at}": float(loss) for at, loss in enumerate(self.losses, 1)}
        else:
            terms["loss"] = float(self.losses)
        first = (self.step + self.passed_over) * accumulated
        members: dict[str, list[Any]] = {}
        data: Any = getattr(trainer, "datamodule", None)
        if hasattr(data, "members"):
            for number in range(first, first + accumulated):
                for name, found in data.members(number, rank, world).items():
                    members.setdefault(name, []).extend(found)
        gradients = [name for name, good in zip(self.names, self.finite.tolist(), strict=True) if not good]
        weights, broken = not_finite(values), broken_items(self.batches)
        return Incident(self.step, first, rank, world, terms, gradients, weights, members, broken)


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
    passed_over = int(getattr(task, "passed_over", 0))
    return Verdict(
        trainer.global_step, passed_over, alpha, batches, terms, all_losses, list(gradients), finite, bad
    )


def are_finite(gradients: Sequence[Tensor]) -> Bool[Tensor, " n"]:
    """Return of each gradient whether all of its numbers are finite.

    The smallest and the largest number say it; on a CPU they are found sixty times as fast as each number is
    asked for itself, or as the norm of maxima. A sum of squares would be infinite where large gradients are
    finite.
    """
    bounds = torch.stack([bound.float() for gradient in gradients for bound in torch.aminmax(gradient)])
    return torch.isfinite(bounds).view(-1, 2).all(1)
