"""Model-agnostic meta-learning: a CNN that adapts to a new task in a few steps of gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, replace_all_batch_norm_modules_
from torch.nn import functional

from sketchembed.networks.conv4 import Conv4, Conv4Config
from sketchembed.networks.network import Network

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class MAMLConfig(Conv4Config):
    """The sizes of a MAML network, and its inner loop.

    Attributes:
        inner_steps: steps of gradient descent on a support set in training.
        test_steps: the same in evaluation; Finn et al. train with 5 and evaluate with 10 on mini-ImageNet.
        inner_lr: learning rate of these steps.
    """

    inner_steps: int = 5
    test_steps: int = 10
    inner_lr: float = 0.1


class SupportNormConv4(nn.Module):
    """A Conv4 whose batch norm always uses the statistics of the support images.

    The scores of a query do not depend on the other queries. There are no running averages, so the network
    does not depend on the order of the tasks.
    """

    def __init__(self, channels: int, width: int, pool: Literal["mean", "flatten"], size: int) -> None:
        super().__init__()
        self.conv4 = Conv4(channels, width, pool, size)
        self.features = self.conv4.features
        replace_all_batch_norm_modules_(self.conv4)
        # The inner loop needs the gradient of every parameter.
        self.conv4.requires_grad_()

    def forward(
        self, images: Float[Tensor, "batch channels size size"], known: int
    ) -> Float[Tensor, "batch features"]:
        """Return the features of images in [0, 1]; the first `known` are the support."""
        out = images
        for layer in self.conv4.blocks:
            out = support_norm(layer, out, known) if isinstance(layer, nn.BatchNorm2d) else layer(out)
        return cast(Tensor, self.conv4.pool(out)).flatten(1)


def support_norm(
    norm: nn.BatchNorm2d, maps: Float[Tensor, "batch channels h w"], known: int
) -> Float[Tensor, "batch channels h w"]:
    """Normalise each channel by its mean and variance in the first `known` images."""
    if known == len(maps):
        return functional.batch_norm(maps, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
    variance, mean = torch.var_mean(maps[:known], dim=(0, 2, 3), correction=0)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    shift = norm.bias - mean * scale
    return maps * scale[:, None, None] + shift[:, None, None]


class MAML(Network):
    """A CNN with a linear head that gradient descent adapts to a task; the head has one row per class.

    *Source*: Finn et al. 2017. The rows of the head start at zero (Kao et al. 2022). The order of the classes
    therefore does not matter, and one trained network serves any number of classes. Starting all rows from
    one learned vector is equivalent (Ye and Chao 2022, UNICORN-MAML): it adds the same value to the scores of
    all classes, which cancels in the softmax. Finn et al. normalise queries by their own statistics; here
    the statistics are those of the support, see :class:`SupportNormConv4`.
    """

    kind = "maml"
    config: MAMLConfig

    def __init__(self, config: MAMLConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MAMLConfig()
        self.encoder = SupportNormConv4(config.channels, config.width, config.pool, config.image_size)

    def forward(
        self,
        images: Float[Tensor, "batch channels size size"],
        known: int,
        head: Float[Tensor, "way features"],
    ) -> Float[Tensor, "batch way"]:
        """Return the class scores of images in [0, 1]; the first `known` are the support."""
        return functional.linear(self.encoder(images, known), head)

    def scores(
        self,
        parameters: Mapping[str, Tensor],
        support: Float[Tensor, "known channels size size"],
        query: Float[Tensor, "queries channels size size"],
    ) -> Float[Tensor, "queries way"]:
        """Return the class scores of queries, normalised by the statistics of the support.

        `parameters` is the result of :meth:`adapt` for this support.
        """
        return self._run(parameters, torch.cat([support, query]), len(support))[len(support) :]

    def adapt(
        self,
        support: Float[Tensor, "known channels size size"],
        labels: Int[Tensor, " known"],
        way: int,
        steps: int | None = None,
        first_order: bool = False,
    ) -> Parameters:
        """Return the parameters after steps of gradient descent on the cross-entropy of the support.

        The result is differentiable. It contains the head, ``[way, features]``, as ``head``.

        Args:
            support: images in [0, 1].
            labels: classes, 0 to way - 1.
            way: number of classes.
            steps: number of steps; ``config.inner_steps`` if not given.
            first_order: treat the gradients of the steps as constants (first-order MAML).
        """
        head = support.new_zeros(way, self.encoder.features).requires_grad_()
        parameters: Parameters = dict(self.named_parameters()) | {"head": head}
        for _ in range(self.config.inner_steps if steps is None else steps):
            loss = functional.cross_entropy(self._run(parameters, support, len(support)), labels)
            gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=not first_order)
            parameters = {
                name: value - self.config.inner_lr * gradient
                for (name, value), gradient in zip(parameters.items(), gradients, strict=True)
            }
        return parameters

    def _run(self, parameters: Mapping[str, Tensor], images: Tensor, known: int) -> Tensor:
        own = {name: value for name, value in parameters.items() if name != "head"}
        return cast(Tensor, functional_call(self, own, (images, known, parameters["head"])))
