"""The losses of drawing, equations 2 to 4 of the paper, the KL divergence, and the contrastive loss.

All losses are computed in float32 or wider. Where the released code and the paper differ, the default is the
released code, which produced the paper's numbers (docs/deviations.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from sketchembed.networks.mixture import GaussianMixture
from sketchembed.networks.precision import at_least_float32
from sketchembed.networks.sketchembednet import Latent
from sketchembed.raster import rasterize
from sketchembed.raster.blur import GaussianBlur

DENSITY_FLOOR = 1e-6  # added to p(Δ), as in the released code, so that no offset costs more than 13.8 nats
KL_TOLERANCE = 0.2  # nats per dimension below which drawing tasks have no KL loss (Ha and Eck 2018)


def pen_loss(
    logits: Float[Tensor, "batch time 3"], target: Float[Tensor, "batch time 3"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the pen states, the mean over all T steps including the padding.

    *Source*: paper section 3.1, L_pen. `target` is one-hot (s1, s2, s3).
    """
    return -(target * torch.log_softmax(at_least_float32(logits), dim=-1)).sum(-1).mean()


def stroke_loss(
    mixture: GaussianMixture,
    offset: Float[Tensor, "batch time 2"],
    ended: Float[Tensor, "batch time"],
    constant: float | int = 0.0,
) -> Float[Tensor, ""]:
    """Return the negative log-likelihood of the offsets, in normalised units.

    *Source*: equation 3. As in the released code, the end and the padding (`ended`, s3 of the target) have no
    loss, the mean is still over all T steps, and 1e-6 is added to p. For the `constant` see
    :meth:`~sketchembed.networks.mixture.GaussianMixture.log_prob`.
    """
    log_p = mixture.log_prob(offset, constant)
    floored = torch.logaddexp(log_p, log_p.new_full((), math.log(DENSITY_FLOOR)))
    return -(floored * (1 - ended)).mean()


