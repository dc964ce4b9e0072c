"""Compare the fast sequence with single steps of the cell, which test_cell.py compares with its equations."""

import copy
from functools import partial

import pytest
import torch

from sketchembed.networks.hyperlstm import sequence
from sketchembed.networks.hyperlstm.cell import HyperLSTMCell, HyperState
from sketchembed.networks.hyperlstm.packing import Packing
from sketchembed.networks.hyperlstm.sequence import run_sequence
from sketchembed.raster import kernels

LATENT = 2  # of the inputs
SIZES = [(6, 11, 7, 3), (5, 8, 8, 4), (3, 1, 1, 1)]
COUNTS = [[5, 5, 4, 4, 2, 1, 1], [3], [1], [4] * 6]


def case(variant, sizes, counts, dtype=torch.float64):
    torch.manual_seed(0)
    inputs, hidden, hyper, embedding = sizes
    cell = HyperLSTMCell(inputs, hidden, hyper, embedding, variant).to(dtype)
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    strokes = torch.randn(sum(counts), inputs - LATENT, dtype=dtype, requires_grad=True)
    z = torch.randn(counts[0], LATENT, dtype=dtype, requires_grad=True)
    state = [
        torch.randn(counts[0], size, dtype=dtype, requires_grad=True)
        for size in (hidden, hyper, hidden, hyper)
    ]
    return cell, strokes, z, state


