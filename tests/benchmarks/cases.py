"""The timed cases: each part of the work, with the plain version first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from benchmarks.plain import distance_by_brute_force, plain_versions, run_steps
from sketchembed.data.datamodules.drawing_datamodule import DrawingDataset
from sketchembed.data.sampling import StepBatchSampler
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.evaluation.fewshot.heads import Products, logistic
from sketchembed.evaluation.fewshot.methods import sums_of_features
from sketchembed.networks.decoder import HyperLSTMDecoder, LSTMDecoder
from sketchembed.networks.hyperlstm.packing import Packing
from sketchembed.raster import rasterize
from sketchembed.training.cuda_graphs import why_not_captured
from sketchembed.training.drawing import DrawingTask

Function = Callable[[], object]


@dataclass
class Case:
    """Versions of one piece of work.

    Attributes:
        name: describes the work and its size.
        versions: functions by name; ratios refer to the first.
        rounds: timed calls of each version.
        per_call: number of drawings or episodes that a call processes, by version, for a rate.
        unit: of `per_call`: drawings or episodes.
        memory: whether peak memory is measured.
        operations: whether floating-point operations are counted.
    """

    name: str
    versions: dict[str, Function]
    rounds: int = 5
    per_call: dict[str, int] = field(default_factory=dict)
    unit: str = ""
    memory: bool = False
    operations: bool = False


def drawings(batch: int, length: int, device: torch.device, seed: int = 0) -> Tensor:
    """Return random stroke-5 rows, ``[batch, length + 1, 5]``, with lengths typical of Quick, Draw!."""
    random = np.random.default_rng(seed)
    rows = np.zeros((batch, length + 1, 5), dtype=np.float32)
    rows[..., :2] = random.normal(0, 1, (batch, length + 1, 2))
    rows[:, 0, :2] = 0
    ends = (length * random.uniform(0.27, 0.88, batch)).astype(int).clip(1)
    lifted = random.random((batch, length + 1)) < 0.15
    over = np.arange(length + 1) >= ends[:, None]
    rows[..., 3] = lifted
    rows[..., 2] = ~lifted
    rows[:, 0, 2:] = (1, 0, 0)
    rows[over] = (0, 0, 0, 0, 1)
    return torch.from_numpy(rows).to(device)


def recurrent(
    task: DrawingTask, batch: int, device: torch.device, precision: str, rounds: int
) -> Iterator[Case]:
    """Yield the decoder alone, forward and forward with backward, with PyTorch's LSTM for comparison."""
    config = task.net.config
    decoder = task.net.decoder
    assert isinstance(decoder, HyperLSTMDecoder), "the bench wants the HyperLSTM decoder"
    lstm = LSTMDecoder(config.latent, config.hidden, config.mixtures, config.position).to(device)
    z = torch.randn(batch, config.latent, device=device)
    strokes = torch.randn(batch, config.max_length, decoder.inputs, device=device)
    packing = Packing.of(None, batch, config.max_length, device)

    def forward(version: str) -> Tensor:
        with autocast(device, precision):
            if version == "nn.LSTM":
                # Not lstm.run, which computes in float32 even under autocast.
                inputs = torch.cat([strokes, z.unsqueeze(1).expand(-1, strokes.shape[1], -1)], dim=-1)
                out: Tensor = lstm.lstm(inputs, lstm.initial_state(z))[0]
                return out
            run = run_steps if version == "cell by cell" else HyperLSTMDecoder.run
            return run(decoder, strokes, z, decoder.initial_state(z), packing)[0]

    def backward(version: str) -> None:
        forward(version).float().square().mean().backward()  # type: ignore[no-untyped-call]

    def without_gradient(version: str) -> Tensor:
        with torch.no_grad():
            return forward(version)

    names = ("cell by cell", "whole sequence", "nn.LSTM")
    size = f"{config.hidden}/{config.hyper}, {batch} x {config.max_length}"
    for what, function in (("forward", without_gradient), ("forward + backward", backward)):
        yield Case(
            f"decoder {what}, {size}",
            {name: partial(function, name) for name in names},
            rounds,
            {name: batch for name in names},
            "drawings",
            memory=what != "forward",
            operations=True,
        )


