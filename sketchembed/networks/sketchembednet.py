"""SketchEmbedNet: an image to a Gaussian z, and z to a drawing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sketchembed.errors import CheckpointError
from sketchembed.networks.conv4 import Conv4
from sketchembed.networks.decoder import HyperLSTMDecoder, LSTMDecoder, StrokeDecoder, StrokeDistribution
from sketchembed.networks.evaluating import evaluating
from sketchembed.networks.precision import at_least_float32
from sketchembed.networks.resnet12 import ResNet12
from sketchembed.sketch import START, Sketch

LIFTED_START = (0.0, 0.0, 0.0, 1.0, 0.0)
"""The pen over the centre of the canvas, before the first point."""


@dataclass(frozen=True)
class ModelConfig:
    """The sizes of a SketchEmbedNet; the defaults are the paper's (section 3 and appendix B).

    Attributes:
        encoder: the CNN.
        width: filters of the CNN's (first) block.
        pool: how the CNN ends, see :class:`~sketchembed.networks.conv4.Conv4` and
            :class:`~sketchembed.networks.resnet12.ResNet12`.
        image_size: side of the input in pixels: 28 for drawings, 84 for photos.
        shrink: the CNN sees the input this many times smaller, each pixel the mean of so many by so many: a
            quarter of the work for 2.
        channels: of the input: 1 for drawings, 3 for photos.
        latent: size of z.
        decoder: the recurrent network.
        variant: of the HyperLSTM cell.
        hidden: size of the decoder.
        hyper: size of the hyper-network.
        embedding: size of the hyper-network's embeddings.
        mixtures: M, the Gaussians of the offset distribution.
        max_length: T, the longest drawing in strokes: 64 for Quick, Draw!, 100 for Sketchy.
        start: where drawing starts: at the ``"first point"``, as in the released code, or over the
            ``"centre"`` of the drawing's box, from which the first point is a move.
        position: whether the decoder also sees where the pen is, the sum of the offsets; the paper's does
            not.
        initial_logvar: bias of the log-variance head before training: the paper's 0 begins with noise of
            unit variance on z, a negative value with less.
    """

    encoder: Literal["conv4", "resnet12"] = "conv4"
    width: int = 64
    pool: Literal["mean", "flatten"] = "mean"
    image_size: int = 28
    shrink: int = 1
    channels: int = 1
    latent: int = 256
    decoder: Literal["hyperlstm", "lstm"] = "hyperlstm"
    variant: Literal["ha2017", "released"] = "released"
    hidden: int = 1024
    hyper: int = 512
    embedding: int = 64
    mixtures: int = 30
    max_length: int = 64
    initial_logvar: float = 0.0
    start: Literal["first point", "centre"] = "first point"
    position: bool = False

    @property
    def takes_photos(self) -> bool:
        """Whether the input is a photo, in three colours, rather than a grey drawing."""
        return self.channels == 3

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for checkpoints."""
        return asdict(self)


class Latent(NamedTuple):
    """The Gaussian over z that the encoder gives, in float32 even under autocast.

    Attributes:
        mean: ``[batch, latent]``: the SketchEmbedding.
        logvar: ``[batch, latent]``.
    """

    mean: Float[Tensor, "batch latent"]
    logvar: Float[Tensor, "batch latent"]

    def sample(self, noise: Tensor | None = None) -> Float[Tensor, "batch latent"]:
        """Draw z = μ + σ ε; ε is drawn if not given."""
        noise = torch.randn_like(self.mean) if noise is None else noise
        return self.mean + noise * torch.exp(self.logvar / 2)