@dataclass
class PixelLoss:
    """Settings of the pixel loss, equation 4.

    Attributes:
        sigma: standard deviation of the blur in pixels.
        radius: radius of the blur's kernel in pixels; None for four sigma (the paper gives none).
        distance_power: 2 for the ink σ(2 - 5 d²) of the released code, 1 for σ(2 - 5 d) of equation 10.
        entropy: ``"full"`` for binary cross-entropy (the released code), ``"ink"`` for -I log I' alone, as
            printed in equation 4.
        samples: number of drawings to sample from the mixture; more reduce the variance (appendix A).
        boxes: ``"own"`` places each drawing by its own bounding box, ``"mixed"`` by coordinates of other
            boxes of the batch, an error of the released code.
        dots: a drawn segment of no length is a ``"point"``, or ``"black"``: an error of the released code
            gives every pixel of its image the distance 0.
        length_floor: added to a segment's squared length in pixels², see
            :func:`~sketchembed.raster.rasterize.squared_distance`; 1e-4 in the released code.
        neglected: ink σ(2 - x) with larger x is neglected, see
            :data:`~sketchembed.raster.rasterize.MAX_DISTANCE_TERM`; the released code neglects none.
        log_offset: added inside the logarithms of the cross-entropy; 1e-7 in the released code (Keras).
    """

    sigma: float = 2.0
    radius: int | None = 2
    distance_power: Literal[1, 2] = 2
    entropy: Literal["full", "ink"] = "full"
    samples: int = 1
    boxes: Literal["own", "mixed"] = "own"
    dots: Literal["point", "black"] = "point"
    length_floor: float = 0.0
    neglected: float = rasterize.MAX_DISTANCE_TERM
    log_offset: float = 0.0

    def __post_init__(self) -> None:
        """Build the blur."""
        self._blur = GaussianBlur(self.sigma, self.radius)

    def __call__(
        self,
        mixture: GaussianMixture,
        pen_logits: Float[Tensor, "batch time 3"],
        stroke5: Float[Tensor, "batch rows 5"],
        size: int,
        noise: Float[Tensor, "samples batch time 2"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss between the blurred images of the prediction and of the target.

        The prediction is a teacher-forced sample, as in the released code: the most likely component with
        reparameterised noise (equation 5), and the thresholded pen. π and the pen therefore have no gradient.
        `stroke5` is the target with its start token, T + 1 rows, in normalised units; the canvas has `size`
        pixels, and `noise` is ε of equation 5.
        """
        self._blur.to(stroke5.device)
        points = rasterize.absolute_points(stroke5)
        present, margin = stroke5[..., 4] < 0.5, rasterize.margin(size)
        canvas = rasterize.Canvas.fit(points, present, size, margin, mixed=self.boxes == "mixed")
        with torch.no_grad():
            truth = self._picture(canvas.place(points), rasterize.pen_down(stroke5), size)
        drawn = self._predicted_pen(pen_logits, stroke5)
        losses = []
        for number in range(self.samples):
            offset = mixture.sample(component="argmax", noise=None if noise is None else noise[number])
            predicted = rasterize.absolute_points(torch.cat([stroke5[:, :1, :2], offset], dim=1))
            image = self._picture(canvas.place(predicted), drawn, size)
            losses.append(self.cross_entropy(image, truth))
        return torch.stack(losses).mean()

    @staticmethod
    def _predicted_pen(pen_logits: Tensor, stroke5: Tensor) -> Tensor:
        """Return which segments are drawn: those with s1 > 0.5 at their first point or start token."""
        down = torch.softmax(at_least_float32(pen_logits), dim=-1)[..., 0] > 0.5
        first = stroke5[:, :1, 2] > 0.5
        return torch.cat([first, down[:, :-1]], dim=1)

    def _picture(self, placed: Tensor, drawn: Tensor, size: int) -> Tensor:
        blurred: Tensor = self._blur(self.ink(placed, drawn, size))
        return blurred

    def ink(
        self, placed: Float[Tensor, "batch n 2"], drawn: Bool[Tensor, "batch segments"], size: int
    ) -> Float[Tensor, "batch {size} {size}"]:
        """Return the ink of the `drawn` segments between points in pixels, not yet blurred."""
        reach = rasterize.sigmoid_reach(self.distance_power, self.neglected)
        start, end = placed[:, :-1], placed[:, 1:]
        distance = rasterize.squared_distance(start, end, drawn, size, 0.0, reach, self.length_floor)
        if self.dots == "black":
            dot = (drawn & (start == end).all(-1)).any(-1)
            distance = distance.masked_fill(dot[:, None, None], 0.0)
        return rasterize.sigmoid_ink(distance, self.distance_power)

    def cross_entropy(
        self, image: Float[Tensor, "batch h w"], truth: Float[Tensor, "batch h w"]
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy of blurred images, the mean over pixels and drawings."""
        # As in Keras; avoids log 0.
        image = image.clamp(1e-7, 1 - 1e-7)
        loss = truth * (image + self.log_offset).log()
        if self.entropy == "full":
            loss = loss + (1 - truth) * torch.log1p(self.log_offset - image)
        return -loss.mean()


class DrawingLoss(NamedTuple):
    """The total loss and its terms."""

    total: Float[Tensor, ""]
    pen: Float[Tensor, ""]
    stroke: Float[Tensor, ""]
    pixel: Float[Tensor, ""]


def drawing_loss(
    pen: Float[Tensor, ""],
    stroke: Float[Tensor, ""],
    pixel: Float[Tensor, ""],
    alpha: float | int | Float[Tensor, ""],
    gate: float | int | Float[Tensor, ""] = 1.0,
) -> DrawingLoss:
    """Return pen + (1 - α) stroke + gate α pixel.

    *Source*: equation 2, with a gate of 1. As in the released code, a gate of 0 excludes the pixel loss. A
    captured CUDA graph passes α and the gate as tensors, because it cannot read Python numbers that change.
    """
    total = pen + (1 - alpha) * stroke + gate * alpha * pixel
    return DrawingLoss(total, pen, stroke, pixel)


def kl_loss(
    latent: Latent, tolerance: float | int = 0.0, over_processes: Callable[[Tensor], Tensor] | None = None
) -> Float[Tensor, ""]:
    """Return the KL divergence of N(μ, σ²) from N(0, 1) in nats, the mean over the dimensions of z.

    *Source*: Ha and Eck 2018. The paper does not use it (section 3.1), nor does the default configuration.
    Below the tolerance the loss is constant. The tolerance applies to the divergence of the whole batch, so
    processes that share a batch pass `over_processes`, which returns the mean of a value over all of them.
    """
    mean, logvar = at_least_float32(latent.mean), at_least_float32(latent.logvar)
    divergence = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    if over_processes is not None:
        divergence = divergence + (over_processes(divergence) - divergence.detach())
    return divergence.clamp_min(tolerance)


def contrastive_loss(
    views: Float[Tensor, "2 pairs features"], temperature: float | int
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return NT-Xent, the normalised temperature-scaled cross-entropy, and the accuracy, 0 to 1.

    *Source*: Chen et al. 2020, equation 1. Each of the 2N views i has one partner j, the other view of its
    pair, and 2N - 2 negatives. The loss is the mean of l(i, j) = -log(exp(s_ij / τ) / Σ exp(s_ik / τ)) over
    all views; the sum is over all k but i, s is the cosine similarity, and τ the temperature. The accuracy is
    the share of the views whose partner is more similar than every negative.
    """
    count = views.shape[1]
    unit = functional.normalize(at_least_float32(views).flatten(0, 1), dim=-1)
    # A small τ magnifies rounding errors, so autocast must not compute the similarities in 16 bits.
    with torch.autocast(unit.device.type, enabled=False):
        logits = unit @ unit.mT / temperature
    logits.fill_diagonal_(-torch.inf)  # no view is its own negative
    partner = torch.arange(2 * count, device=unit.device).roll(count)
    accuracy = (logits.argmax(-1) == partner).float().mean()
    return functional.cross_entropy(logits, partner), accuracy
