"""What the doodles show: one function a class, which tells a pen what to draw.

Units are of a box of about 100 × 100, y down. Place and size of the whole do not matter, since every
drawing is scaled to its box in the end. Parts come from the pen's few primitives, so that classes share
them: the loop that is a wheel of a car is a lens of a pair of glasses too.
"""

from __future__ import annotations

from sketchembed.data.doodles.pen import Shapes
from sketchembed.data.doodles.shapes import built, household, living, shape_figures

SHAPES = Shapes(shape_figures.SHAPES | living.SHAPES | built.SHAPES | household.SHAPES)
"""All classes by name."""
