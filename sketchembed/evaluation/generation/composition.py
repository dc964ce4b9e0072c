"""Conceptual composition: arithmetic on the embeddings of drawings, and what is drawn of the result.

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

from sketchembed.errors import ConfigError, DataError
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.generation.class_arithmetic import Weights, parse, written
from sketchembed.evaluation.models import Model
from sketchembed.evaluation.pictures import rasters
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
    """Draw what arithmetic on the embeddings of classes gives (Fig. 5-C).

    Args:
        context: the model and what stands beside it.
        expression: of classes, as "snowman - circle + square" or "0.5 * (cat + 't-shirt')"; several with
            commas between them; the paper's two if not given. It may come first and without --expression.
        examples: how often it is done, each time with another drawing of each class.
        shown: how many of these are in the figure: the first ones, not the best.
        temperature: of the samples beside the greedy drawings.
    """
    if min(examples, shown) < 1:
        raise ConfigError(
            f"examples is {examples} and shown is {shown}",
            expected="1 or more",
            fix="The defaults are 50 and 6",
        )
    names = context.pictures.classes
    sums = [Sum.of(context, parse(text, names), examples) for text in expression.split(",")]
    terms = max(len(one.weights) for one in sums)
    part = Part("compose", "Conceptual composition (Fig. 5-C)")
    rows: list[list[Tile | Content]] = []
    labels: list[str] = []
    headings: dict[int, str] = {}
    items = []
    for one in sums:
        headings[len(rows)] = one.text.replace(" - ", " − ")
        drawn = one.shown(context, min(shown, one.count), temperature)
        rows += [row.cells(one.weights, terms) for row in drawn]
        labels += [row.label for row in drawn]
        items += [row.item(one.text) for row in drawn]
        part.tables.append(_table(context, one, part.values))
    used = "; ".join(f"{one.text}: {one.count} drawings of each class" for one in sums)
    part.about = (
        "A drawing of each class is embedded (the mean of z), the embeddings are summed as the expression "
        f"says, and the sum is drawn. {used}; chosen from all parts of the data by seed {context.seed}. A "
        "sum of embeddings is longer than an embedding is, so it is drawn a second time, scaled to the mean "
        "length of the operands' embeddings. The last row of each expression takes each class's mean "
        "embedding instead, and its operands are what the model draws of those."
    )
    part.figures.append(
        Figure(
            "figure-5c-composition",
            "Arithmetic on embeddings, drawn",
            grid_svg(
                rows, names=labels, heads=_heads(context, terms, temperature), headings=headings, size=60
            ),
            "Shaded: drawings given. Then the sum of their embeddings, drawn greedily; and at the usual "
            f"length, drawn greedily and sampled at temperature {temperature:g}. These are the first, "
            "not the best.",
        )
    )
    part.drawings.append(Drawings("Arithmetic on embeddings", items))
    part.facts = {"examples": {one.text: one.count for one in sums}, "temperature": temperature}
    return part


def combined(
    weights: Mapping[str, float], z: Mapping[str, Float[Tensor, "batch latent"]]
) -> Float[Tensor, "batch latent"]:
    """Return the weighted sum of embeddings.

    Args:
        weights: of each class.
        z: embeddings of each class, row by row.
    """
    total: Tensor = torch.stack([weight * z[name] for name, weight in weights.items()]).sum(dim=0)
    return total


def scaled(z: Float[Tensor, "batch latent"], length: float | int) -> Float[Tensor, "batch latent"]:
    """Return embeddings in the same directions, all of one length; zero stays zero."""
    return normalize(z) * length


@dataclass
class Row:
    """A line of the figure: operands and results."""

    label: str
    operands: dict[str, Sketch]
    given: bool
    drawn: list[Sketch]
    temperatures: list[float]
    pictures: list[np.ndarray]

    def cells(self, weights: Weights, terms: int) -> list[Tile | Content]:
        """Return the operands with their signs before the results; as if there were `terms` operands."""
        cells: list[Tile | Content] = [None, None] * (terms - len(weights))
        for number, (name, weight) in enumerate(weights.items()):
            sign = "−" if weight < 0 else "+" if number else ""
            factor = "" if abs(weight) == 1 else f"{abs(weight):.3g}×"
            cells += [f"{sign}{factor}" or None, Tile(self.operands[name], shaded=self.given)]
        return [*cells, "=", *self.drawn, *([None, *self.pictures] if self.pictures else [])]

    def item(self, text: str) -> dict[str, object]:
        """Return the row for a page that replays drawings, the first operand being the input."""
        first = next(iter(self.operands.values()))
        samples = [
            {"temperature": temperature, "strokes": boxed(sketch)}
            for temperature, sketch in zip(self.temperatures, self.drawn, strict=True)
        ]
        return {"class": f"{text} ({self.label})", "seen": True, "input": boxed(first), "samples": samples}


@dataclass
class Sum:
    """An expression and the drawings that it is done with.

    Attributes:
        text: of the expression.
        weights: of each class.
        drawings: of each class, indices in the store, equally many.
    """

    text: str
    weights: Weights
    drawings: dict[str, np.ndarray]

    @classmethod
    def of(cls, context: EvaluationContext, weights: Weights, examples: int) -> Sum:
        """Choose the drawings, as many of each class as of the rarest.

        Raises:
            DataError: if there are none of a class.
        """
        found = {name: context.pictures.up_to(name, examples, context.seed) for name in weights}
        count = min(len(chosen) for chosen in found.values())
        if not count:
            name = next(name for name, chosen in found.items() if not len(chosen))
            raise DataError(
                f"there is no drawing of '{name}'",
                expected="one or more",
                fix="Fetch the class, or name another",
            )
        # Chosen drawings are in the store's order; which goes with which is left to chance.
        random = np.random.default_rng(context.seed)
        return cls(
            written(weights),
            weights,
            {name: random.permutation(chosen)[:count] for name, chosen in found.items()},
        )

    @property
    def count(self) -> int:
        """How many drawings there are of each class."""
        return min(len(chosen) for chosen in self.drawings.values())

    def embedded(self, context: EvaluationContext, model: Model) -> dict[str, Float[Tensor, "batch latent"]]:
        """Return the embeddings of the drawings of each class."""
        size = context.net.config.image_size
        return {
            name: context.embed(model, context.pictures.images(chosen, size))
            for name, chosen in self.drawings.items()
        }

    def asked(
        self,
        z: Mapping[str, Float[Tensor, "batch latent"]],
        operands: Mapping[str, Float[Tensor, "rows latent"]] | None = None,
    ) -> tuple[Float[Tensor, "rows latent"], Float[Tensor, "rows latent"]]:
        """Return the sum of operands, and the sum at the length that embeddings of drawings have on average.

        Args:
            z: embeddings of the drawings of each class.
            operands: what is summed; these embeddings if not given.
        """
        length = float(torch.cat(list(z.values())).norm(dim=1).mean())
        total = combined(self.weights, operands or z)
        return total, scaled(total, length)

    def shown(self, context: EvaluationContext, count: int, temperature: float) -> list[Row]:
        """Return the first examples and the sum of the classes' means, drawn."""
        z = self.embedded(context, context.model)
        means = {name: found.mean(dim=0, keepdim=True) for name, found in z.items()}
        # The usual length is that of drawings, also for means, which are shorter.
        total, usual = (
            torch.cat([one[:count], mean])
            for one, mean in zip(self.asked(z), self.asked(z, means), strict=True)
        )
        drawn = [context.decode(total), context.decode(usual), context.decode(usual, temperature)]
        pictures: list[np.ndarray] = []
        if context.baseline:
            beside = self.embedded(context, context.baseline)
            its = {name: found.mean(dim=0, keepdim=True) for name, found in beside.items()}
            pictures = [
                context.pictured(torch.cat([one[:count], mean]))
                for one, mean in zip(self.asked(beside), self.asked(beside, its), strict=True)
            ]
        operands = {
            name: [*context.pictures.sketches(chosen[:count]), *context.decode(means[name])]
            for name, chosen in self.drawings.items()
        }
        return [
            Row(
                f"{number + 1}" if number < count else f"means\nof {self.count}",
                {name: sketches[number] for name, sketches in operands.items()},
                number < count,
                [sketches[number] for sketches in drawn],
                [0.0, 0.0, temperature],
                [picture[number] for picture in pictures],
            )
            for number in range(count + 1)
        ]


