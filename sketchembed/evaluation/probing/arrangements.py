"""Images composed of hand-drawn circles and squares, labelled with their layout.

*Source*: paper section 6 and appendix F. The released code scales images down and pastes them. Here the
strokes are scaled, moved and rasterized once, like training images, so labels are exact. A composed drawing
is not fitted to the canvas, because its position is what the probes predict.
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
    """Composed drawings of a relation or variable, in pixels of the canvas.

    Attributes:
        targets: class numbers of a relation, int64 ``[n]``, or values of a variable, float64 ``[n]``.
        classes: class names of a relation; empty for a variable.
        sources: int64 ``[n, 2]``, indices of the circle and square of each drawing in the store; -1 for none.
    """

    name: str
    sketches: list[Sketch]
    targets: np.ndarray
    classes: list[str]
    sources: np.ndarray

    def __len__(self) -> int:
        """Return the number of drawings."""
        return len(self.sketches)

    def images(self, size: int = CANVAS) -> Float[Tensor, "batch 1 size size"]:
        """Rasterize the drawings where they are: dark lines (0) on white (1), one channel.

        Positions scale with `size`; the pen stays one pixel wide.
        """
        starts = range(0, len(self), 512)
        images = [_coverage(self.sketches[first : first + 512], size) for first in starts]
        return 1 - torch.cat(images or [torch.zeros(0, size, size)]).unsqueeze(1)

    @classmethod
    def join(cls, parts: Sequence[Arrangements]) -> Arrangements:
        """Concatenate sets of the same name."""
        return cls(
            parts[0].name,
            [sketch for part in parts for sketch in part.sketches],
            np.concatenate([part.targets for part in parts]),
            parts[0].classes,
            np.concatenate([part.sources for part in parts]),
        )


class Composer:
    """Composes images from the circles and squares of a store.

    Half of the drawings of each class are used for training examples, the other half for test examples.
    Within a half, a drawing is used again only after all others have been used.

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
                    expected="at least 2, one for training and one for testing",
                    fix="Get more drawings of the class: `sketchembed data quickdraw`",
                )
            half = len(found) // 2
            self.drawings["train"][shape], self.drawings["test"][shape] = found[:half], found[half:]

    def examples(self, name: str, train: int, test: int) -> tuple[Arrangements, Arrangements]:
        """Compose training and test examples of a relation or of a variable.

        Relations have balanced classes in random order, variables have uniformly distributed values.

        Raises:
            ConfigError: if there is no such relation or variable.
        """
        check_known("relation or variable", name, (*RELATIONS, *VARIABLES))
        made = []
        for part, count in (("train", train), ("test", test)):
            random = np.random.default_rng([self.seed, *f"{name} {part}".encode()])
            if name in RELATIONS:
                kinds = list(RELATIONS[name].values())
                targets = random.permutation(np.arange(count) % len(kinds))
                layouts = [kinds[at] for at in targets]
            else:
                variable = VARIABLES[name]
                targets = random.uniform(variable.low, variable.high, count)
                layouts = [variable.layout(float(value)) for value in targets]
            sketches, sources = self._draw(part, layouts, random)
            made.append(Arrangements(name, sketches, targets, list(RELATIONS.get(name, ())), sources))
        return made[0], made[1]

    def _draw(
        self, part: str, layouts: Sequence[tuple[Placed, ...]], random: np.random.Generator
    ) -> tuple[list[Sketch], np.ndarray]:
        """Return a drawing of each layout, and the indices of its circle and square."""
        count = len(layouts)
        chosen = {shape: _repeat_shuffled(self.drawings[part][shape], count, random) for shape in SHAPES}
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
        return sketches, sources


def _repeat_shuffled(drawings: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Repeat drawings up to `count`, in a new random order in each repetition."""
    rounds = -(-count // len(drawings))
    return np.concatenate([random.permutation(drawings) for _ in range(rounds)] or [drawings[:0]])[:count]


def compose(layout: Sequence[Placed], drawings: Mapping[str, Sketch]) -> Sketch:
    """Return the shapes of a layout as one drawing in pixels of the canvas, given a drawing of each shape."""
    strokes: list[np.ndarray] = []
    for placed in layout:
        fitted = drawings[placed.shape].fit(placed.side)
        shift = np.array([placed.x, placed.y]) - placed.side / 2
        strokes += [stroke + shift for stroke in fitted.strokes]
    return Sketch.from_strokes(strokes)


def _coverage(sketches: Sequence[Sketch], size: int) -> Tensor:
    longest = max(2, max(len(sketch) for sketch in sketches))
    points = np.zeros((len(sketches), longest, 2), dtype=np.float32)
    drawn = np.zeros((len(sketches), longest), dtype=bool)
    for row, sketch in enumerate(sketches):
        points[row, : len(sketch)] = sketch.points * (size / CANVAS)
        drawn[row, : len(sketch)] = ~sketch.lifted
    placed = torch.from_numpy(points)
    # The segment from a point to the next is visible if the pen is not lifted at the point.
    return pen_coverage(placed[:, :-1], placed[:, 1:], torch.from_numpy(drawn[:, :-1]), size)