class SketchEncoder(nn.Module):
    """The half of the model that embeds: a CNN, and two maps to the mean and the log-variance of z.

    Args:
        config: sizes; those of the decoder say nothing here.
    """

    kind: ClassVar[str] = "sketch-encoder"
    facts: ClassVar[tuple[str, ...]] = ()
    """Numbers, beside the sizes, that a checkpoint keeps."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        """Build and initialise the networks."""
        super().__init__()
        self.config = config = config or ModelConfig()
        self.encoder: Conv4 | ResNet12
        size = config.image_size // config.shrink
        if config.encoder == "conv4":
            self.encoder = Conv4(config.channels, config.width, config.pool, size)
        else:
            self.encoder = ResNet12(config.channels, config.width, config.pool, size)
        self.mean = nn.Linear(self.encoder.features, config.latent)
        self.logvar = nn.Linear(self.encoder.features, config.latent)
        for head in (self.mean, self.logvar):
            # As in the released code, whose 0.001 fell into the mean's place.
            nn.init.normal_(head.weight, mean=0.001, std=0.05)
            nn.init.zeros_(head.bias)
        nn.init.constant_(self.logvar.bias, config.initial_logvar)

    def encode(self, image: Float[Tensor, "batch channels height width"]) -> Latent:
        """Return the Gaussian over z.

        Args:
            image: values in [0, 1]; drawings are dark lines (0) on white (1).
        """
        if self.config.shrink > 1:
            image = nn.functional.avg_pool2d(image, self.config.shrink)
        features = self.encoder(image)
        return Latent(at_least_float32(self.mean(features)), at_least_float32(self.logvar(features)))

    @torch.no_grad()
    def embed(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch latent"]:
        """Return the SketchEmbedding of each image, the mean of z (paper section 5)."""
        with evaluating(self):
            return self.encode(images).mean


class SketchEmbedNet(SketchEncoder):
    """The model of the paper's Figure 1.

    Args:
        config: sizes.
        offset_scale: what one unit of the decoder's offsets is in the drawings' own units.
    """

    kind = "sketchembednet"
    facts = ("offset_scale",)

    def __init__(self, config: ModelConfig | None = None, offset_scale: float | int = 1.0) -> None:
        """Build and initialise the networks."""
        super().__init__(config)
        config = self.config
        self.offset_scale = float(offset_scale)
        self.decoder: StrokeDecoder
        if config.decoder == "hyperlstm":
            self.decoder = HyperLSTMDecoder(
                config.latent,
                config.hidden,
                config.hyper,
                config.embedding,
                config.mixtures,
                config.variant,
                config.position,
            )
        else:
            self.decoder = LSTMDecoder(config.latent, config.hidden, config.mixtures, config.position)

    def halved(self) -> SketchEncoder:
        """Return the half that embeds, with this model's own weights."""
        half = SketchEncoder(self.config)
        half.encoder, half.mean, half.logvar = self.encoder, self.mean, self.logvar
        return half.train(self.training)

    def framed(self, stroke5: Float[Tensor, "batch rows 5"]) -> Float[Tensor, "batch more_rows 5"]:
        """Return the rows that the decoder is trained on, by where the model starts to draw.

        Starting at the first point these are the rows as they are. Starting at the centre there is one
        more: the lifted pen at the centre of the drawing's box, from which the first point is a move like
        any other, as the paper's text has it (section 3: y_0 is put before the drawing). The sum of the
        offsets is then the pen's place on the canvas.

        Args:
            stroke5: rows with the start token in the first point's place.
        """
        if self.config.start == "first point":
            return stroke5
        points = stroke5[..., :2].cumsum(dim=1)
        real = stroke5[..., 4:] < 0.5
        low = points.masked_fill(~real, torch.inf).amin(dim=1)
        high = points.masked_fill(~real, -torch.inf).amax(dim=1)
        # Not copied from the host, which a CUDA graph could not hold.
        start = torch.zeros_like(stroke5[:, :1])
        start[..., LIFTED_START.index(1.0)].fill_(1.0)
        first = torch.cat([-(low + high).unsqueeze(1) / 2, stroke5[:, :1, 2:]], dim=-1)
        return torch.cat([start, first, stroke5[:, 1:]], dim=1)

    def forward(
        self,
        image: Float[Tensor, "batch channels height width"],
        stroke5: Float[Tensor, "batch rows 5"],
        noise: Float[Tensor, "batch latent"] | None = None,
        skip_padding: bool = False,
    ) -> tuple[StrokeDistribution, Latent]:
        """Return the distribution of each stroke under teacher forcing, and that of z.

        Args:
            image: the model's input.
            stroke5: the target with its start token, ``[batch, T + 1, 5]``, in normalised units, as
                :meth:`framed` gives it.
            noise: ε of z; drawn if not given.
            skip_padding: leave out the steps after the first end token, see :meth:`StrokeDecoder.forward`.
        """
        latent = self.encode(image)
        steps = (stroke5[..., 4] < 0.5).sum(1).clamp(max=stroke5.shape[1] - 1) if skip_padding else None
        points = stroke5[:, :-1, :2].cumsum(dim=1)
        distribution, _ = self.decoder(stroke5[:, :-1], latent.sample(noise), lengths=steps, position=points)
        return distribution, latent

    @torch.no_grad()
    def generate(
        self,
        z: Float[Tensor, "batch latent"],
        temperature: float | int = 1.0,
        component: Literal["sample", "argmax"] = "sample",
        max_length: int | None = None,
        generator: torch.Generator | None = None,
        watch: Callable[[Any], None] | None = None,
    ) -> Float[Tensor, "batch rows 5"]:
        """Draw autoregressively from z, each drawing until its end token.

        *Source*: paper section 3. The released code takes the likeliest component at temperature 1
        and the likeliest pen state (``component="argmax"``).

        Args:
            z: embeddings.
            temperature: of offsets and pen (see :meth:`GaussianMixture.sample`); 0 is greedy.
            component: how a Gaussian of the mixture is chosen.
            max_length: T; the model's own if not given.
            generator: source of randomness.
            watch: is handed the decoder's state after every step, the first of which, in a model that
                starts at the centre, is the move to the first point.

        Returns:
            stroke-5 rows with the start token, ``[batch, at most T + 1, 5]``, in normalised units; rows
            from the end token on are (0, 0, 0, 0, 1).
        """
        centred = self.config.start == "centre"
        length = (max_length or self.config.max_length) + centred
        row = z.new_tensor(LIFTED_START if centred else START).expand(z.shape[0], 1, 5)
        end = z.new_tensor([0.0, 0.0, 0.0, 0.0, 1.0])
        rows, state = [row], None
        point = row[..., :2]
        ended = torch.zeros(z.shape[0], dtype=torch.bool, device=z.device)
        for _ in range(length):
            (logits, mixture), state = self.decoder(row, z, state, position=point)
            if watch is not None:
                watch(state)
            offset = mixture.sample(temperature, component, generator=generator)[:, 0]
            if temperature == 0.0 or component == "argmax":
                pen = logits[:, 0].argmax(-1)
            else:
                # What is no number has no chances; the offsets, which are none either, tell.
                chances = torch.softmax((logits[:, 0] / temperature).nan_to_num(), dim=-1)
                pen = torch.multinomial(chances, 1, generator=generator)[:, 0]
            ended |= pen == 2
            row = torch.cat([offset.to(z.dtype), nn.functional.one_hot(pen, 3).to(z.dtype)], dim=-1)
            row = torch.where(ended[:, None], end, row).unsqueeze(1)
            point = point + row[..., :2]
            rows.append(row)
            if bool(ended.all()):
                break
        if centred:
            # The first point becomes the start token, which is where every drawing begins for others.
            rows[1] = z.new_tensor(START).expand_as(rows[1])
        return torch.cat(rows[1:] if centred else rows, dim=1)

    @torch.no_grad()
    def draw(
        self,
        images: Float[Tensor, "batch channels height width"],
        temperature: float | int = 0.0,
        seed: int | None = None,
        component: Literal["sample", "argmax"] = "sample",
    ) -> list[Sketch]:
        """Draw each image.

        Args:
            images: values in [0, 1]; drawings are dark lines (0) on white (1).
            temperature: 0 is greedy and always gives the same drawing.
            seed: of the sampling; None for a new one each time.
            component: see :meth:`generate`.

        Raises:
            CheckpointError: if the weights give what is no number.
        """
        generator = torch.Generator(images.device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        with evaluating(self):
            z = self.encode(images).mean
            rows = self.generate(z, temperature, component, generator=generator) if z.isfinite().all() else z
        if not rows.isfinite().all():
            raise CheckpointError(
                "the model draws what is not finite",
                expected="weights that give numbers",
                fix="Take an older checkpoint, or train again",
            )
        return [Sketch.from_stroke5(row).scaled(self.offset_scale) for row in rows.float().cpu().numpy()]
