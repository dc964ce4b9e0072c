"""Figures, and what is found outdoors."""

from __future__ import annotations

import math

from sketchembed.data.doodles.pen import Pen, Point, Shapes, ring

SHAPES = Shapes()


# ---- figures -----------------------------------------------------------------------------------


@SHAPES.named("circle")
def _circle(pen: Pen) -> None:
    pen.loop(50, 50, 50)


@SHAPES.named("square")
def _square(pen: Pen) -> None:
    pen.box(0, 0, 100, 100)


@SHAPES.named("triangle")
def _triangle(pen: Pen) -> None:
    height = pen.between(70, 105)
    pen.polygon((pen.near(50, 8), 0), (0, height), (100, height))


@SHAPES.named("hexagon")
def _hexagon(pen: Pen) -> None:
    pen.polygon(*ring(50, 50, 50, 6, pen.pick([0, 0, 30])))


@SHAPES.named("star")
def _star(pen: Pen) -> None:
    pen.tilt = pen.near(0, 9)
    tips = ring(50, 50, 50, 5, -90)
    if pen.chance(0.6):  # without lifting the pen, lines crossing
        pen.polygon(*(tips[2 * number % 5] for number in range(3, 8)), split=0)
    else:
        inner = ring(50, 50, pen.between(18, 25), 5, -54)
        pen.polygon(*(spot for pair in zip(tips, inner, strict=True) for spot in pair), split=0)


@SHAPES.named("zigzag")
def _zigzag(pen: Pen) -> None:
    pen.tilt = pen.pick([0, 0, 0, 90]) + pen.near(0, 8)
    turns = pen.count(5, 14)
    pen.zigzag(0, 0, 100, 0, pen.between(12, 45), turns)


@SHAPES.named("spiral")
def _spiral(pen: Pen) -> None:
    pen.spiral(50, 50, 50, pen.between(2.2, 4.2))


@SHAPES.named("arrow")
def _arrow(pen: Pen) -> None:
    pen.tilt = pen.pick([0, 0, 90, 180, -90, -45]) + pen.near(0, 8)
    head, half = pen.between(18, 34), pen.between(12, 24)
    if pen.chance(0.65):
        pen.line(0, 0, 100, 0)
        pen.path((100 - head, -half), (101, 0), (100 - head, half))
    else:
        side = half * pen.between(0.35, 0.6)
        pen.polygon(
            (0, -side), (100 - head, -side), (100 - head, -half), (100, 0),
            (100 - head, half), (100 - head, side), (0, side),
        )  # fmt: skip


# ---- sky and land ------------------------------------------------------------------------------


@SHAPES.named("sun")
def _sun(pen: Pen) -> None:
    rays, radius, first = pen.count(6, 13), pen.between(20, 29), pen.between(0, 360)
    pen.loop(50, 50, radius)
    for number in range(rays):
        angle = math.radians(first + pen.near(360 * number / rays, 60 / rays))
        near, far = pen.near(radius + 6, 2.5), pen.near(50, 4)
        pen.line(
            50 + near * math.cos(angle), 50 + near * math.sin(angle),
            50 + far * math.cos(angle), 50 + far * math.sin(angle),
        )  # fmt: skip


@SHAPES.named("moon")
def _moon(pen: Pen) -> None:
    pen.flip, pen.tilt = pen.chance(0.5), pen.near(0, 14)
    if pen.chance(0.82):  # a crescent: out along one arc, back along a flatter one
        tip, depth = pen.between(45, 65), pen.between(13, 32)
        y = 50 * math.sin(math.radians(tip))
        x = 50 + 50 * math.cos(math.radians(tip))
        pen.joins = pen.pick([0.0, 1.0, 1.0])
        pen.curve((x, 50 - y), (45, 1), (14, 16), (1, 50), (14, 84), (45, 99), (x, 50 + y), both_ways=False)
        pen.curve(
            (x, 50 + y), (x - depth * 1.3, 72), (x - depth * 1.9, 50), (x - depth * 1.3, 28), (x, 50 - y)
        )
    else:
        pen.loop(50, 50, 50)
        for _ in range(pen.count(3, 5)):
            pen.loop(pen.between(22, 78), pen.between(22, 78), pen.between(5, 12))


@SHAPES.named("cloud")
def _cloud(pen: Pen) -> None:
    if pen.chance(0.7):
        pen.bumps(50, 30, 50, pen.between(24, 36), pen.count(5, 8), pen.between(0.18, 0.28))
    else:  # flat below
        pen.bumps(50, 40, 50, pen.between(30, 40), pen.count(4, 7), 0.25, span=pen.between(200, 235))
        pen.line(10, 52, 90, 52)


