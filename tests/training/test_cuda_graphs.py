"""Compare captured training steps with plain ones. Only the comparison of loss curves needs a GPU."""

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
def test_captured_step_equals_the_plain_step(alpha):
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


class HostSyncs(TorchDispatchMode):
    """Records operations that make the host wait for a result or a size, or that copy from host memory."""

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
        if any(part in name for part in self.NAMES) or bool_index:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


CPU_PRESET = {"variant": "ha2017", "pool": "flatten", "start": "centre", "position": True}


@pytest.mark.parametrize(
    "options", [{}, CPU_PRESET, {"encoder": "resnet12"}], ids=["paper", "cpu preset", "resnet12"]
)
def test_captured_step_needs_no_host_synchronization(options, monkeypatch):
    pytest.importorskip("triton")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(kernels, "INTERPRETED", device.type == "cpu")
    task = DrawingTask(ModelConfig(**(CONFIG.to_dict() | options | {"max_length": 3}))).to(device)
    given, step = inputs(task, 0.4, device, batch=2), StepLosses(task)
    with HostSyncs() as syncs:
        total, _ = step(*given)
        total.backward()
    assert syncs.found == []
    # Without Triton, the step has to wait for the number of near pairs, and the check must detect this.
    monkeypatch.setattr(kernels, "_has_triton", lambda: False)
    with HostSyncs() as syncs:
        step(*given)
    assert syncs.found != []


@pytest.mark.parametrize(
    ("options", "accumulate", "reason"),
    [
        ({}, 1, ""),
        ({"capture": False}, 1, "capture is off"),
        ({"skip_padding": True}, 1, "skip_padding gives every batch another shape"),
        ({}, 2, "accumulated gradients"),
    ],
)
def test_capture_depends_on_options_and_device(options, accumulate, reason, monkeypatch):
    monkeypatch.setattr(kernels, "_has_triton", lambda: True)
    found = why_not_captured(make_task(**options), torch.device("cuda"), accumulate)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)
    assert why_not_captured(make_task(), CPU) == "there are no graphs on cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("options", [{}, CPU_PRESET], ids=["paper", "cpu preset"])
def test_captured_steps_give_the_same_loss_curve(options):
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
