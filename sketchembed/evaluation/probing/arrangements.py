"""Pictures composed of people's circles and squares, with the truth about how they were composed.

*Source*: paper section 6 and appendix F. The released code scaled pictures down and pasted them. Here the
strokes are scaled, moved to their place (:mod:`~sketchembed.evaluation.probing.layouts`) and drawn once, with
the pen that drew the training pictures, so a place may be a fraction of a pixel and the truth is never
rounded.

A composed drawing is not fitted to the canvas as a single one is: where it lies is the question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sketchembed.errors import DataError, check_known
from sketchembed.evaluation.pictures import Pictures
from sketchembed.evaluation.probing.layouts import CANVAS, RELATIONS, SHAPES, VARIABLES, Placed
from sketchembed.raster.rasterize import pen_coverage
from sketchembed.sketch import Sketch


@dataclass(frozen=True)
class Arrangements:
    """Composed drawings, and what is true of them.

    Attributes:
        name: key of :data:`~sketchembed.evaluation.probing.layouts.RELATIONS` or of ``VARIABLES`` there.
        sketches: in pixels of the canvas.
        truth: of a relation the class's number, int64 ``[n]``; of a variable its value, float64 ``[n]``.
        classes: names of a relation's classes; none for a variable.
        sources: int64 ``[n, 2]``, the circle and the square in the store that each is composed of; -1 for
            the one that it has not.
    """

    name: str
    sketches: list[Sketch]
    truth: np.ndarray
    classes: list[str]
    sources: np.ndarray

    def __len__(self) -> int:
        """Return the number of drawings."""
        return len(self.sketches)

    def images(self, size: int = CANVAS) -> Float[Tensor, "batch 1 size size"]:
        """Return a network's input: dark lines (0) of one pixel on white (1), one channel.

        Args:
            size: side in pixels; places scale with it.
        """
        return in_place(self.sketches, size)

    @classmethod
    def join(cls, parts: Sequence[Arrangements]) -> Arrangements:
        """Put sets of the same name together."""
        return cls(
            parts[0].name,
            [sketch for part in parts for sketch in part.sketches],
            np.concatenate([part.truth for part in parts]),
            parts[0].classes,
            np.concatenate([part.sources for part in parts]),
        )


class Composer:
    """Composes drawings of a store's circles and squares.

    Those that examples to learn from are made of are never those that examples to be tested on are made
    of: half of each class is for the one, half for the other. A drawing serves again only when all have.

    Args:
        pictures: where the shapes come from.
        seed: of the halves, and of all that follows.

    Raises:
        DataError: if there are fewer than two circles or squares.
    """

    def __init__(self, pictures: Pictures, seed: int = 0) -> None:
        self.pictures, self.seed = pictures, seed
        self.drawings: dict[str, dict[str, np.ndarray]] = {"train": {}, "test": {}}
        for shape in SHAPES:
            found = np.random.default_rng([seed, *shape.encode()]).permutation(pictures.select(shape))
            if len(found) < 2:
                raise DataError(
                    f"{pictures.store.path} has {len(found)} drawings of '{shape}'",
                    expected="at least 2, one to learn from and one to be tested on",
                    fix="Get more drawings of the class: `sketchembed data quickdraw`",
                )
            half = len(found) // 2
            self.drawings["train"][shape], self.drawings["test"][shape] = found[:half], found[half:]

    def relation(self, name: str, train: int, test: int) -> tuple[Arrangements, Arrangements]:
        """Compose examples of a relation: of each class as many as of another, in an order of chance.

        Args:
            name: key of :data:`~sketchembed.evaluation.probing.layouts.RELATIONS`.
            train: examples to learn from.
            test: examples to be tested on.

        Raises:
            ConfigError: if there is no such relation.
        """
        check_known("relation", name, RELATIONS)
        classes = RELATIONS[name]

        def make(part: str, count: int) -> Arrangements:
            random = self._random(name, part)
            truth = random.permutation(np.arange(count) % len(classes))
            layouts = [list(classes.values())[number] for number in truth]
            return self._compose(name, part, layouts, truth, list(classes), random)

        return make("train", train), make("test", test)

    def variable(self, name: str, train: int, test: int) -> tuple[Arrangements, Arrangements]:
        """Compose examples of a variable, uniform in its range.

        Args:
            name: key of :data:`~sketchembed.evaluation.probing.layouts.VARIABLES`.
            train: examples to learn from.
            test: examples to be tested on.

        Raises:
            ConfigError: if there is no such variable.
        """
        check_known("variable", name, VARIABLES)
        variable = VARIABLES[name]

        def make(part: str, count: int) -> Arrangements:
            random = self._random(name, part)
            truth = random.uniform(variable.low, variable.high, count)
            layouts = [variable.layout(float(value)) for value in truth]
            return self._compose(name, part, layouts, truth, [], random)

        return make("train", train), make("test", test)

    def _random(self, name: str, part: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, *f"{name} {part}".encode()])

    def _compose(
        self,
        name: str,
        part: str,
        layouts: Sequence[tuple[Placed, ...]],
        truth: np.ndarray,
        classes: list[str],
        random: np.random.Generator,
    ) -> Arrangements:
        count = len(layouts)
        chosen = {shape: _in_turn(self.drawings[part][shape], count, random) for shape in SHAPES}
        known: dict[int, Sketch] = {}
        sketches, sources = [], np.full((count, len(SHAPES)), -1)
        for number, layout in enumerate(layouts):
            for column, shape in enumerate(SHAPES):
                if any(placed.shape == shape for placed in layout):
                    sources[number, column] = index = int(chosen[shape][number])
                    if index not in known:
                        known[index] = Sketch.from_stroke3(self.pictures.store[index])
            drawings = {shape: known.get(int(sources[number, i])) for i, shape in enumerate(SHAPES)}
            sketches.append(compose(layout, {key: one for key, one in drawings.items() if one is not None}))
        return Arrangements(name, sketches, truth, classes, sources)


def _in_turn(drawings: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return `count` of the drawings, each as often as another, each round in an order of its own."""
    rounds = -(-count // len(drawings))
    return np.concatenate([random.permutation(drawings) for _ in range(rounds)] or [drawings[:0]])[:count]


def compose(layout: Sequence[Placed], drawings: Mapping[str, Sketch]) -> Sketch:
    """Put shapes in their places.

    Args:
        layout: what lies where.
        drawings: the drawing of each shape; a shape that lies in several places is the same drawing there.

    Returns:
        A drawing in pixels of the canvas.
    """
    strokes: list[np.ndarray] = []
    for placed in layout:
        fitted = drawings[placed.shape].fit(placed.side)
        shift = np.array([placed.x, placed.y]) - placed.side / 2
        strokes += [stroke + shift for stroke in fitted.strokes]
    return Sketch.from_strokes(strokes)


def in_place(sketches: Sequence[Sketch], size: int = CANVAS) -> Float[Tensor, "batch 1 size size"]:
    """Draw drawings where they are, as a network's input: dark lines (0) on white (1), one channel.

    Args:
        sketches: in pixels of a canvas of 28.
        size: side of the images in pixels; places scale with it, the pen stays one pixel wide.
    """
    images = [_drawn(sketches[first : first + 512], size) for first in range(0, len(sketches), 512)]
    return 1 - torch.cat(images or [torch.zeros(0, size, size)]).unsqueeze(1)


def _drawn(sketches: Sequence[Sketch], size: int) -> Tensor:
    longest = max(2, max(len(sketch) for sketch in sketches))
    points = np.zeros((len(sketches), longest, 2), dtype=np.float32)
    drawn = np.zeros((len(sketches), longest), dtype=bool)
    for row, sketch in enumerate(sketches):
        points[row, : len(sketch)] = sketch.points * (size / CANVAS)
        drawn[row, : len(sketch)] = ~sketch.lifted
    placed = torch.from_numpy(points)
    # The segment from each point to the next is drawn where the pen is not lifted after it.
    return pen_coverage(placed[:, :-1], placed[:, 1:], torch.from_numpy(drawn[:, :-1]), size)
