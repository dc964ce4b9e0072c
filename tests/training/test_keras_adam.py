import copy

import numpy as np
import torch

from sketchembed.training.keras_adam import KerasAdam

RATE, FIRST, SECOND, EPSILON = 1e-2, 0.9, 0.999, 1e-7


def keras(gradients):
    """Return the parameters after each step by the formulas of Keras' documentation, from zero."""
    value = mean = square = np.zeros_like(gradients[0])
    out = []
    for step, gradient in enumerate(gradients, 1):
        mean = FIRST * mean + (1 - FIRST) * gradient
        square = SECOND * square + (1 - SECOND) * gradient**2
        rate = RATE * np.sqrt(1 - SECOND**step) / (1 - FIRST**step)
        value = value - rate * mean / (np.sqrt(square) + EPSILON)
        out.append(value)
    return np.stack(out)


def run(gradients, optimizer, parameter):
    out = []
    for gradient in gradients:
        parameter.grad = None if gradient is None else torch.from_numpy(gradient).clone()
        optimizer.step()
        out.append(parameter.detach().clone().numpy())
    return np.stack(out)


def started():
    parameter = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    return KerasAdam([parameter], lr=RATE), parameter


def small_gradients(steps):
    # Of the size of epsilon, where its place matters.
    return list(np.random.default_rng(0).normal(size=(steps, 5)) * np.logspace(-8, -3, 5))


def test_steps_follow_kerass_formulas():
    gradients = small_gradients(6)
    np.testing.assert_allclose(run(gradients, *started()), keras(gradients), rtol=1e-12)
    parameter = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    plain = run(gradients, torch.optim.Adam([parameter], lr=RATE, eps=EPSILON), parameter)
    assert np.abs(plain / keras(gradients) - 1).max() > 0.1


def test_skipped_step_is_not_counted():
    gradients = small_gradients(4)
    with_gap = run([*gradients[:2], None, *gradients[2:]], *started())
    np.testing.assert_allclose(np.delete(with_gap, 2, axis=0), keras(gradients), rtol=1e-12)


def test_restored_optimizer_continues_with_the_same_steps():
    gradients = small_gradients(6)
    optimizer, parameter = started()
    run(gradients[:3], optimizer, parameter)
    again, restored = started()
    restored.data.copy_(parameter.data)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    np.testing.assert_allclose(run(gradients[3:], again, restored), keras(gradients)[3:], rtol=1e-12)
