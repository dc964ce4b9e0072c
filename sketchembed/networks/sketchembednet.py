"""SketchEmbedNet: from an image to a Gaussian over z, and from z to a drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sketchembed.errors import CheckpointError, ConfigError
from sketchembed.networks.decoder import HyperLSTMDecoder, LSTMDecoder, StrokeDecoder, StrokeDistribution
from sketchembed.networks.encoders import make_encoder, shrunk
from sketchembed.networks.file_results import DrawnFiles, Progress, file_batches
from sketchembed.networks.initial_weights import initialise_as_released
from sketchembed.networks.model_inputs import Images
from sketchembed.networks.network import Network, NetworkConfig, evaluating
from sketchembed.networks.precision import at_least_float32
from sketchembed.sketch import START, Sketch

LIFTED_START = (0.0, 0.0, 0.0, 1.0, 0.0)  # the lifted pen at the centre, before the first point


@dataclass(frozen=True)
class ModelConfig(NetworkConfig):
    """The sizes of a SketchEmbedNet; the defaults are the paper's (section 3 and appendix B).

    Attributes:
        encoder: the CNN.
        width: filters of the first block of the CNN.
        pool: see :class:`~sketchembed.networks.conv4.Conv4` and
            :class:`~sketchembed.networks.resnet12.ResNet12`.
        image_size: side of the input in pixels: 28 for drawings, 84 for photos.
        shrink: factor by which the input is averaged down before the CNN; 2 takes a quarter of the time.
        channels: channels of the input: 1 for drawings, 3 for photos.
        latent: size of z.
        decoder: the recurrent network.
        variant: variant of the HyperLSTM cell.
        hidden: hidden size of the decoder.
        hyper: hidden size of the hypernetwork.
        embedding: size of the hypernetwork's embeddings.
        mixtures: M, the number of Gaussians of the offset distribution.
        max_length: T, the length of the longest drawing: 64 for Quick, Draw!, 100 for Sketchy.
        start: where the decoder starts: at the ``"first point"``, as in the released code, or at the
            ``"centre"`` of the drawing's bounding box, from where it moves to the first point.
        position: whether the decoder also sees the pen position, the sum of the offsets. In the paper it
            does not.
        initial_logvar: initial bias of the log-variance head. The paper's 0 starts with unit variance of z;
            a negative value starts with less noise.
        copies: equal copies of the input's channels that the CNN gets; the released code draws its inputs
            with 3 equal channels.
        input_range: the CNN's largest input; the released code has 255. The first batch norm absorbs the
            scale, up to its ε and the size of Adam's steps.
        gate_biases: see :class:`~sketchembed.networks.hyperlstm.cell.HyperLSTMCell`.
        initial_weights: see :mod:`~sketchembed.networks.initial_weights`.
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
    copies: int = 1
    input_range: Literal[1, 255] = 1
    gate_biases: Literal[1, 2] = 1
    initial_weights: Literal["default", "released"] = "default"

    @property
    def takes_photos(self) -> bool:
        """Whether the input is a colour photo and not a grey drawing."""
        return self.channels == 3


class Latent(NamedTuple):
    """The Gaussian over z, in float32 even under autocast; its mean is the SketchEmbedding."""

    mean: Float[Tensor, "batch latent"]
    logvar: Float[Tensor, "batch latent"]

    def sample(self, noise: Tensor | None = None) -> Float[Tensor, "batch latent"]:
        """Sample z = μ + σ ε. `noise` is ε, sampled if not given."""
        noise = torch.randn_like(self.mean) if noise is None else noise
        return self.mean + noise * torch.exp(self.logvar / 2)


class SketchEncoder(Network):
    """The encoder: a CNN, and two linear layers for the mean and the log-variance of z.

    Raises:
        ValueError: if the images are too small for the CNN.
    """

    kind = "sketch-encoder"
    config: ModelConfig

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ModelConfig()
        channels = config.channels * config.copies
        self.encoder = make_encoder(
            config.encoder, channels, config.width, config.pool, config.image_size, config.shrink
        )
        self.mean = nn.Linear(self.encoder.features, config.latent)
        self.logvar = nn.Linear(self.encoder.features, config.latent)
        for head in (self.mean, self.logvar):
            # As in the released code, which passes 0.001 as the mean.
            nn.init.normal_(head.weight, mean=0.001, std=0.05)
            nn.init.zeros_(head.bias)
        nn.init.constant_(self.logvar.bias, config.initial_logvar)

    def encode(self, image: Float[Tensor, "batch channels height width"]) -> Latent:
        """Return the Gaussian over z of images in [0, 1]; drawings are dark lines (0) on white (1)."""
        image = shrunk(image, self.config.shrink)
        if self.config.copies > 1:
            image = image.repeat(1, self.config.copies, 1, 1)
        if self.config.input_range > 1:
            image = image * self.config.input_range
        features = self.encoder(image)
        return Latent(at_least_float32(self.mean(features)), at_least_float32(self.logvar(features)))

    def _embedding(self, images: Tensor) -> Tensor:
        """Return the SketchEmbedding, the mean of z (paper section 5)."""
        return self.encode(images).mean


