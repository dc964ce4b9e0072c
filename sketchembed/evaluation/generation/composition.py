"""Conceptual composition: arithmetic on embeddings of drawings, and drawings of the results.

*Source*: paper section 6 and figure 5-C; the released code's ``run_compositionality_exp.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from sketchembed.data.sources.quickdraw import class_names
from sketchembed.errors import DataError, check_range
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.generation.class_arithmetic import Weights, parse, written
from sketchembed.evaluation.models import Model
from sketchembed.evaluation.pictures import sketch_images
from sketchembed.reporting.grid import Content, Tile, grid_svg
from sketchembed.reporting.part import Cell, Drawings, Figure, Part, Table
from sketchembed.reporting.svg_elements import boxed
from sketchembed.sketch import Sketch

PAPER = "snowman - circle + square, television - square + circle"


def compose(
    context: EvaluationContext,
    expression: str = PAPER,
    examples: int = 50,
    shown: int = 6,
    temperature: float = 0.3,
) -> Part:
    """Drawings of sums of class embeddings (Fig. 5-C).

    Args:
        context: the models and the data.
        expression: a sum of classes such as "snowman - circle + square" or "0.5 * cat + 0.5 * t-shirt", or
            several separated by commas; the paper's two if not given. As the first argument it needs no
            --expression.
        examples: number of examples of each sum, each with other drawings of the classes.
        shown: number of examples in the figure: the first ones, not the best.
        temperature: temperature of the samples next to the greedy drawings.
    """
    check_range("examples", examples, 1)
    check_range("shown", shown, 1)
    check_range("temperature", temperature, 0)
    try:
        names = context.pictures.classes
    except DataError:
        for text in expression.split(","):  # an unknown class is reported before missing data
            parse(text, class_names())
        raise
    sums = [EmbeddingSum.of(context, parse(text, names), examples) for text in expression.split(",")]
    terms = max(len(one.weights) for one in sums)
    part = Part("compose", "Conceptual composition (Fig. 5-C)")
    rows: list[list[Tile | Content]] = []
    labels: list[str] = []
    headings: dict[int, str] = {}
    items = []
    for one in sums:
        headings[len(rows)] = one.text.replace(" - ", " − ")
        drawn = one.rows(context, min(shown, one.count), temperature)
        rows += [row.cells(one.weights, terms) for row in drawn]
        labels += [row.label for row in drawn]
        items += [row.item(one.text, temperature) for row in drawn]
        part.tables.append(_table(context, one, part.values))
    used = "; ".join(f"{one.text}: {one.count} drawings of each class" for one in sums)
    part.about = (
        "In each example, one drawing of each class is embedded (the mean of z), the embeddings are summed, "
        f"and the sum is decoded to a drawing. {used}, chosen from all parts of the data with seed "
        f"{context.seed}. A sum is longer than an embedding, so it is also decoded after scaling it to the "
        "mean norm of the embeddings. The last row of each sum uses the mean embedding of each class "
        "instead, and its operands are drawings decoded from these means."
    )
    title, heads = "Drawings of sums of embeddings", _heads(context, terms, temperature)
    svg = grid_svg(rows, names=labels, heads=heads, headings=headings, size=60)
    caption = (
        "Shaded: input drawings. Right of the equals sign: the sum of their embeddings decoded greedily, "
        f"then the scaled sum decoded greedily and sampled at temperature {temperature:g}. The first "
        "examples are shown, not the best."
    )
    part.figures.append(Figure("figure-5c-composition", title, svg, caption))
    part.drawings.append(Drawings(title, items))
    part.facts = {"examples": {one.text: one.count for one in sums}, "temperature": temperature}
    return part


def weighted_sum(
    weights: Mapping[str, float], z: Mapping[str, Float[Tensor, "batch latent"]]
) -> Float[Tensor, "batch latent"]:
    """Return the weighted sum of embeddings of classes, row by row."""
    total: Tensor = torch.stack([weight * z[name] for name, weight in weights.items()]).sum(dim=0)
    return total


def with_norm(z: Float[Tensor, "batch latent"], norm: float | int) -> Float[Tensor, "batch latent"]:
    """Scale embeddings to a given norm; zero stays zero."""
    return normalize(z) * norm


@dataclass
class FigureRow:
    """A row of the figure: an operand per class, and drawings and images of the sum.

    Operands are input drawings (`given`), or drawings decoded from class means.
    """

    label: str
    operands: dict[str, Sketch]
    given: bool
    drawn: list[Sketch]
    pictures: list[np.ndarray]

    def cells(self, weights: Weights, terms: int) -> list[Tile | Content]:
        """Return the operands with their signs, padded to a number of terms, and the results."""
        cells: list[Tile | Content] = [None, None] * (terms - len(weights))
        for number, (name, weight) in enumerate(weights.items()):
            sign = "−" if weight < 0 else "+" if number else ""
            factor = "" if abs(weight) == 1 else f"{abs(weight):.3g}×"
            cells += [f"{sign}{factor}" or None, Tile(self.operands[name], shaded=self.given)]
        return [*cells, "=", *self.drawn, *([None, *self.pictures] if self.pictures else [])]

    def item(self, text: str, temperature: float) -> dict[str, object]:
        """Return the row for the page that replays drawings, with the first operand as the input."""
        first = next(iter(self.operands.values()))
        samples = [
            {"temperature": used, "strokes": boxed(sketch)}
            for used, sketch in zip((0.0, 0.0, temperature), self.drawn, strict=True)
        ]
        return {"class": f"{text} ({self.label})", "seen": True, "input": boxed(first), "samples": samples}


@dataclass
class EmbeddingSum:
    """A sum of classes: its text, factors, and equally many drawings of each class."""

    text: str
    weights: Weights
    drawings: dict[str, np.ndarray]

    @classmethod
    def of(cls, context: EvaluationContext, weights: Weights, examples: int) -> EmbeddingSum:
        """Choose the drawings: the given number, or as many as the rarest class has.

        Raises:
            DataError: if a class has no drawings.
        """
        found = {name: context.pictures.select_up_to(name, examples, context.seed) for name in weights}
        count = min(len(chosen) for chosen in found.values())
        if not count:
            name = next(name for name, chosen in found.items() if not len(chosen))
            raise DataError(
                f"there is no drawing of '{name}'",
                expected="one or more",
                fix="Download the class, or name another",
            )
        # Chosen drawings are sorted; which ones form an example is random.
        random = np.random.default_rng(context.seed)
        drawings = {name: random.permutation(chosen)[:count] for name, chosen in found.items()}
        return cls(written(weights), weights, drawings)

    @property
    def count(self) -> int:
        """Number of drawings of each class."""
        return min(len(chosen) for chosen in self.drawings.values())

    def embedded(self, context: EvaluationContext, model: Model) -> dict[str, Float[Tensor, "batch latent"]]:
        """Return the embeddings of the drawings by class."""
        size = context.net.config.image_size
        return {
            name: context.embed(model, context.pictures.images(chosen, size))
            for name, chosen in self.drawings.items()
        }

    def totals(
        self,
        z: Mapping[str, Float[Tensor, "batch latent"]],
        operands: Mapping[str, Float[Tensor, "rows latent"]] | None = None,
    ) -> tuple[Float[Tensor, "rows latent"], Float[Tensor, "rows latent"]]:
        """Return the sum of the operands (by default `z`), and the sum scaled to the mean norm of `z`."""
        norm = float(torch.cat(list(z.values())).norm(dim=1).mean())
        total = weighted_sum(self.weights, operands or z)
        return total, with_norm(total, norm)

    def rows(self, context: EvaluationContext, count: int, temperature: float) -> list[FigureRow]:
        """Draw the first examples, and the sum of the class means."""

        def with_means(model: Model) -> tuple[dict[str, Tensor], list[Tensor]]:
            z = self.embedded(context, model)
            means = {name: found.mean(dim=0, keepdim=True) for name, found in z.items()}
            pairs = zip(self.totals(z), self.totals(z, means), strict=True)
            return means, [torch.cat([total[:count], of_means]) for total, of_means in pairs]

        means, (total, usual) = with_means(context.model)
        drawn = [context.decode(total), context.decode(usual), context.decode(usual, temperature)]
        pictures: list[np.ndarray] = []
        if context.baseline:
            pictures = [context.decode_baseline(z) for z in with_means(context.baseline)[1]]
        operands = {
            name: [*context.pictures.sketches(chosen[:count]), *context.decode(means[name])]
            for name, chosen in self.drawings.items()
        }
        return [
            FigureRow(
                f"{number + 1}" if number < count else f"means\nof {self.count}",
                {name: sketches[number] for name, sketches in operands.items()},
                number < count,
                [sketches[number] for sketches in drawn],
                [picture[number] for picture in pictures],
            )
            for number in range(count + 1)
        ]


def _heads(context: EvaluationContext, terms: int, temperature: float) -> list[str]:
    heads = [*["drawings of the classes"] * (2 * terms), "", "sum\nτ = 0", "scaled\nτ = 0"]
    heads.append(f"scaled\nτ = {temperature:g}")
    return [*heads, "", "Conv-VAE\nsum", "Conv-VAE\nscaled"] if context.baseline else heads


def _table(context: EvaluationContext, one: EmbeddingSum, values: dict[str, float]) -> Table:
    """Embed the drawings of sums, and compare them with the class means and with the sums."""
    rows: list[list[Cell]] = []
    for model in context.models:
        draws = model is context.model
        z = one.embedded(context, model)
        total, usual = one.totals(z)
        first = next(iter(z))
        targets = {f"{first}, unchanged": z[first], "sum": total, "scaled sum": usual}
        for what, target in targets.items():
            images = (
                sketch_images(context.decode(target), context.net.config.image_size)
                if draws
                else torch.from_numpy(context.decode_baseline(target))
            )
            again = context.embed(model, images)
            near = [float(cosine_similarity(again, z[name].mean(0, keepdim=True)).mean()) for name in z]
            faith = float(cosine_similarity(again, target).mean())
            rows.append([f"{model.name}: {what}, {'drawing' if draws else 'image'}", *near, faith])
            stem = f"{one.text}/{model.network.kind}/{what}"
            values |= {f"{stem}/{name}": value for name, value in zip(z, near, strict=True)}
            values[f"{stem}/target"] = faith
    return Table(
        f"{one.text}: embeddings of the results",
        ["", *(f"cosine to {name}" for name in one.weights), "cosine to decoded embedding"],
        rows,
        note="Results are embedded again. The cosine to a class is that to the mean embedding of its "
        "drawings. Each model is measured in its own space.",
    )
