"""A training step's losses and gradients as two CUDA graphs, each launched as one.

The recurrent decoder alone is some thousand kernels of a few microseconds, one waiting for the other;
launched one by one they take longer to start than to run. Captured, the host launches the whole forward pass,
then the whole backward pass. Around them all stays Lightning's: the optimiser, clipping, schedules, DDP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sketchembed.losses import drawing_loss
from sketchembed.raster.kernels import why_not_triton

if TYPE_CHECKING:
    from sketchembed.training.drawing import DrawingTask


class StepInputs(NamedTuple):
    """What changes from step to step, all of it on the device.

    Attributes:
        image: the model's input, ``[batch, channels, size, size]``.
        stroke5: the drawings, augmented, ``[batch, T + 1, 5]``.
        noise: ε of z, ``[batch, latent]``.
        drawn: ε of the pixel loss' samples, ``[samples, batch, steps, 2]``.
        alpha: weight of the pixel loss, and one less that of the strokes', a number.
        gate: 1 where the pixel loss counts, 0 where α is too small, a number.
    """

    image: Float[Tensor, "batch channels size size"]
    stroke5: Float[Tensor, "batch rows 5"]
    noise: Float[Tensor, "batch latent"]
    drawn: Float[Tensor, "samples batch steps 2"]
    alpha: Float[Tensor, ""]
    gate: Float[Tensor, ""]


class StepLosses(nn.Module):
    """The part of a step that is captured: from images, drawings and random numbers to the loss.

    Nothing in it asks the host, and all its sizes are known beforehand.

    Args:
        task: whose network and losses are used.
    """

    def __init__(self, task: DrawingTask) -> None:
        super().__init__()
        self.net = task.net
        self._task = (task,)  # in a tuple, so that it is no submodule of its own part

    def forward(
        self, image: Tensor, stroke5: Tensor, noise: Tensor, drawn: Tensor, alpha: Tensor, gate: Tensor
    ) -> tuple[Float[Tensor, ""], Float[Tensor, 4]]:
        """Return the weighed loss, and its terms without gradient: pen, stroke, pixel and divergence."""
        (task,) = self._task
        pen, stroke, pixel, kl = task.terms(image, stroke5, noise, drawn)
        total = drawing_loss(pen, stroke, pixel, alpha, gate).total
        if task.kl_weight:
            total = total + task.kl_weight * kl
        return total, torch.stack([pen, stroke, pixel, kl]).detach()


def capture(task: DrawingTask, inputs: StepInputs) -> Callable[..., tuple[Tensor, Tensor]]:
    """Capture a step's losses and their gradients.

    Running statistics, which the rehearsals move, are put back.

    Args:
        task: in training mode, on its device.
        inputs: of the sizes to come; the values don't matter.

    Returns:
        :meth:`StepLosses.forward`, for inputs of these sizes.
    """
    kept = {name: buffer.clone() for name, buffer in task.net.named_buffers()}
    autocast = torch.autocast(
        "cuda", torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda"), cache_enabled=False
    )
    with autocast:
        step: Any = torch.cuda.make_graphed_callables(
            StepLosses(task).train(), tuple(value.clone() for value in inputs), allow_unused_input=True
        )
    with torch.no_grad():
        for name, buffer in task.net.named_buffers():
            buffer.copy_(kept[name])
    # A function, which a module that keeps it does not take for a part of itself.
    return lambda *inputs: step(*inputs)


def why_not_captured(task: DrawingTask, device: torch.device, accumulate: int = 1, processes: int = 1) -> str:
    """Return why a task's steps are not captured; nothing where they are.

    Args:
        task: the task.
        device: where it trains.
        accumulate: batches an optimiser step.
        processes: that train together.
    """
    if device.type != "cuda":
        return f"there are no graphs on {device.type}"
    if not task.capture:
        return "capture is off"
    if task.skip_padding:
        return "skip_padding makes every batch another size"
    if accumulate != 1:
        return "gradients are accumulated, which would overwrite a graph's own"
    if processes != 1:
        return "batch norm asks the other processes in the middle of it"
    return why_not_triton(device)