class SketchEmbedNet(SketchEncoder):
    """The model of the paper's Figure 1.

    Args:
        config: the sizes.
        offset_scale: size of one unit of the decoder's offsets, in the units of the drawings.
    """

    kind = "sketchembednet"
    facts = ("offset_scale",)

    def __init__(self, config: ModelConfig | None = None, offset_scale: float | int = 1.0) -> None:
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
                config.gate_biases,
            )
        else:
            self.decoder = LSTMDecoder(config.latent, config.hidden, config.mixtures, config.position)
        if config.initial_weights == "released":
            initialise_as_released(self.encoder, self.decoder)

    def encoder_only(self) -> SketchEncoder:
        """Return a network that only embeds and shares the weights of this one."""
        encoder = SketchEncoder(self.config)
        encoder.encoder, encoder.mean, encoder.logvar = self.encoder, self.mean, self.logvar
        return encoder.train(self.training)

    def add_start_token(self, stroke5: Float[Tensor, "batch rows 5"]) -> Float[Tensor, "batch more_rows 5"]:
        """Return the rows that train the decoder, from rows with the start token in place of the first point.

        A decoder that starts at the first point gets them unchanged. One that starts at the centre gets one
        more row, the lifted pen at the centre of the drawing's bounding box. The first point is then an
        offset like any other (paper section 3: y_0 precedes the drawing), and the offsets add up to the
        position of the pen.
        """
        if self.config.start == "first point":
            return stroke5
        points = stroke5[..., :2].cumsum(dim=1)
        real = stroke5[..., 4:] < 0.5
        low = points.masked_fill(~real, torch.inf).amin(dim=1)
        high = points.masked_fill(~real, -torch.inf).amax(dim=1)
        # Made on the device: a CUDA graph cannot copy from the host.
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
        """Return the distribution of each stroke under teacher forcing, and the Gaussian over z.

        Args:
            image: values in [0, 1].
            stroke5: result of :meth:`add_start_token`, T + 1 rows, in normalised units.
            noise: ε of z, sampled if not given.
            skip_padding: skip the steps after the first end token, see :meth:`StrokeDecoder.forward`.
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
        """Decode z autoregressively, each drawing until its end token.

        *Source*: paper section 3. The released code takes the most likely component at temperature 1
        and the most likely pen state (``component="argmax"``).

        Args:
            z: embeddings.
            temperature: temperature of offsets and pen (see :meth:`GaussianMixture.sample`); 0 is greedy.
            component: how to choose a Gaussian of the mixture.
            max_length: T; ``config.max_length`` if not given.
            generator: random number generator.
            watch: called with the decoder's state after every step. If the model starts at the centre, the
                first step is the move to the first point.

        Returns:
            Stroke-5 rows with the start token, ``[batch, at most T + 1, 5]``, in normalised units. Rows from
            the end token on are (0, 0, 0, 0, 1).
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
                # multinomial rejects NaN. If the logits have any, so do the offsets, which draw() checks.
                probabilities = torch.softmax((logits[:, 0] / temperature).nan_to_num(), dim=-1)
                pen = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
            ended |= pen == 2
            row = torch.cat([offset.to(z.dtype), nn.functional.one_hot(pen, 3).to(z.dtype)], dim=-1)
            row = torch.where(ended[:, None], end, row).unsqueeze(1)
            point = point + row[..., :2]
            rows.append(row)
            if bool(ended.all()):
                break
        if centred:
            # Callers expect the start token in place of the first point.
            rows[1] = z.new_tensor(START).expand_as(rows[1])
        return torch.cat(rows[1:] if centred else rows, dim=1)

    @torch.no_grad()
    def draw(
        self,
        images: Images,
        temperature: float | int = 0.0,
        seed: int | None = None,
        component: Literal["sample", "argmax"] = "sample",
    ) -> list[Sketch]:
        """Draw each image.

        Args:
            images: as for :meth:`embed`; drawings are dark lines (0) on white (1).
            temperature: 0 is greedy and always gives the same drawing.
            seed: seed of the sampling; random if not given.
            component: see :meth:`generate`.

        Raises:
            CheckpointError: if the output is not finite.
            ConfigError: if the temperature is negative or not finite.
            DataError: as :meth:`embed`.
        """
        if not 0 <= temperature < math.inf:  # True for NaN
            raise ConfigError(
                f"the temperature is {temperature}",
                expected="0 or more",
                fix="Use 0 for the likeliest drawing",
            )
        inputs = self.inputs(images)
        generator = torch.Generator(inputs.device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        with evaluating(self):
            z = self.encode(inputs).mean
            rows = self.generate(z, temperature, component, generator=generator) if z.isfinite().all() else z
        if not rows.isfinite().all():
            raise CheckpointError(
                "the output of the model is not finite",
                expected="weights that give finite numbers",
                fix="Use an older checkpoint, or train again",
            )
        return [Sketch.from_stroke5(row).scaled(self.offset_scale) for row in rows.float().cpu().numpy()]

    def draw_files(
        self,
        files: str | Path | Iterable[str | Path],
        temperature: float | int = 0.0,
        seed: int | None = None,
        component: Literal["sample", "argmax"] = "sample",
        *,
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> DrawnFiles:
        """Draw many image files in batches; files that cannot be read are skipped.

        Args:
            files: the files, or a folder, which is searched recursively.
            temperature: see :meth:`draw`.
            seed: seed of the sampling. A batch adds the index of its first file, so that batches differ.
            component: see :meth:`generate`.
            batch_size: number of files in a batch.
            progress: called after each batch with the number of files that are done and of all files.

        Raises:
            CheckpointError: if the output is not finite.
            ConfigError: if the temperature is negative or not finite.
            DataError: if the folder has no images.
        """
        drawn = DrawnFiles([], [], {})
        for batch in file_batches(files, self.config, batch_size, drawn.skipped, progress):
            seed_of_batch = None if seed is None else seed + batch.start
            drawn.sketches.extend(self.draw(batch.inputs, temperature, seed_of_batch, component))
            drawn.files.extend(batch.files)
        return drawn