@SHAPES.named("mountain")
def _mountain(pen: Pen) -> None:
    peaks = pen.count(1, 4)
    spots: list[Point] = [(0, 60)]
    for number in range(peaks):
        middle = (number + 0.5) / peaks * 120
        spots += [(pen.near(middle, 6), pen.between(0, 25)), (middle + 60 / peaks, pen.between(28, 45))]
    spots[-1] = (120, pen.near(60, 3))
    (pen.curve if pen.chance(0.15) else pen.path)(*spots)
    if pen.chance(0.3) and peaks < 3:  # snow on top
        x, y = spots[1]
        left, right = x - 0.3 * 60 / peaks, x + 0.3 * 60 / peaks
        pen.zigzag(left, y + 17, right, y + 17, 6, pen.count(3, 5))
    if pen.chance(0.12):
        pen.line(0, 60, 120, 60)


@SHAPES.named("tree")
def _tree(pen: Pen) -> None:
    half, foot = pen.between(6, 12), pen.near(8, 3)
    kind = pen.count(0, 4)
    if kind == 0:  # a fir: two or three triangles
        tiers = pen.count(1, 3)
        for tier in range(tiers):
            width = 22 + 10 * tier
            pen.polygon((50, 20 * tier), (50 - width, 20 * tier + 34), (50 + width, 20 * tier + 34))
        top = 20 * tiers + 14
        pen.path(
            (50 - half / 2, top), (50 - half / 2, top + 22), (50 + half / 2, top + 22), (50 + half / 2, top)
        )
        return
    if kind == 1:
        pen.loop(50, 32, pen.between(28, 38), 32)
    else:
        pen.bumps(
            50,
            32,
            pen.between(32, 44),
            34,
            pen.count(6, 9),
            pen.between(0.16, 0.28),
            span=pen.pick([360, 330]),
        )
    low = pen.between(96, 115)
    pen.curve((50 - half, 62), (50 - half, 80), (50 - half - foot / 2, low), both_ways=False)
    pen.curve((50 + half, 62), (50 + half, 80), (50 + half + foot / 2, low))
    if pen.chance(0.3):
        pen.line(50 - half - foot, low, 50 + half + foot, low)


@SHAPES.named("flower")
def _flower(pen: Pen) -> None:
    petals, core = pen.count(4, 6), pen.between(7, 11)
    pen.loop(50, 32, core)
    if pen.chance(0.55):
        pen.bumps(50, 32, 32, 32, petals, pen.between(0.45, 0.6))
    else:
        petals, first = min(petals, 5), pen.between(0, 360)
        size = pen.between(7.5, 10)
        for number in range(petals):
            turn = first + pen.near(360 * number / petals, 5)
            x, y = (
                (core + size + 2) * math.cos(math.radians(turn)),
                (core + size + 2) * math.sin(math.radians(turn)),
            )
            pen.loop(50 + x, 32 + y, size + 2, size * 0.85, turn)
    pen.curve((50, 62), (pen.near(50, 3), 80), (pen.near(50, 4), pen.between(95, 120)), both_ways=False)
    for side in (-1, 1):
        if pen.chance(0.22):
            pen.curve((50, 95), (50 + 10 * side, 82), (50 + 22 * side, 80), (50 + 14 * side, 92), (50, 96))


@SHAPES.named("mushroom")
def _mushroom(pen: Pen) -> None:
    rim, half = pen.near(48, 5), pen.between(9, 19)
    if pen.chance(0.7):
        pen.arc(50, rim, 48, rim, 180, 360)
        if pen.chance(0.6):
            pen.line(3, rim, 97, rim)
        else:
            pen.curve((2, rim), (25, rim + 8), (50, rim + 5), (75, rim + 8), (98, rim))
    else:
        pen.loop(50, 28, 46, 27)
    low = pen.between(88, 105)
    pen.curve((50 - half, rim + 3), (50 - half * 0.9, low - 18), (50 - half * 1.1, low), (50, low + 4),
              (50 + half * 1.1, low), (50 + half * 0.9, low - 18), (50 + half, rim + 3))  # fmt: skip
    if pen.chance(0.3):
        for _ in range(pen.count(2, 4)):
            pen.loop(pen.between(22, 78), pen.between(14, 36), pen.between(3, 6))
