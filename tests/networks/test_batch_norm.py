"""Compare batch norm with PyTorch's in float64, in one process and in several."""

import pytest
import torch
from programs import run
from torch import distributed, nn

from sketchembed.networks.batch_norm import BatchNorm2d
from sketchembed.networks.conv4 import Conv4
from sketchembed.networks.conv_vae import ConvVAE
from sketchembed.networks.resnet import ResNet
from sketchembed.networks.resnet12 import ResNet12
from sketchembed.networks.simclr import SimCLR

SHAPE = (12, 5, 20, 20)


def maps(scale=1.0):
    """Return feature maps and gradients of their outputs.

    The maps are like those of line drawings: mostly one value, far from zero, with channels last in memory.
    """
    random = torch.Generator().manual_seed(0)
    values = 3 + scale * torch.randn(SHAPE, generator=random) * (torch.rand(SHAPE, generator=random) < 0.1)
    return values.contiguous(memory_format=torch.channels_last), torch.randn(SHAPE, generator=random)


def results(norm, values, grads):
    """Return the outputs, gradients and running statistics after two steps."""
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 5))
        norm.bias.copy_(torch.linspace(-1, 1, 5))
    norm(values + 1)
    values = values.clone().requires_grad_()
    out = norm(values)
    found = torch.autograd.grad(out, (values, norm.weight, norm.bias), grads)
    return [out.detach(), *found, norm.running_mean, norm.running_var, norm.num_batches_tracked]


def expected():
    values, grads = maps()
    return results(nn.BatchNorm2d(5, 1e-3, 0.01).double(), values.double(), grads.double())


def test_batch_norm_equals_pytorch_and_is_more_accurate():
    values, grads = maps()
    ours, theirs = (results(norm(5, 1e-3, 0.01), values, grads) for norm in (BatchNorm2d, nn.BatchNorm2d))
    for found, wanted in zip(ours, expected(), strict=True):
        torch.testing.assert_close(found.to(wanted.dtype), wanted, rtol=1e-5, atol=1e-5)
    errors = [(found[0] - expected()[0]).norm() for found in (ours, theirs)]
    assert errors[0] < 0.3 * errors[1]
    # PyTorch's own code handles 16-bit values and evaluation mode.
    one, other = BatchNorm2d(5), nn.BatchNorm2d(5)
    assert torch.equal(one(values.bfloat16()), other(values.bfloat16()))
    assert torch.equal(one.eval()(values), other.eval()(values))
    assert one.state_dict().keys() == other.state_dict().keys()


def test_gradients_equal_finite_differences():
    norm = BatchNorm2d(2).double()
    norm.shared = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "get_world_size", lambda: 1)
        patch.setattr(distributed, "all_gather", lambda out, value: out[0].copy_(value))
        patch.setattr(distributed, "all_reduce", lambda value: None)
        values = torch.randn(3, 2, 2, 3, dtype=torch.float64, requires_grad=True)
        torch.autograd.gradcheck(norm, (values,))


def run_rank(out):
    distributed.init_process_group("gloo")
    rank, world = distributed.get_rank(), distributed.get_world_size()
    rows = slice(rank * 12 // world, (rank + 1) * 12 // world)
    found = []
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        norm = BatchNorm2d(5, 1e-3, 0.01)
        norm = norm.double() if dtype == torch.float64 else norm
        norm.shared = True
        values, grads = (each[rows].to(dtype) for each in maps())
        found.append(results(norm, values, grads))
    torch.save(found, f"{out}{rank}")
    distributed.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_processes_use_the_statistics_of_the_whole_batch(world, tmp_path):
    ended = run(run_rank, tmp_path / "out", ranks=world)
    assert ended.returncode == 0, ended.stderr
    shares = [torch.load(tmp_path / f"out{rank}") for rank in range(world)]
    for number, tolerance in ((0, 1e-5), (1, 1e-11), (2, 2e-2)):
        parts = list(zip(*(each[number] for each in shares), strict=True))
        for place, (part, wanted) in enumerate(zip(parts, expected()[:6], strict=False)):
            if place in (0, 1):
                found = torch.cat(part)
            elif place in (2, 3):  # DDP sums these over the ranks
                found = torch.stack(part).sum(0)
            else:
                found = part[0]
                assert all(torch.equal(found, other) for other in part)
            error = (found.to(wanted.dtype) - wanted).norm() / wanted.to(torch.float64).norm()
            assert error <= tolerance, (number, place)


@pytest.mark.parametrize("network", [Conv4, ResNet12, ConvVAE, SimCLR, ResNet])
def test_every_batch_norm_of_a_network_can_be_shared(network):
    norms = [module for module in network().modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(isinstance(norm, BatchNorm2d) for norm in norms)


@pytest.mark.parametrize("network", [lambda: Conv4(1, 4), lambda: ResNet12(1, 4)])
def test_bias_before_batch_norm_is_frozen_and_has_no_gradient(network):
    torch.manual_seed(0)
    net = network().double()
    frozen = [parameter for parameter in net.parameters() if not parameter.requires_grad]
    assert len(frozen) == sum(isinstance(module, nn.Conv2d) for module in net.modules())
    net.requires_grad_()
    images = torch.rand(4, 1, 28, 28, dtype=torch.float64)
    grads = torch.autograd.grad(net(images).square().sum(), list(net.parameters()))
    largest = max(grad.abs().max() for grad in grads)
    for parameter, grad in zip(net.parameters(), grads, strict=True):
        if any(parameter is one for one in frozen):
            assert grad.abs().max() < 1e-12 * largest
