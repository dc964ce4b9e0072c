"""The paper's accuracies by weight of the pixel loss, by step, and by seed, from ``paper_sweeps.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from sketchembed.files.serialization import dataclass_from_dict, parse_yaml


@dataclass(frozen=True)
class PaperSeeds:
    """A table of accuracies over seeds 1 to 15 in percent, with means and half intervals as printed."""

    data: str
    encoder: str
    table: str
    settings: list[str]
    means: list[float]
    halves: list[float]
    rows: list[list[float]]


_TABLES = parse_yaml(resources.files(__package__).joinpath("paper_sweeps.yaml").read_text("utf-8"))

ALPHA_MAX: dict[float, tuple[float, float]] = {
    float(alpha): (mean, half) for alpha, (mean, half) in _TABLES["alpha_max"].items()
}
"""Table 3: 20-way 1-shot accuracy on Omniglot in percent and half of its 95 % interval, by alpha_max."""
OVER_STEPS: dict[float, list[float]] = {
    float(alpha): accuracies for alpha, accuracies in _TABLES["over_steps"].items()
}
"""Table 5: the same accuracy after 25,000, 50,000, ..., 300,000 steps, by alpha_max."""
_SEEDS = [dataclass_from_dict(PaperSeeds, one) for one in _TABLES["seeds"]]
SEEDS = {(table.data, table.encoder): table for table in _SEEDS}
"""Tables 9 to 11, by data set of the episodes and encoder."""
