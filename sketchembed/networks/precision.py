"""Precision of values that need more than 16 bits."""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or unchanged if its type is wider.

    Under autocast, matrix products return 16 bits. Recurrent states, norms, densities and losses need
    float32. With ``--trainer.precision 64-true`` they stay in float64.
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
