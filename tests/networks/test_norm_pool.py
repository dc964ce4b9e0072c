"""Compare fused batch norm, ReLU and pooling with PyTorch's layers."""

import copy

import pytest
import torch
from programs import run
from torch import distributed, nn

from sketchembed.networks import norm_pool
from sketchembed.networks.batch_norm import BatchNorm2d
from sketchembed.networks.conv4 import Conv4
from sketchembed.networks.norm_pool import run_layers
from sketchembed.raster.native import native_library

pytestmark = pytest.mark.skipif(native_library(norm_pool.SOURCE) is None, reason="there is no C++ compiler")


def layers(pool, channels=5):
    norm = BatchNorm2d(channels, eps=1e-3, momentum=0.01)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-0.5, 2, channels))
        norm.bias.copy_(torch.linspace(-1, 1, channels))
    return nn.Sequential(norm, nn.ReLU(), *([nn.MaxPool2d(2)] if pool else []))


def maps(shape, dtype):
    """Return feature maps with many equal values, as of line drawings, far from zero."""
    random = torch.Generator().manual_seed(0)
    values = 3 + torch.randn(shape, generator=random) * (torch.rand(shape, generator=random) < 0.3)
    return values.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()


def results(network, values, run):
    out = run(network, values)
    random = torch.Generator().manual_seed(1)
    weight = torch.randn(out.shape, generator=random).to(out.dtype)
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    grads = torch.autograd.grad((out * weight).sum(), [values, *weights])
    return [out, *grads, *network.buffers()]


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 1)], ids=str)
def test_values_and_gradients_equal_the_layers(pool, size):
    if pool and size == (1, 1):
        pytest.skip("too small for pooling")
    network = layers(pool).double()
    oracle = copy.deepcopy(network)
    values = maps((6, 5, *size), torch.float64)
    fused, plain = results(network, values, run_layers), results(oracle, values, lambda net, x: net(x))
    for one, other in zip(fused, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_fused_function_is_used_in_training_only(monkeypatch):
    used = []
    monkeypatch.setattr(norm_pool, "norm_relu_pool", lambda norm, x, pool: used.append(pool) or x)
    network, values = layers(True), maps((4, 5, 8, 8), torch.float32)
    run_layers(network, values)
    assert used == [True]
    run_layers(network.eval(), values)
    run_layers(network.train(), values.detach().contiguous())
    assert used == [True]


def test_sixteen_bits_are_close():
    network = layers(True)
    oracle = copy.deepcopy(network).double()
    exact = maps((6, 5, 8, 8), torch.bfloat16)
    fused = results(network, exact, run_layers)
    plain = results(oracle, exact.detach().double().requires_grad_(), lambda net, x: net(x))
    assert fused[0].dtype == torch.bfloat16
    for one, other in zip(fused, plain, strict=True):
        assert (one.double() - other).norm() < 0.01 * other.double().norm() + 1e-6


def test_gradient_equals_finite_differences():
    network = layers(True, 2).double()
    values = torch.randn(3, 2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    values = values.contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: run_layers(network, x), values)


def test_missing_values_are_visible():
    values = maps((2, 5, 4, 4), torch.float32)
    with torch.no_grad():
        values[0, 1, 0, 0] = torch.nan
    out = run_layers(layers(True), values)
    assert out[:, 1].isnan().all()
    assert not out[:, [0, 2, 3, 4]].isnan().any()


def test_conv4_equals_its_layers():
    torch.manual_seed(0)
    network = Conv4(1, 8, "flatten", 28).double()
    oracle = copy.deepcopy(network)
    images = torch.rand(5, 1, 28, 28, dtype=torch.float64, requires_grad=True)
    fused = results(network, images, lambda net, x: net(x))
    plain = results(oracle, images, lambda net, x: net.blocks(x).flatten(1))
    for one, other in zip(fused, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def run_rank(path):
    """Save the results of one rank for its share of the maps."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    rows = slice(0, 2) if rank == 0 else slice(2, None)
    network = layers(True).double()
    network[0].shared = True
    own = maps((6, 5, 8, 8), torch.float64).detach()[rows]
    own = own.contiguous(memory_format=torch.channels_last).requires_grad_()
    out = run_layers(network, own)
    weight = torch.randn(6, 5, 4, 4, generator=torch.Generator().manual_seed(1)).double()[rows]
    grads = torch.autograd.grad((out * weight).sum(), [own, *network.parameters()])
    torch.save([out.detach(), *grads, *network.buffers()], f"{path}{rank}")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_use_the_statistics_of_the_whole_batch(tmp_path):
    ended = run(run_rank, tmp_path / "out", ranks=2)
    assert ended.returncode == 0, ended.stderr
    first, second = (torch.load(tmp_path / f"out{rank}") for rank in range(2))
    wanted = results(layers(True).double(), maps((6, 5, 8, 8), torch.float64), run_layers)
    for place, (one, other, whole) in enumerate(zip(first, second, wanted, strict=True)):
        if place < 2:  # outputs, and gradients of the maps
            found = torch.cat([one, other])
        elif place < 4:  # DDP sums the gradients of the weights over the ranks
            found = one + other
        else:  # running averages
            found = one
        torch.testing.assert_close(found, whole, rtol=1e-10, atol=1e-10)
