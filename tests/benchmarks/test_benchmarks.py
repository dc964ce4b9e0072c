"""The benchmarks: their timing, and the equality of plain and fast versions."""

import json
import re
import time
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.cases import Case, drawings
from benchmarks.commands import Report, last_release, preset_task
from benchmarks.plain import plain_versions
from benchmarks.timing import Timing, peak_memory, product_rates, time_together
from sketchembed.networks.sketchembednet import ModelConfig
from sketchembed.runs.process import has_fast_bfloat16
from sketchembed.training import DrawingTask

CPU = torch.device("cpu")
CONFIG = ModelConfig(width=8, latent=12, hidden=16, hyper=8, embedding=2, mixtures=3, max_length=11)


def test_quartiles_match_numpy():
    times = [5.0, 1.0, 9.0, 2.5, 7.0, 3.0]
    timing = Timing.of(times)
    np.testing.assert_allclose(
        (timing.low, timing.median, timing.high), np.quantile(times, [0.25, 0.5, 0.75])
    )
    assert Timing.of([3.0]) == Timing(3.0, 3.0, 3.0, 1)


def test_functions_are_timed_in_turn():
    calls = []
    found = time_together({name: lambda name=name: calls.append(name) for name in "ab"}, 3, CPU)
    assert calls == ["a", "a", "b", "b", *"ababab"]
    assert found["a"].calls == 3


def test_peak_memory_counts_what_is_held_at_once():
    def one_after_the_other():
        for _ in range(3):
            torch.zeros(1_000_000)

    def together():
        return [torch.zeros(1_000_000) for _ in range(3)]

    assert 4e6 <= peak_memory(one_after_the_other, CPU) < 6e6
    assert 12e6 <= peak_memory(together, CPU) < 14e6


def test_rates_of_products_are_positive():
    rates = product_rates(CPU, size=64, rounds=1)
    assert rates.keys() == {"float32", *(["bfloat16"] if has_fast_bfloat16("cpu") else [])}
    assert min(rates.values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize(("skip_padding", "start"), [(False, "first point"), (True, "centre")])
def test_plain_and_fast_give_the_same_loss_curve(skip_padding, start):
    config = ModelConfig(**(CONFIG.to_dict() | {"start": start}))
    curves = np.zeros((2, 40, 2))  # [training version, step, computing version]; 0 is fast, 1 is plain
    differences = np.zeros((2, 40))  # relative difference of the gradients at equal weights
    for trained_by in range(2):
        torch.manual_seed(0)
        # In float32, a value that rounding moves across the threshold of a ReLU changes its gradient.
        task = DrawingTask(config, skip_padding=skip_padding).double()
        task.alpha = 0.3
        # SGD, because the gradients of biases before a batch norm are only rounding errors, and Adam would
        # turn these into full steps.
        optimizer = torch.optim.SGD(task.parameters(), 0.03)
        for step in range(40):
            rows = drawings(8, CONFIG.max_length, CPU, seed=step).double()
            losses = []
            for versions in (nullcontext(), plain_versions()):
                with versions:
                    generator = torch.Generator().manual_seed(step)
                    losses.append(task.losses(*task.pairs(rows), generator, with_pixels=True)[0].total)
            learning = [parameter for parameter in task.parameters() if parameter.requires_grad]
            gradients = [torch.autograd.grad(loss, learning) for loss in losses]
            fast, plain = (torch.cat([part.flatten() for part in gradient]) for gradient in gradients)
            differences[trained_by, step] = (fast - plain).norm() / plain.norm()
            for parameter, gradient in zip(learning, gradients[trained_by], strict=True):
                parameter.grad = gradient.clone()
            torch.nn.utils.clip_grad_value_(task.parameters(), 1.0)
            optimizer.step()
            curves[trained_by, step] = [loss.item() for loss in losses]
    # At equal weights loss and gradients are the same at every step. The fast raster neglects ink below 1e-9.
    np.testing.assert_allclose(curves[..., 0], curves[..., 1], rtol=1e-6)
    assert differences.max() < 1e-5
    # In separate trainings the rounding errors of the gradients grow, but the curve remains the same.
    fast, plain = curves[0, :, 0], curves[1, :, 1]
    np.testing.assert_allclose(fast[:10], plain[:10], rtol=1e-5)
    fast, plain = fast.reshape(5, 8).mean(1), plain.reshape(5, 8).mean(1)
    np.testing.assert_allclose(fast, plain, rtol=1e-2)
    assert fast[-1] < 0.9 * fast[0]


def test_preset_task_has_the_sizes_of_the_preset():
    task, batch = preset_task("paper")
    config = task.net.config
    assert (config.hidden, config.hyper, config.mixtures, config.max_length, batch) == (
        1024,
        512,
        30,
        64,
        256,
    )
    assert preset_task("cpu")[0].skip_padding


def test_rows_are_compared_with_the_last_release():
    version, before = last_release("cpu")
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert before["training step, 256/64, 256 x 40"]["fast"] > 1
    report = Report({}, {"float32": 1.0}, "cpu", "32-true")
    report.before = {"work": {"fast": 2.0}}
    report.add(Case("work", {"plain": lambda: time.sleep(0.02), "fast": lambda: time.sleep(0.005)}, 3), CPU)
    plain, fast = report.rows["work"]
    assert "since_release" not in plain
    assert fast["since_release"] == pytest.approx(fast["times_as_fast"] / 2, abs=0.01)
    assert f"the same, divided by that of {version}" in report.section("work")


def test_command_writes_the_times_of_all_versions(tmp_path, capsys):
    options = {"preset": "cpu", "batch": "2", "rounds": "1", "sample": "2", "precision": "32-true"}
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    main([*given, "--accelerator", "cpu", "--out", str(tmp_path / "bench")])
    found = json.loads((tmp_path / "bench.json").read_text())
    assert len(found["cases"]) == 8
    step = found["cases"]["training step, 256/64, 2 x 40"]
    assert [row["version"] for row in step] == ["plain modules", "fast"]
    assert step[0]["times_as_fast"] == 1
    # The operations are counted at the sizes that were timed.
    assert step[0]["gflop"] > 0.1
    assert step[1]["peak_megabytes"] > 1
    text = (tmp_path / "bench.md").read_text()
    assert "| plain modules |" in text
    assert "cores" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "rasters"), "there is no part 'rasters'"),
        (("--preset", "protonet"), "no drawing preset"),
        (("--preset", "sketchy-cpu"), "no drawing preset 'sketchy-cpu'"),
        (("--rounds", "0"), "rounds is 0"),
        (("--batch", "-1"), "batch is -1"),
    ],
)
def test_invalid_options_give_a_clear_error(options, message, capsys):
    with pytest.raises(SystemExit) as error:
        main(list(options))
    assert error.value.code == 2
    assert message in capsys.readouterr().err
