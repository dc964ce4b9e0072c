"""The least precision of what 16 bits do not hold."""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or as it is if it is wider.

    Under autocast matrix products come in 16 bits; recurrent states, norms, densities and losses do not stay
    there. Where everything is in float64 (``--trainer.precision 64-true``), so are they.
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
