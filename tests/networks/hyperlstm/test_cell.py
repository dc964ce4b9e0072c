"""Compare the HyperLSTM cell with its equations, written in NumPy gate by gate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sketchembed.networks.hyperlstm.cell import HyperLSTMCell, HyperState

INPUTS, HIDDEN, HYPER, EMBEDDING = 4, 6, 5, 3
GATES = "ijfo"


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normalise(x, gain, bias):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-3) * gain + bias


def reference_step(cell: HyperLSTMCell, x, h, g, c, d):
    """Return the state after one step, with the weights split by gate."""
    weights = {name: value.detach().numpy() for name, value in cell.named_parameters()}
    released = cell.variant == "released"

    def gate(matrix, number, size):
        return matrix[number * size : (number + 1) * size]

    # The hyper-network: an LSTM that reads the input and the main output.
    hyper = {}
    for number, name in enumerate(GATES):
        total = (
            x @ gate(weights["hyper_input.weight"], number, HYPER).T
            + h @ gate(weights["hyper_from_main.weight"], number, HYPER).T
            + g @ gate(weights["hyper_recurrent.weight"], number, HYPER).T
        )
        row = 0 if released else number
        hyper[name] = normalise(total, weights["hyper_norm.weight"][row], weights["hyper_norm.bias"][row])
    new_d = d * sigmoid(hyper["f"] + 1) + sigmoid(hyper["i"]) * np.tanh(hyper["j"])
    if released:
        normal = normalise(new_d, weights["hyper_norm.weight"][0], weights["hyper_norm.bias"][0])
        new_g, code = np.tanh(normal) + sigmoid(hyper["o"]), new_d
    else:
        normal = normalise(new_d, weights["hyper_cell_norm.weight"], weights["hyper_cell_norm.bias"])
        new_g = np.tanh(normal) * sigmoid(hyper["o"])
        code = new_g

    # Twelve small linear maps. Each gate has a scale of W x, a scale of U h and an offset.
    def small(number):
        out = code @ gate(weights["embed.weight"], number, EMBEDDING).T
        if number < 8:
            out = out + weights["embed_bias"][number * EMBEDDING : (number + 1) * EMBEDDING]
        return out @ weights["expand"][number]

    gates = {}
    for number, name in enumerate(GATES):
        part_x = x @ gate(weights["main_input.weight"], number, HIDDEN).T
        part_h = h @ gate(weights["main_recurrent.weight"], number, HIDDEN).T
        bias = weights["main_bias"][number * HIDDEN : (number + 1) * HIDDEN]
        gates[name] = small(number) * part_x + small(4 + number) * part_h + small(8 + number) + bias
    if released:
        joint = np.concatenate([gates[name] for name in GATES], -1)
        joint = normalise(joint, weights["main_norm.weight"], weights["main_norm.bias"])
        gates = dict(zip(GATES, np.split(joint, 4, -1), strict=True))
    else:
        for number, name in enumerate(GATES):
            gain, bias = weights["main_norm.weight"][number], weights["main_norm.bias"][number]
            gates[name] = normalise(gates[name], gain, bias)
    new_c = c * sigmoid(gates["f"] + 1) + sigmoid(gates["i"]) * np.tanh(gates["j"])
    normal = normalise(new_c, weights["cell_norm.weight"], weights["cell_norm.bias"])
    return np.tanh(normal) * sigmoid(gates["o"]), new_g, new_c, new_d


@pytest.mark.parametrize("variant", ["ha2017", "released"])
def test_steps_equal_the_equations(variant):
    torch.manual_seed(0)
    cell = HyperLSTMCell(INPUTS, HIDDEN, HYPER, EMBEDDING, variant).double()
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter)
    state = HyperState(*(torch.randn(7, size, dtype=torch.float64) for size in (HIDDEN, HYPER) * 2))
    expected = [part.numpy() for part in state]
    for _ in range(3):
        x = torch.randn(7, INPUTS, dtype=torch.float64)
        state = cell(x, state)
        expected = reference_step(cell, x.numpy(), *expected)
        for ours, theirs in zip(state, expected, strict=True):
            np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("variant", ["ha2017", "released"])
def test_initial_scales_and_offsets(variant):
    cell = HyperLSTMCell(INPUTS, HIDDEN, HYPER, EMBEDDING, variant)
    scale_x, scale_h, add = cell.modulation(torch.randn(7, HYPER))
    assert scale_x.shape == scale_h.shape == add.shape == (7, 4 * HIDDEN)
    torch.testing.assert_close(scale_x, torch.full((7, 4 * HIDDEN), 0.1))
    torch.testing.assert_close(scale_h, torch.full((7, 4 * HIDDEN), 0.1))
    assert (add != 0).any().item() is (variant == "released")


def test_parameter_count_of_the_released_cell():
    cell = HyperLSTMCell(261, 1024, 512, 64, "released")
    ours = sum(parameter.numel() for parameter in cell.parameters())
    # The released cell has 10,143,232. Its additive maps also have biases (1024 per gate). They change
    # nothing that this cell could not do, since they are only added to the biases of the gates.
    assert ours == 10_143_232 - 4 * 1024


def test_ha2017_has_a_norm_for_each_gate_and_cell():
    counts = {
        variant: sum(
            parameter.numel() for parameter in HyperLSTMCell(261, 1024, 512, 64, variant).parameters()
        )
        for variant in ("ha2017", "released")
    }
    assert counts["ha2017"] - counts["released"] == 2 * 512 * 4


@pytest.mark.parametrize("variant", ["ha2017", "released"])
def test_state_stays_float32_under_autocast(variant):
    torch.manual_seed(0)
    cell = HyperLSTMCell(INPUTS, HIDDEN, HYPER, EMBEDDING, variant)
    state = HyperState(*(torch.zeros(7, size) for size in (HIDDEN, HYPER, HIDDEN, HYPER)))
    x = torch.randn(7, INPUTS)
    plain = cell(x, state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = cell(x, state)
    for ours, exact in zip(low, plain, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, exact, atol=0.03, rtol=0.03)


def test_recurrent_weights_start_orthogonal():
    cell = HyperLSTMCell(INPUTS, HIDDEN, HYPER, EMBEDDING)
    for weight in (cell.main_recurrent.weight, cell.hyper_recurrent.weight):
        torch.testing.assert_close(weight.T @ weight, torch.eye(weight.shape[1]), atol=1e-5, rtol=0)
