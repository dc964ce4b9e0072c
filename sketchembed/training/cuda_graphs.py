"""Capture the loss of a training step and its gradients as two CUDA graphs.

The recurrent decoder launches about a thousand short kernels. Launching them one by one takes longer than
running them. With CUDA graphs the host launches the whole forward pass at once, then the whole backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sketchembed.losses import drawing_loss
from sketchembed.raster.kernels import why_not_triton


class StepInputs(NamedTuple):
    """The inputs of a captured step, all on the device."""

    image: Float[Tensor, "batch channels size size"]
    stroke5: Float[Tensor, "batch rows 5"]
    noise: Float[Tensor, "batch latent"]  # ε of z
    drawn: Float[Tensor, "samples batch steps 2"]  # ε of the pixel loss' samples
    alpha: Float[Tensor, ""]
    gate: Float[Tensor, ""]  # 1 if the pixel loss counts, 0 if α is too small


class StepLosses(nn.Module):
    """The captured part of a step: from images, drawings and random numbers to the loss.

    It never synchronizes with the host, and all of its tensors have static shapes.
    """

    def __init__(self, task: Any) -> None:
        super().__init__()
        self.net = task.net
        self._task = (task,)  # in a tuple, so that it is not registered as a submodule

    def forward(
        self, image: Tensor, stroke5: Tensor, noise: Tensor, drawn: Tensor, alpha: Tensor, gate: Tensor
    ) -> tuple[Float[Tensor, ""], Float[Tensor, 4]]:
        """Return the total loss, and the pen, stroke, pixel and KL losses without gradient."""
        (task,) = self._task
        pen, stroke, pixel, kl = task.terms(image, stroke5, noise, drawn)
        total = drawing_loss(pen, stroke, pixel, alpha, gate).total
        if task.kl_weight:
            total = total + task.kl_weight * kl
        return total, torch.stack([pen, stroke, pixel, kl]).detach()


def capture(task: Any, inputs: StepInputs) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return :meth:`StepLosses.forward` of a drawing task as a CUDA graph for inputs of the given shapes.

    The task is in training mode. The warm-up steps change the running statistics of batch norm, which are
    restored afterwards.
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
    # A function, because a task would register the module as a submodule.
    return lambda *inputs: step(*inputs)


def why_not_captured(task: Any, device: torch.device, accumulate: int = 1, world_size: int = 1) -> str:
    """Return the reason why the steps of a drawing task are not captured; an empty string if they are."""
    if device.type != "cuda":
        return f"there are no graphs on {device.type}"
    if not task.capture:
        return "capture is off"
    if task.skip_padding:
        return "skip_padding gives every batch another shape"
    if accumulate != 1:
        return "accumulated gradients would overwrite those of the graph"
    if world_size != 1:
        return "batch norm communicates with the other ranks during the step"
    return why_not_triton(device)