def whole_step(
    task: DrawingTask, batch: int, device: torch.device, precision: str, rounds: int
) -> Iterator[Case]:
    """Yield the training step: augmentation, raster, encoder, decoder, three losses, clipping, Adam."""
    config = task.net.config
    rows = drawings(batch, config.max_length, device)
    task.alpha = 0.3
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-4, fused=device.type == "cuda")

    def step(losses: Callable[[Tensor, Tensor, torch.Generator], Tensor]) -> None:
        generator = torch.Generator(device).manual_seed(0)
        with autocast(device, precision):
            total = losses(*task.pairs(rows, generator), generator)
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_value_(task.parameters(), 1.0)
        optimizer.step()

    def one_by_one(image: Tensor, stroke5: Tensor, generator: torch.Generator) -> Tensor:
        return task.losses(image, stroke5, generator, with_pixels=True)[0].total

    def plain() -> None:
        with plain_versions():
            step(one_by_one)

    versions: dict[str, Function] = {"plain modules": plain, "fast": partial(step, one_by_one)}
    if not why_not_captured(task, device):
        versions["fast, captured as CUDA graphs"] = partial(step, lambda *given: task.captured(*given)[0])
    yield Case(
        f"training step, {config.hidden}/{config.hyper}, {batch} x {config.max_length}",
        versions,
        rounds,
        {name: batch for name in versions},
        "drawings",
        memory=True,
        operations=True,
    )


def pictures(device: torch.device, rounds: int) -> Iterator[Case]:
    """Yield the differentiable raster, forward and backward, at the paper's two sizes."""
    for batch, size, length in ((64, 28, 64), (8, 84, 100)):
        rows = drawings(batch, length, device)
        points = rasterize.absolute_points(rows)
        canvas = rasterize.Canvas.fit(points, rows[..., 4] < 0.5, size, rasterize.margin(size))
        placed = canvas.place(points).requires_grad_()
        drawn = rasterize.pen_down(rows)
        versions: dict[str, Function] = {
            "every pixel, every segment": partial(_ink, distance_by_brute_force, placed, drawn, size),
            "fast": partial(_ink, rasterize.squared_distance, placed, drawn, size),
        }
        yield Case(
            f"raster forward + backward, {batch} x {length} segments, {size} px",
            versions,
            3 * rounds,
            {name: batch for name in versions},
            "drawings",
            memory=True,
        )


def _ink(squared_distance: Callable[..., Tensor], placed: Tensor, drawn: Tensor, size: int) -> None:
    distance = squared_distance(placed[:, :-1], placed[:, 1:], drawn, size, 0.0, rasterize.sigmoid_reach(2))
    rasterize.sigmoid_ink(distance).square().sum().backward()  # type: ignore[no-untyped-call]


def sampling(task: DrawingTask, device: torch.device, count: int, rounds: int) -> Iterator[Case]:
    """Yield sampling from z: all drawings together, and a fiftieth of them one after the other."""
    net, few = task.net, max(1, count // 50)
    z = torch.randn(count, net.config.latent, device=device)

    def one_by_one() -> None:
        for at in range(few):
            net.generate(z[at : at + 1])

    yield Case(
        f"sampling {count} drawings",
        {"one after the other": one_by_one, "together": lambda: net.generate(z)},
        rounds,
        {"one after the other": few, "together": count},
        "drawings",
    )


def loading(batch: int, length: int, rounds: int) -> Iterator[Case]:
    """Yield reading batches from a store on disk, without further computation."""
    random = np.random.default_rng(0)
    rows = [(0, random.normal(size=(length, 3)).astype(np.float32)) for _ in range(20_000)]
    with TemporaryDirectory() as folder:
        store = write_store(
            Path(folder) / "store", [ClassDrawings("scrawl", rows, {})], source="bench", max_length=length
        )
        dataset = DrawingDataset(store, length, 1.0)
        batches = iter(StepBatchSampler(np.arange(len(store)), batch))

        def read() -> None:
            for _ in range(20):
                dataset[next(batches)]

        yield Case(f"loading, batches of {batch}", {"store": read}, rounds, {"store": 20 * batch}, "drawings")


def few_shot(device: torch.device, rounds: int) -> Iterator[Case]:
    """Yield the few-shot head on random embeddings, 20-way 1-shot with 380 queries."""
    way, queries, episodes, few = 20, 380, 500, 20
    random = torch.Generator().manual_seed(0)
    support = torch.nn.functional.normalize(torch.randn(episodes, way, 64, generator=random), dim=-1)
    query = torch.nn.functional.normalize(torch.randn(episodes, queries, 64, generator=random), dim=-1)
    support_on_device, gram = support.to(device), (support.double() @ support.double().mT).to(device)
    sums = partial(sums_of_features, support_on_device, query.to(device))
    products = Products(gram, sums, lambda: support_on_device)
    labels = torch.arange(way, device=device)

    def loop() -> None:
        for one, other in zip(support[:few].numpy(), query[:few].numpy(), strict=True):
            LogisticRegression().fit(one, np.arange(way)).predict(other)

    yield Case(
        "few-shot head, 20-way 1-shot",
        {"scikit-learn, one by one": loop, "batched": lambda: logistic(products, labels, way)},
        rounds,
        {"scikit-learn, one by one": few, "batched": episodes},
        "episodes",
    )


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return an autocast context: bfloat16 for ``bf16-mixed``, disabled for ``32-true``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")
