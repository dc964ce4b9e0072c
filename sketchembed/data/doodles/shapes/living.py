"""Faces and animals."""

from __future__ import annotations

from sketchembed.data.doodles.pen import Number, Pen, Point, Shapes

SHAPES = Shapes()


def _eyes(pen: Pen, x: Number, y: Number, apart: Number, size: Number) -> None:
    """Two eyes: dots or loops, both of one kind."""
    draw = pen.dot if pen.chance(0.6) else pen.loop
    for side in (-1, 1):
        draw(x + side * apart, pen.near(y, 1.2), size)


@SHAPES.named("face")
def _face(pen: Pen) -> None:
    pen.loop(50, 50, pen.between(38, 46), 50)
    _eyes(pen, 50, pen.between(33, 42), pen.between(14, 20), pen.between(4, 8))
    if pen.chance(0.6):
        pen.curve((pen.near(49, 1), 46), (pen.pick([44, 56]), 62), (52, 63))
    else:
        pen.line(50, 48, 50, 60)
    if pen.chance(0.45):
        pen.arc(50, 64, 19, pen.between(9, 15), 10, 170)
    elif pen.chance(0.4):
        pen.loop(50, 76, pen.between(12, 20), pen.between(4, 8))
    else:
        pen.line(36, 77, 64, 77)
    if pen.chance(0.3):  # hair
        for number in range(pen.count(3, 5)):
            x = 30 + 10 * number
            pen.line(x, pen.near(6, 2), x + pen.near(0, 3), -9)
    elif pen.chance(0.3):  # brows
        for side in (-1, 1):
            pen.line(50 + 10 * side, 27, 50 + 24 * side, 26)


@SHAPES.named("smiley face")
def _smiley_face(pen: Pen) -> None:
    pen.loop(50, 50, 50)
    _eyes(pen, 50, pen.between(30, 38), pen.between(15, 21), pen.between(4, 7))
    wide, low = pen.between(24, 33), pen.between(20, 30)
    pen.arc(50, 55, wide, low, 5, 175)
    if pen.chance(0.25):  # a grin
        pen.line(50 - wide, 57, 50 + wide, 57)


@SHAPES.named("snowman")
def _snowman(pen: Pen) -> None:
    radii = [pen.near(13, 1.5), pen.near(19, 2), pen.near(26, 2)][0 if pen.chance(0.6) else 1 :]
    middles, low = [], 0.0
    for radius in radii:
        middles.append(low + radius)
        low += 1.95 * radius
    order = list(zip(radii, middles, strict=True))
    for radius, y in order if pen.chance(0.6) else order[::-1]:
        pen.loop(pen.near(50, 1), y, radius * pen.near(1, 0.06), radius)
    head, y = order[0]
    if pen.chance(0.5):
        for side in (-1, 1):
            pen.dot(50 + side * head * 0.35, y - head * 0.2, 1.6)
    if pen.chance(0.35):
        pen.path((50, y), (50 + head * 0.9, y + 2), (50, y + 4))
    if pen.chance(0.3):
        pen.arc(50, y + head * 0.25, head * 0.45, head * 0.35, 20, 160)
    if pen.chance(0.4):
        body, y = order[1]
        for side in (-1, 1):
            pen.line(
                50 + side * body * 0.9,
                y - 3,
                50 + side * (body + pen.between(13, 22)),
                y - pen.between(4, 20),
            )
    if pen.chance(0.25):
        for number in range(pen.count(2, 3)):
            pen.dot(50, order[1][1] - 7 + 8 * number, 1.6)
    if pen.chance(0.25):
        pen.line(50 - head * 1.2, 2, 50 + head * 1.2, 2)
        pen.path((50 - head * 0.7, 1), (50 - head * 0.7, -16), (50 + head * 0.7, -16), (50 + head * 0.7, 1))


@SHAPES.named("cat")
def _cat(pen: Pen) -> None:
    pen.loop(50, 55, pen.between(38, 46), pen.between(33, 40))
    for side in (-1, 1):
        tip = pen.near(0, 3)
        pen.path((50 + side * 12, 20), (50 + side * 30 + tip, pen.near(-3, 3)), (50 + side * 38, 31))
    _eyes(pen, 50, 46, pen.between(14, 18), pen.between(2.5, 5))
    if pen.chance(0.6):
        pen.polygon((45, 58), (55, 58), (50, 64), split=0)
    else:
        pen.dot(50, 61, 2.5)
    if pen.chance(0.55):
        pen.curve((50, 64), (46, 73), (37, 70), both_ways=False)
        pen.curve((50, 64), (54, 73), (63, 70), both_ways=False)
    whiskers = pen.pick([1, 2, 2, 3, 3])
    for side in (-1, 1):
        for number in range(whiskers):
            rise = (number - (whiskers - 1) / 2) * 7
            pen.line(50 + side * 18, 63 + rise * 0.6, 50 + side * pen.between(44, 58), 63 + rise * 1.8)


@SHAPES.named("fish")
def _fish(pen: Pen) -> None:
    pen.flip, pen.tilt = pen.chance(0.4), pen.near(0, 6)
    half = pen.between(17, 27)
    if pen.chance(0.5):  # one stroke: out along the back, round the nose and across itself at the tail
        pen.curve((98, -half * 0.7), (72, half * 0.3), (35, half), (0, 0), (35, -half), (72, -half * 0.3),
                  (98, half * 0.7), both_ways=False)  # fmt: skip
        pen.curve((98, -half * 0.7), (92, 0), (98, half * 0.7))
    else:
        pen.loop(36, 0, 36, half)
        pen.polygon((71, 0), (100, -half * 0.8), (100, half * 0.8), split=0)
    pen.dot(14, pen.near(-4, 1.5), pen.between(1.8, 3))
    if pen.chance(0.35):
        pen.curve((28, -half * 0.6), (33, 0), (28, half * 0.6))
    if pen.chance(0.3):
        pen.path((40, 2), (52, 7), (41, 9))


@SHAPES.named("butterfly")
def _butterfly(pen: Pen) -> None:
    wide, rise, low = pen.between(38, 48), pen.near(4, 4), pen.near(84, 4)
    one_stroke = pen.chance(0.4)  # both wings of a side without lifting the pen
    if pen.chance(0.7):
        pen.loop(50, 50, pen.between(2, 4), pen.between(22, 30))
    for side in (-1, 1):
        upper: list[Point] = [(51, 45), (64, 18), (82, rise), (50 + wide, 18), (44 + wide, 40), (53, 53)]
        lower: list[Point] = [(53, 55), (40 + wide, 58), (42 + wide, low - 9), (68, low), (51, 62)]
        wings = [upper + lower[1:]] if one_stroke else [upper, lower]
        for wing in wings:
            pen.curve(*((50 + side * (x - 50), y) for x, y in wing))
    if pen.chance(0.7):
        for side in (-1, 1):
            pen.curve((50, 26), (50 + side * 4, 12), (50 + side * 13, pen.near(4, 2)), both_ways=False)
