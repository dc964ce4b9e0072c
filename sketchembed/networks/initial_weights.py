"""The initial weights of the released program, which differ from the default in distribution or size.

=============================  =======================================  ==================================
weights                        default                                  released program (Keras)
=============================  =======================================  ==================================
normal distributions           not truncated                            truncated at two deviations
                                                                        (Glorot's only)
convolutions of ResNet12       Glorot's normal                          Glorot's uniform
hypernetwork's input terms     one Glorot matrix of x and one of h      one Glorot matrix of (x, h)
bias of the density head       0                                        Glorot's normal
=============================  =======================================  ==================================
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sketchembed.networks.conv4 import Conv4
from sketchembed.networks.decoder import HyperLSTMDecoder, StrokeDecoder
from sketchembed.networks.resnet12 import ResNet12

TRUNCATED = 0.87962566103423978  # deviation of a standard normal distribution truncated at ±2


def glorot_normal(*weights: Tensor, fans: int) -> None:
    """Fill weights from Keras' Glorot-normal distribution; `fans` is the sum of both fans."""
    scale = math.sqrt(2 / fans) / TRUNCATED
    for weight in weights:
        nn.init.trunc_normal_(weight, std=scale, a=-2 * scale, b=2 * scale)


@torch.no_grad()
def initialise_as_released(encoder: Conv4 | ResNet12, decoder: StrokeDecoder) -> None:
    """Initialise a network's weights as the released program does, see the table above."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            outputs, inputs, height, width = module.weight.shape
            if isinstance(encoder, ResNet12):
                nn.init.xavier_uniform_(module.weight)
            else:
                glorot_normal(module.weight, fans=(outputs + inputs) * height * width)
    head = decoder.head
    glorot_normal(head.weight, fans=sum(head.weight.shape))
    glorot_normal(head.bias, fans=2 * len(head.bias))
    if isinstance(decoder, HyperLSTMDecoder):
        cell = decoder.cell
        of_x, of_h = cell.hyper_input.weight, cell.hyper_from_main.weight
        glorot_normal(of_x, of_h, fans=of_x.shape[0] + of_x.shape[1] + of_h.shape[1])
        glorot_normal(cell.main_input.weight, fans=sum(cell.main_input.weight.shape))
