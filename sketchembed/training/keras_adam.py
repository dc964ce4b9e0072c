"""Adam with the place of ε in Keras."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

EPSILON = 1e-7  # Keras' default


class KerasAdam(torch.optim.Adam):
    """Adam that adds ε before the bias correction of the second moment.

    *Source*: Kingma and Ba 2015, the end of section 2 (ε̂); the released code. PyTorch adds ε afterwards.
    The update of step t is that of PyTorch's Adam with ε / √(1 - β₂ᵗ).
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take a step; return the result of the closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            # A skipped step has no gradients, and PyTorch's Adam does not count it either.
            if any(parameter.grad is not None for parameter in group["params"]):
                group["steps"] = group.get("steps", 0) + 1
                group["eps"] = EPSILON / math.sqrt(1 - group["betas"][1] ** group["steps"])
        super().step()
        return loss
