"""Model-agnostic meta-learning: a CNN that some steps of gradient descent fit to the images of a new task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, replace_all_batch_norm_modules_
from torch.nn import functional

from sketchembed.networks.conv4 import Conv4

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class MAMLConfig:
    """The sizes of a MAML network, and how it adapts.

    Attributes:
        width: filters of each block of the Conv4.
        pool: how Conv4 ends, see :class:`~sketchembed.networks.conv4.Conv4`.
        image_size: side of the input in pixels.
        channels: of the input.
        inner_steps: steps of gradient descent on a support set, in training.
        test_steps: the same where the trained network is used; Finn et al. take 10 after 5 on
            mini-ImageNet.
        inner_lr: learning rate of these steps.
    """

    width: int = 64
    pool: Literal["mean", "flatten"] = "mean"
    image_size: int = 28
    channels: int = 1
    inner_steps: int = 5
    test_steps: int = 10
    inner_lr: float = 0.1

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for checkpoints."""
        return asdict(self)


class SupportNormConv4(nn.Module):
    """A Conv4 whose batch norm takes its statistics from the support images, wherever it is applied.

    So the answer to one query does not depend on the other queries, and none of the network's state on the
    order of the tasks: there are no running averages.

    Args:
        channels: of the image.
        width: filters of each block.
        pool: see :class:`~sketchembed.networks.conv4.Conv4`.
        size: side of the image in pixels.
    """

    def __init__(self, channels: int, width: int, pool: Literal["mean", "flatten"], size: int) -> None:
        super().__init__()
        self.conv4 = Conv4(channels, width, pool, size)
        self.features = self.conv4.features
        replace_all_batch_norm_modules_(self.conv4)
        # Adapting takes the gradient of every parameter.
        self.conv4.requires_grad_()

    def forward(
        self, images: Float[Tensor, "batch channels size size"], known: int
    ) -> Float[Tensor, "batch features"]:
        """Return the features of images in [0, 1], of which the first `known` are the support."""
        out = images
        for layer in self.conv4.blocks:
            out = support_norm(layer, out, known) if isinstance(layer, nn.BatchNorm2d) else layer(out)
        return cast(Tensor, self.conv4.pool(out)).flatten(1)


def support_norm(
    norm: nn.BatchNorm2d, maps: Float[Tensor, "batch channels h w"], known: int
) -> Float[Tensor, "batch channels h w"]:
    """Normalise each channel by mean and variance of its values in the first `known` images."""
    if known == len(maps):
        return functional.batch_norm(maps, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
    variance, mean = torch.var_mean(maps[:known], dim=(0, 2, 3), correction=0)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    shift = norm.bias - mean * scale
    return maps * scale[:, None, None] + shift[:, None, None]


class MAML(nn.Module):
    """A network that is trained to adapt: features, and a linear head of as many rows as a task has classes.

    *Source*: Finn et al. 2017. The head's rows start at zero (Kao et al. 2022), so it does not matter which
    class is called the first, and one trained network serves any number of classes. That is also what
    starting all rows from one learned vector comes to (Ye and Chao 2022, UNICORN-MAML): what is added to the
    scores of all classes alike cancels in their softmax. Finn et al. normalise the queries of a task by the
    statistics of those queries; here they take the support's, see :class:`SupportNormConv4`.

    Args:
        config: sizes, and how it adapts.
    """

    kind: ClassVar[str] = "maml"
    facts: ClassVar[tuple[str, ...]] = ()

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
        """Return the classes' scores of images in [0, 1], of which the first `known` are the support."""
        return functional.linear(self.encoder(images, known), head)

    def scores(
        self,
        parameters: Mapping[str, Tensor],
        support: Float[Tensor, "known channels size size"],
        query: Float[Tensor, "asked channels size size"],
    ) -> Float[Tensor, "asked way"]:
        """Return the classes' scores of queries.

        Args:
            parameters: of :meth:`adapt`.
            support: the images adapted to, whose statistics the queries are normalised by.
            query: the images asked about.
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
        """Return the parameters after some steps of gradient descent on the support's cross-entropy.

        Args:
            support: images in [0, 1].
            labels: their classes, 0 to way - 1.
            way: number of classes.
            steps: how many; the configuration's of training if not given.
            first_order: leave out the steps' own derivatives, as if their gradients were constants.

        Returns:
            the adapted parameters by their names, and the head's ``[way, features]`` under ``head``;
            differentiable with respect to this network's parameters.
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