def step_by_step(cell, strokes, z, state, counts):
    x = torch.cat([strokes, torch.cat([z[:count] for count in counts])], dim=1)
    now, out, lasts = HyperState(*state), [], [[] for _ in range(4)]
    for step, (part, count) in enumerate(zip(x.split(counts), counts, strict=True)):
        now = cell(part, HyperState(*(value[:count] for value in now)))
        out.append(now.h)
        ongoing = counts[step + 1] if step + 1 < len(counts) else 0
        for last, value in zip(lasts, now, strict=True):
            last.insert(0, value[ongoing:])
    return torch.cat(out), HyperState(*(torch.cat(last) for last in lasts))


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("variant", ["released", "ha2017"])
def test_values_and_gradients_equal_the_cell(variant, sizes, counts, version):
    cell, strokes, z, state = case(variant, sizes, counts)
    if version == "compiled":
        strokes = strokes.detach()  # has no compiled gradient
    leaves = [z, *state, *cell.parameters(), *([strokes] if strokes.requires_grad else [])]
    wanted, last = step_by_step(cell, strokes, z, state, counts)
    got, got_last = run_sequence(cell, strokes, z, HyperState(*state), counts)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-9)
    for one, other in zip(got_last, last, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
    weight = torch.randn_like(wanted)
    for name, one, other in zip(
        ["z", "h", "g", "c", "d", *dict(cell.named_parameters()), "strokes"][: len(leaves)],
        torch.autograd.grad((got * weight).sum(), leaves),
        torch.autograd.grad((wanted * weight).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(
            one, other, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("variant", ["released", "ha2017"])
def test_backward_is_the_derivative_of_forward(variant):
    counts = [3, 2, 2]
    cell, strokes, z, state = case(variant, (4, 5, 3, 2), counts)

    def run(strokes, z, *state):
        return run_sequence(cell, strokes, z, HyperState(*state), counts)[0]

    assert torch.autograd.gradcheck(run, (strokes, z, *state))
    assert torch.autograd.gradcheck(partial(run, strokes.detach()), (z, *state))


def test_single_precision_and_autocast_stay_close(version):
    counts = [8] * 20
    cell, *given = case("released", (6, 32, 16, 4), counts, torch.float32)
    strokes, z, state = given[0].detach(), given[1], HyperState(*given[2])
    leaves = [z, *state, *cell.parameters()]

    def with_gradients(run, *given):
        out = run(cell, *given, counts)[0]
        return out, torch.autograd.grad(out.square().sum(), leaves)

    single, single_grads = with_gradients(run_sequence, strokes, z, state)
    with torch.autocast("cpu", torch.bfloat16):
        half, half_grads = with_gradients(run_sequence, strokes, z, state)
    oracle = copy.deepcopy(cell).double()
    exact = [leaf.detach().double().requires_grad_() for leaf in (z, *state)]
    wanted, _ = step_by_step(oracle, strokes.double(), exact[0], exact[1:], counts)
    wanted_grads = torch.autograd.grad(wanted.square().sum(), [*exact, *oracle.parameters()])
    assert single.dtype == half.dtype == torch.float32
    torch.testing.assert_close(single.double(), wanted, rtol=0, atol=1e-4)
    assert (half - single).abs().mean() < 0.02
    for name, one, other, exactly in zip(
        ["z", "h", "g", "c", "d", *dict(cell.named_parameters())],
        single_grads,
        half_grads,
        wanted_grads,
        strict=True,
    ):
        assert (one - exactly).norm() < 1e-4 * exactly.norm(), name
        assert (other - exactly).norm() < 0.2 * exactly.norm(), name


def test_memory_layout_does_not_matter(version):
    counts = [4, 4, 4]
    cell, strokes, z, state = case("released", (6, 11, 7, 3), counts)
    strokes, z = strokes.detach(), z.detach()
    wanted, _ = run_sequence(cell, strokes, z, HyperState(*state), counts)
    spread = [torch.stack([part, part], dim=-1)[..., 0] for part in (strokes, z, *state)]
    assert not any(part.is_contiguous() for part in spread)
    got, _ = run_sequence(cell, *spread[:2], HyperState(*spread[2:]), counts)
    assert torch.equal(got, wanted)


def test_graph_is_freed_after_backward():
    import gc
    import weakref

    counts = [4, 3, 2]
    cell, strokes, z, state = case("released", (6, 11, 7, 3), counts)
    out, _ = run_sequence(cell, strokes, z, HyperState(*state), counts)
    node = weakref.ref(out.grad_fn)
    out.sum().backward()
    gc.disable()
    try:
        del out
        assert node() is None
    finally:
        gc.enable()


def test_unpack_reverses_pack():
    lengths = torch.tensor([3, 1, 5, 5])
    padded = torch.randn(4, 6, 2)
    packing = Packing.of(lengths, 4, 6, padded.device)
    assert packing.counts == [4, 4, 4, 4, 4]  # rounded up to the batch
    back = packing.unpack(packing.pack(padded), 7.0)
    for number, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(back[number, :length], padded[number, :length])
        assert (back[number, length:] == 7).all()


def test_packing_skips_ended_drawings():
    lengths = torch.arange(1, 65)
    packing = Packing.of(lengths, 64, 64, lengths.device)
    assert sum(packing.counts) < 0.65 * 64 * 64
    for step, count in enumerate(packing.counts):
        assert count >= int((lengths > step).sum())
        assert (lengths[packing.order[: int((lengths > step).sum())]] > step).all()


# ---- Triton kernels, on a GPU if there is one, else in Triton's interpreter ---------------------------


@pytest.fixture
def triton_device(monkeypatch):
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        return torch.device("cuda")
    monkeypatch.setattr(kernels, "INTERPRETED", True)
    return torch.device("cpu")


@pytest.mark.parametrize("counts", [[3, 3, 2, 1], [2]], ids=str)
@pytest.mark.parametrize("sizes", [(6, 11, 7, 3), (4, 32, 16, 4), (3, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("variant", ["released", "ha2017"])
def test_triton_kernels_equal_the_cell(variant, sizes, counts, triton_device, monkeypatch):
    cell, strokes, z, state = case(variant, sizes, counts, torch.float32)
    cell.to(triton_device)
    strokes, z, *state = (leaf.detach().to(triton_device).requires_grad_() for leaf in (strokes, z, *state))
    leaves = [strokes, z, *state, *cell.parameters()]
    assert sequence.triton_module("sketchembed.networks.hyperlstm.hyperlstm_triton", strokes)
    got, got_last = run_sequence(cell, strokes, z, HyperState(*state), counts)
    weight = torch.randn_like(got)
    gradients = torch.autograd.grad((got * weight).sum(), leaves)
    oracle = copy.deepcopy(cell).double().cpu()
    exact = [leaf.detach().double().cpu().requires_grad_() for leaf in (strokes, z, *state)]
    wanted, last = step_by_step(oracle, *exact[:2], exact[2:], counts)
    expected = torch.autograd.grad((wanted * weight.double().cpu()).sum(), [*exact, *oracle.parameters()])
    for one, other in zip((got, *got_last), (wanted, *last), strict=True):
        torch.testing.assert_close(one.double().cpu(), other, rtol=0, atol=2e-5)
    for name, one, other in zip(
        ["strokes", "z", "h", "g", "c", "d", *dict(cell.named_parameters())],
        gradients,
        expected,
        strict=True,
    ):
        error = float((one.double().cpu() - other).abs().max())
        assert error < 1e-4 * float(other.abs().max()) + 1e-6, f"{name}: {error}"


def test_kernel_choice_depends_on_device_and_dtype(monkeypatch):
    like = torch.zeros(1)
    assert "no kernels for cpu" in kernels.why_not_triton(like.device)
    monkeypatch.setattr(kernels, "INTERPRETED", True)
    monkeypatch.setattr(kernels, "_has_triton", lambda: False)
    assert "Triton is not installed" in kernels.why_not_triton(like.device)
    monkeypatch.setattr(kernels, "_has_triton", lambda: True)
    assert kernels.why_not_triton(like.device, torch.float64).endswith("not in float64")
    assert kernels.triton_module("sketchembed.networks.hyperlstm.hyperlstm_triton", like.double()) is None