def _heads(context: EvaluationContext, terms: int, temperature: float) -> list[str]:
    heads = [*["drawings of the classes"] * (2 * terms), "", "sum\nτ = 0", "scaled\nτ = 0"]
    heads.append(f"scaled\nτ = {temperature:g}")
    return [*heads, "", "Conv-VAE\nsum", "Conv-VAE\nscaled"] if context.baseline else heads


def _table(context: EvaluationContext, one: Sum, values: dict[str, float]) -> Table:
    """Embed what was drawn of the results, and compare it with the classes' means and with what was asked."""
    rows: list[list[Cell]] = []
    for model in context.both:
        draws = model is context.model
        z = one.embedded(context, model)
        total, usual = one.asked(z)
        first = next(iter(z))
        asked = {f"{first}, as it is": z[first], "the sum": total, "the sum, scaled": usual}
        for what, target in asked.items():
            images = (
                rasters(context.decode(target), context.net.config.image_size)
                if draws
                else torch.from_numpy(context.pictured(target))
            )
            again = context.embed(model, images)
            near = [float(cosine_similarity(again, z[name].mean(0, keepdim=True)).mean()) for name in z]
            faith = float(cosine_similarity(again, target).mean())
            kind = "drawn" if draws else "picture"
            rows.append([f"{model.name}: {what}, {kind}", *near, faith])
            stem = f"{one.text}/{model.network.kind}/{what}"
            values |= {f"{stem}/{name}": value for name, value in zip(z, near, strict=True)}
            values[f"{stem}/asked"] = faith
    return Table(
        f"{one.text}: what was drawn, embedded again",
        ["", *(f"cosine to {name}" for name in one.weights), "cosine to what was asked"],
        rows,
        note="To a class: to the mean embedding of its drawings. Each model is measured in its own space.",
    )
