"""The captured part of a step: what a CPU can say of it, and on a GPU that it trains as the plain one."""

import pytest
import torch
from benchmarks.cases import drawings
from torch.utils._python_dispatch import TorchDispatchMode

from sketchembed.networks.sketchembednet import ModelConfig
from sketchembed.raster import kernels
from sketchembed.training import DrawingTask
from sketchembed.training.cuda_graphs import StepInputs, StepLosses, capture, why_not_captured

CONFIG = ModelConfig(width=8, latent=12, hidden=16, hyper=8, embedding=2, mixtures=3, max_length=9)
CPU = torch.device("cpu")


def make_task(**options):
    torch.manual_seed(0)
    return DrawingTask(CONFIG, **options)


def inputs(task, alpha, device=CPU, batch=5, seed=1):
    rows = drawings(batch, task.net.config.max_length, device, seed)
    noises = task.noises(rows, torch.Generator(device).manual_seed(seed))
    gate = torch.tensor(float(alpha > task.pixel_gate), device=device)
    return StepInputs(*task.pairs(rows), *noises, torch.tensor(alpha, device=device), gate)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.4])
def test_captured_part_is_the_plain_step(alpha):
    task = make_task(kl_weight=0.5)
    given = inputs(task, alpha)
    total, terms = StepLosses(task)(*given)
    task.alpha = alpha
    loss, kl = task.losses(given.image, given.stroke5, torch.Generator().manual_seed(1), with_pixels=True)
    torch.testing.assert_close(total, loss.total + 0.5 * kl)
    torch.testing.assert_close(terms, torch.stack([loss.pen, loss.stroke, loss.pixel, kl]).detach())
    parameters = [parameter for parameter in task.net.parameters() if parameter.requires_grad]
    for one, other in zip(
        torch.autograd.grad(total, parameters),
        torch.autograd.grad(loss.total + 0.5 * kl, parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


class AskingTheHost(TorchDispatchMode):
    """Notes operations whose result or size the host has to wait for, or which copy from its memory."""

    NAMES = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "lift_fresh",
        "unique",
        "repeat_interleave.Tensor",
    )

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        bool_index = "aten.index" in name and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for index in (args[1] if isinstance(args[1], (list, tuple)) else ())
        )
        if any(asks in name for asks in self.NAMES) or bool_index:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


CPU_PRESET = {"variant": "ha2017", "pool": "flatten", "start": "centre", "position": True}


@pytest.mark.parametrize(
    "options", [{}, CPU_PRESET, {"encoder": "resnet12"}], ids=["paper", "cpu preset", "resnet12"]
)
def test_captured_part_asks_the_host_for_nothing(options, monkeypatch):
    pytest.importorskip("triton")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(kernels, "INTERPRETED", device.type == "cpu")
    task = DrawingTask(ModelConfig(**(CONFIG.to_dict() | options | {"max_length": 3}))).to(device)
    given, step = inputs(task, 0.4, device, batch=2), StepLosses(task)
    with AskingTheHost() as asked:
        total, _ = step(*given)
        total.backward()
    assert asked.found == []
    # The check does notice such a thing: the list of near pairs is of a size that is not known beforehand.
    monkeypatch.setattr(kernels, "_has_triton", lambda: False)
    with AskingTheHost() as asked:
        step(*given)
    assert asked.found != []


@pytest.mark.parametrize(
    ("options", "accumulate", "reason"),
    [
        ({}, 1, ""),
        ({"capture": False}, 1, "capture is off"),
        ({"skip_padding": True}, 1, "skip_padding gives every batch another shape"),
        ({}, 2, "accumulated gradients"),
    ],
)
def test_capturing_is_chosen_by_capability(options, accumulate, reason, monkeypatch):
    monkeypatch.setattr(kernels, "_has_triton", lambda: True)
    found = why_not_captured(make_task(**options), torch.device("cuda"), accumulate)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)
    assert why_not_captured(make_task(), CPU) == "there are no graphs on cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("options", [{}, CPU_PRESET], ids=["paper", "cpu preset"])
def test_captured_steps_give_the_plain_loss_curve(options):
    cuda = torch.device("cuda")
    curves = []
    for captured in (True, False):
        torch.manual_seed(0)
        task = DrawingTask(ModelConfig(**(CONFIG.to_dict() | options))).to(cuda).train()
        optimizer = torch.optim.Adam(task.parameters(), 1e-3)
        step = capture(task, inputs(task, 0.2, cuda)) if captured else StepLosses(task)
        curve = []
        for number in range(200):
            total, _ = step(*inputs(task, 0.2, cuda, seed=number))
            optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_value_(task.parameters(), 1.0)
            optimizer.step()
            curve.append(total.detach().clone())
        curves.append(torch.stack(curve).cpu())
        assert all("_graph" not in name for name in task.state_dict())
    torch.testing.assert_close(curves[0], curves[1], rtol=2e-2, atol=1e-3)
