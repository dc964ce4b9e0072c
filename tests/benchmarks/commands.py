"""`make bench`: time every part of the work against a plain version."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.timing import peak_memory, product_rates, time_together
from sketchembed._version import __version__
from sketchembed.data.augmentation import Augmentation
from sketchembed.errors import ConfigError, check_known
from sketchembed.losses import PixelLoss
from sketchembed.networks.sketchembednet import ModelConfig
from sketchembed.runs.process import allow_tf32, has_fast_bfloat16, tune_process
from sketchembed.training.drawing import DrawingTask
from sketchembed.training.presets import PRESETS, read_preset

RELEASES = Path(__file__).with_name("releases")
"""VERSION.json: how many times as fast as the plain version each row was in a release, by preset and case.
A new release adds its file, from the JSON that ``make bench`` writes."""
PARTS = ("decoder", "step", "sampling", "raster", "loading", "fewshot")


def bench(
    preset: str = "auto",
    batch: int | None = None,
    rounds: int = 5,
    only: str = ",".join(PARTS),
    precision: Literal["auto", "bf16-mixed", "32-true"] = "auto",
    accelerator: Literal["auto", "cpu", "cuda"] = "auto",
    sample: int = 1000,
    out: Path = Path("results/bench"),
) -> None:
    """Time every part of the work against a plain version.

    Args:
        preset: gives the sizes: paper, cpu, omniglot, …; auto is cpu on a CPU and paper on a GPU.
        batch: drawings in a batch; default: the preset's.
        rounds: timed calls of each version.
        only: comma-separated parts: decoder, step, sampling, raster, loading, fewshot.
        precision: of matrix products; auto is bf16-mixed on machines with fast bfloat16 products.
        accelerator: auto, cpu or cuda.
        sample: number of drawings to sample together.
        out: the report's path, without a suffix.
    """
    tune_process()
    allow_tf32()
    wanted = [name for name in only.split(",") if name]
    for name in wanted:
        check_known("part", name, PARTS)
    for option, number in (("batch", batch), ("rounds", rounds), ("sample", sample)):
        if number is not None and number < 1:
            raise ConfigError(f"{option} is {number}", expected="1 or more", fix="Correct it")
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "there is no CUDA device", expected="one, for accelerator cuda", fix="Choose cpu or auto"
        )
    cuda = accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available())
    device = torch.device("cuda" if cuda else "cpu")
    if preset == "auto":
        preset = "paper" if cuda else "cpu"
    task, usual = preset_task(preset)
    task.to(device)
    size = batch or usual
    if precision == "auto":
        precision = "bf16-mixed" if has_fast_bfloat16(device.type) else "32-true"
    rates = product_rates(device)
    report = Report(_machine(device), rates, preset, precision)
    for case in _cases(task, wanted, size, device, precision, rounds, sample):
        report.add(case, device)
        print(report.section(case.name), flush=True)
    for path in report.write(out):
        print(path)


def preset_task(preset: str) -> tuple[DrawingTask, int]:
    """Return a preset's task with new weights, and its batch size.

    Raises:
        ConfigError: if the preset does not exist, or does not train on drawings.
    """
    check_known("drawing preset", preset, [name for name in PRESETS if _draws(name)])
    merged = read_preset(preset)
    options, data = dict(merged["model"]["init_args"]), merged["data"]["init_args"]
    network = ModelConfig(**options.pop("network") | {"max_length": data["max_length"]})
    pixel_loss = PixelLoss(**options.pop("pixel_loss", {}))
    for name in ("augmentation", "input_augmentation"):
        options[name] = Augmentation(**(options.get(name) or {}))
    torch.manual_seed(0)
    task = DrawingTask(network, pixel_loss=pixel_loss, **options)
    return task, int(data["batch_size"])


def _draws(preset: str) -> bool:
    """Return whether a preset trains on drawings; the others are baselines or train on photos."""
    return bool(read_preset(preset)["model"]["class_path"] == DrawingTask.__name__)


def _cases(
    task: DrawingTask,
    wanted: list[str],
    batch: int,
    device: torch.device,
    precision: str,
    rounds: int,
    sample: int,
) -> Iterator[Case]:
    if "decoder" in wanted:
        yield from cases.recurrent(task, batch, device, precision, rounds)
    if "step" in wanted:
        yield from cases.whole_step(task, batch, device, precision, rounds)
    if "sampling" in wanted:
        yield from cases.sampling(task, device, sample, rounds)
    if "raster" in wanted:
        yield from cases.pictures(device, rounds)
    if "loading" in wanted:
        yield from cases.loading(batch, task.net.config.max_length, rounds)
    if "fewshot" in wanted:
        yield from cases.few_shot(device, rounds)


class Report:
    """The measured times, as Markdown and JSON.

    Args:
        machine: facts about the machine.
        rates: rates of the machine's matrix products, GFLOP/s by precision.
        preset: name of the preset that gave the sizes.
        precision: of the matrix products.
    """

    def __init__(self, machine: dict[str, Any], rates: dict[str, float], preset: str, precision: str) -> None:
        self.machine, self.rates, self.preset, self.precision = machine, rates, preset, precision
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.release, self.before = last_release(preset)

    def add(self, case: Case, device: torch.device) -> None:
        """Time a case and add its rows."""
        times = time_together(case.versions, case.rounds, device)
        first = next(iter(times))
        flops = _operations(case.versions[first]) if case.operations else None
        rate = self.rates["bfloat16" if self.precision == "bf16-mixed" else "float32"]
        self.rows[case.name] = []
        for name, timing in times.items():
            each = timing.median / case.per_call.get(name, 1)
            row: dict[str, Any] = {
                "version": name,
                "milliseconds": [round(value, 3) for value in (timing.median, timing.low, timing.high)],
                "calls": timing.calls,
                "times_as_fast": round(times[first].median / case.per_call.get(first, 1) / each, 2),
            }
            if before := self.before.get(case.name, {}).get(name):
                row["since_release"] = round(row["times_as_fast"] / before, 2)
            if name in case.per_call:
                row["per_second"] = round(1000 / each, 1)
                row["unit"] = case.unit
            if flops is not None and name != "nn.LSTM":
                row["gflop"] = round(flops / 1e9, 1)
                row["share_of_product_rate"] = round(flops / 1e6 / timing.median / rate, 3)
            if case.memory:
                row["peak_megabytes"] = round(peak_memory(case.versions[name], device) / 1e6, 1)
            self.rows[case.name].append(row)

    def section(self, name: str) -> str:
        """Return the table of a case."""
        rows = self.rows[name]
        columns = {"version": "", "time": "ms, median (quartiles)", "times_as_fast": "times as fast"}
        if any("since_release" in row for row in rows):
            columns["since_release"] = f"the same, divided by that of {self.release}"
        if any("per_second" in row for row in rows):
            columns["per_second"] = f"{rows[0].get('unit', '')} a second"
        if any("gflop" in row for row in rows):
            columns |= {"gflop": "GFLOP", "share_of_product_rate": "share of the product rate"}
        if any("peak_megabytes" in row for row in rows):
            columns["peak_megabytes"] = "peak MB"
        lines = [f"**{name}**", "", "| " + " | ".join(columns.values()) + " |", "|---" * len(columns) + "|"]
        for row in rows:
            median, low, high = row["milliseconds"]
            shown = row | {"time": f"{median:.4g} ({low:.4g} to {high:.4g})"}
            lines.append("| " + " | ".join(f"{shown.get(key, '')}" for key in columns) + " |")
        return "\n".join([*lines, ""])

    def markdown(self) -> str:
        """Return the facts about the machine and all tables."""
        lines = [f"`make bench --preset {self.preset}`, version {__version__}, {self.precision}.", ""]
        lines += [f"* {key}: {value}" for key, value in self.machine.items()]
        rates = ", ".join(f"{rate:,.0f} in {name}" for name, rate in self.rates.items())
        lines += [f"* matrix products, 2048 x 2048, GFLOP/s: {rates}", ""]
        return "\n".join([*lines, *(self.section(name) for name in self.rows)])

    def write(self, out: Path) -> list[Path]:
        """Write ``OUT.md`` and ``OUT.json``."""
        out.parent.mkdir(parents=True, exist_ok=True)
        values = {
            "version": __version__,
            "preset": self.preset,
            "precision": self.precision,
            "machine": self.machine,
            "gflops": self.rates,
            "cases": self.rows,
        }
        written = []
        for suffix, text in ((".md", self.markdown()), (".json", json.dumps(values, indent=1))):
            path = out.with_name(out.name + suffix)
            path.write_text(text)
            written.append(path)
        return written


def last_release(preset: str) -> tuple[str, dict[str, dict[str, float]]]:
    """Return the last release and how many times as fast its rows were, by case and version; see RELEASES."""
    newest = max(RELEASES.glob("*.json"), key=lambda path: [int(part) for part in path.stem.split(".")])
    return newest.stem, json.loads(newest.read_text())["presets"].get(preset, {})


def _operations(function: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return int(counter.get_total_flops())


def _machine(device: torch.device) -> dict[str, Any]:
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = names[0].partition(":")[2].strip() if names else name
    about = {
        "processor": f"{name}, {len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    if device.type == "cuda":
        about["device"] = torch.cuda.get_device_name()
    return about
