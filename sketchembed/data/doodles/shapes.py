"""Classes of doodles, one function per class.

Coordinates are in a box of about 100 × 100 units, with y down. Position and size of the whole do not matter,
because every drawing is scaled to its box in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from sketchembed.data.doodles.pen import Number, Pen, ring

SHAPES: dict[str, Callable[[Pen], None]] = {}  # all classes by name


def shape(draw: Callable[[Pen], None]) -> Callable[[Pen], None]:
    """Add ``_some_name`` to the classes as ``some name``."""
    SHAPES[draw.__name__[1:].replace("_", " ")] = draw
    return draw


# ---- figures -----------------------------------------------------------------------------------


@shape
def _circle(pen: Pen) -> None:
    pen.loop(50, 50, 50)


@shape
def _square(pen: Pen) -> None:
    pen.box(0, 0, 100, 100)


@shape
def _triangle(pen: Pen) -> None:
    height = pen.between(70, 105)
    pen.polygon((pen.near(50, 8), 0), (0, height), (100, height))


@shape
def _hexagon(pen: Pen) -> None:
    pen.polygon(*ring(50, 50, 50, 6, pen.pick([0, 0, 30])))


@shape
def _star(pen: Pen) -> None:
    pen.tilt = pen.near(0, 9)
    tips = ring(50, 50, 50, 5, -90)
    if pen.chance(0.6):  # one stroke with crossing lines
        pen.polygon(*(tips[2 * number % 5] for number in range(5)))
    else:
        inner = ring(50, 50, pen.between(18, 25), 5, -54)
        pen.polygon(*(spot for pair in zip(tips, inner, strict=True) for spot in pair))


# ---- outdoors ----------------------------------------------------------------------------------


@shape
def _sun(pen: Pen) -> None:
    rays, radius, first = pen.count(6, 13), pen.between(20, 29), pen.between(0, 360)
    pen.loop(50, 50, radius)
    for x, y in ring(0, 0, 1, rays, first):
        near, far = pen.near(radius + 6, 2.5), pen.near(50, 4)
        pen.line(50 + near * x, 50 + near * y, 50 + far * x, 50 + far * y)


@shape
def _moon(pen: Pen) -> None:
    # A crescent: two arcs between the same tips.
    pen.flip, pen.tilt = pen.chance(0.5), pen.near(0, 14)
    tip, depth = math.radians(pen.between(45, 65)), pen.between(13, 32)
    x, y = 50 + 50 * math.cos(tip), 50 * math.sin(tip)
    pen.joins = pen.pick([0.0, 1.0, 1.0])
    pen.curve((x, 50 - y), (45, 1), (14, 16), (1, 50), (14, 84), (45, 99), (x, 50 + y))
    near, far = x - depth * 1.3, x - depth * 1.9
    pen.curve((x, 50 + y), (near, 72), (far, 50), (near, 28), (x, 50 - y))


@shape
def _cloud(pen: Pen) -> None:
    pen.bumps(50, 30, 50, pen.between(24, 36), pen.count(5, 8), pen.between(0.18, 0.28))


@shape
def _tree(pen: Pen) -> None:
    half, foot, low = pen.between(6, 12), pen.between(0, 8), pen.between(96, 115)
    if pen.chance(0.25):  # fir
        tiers = pen.count(1, 3)
        for tier in range(tiers):
            wide = 22 + 10 * tier
            pen.polygon((50, 20 * tier), (50 - wide, 20 * tier + 34), (50 + wide, 20 * tier + 34))
        top = 20 * tiers + 14
        pen.path((50 - half, top), (50 - half, top + 22), (50 + half, top + 22), (50 + half, top))
        return
    if pen.chance(0.3):
        pen.loop(50, 32, pen.between(28, 38), 32)
    else:
        pen.bumps(50, 32, pen.between(32, 44), 34, pen.count(6, 9), pen.between(0.16, 0.28))
    for side in (-half, half):
        pen.curve((50 + side, 62), (50 + side, 80), (50 + side + math.copysign(foot, side), low))
    if pen.chance(0.3):
        pen.line(50 - half - 12, low, 50 + half + 12, low)


@shape
def _flower(pen: Pen) -> None:
    petals, core = pen.count(4, 6), pen.between(7, 11)
    pen.loop(50, 32, core)
    if pen.chance(0.55):
        pen.bumps(50, 32, 32, 32, petals, pen.between(0.45, 0.6))
    else:
        size = pen.between(8, 11)
        for x, y in ring(50, 32, core + size + 1, petals, pen.between(0, 360)):
            pen.loop(x, y, size)
    pen.curve((50, 62), (pen.near(50, 3), 80), (pen.near(50, 4), pen.between(95, 120)))
    for side in (-1, 1):
        if pen.chance(0.25):
            pen.curve((50, 95), (50 + 10 * side, 82), (50 + 22 * side, 80), (50 + 14 * side, 92), (50, 96))


# ---- faces and animals -------------------------------------------------------------------------


def _eyes(pen: Pen, y: Number, apart: Number, size: Number) -> None:
    draw = pen.dot if pen.chance(0.6) else pen.loop
    for side in (-1, 1):
        draw(50 + side * apart, pen.near(y, 1.2), size)


@shape
def _face(pen: Pen) -> None:
    pen.loop(50, 50, pen.between(38, 46), 50)
    _eyes(pen, pen.between(33, 42), pen.between(14, 20), pen.between(4, 8))
    if pen.chance(0.6):
        pen.curve((pen.near(49, 1), 46), (pen.pick([44, 56]), 62), (52, 63))
    else:
        pen.line(50, 48, 50, 60)
    if pen.chance(0.5):
        pen.arc(50, 64, 19, pen.between(9, 15), 10, 170)
    elif pen.chance(0.5):
        pen.loop(50, 76, pen.between(12, 20), pen.between(4, 8))
    else:
        pen.line(36, 77, 64, 77)
    if pen.chance(0.3):  # hair
        for x in range(30, 30 + 10 * pen.count(3, 5), 10):
            pen.line(x, pen.near(6, 2), x + pen.near(0, 3), -9)


@shape
def _snowman(pen: Pen) -> None:
    radii = [pen.near(13, 1.5), pen.near(19, 2), pen.near(26, 2)][0 if pen.chance(0.6) else 1 :]
    head, body, low = radii[0], radii[1], 0.0
    for radius in radii:
        pen.loop(pen.near(50, 1), low + radius, radius * pen.near(1, 0.06), radius)
        low += 1.95 * radius
    if pen.chance(0.5):
        _eyes(pen, head * 0.8, head * 0.35, 1.6)
    if pen.chance(0.35):  # nose
        pen.path((50, head), (50 + head * 0.9, head + 2), (50, head + 4))
    if pen.chance(0.4):  # arms
        y = 1.95 * head + body - 3
        for side in (-1, 1):
            reach = body + pen.between(13, 22)
            pen.line(50 + side * body * 0.9, y, 50 + side * reach, y - pen.between(4, 20))
    if pen.chance(0.3):  # hat
        pen.line(50 - head * 1.2, 2, 50 + head * 1.2, 2)
        pen.path((50 - head * 0.7, 1), (50 - head * 0.7, -16), (50 + head * 0.7, -16), (50 + head * 0.7, 1))


@shape
def _cat(pen: Pen) -> None:
    pen.loop(50, 55, pen.between(38, 46), pen.between(33, 40))
    for side in (-1, 1):
        tip = pen.near(30, 3)
        pen.path((50 + side * 12, 20), (50 + side * tip, pen.near(-3, 3)), (50 + side * 38, 31))
    _eyes(pen, 46, pen.between(14, 18), pen.between(2.5, 5))
    if pen.chance(0.6):
        pen.polygon((45, 58), (55, 58), (50, 64))
    else:
        pen.dot(50, 61, 2.5)
    whiskers = pen.count(1, 3)
    for side in (-1, 1):
        if pen.chance(0.5):
            pen.curve((50, 64), (50 + side * 4, 73), (50 + side * 13, 70))
        for number in range(whiskers):
            rise = (number - (whiskers - 1) / 2) * 7
            pen.line(50 + side * 18, 63 + rise * 0.6, 50 + side * pen.between(44, 58), 63 + rise * 1.8)


@shape
def _fish(pen: Pen) -> None:
    pen.flip, pen.tilt = pen.chance(0.4), pen.near(0, 6)
    half, tail = pen.between(17, 27), pen.between(12, 20)
    if pen.chance(0.5):  # body in one stroke, which crosses itself at the tail
        back = [(98, -tail), (72, half * 0.3), (35, half), (0, 0)]
        pen.curve(*back, *((x, -y) for x, y in back[-2::-1]))
        pen.curve((98, -tail), (92, 0), (98, tail))
    else:
        pen.loop(36, 0, 36, half)
        pen.polygon((71, 0), (100, -tail), (100, tail))
    pen.dot(14, pen.near(-4, 1.5), pen.between(1.8, 3))
    if pen.chance(0.35):
        pen.curve((28, -half * 0.6), (33, 0), (28, half * 0.6))


# ---- vehicles ----------------------------------------------------------------------------------


@shape
def _wheel(pen: Pen) -> None:
    pen.loop(50, 50, 50)
    if pen.chance(0.35):
        pen.loop(50, 50, 41)
    hub = pen.pick([0, 0, 7, 12])
    if hub:
        pen.loop(50, 50, hub)
    for x, y in ring(0, 0, 1, pen.count(4, 8), pen.between(0, 180)):
        pen.line(50 + hub * x, 50 + hub * y, 50 + 48 * x, 50 + 48 * y)


@shape
def _car(pen: Pen) -> None:
    pen.flip = pen.chance(0.4)
    roof, hood = pen.between(0, 8), pen.near(28, 2)
    back, front = pen.between(14, 30), pen.between(66, 76)
    top = [(back, hood), (back + 12, roof), (front - 12, roof), (front, hood)]
    if pen.chance(0.6):
        pen.path((0, 52), (1, hood), *top, (99, hood + 4), (100, 52))
        pen.line(0, 52, 100, 52)
    else:
        pen.box(0, hood, 100, 52)
        pen.path(*top)
    for x in (pen.near(23, 2), pen.near(77, 2)):
        pen.loop(x, 53, pen.between(9, 12))
    if pen.chance(0.5):
        pen.line(48, roof + 2, 48, hood)
    elif pen.chance(0.5):
        pen.box(back + 14, roof + 5, 46, hood - 2)
        pen.box(51, roof + 5, front - 12, hood - 2)


@shape
def _bus(pen: Pen) -> None:
    pen.flip, tall, windows = pen.chance(0.4), pen.between(38, 50), pen.count(3, 4)
    pen.box(0, 0, 110, tall)
    for number in range(windows):
        x, wide = 6 + number * 84 / windows, 60 / windows
        pen.box(x, 7, x + wide, 7 + tall * 0.34)
    if pen.chance(0.6):  # door
        pen.path((94, tall), (94, 9), (106, 9), (106, tall))
    for x in (pen.near(24, 3), pen.near(84, 3)):
        pen.loop(x, tall + 1, pen.between(8, 11))


@shape
def _sailboat(pen: Pen) -> None:
    pen.flip, mast = pen.chance(0.5), pen.near(48, 3)
    pen.polygon((0, 72), (100, 72), (pen.near(80, 4), 95), (pen.near(20, 4), 95))
    pen.line(mast, 0, mast, 72)
    pen.polygon((mast + 2, 2), (mast + pen.between(32, 44), 62), (mast + 2, 62))
    if pen.chance(0.5):
        pen.polygon((mast - 2, 10), (mast - pen.between(22, 36), 62), (mast - 2, 62))


# ---- buildings and furniture -------------------------------------------------------------------


@shape
def _house(pen: Pen) -> None:
    eaves, peak, over = pen.between(32, 46), pen.near(50, 4), pen.pick([0, 0, 5, 10])
    pen.box(8, eaves, 92, 100)
    draw = pen.path if pen.chance(0.5) else pen.polygon
    draw((8 - over, eaves), (peak, 0), (92 + over, eaves))
    if pen.chance(0.6):  # door
        x, top = pen.pick([22, 42, 42, 60]), pen.between(66, 75)
        pen.path((x, 100), (x, top), (x + 17, top), (x + 17, 100))
    for x in (18, 66):
        if pen.chance(0.35):  # window
            y = eaves + 8
            pen.box(x, y, x + 16, y + 15)
            if pen.chance(0.5):
                pen.line(x + 8, y, x + 8, y + 15)
                pen.line(x, y + 7, x + 16, y + 7)
    if pen.chance(0.3):  # chimney
        pen.path((70, eaves * 0.42), (70, pen.near(0, 3)), (81, 0), (81, eaves * 0.7))


@shape
def _ladder(pen: Pen) -> None:
    pen.tilt = pen.near(0, 9)
    wide, rungs, spread = pen.between(24, 38), pen.count(3, 7), pen.near(0, 2)
    pen.line(-spread, 0, spread, 100)
    pen.line(wide + spread, 0, wide - spread, 100)
    for number in range(rungs):
        y = pen.near(100 * (number + 0.6) / (rungs + 0.2), 1.5)
        pen.line(pen.near(0, 1), y, wide + pen.near(0, 1), pen.near(y, 1))


@shape
def _fence(pen: Pen) -> None:
    pickets, pointed = pen.count(3, 6), pen.chance(0.6)
    wide = 120 / pickets
    half = wide * pen.between(0.22, 0.36)
    for number in range(pickets):
        x, top = (number + 0.5) * wide, pen.near(0, 2.5)
        if pointed:
            pen.path((x - half, 70), (x - half, top + 12), (x, top), (x + half, top + 12), (x + half, 70))
        else:
            pen.line(x, top, x, pen.near(70, 2))
    for y in pen.pick([[35], [22, 50], [22, 50]]):
        pen.line(0, y, 120, y)


# ---- things ------------------------------------------------------------------------------------


@shape
def _clock(pen: Pen) -> None:
    pen.loop(50, 50, 50)
    for reach in (pen.between(18, 26), pen.between(30, 40)):
        (end,) = ring(50, 50, reach, 1, pen.between(0, 360))
        pen.path((50, 50), end)
    marks = pen.pick([0, 0, 4, 4, 12])
    for x, y in ring(0, 0, 1, marks):
        pen.line(50 + 41 * x, 50 + 41 * y, 50 + 47 * x, 50 + 47 * y)
    if pen.chance(0.2):
        pen.dot(50, 50, 2)


@shape
def _key(pen: Pen) -> None:
    pen.tilt = pen.pick([0, 0, 180, 90, -90, -45]) + pen.near(0, 9)
    bow = pen.between(14, 19)
    pen.loop(bow, 0, bow, bow * pen.between(0.8, 1.05))
    if pen.chance(0.5):
        pen.loop(bow, 0, bow * 0.5)
    pen.line(2 * bow, 0, 100, 0)
    long = pen.between(9, 14)
    if pen.chance(0.5):
        for x in (98, 88, 78)[: pen.count(2, 3)]:
            pen.line(x, 0, x, pen.near(long, 2))
    else:
        pen.path((98, 0), (98, long), (88, long), (88, 1), (80, 1), (80, long), (70, long), (70, 0))


@shape
def _envelope(pen: Pen) -> None:
    tall = pen.between(50, 68)
    tip = tall * pen.between(0.45, 0.65)
    pen.box(0, 0, 100, tall)
    pen.path((0, 0), (pen.near(50, 2), tip), (100, 0))
    if pen.chance(0.3):
        pen.line(0, tall, 38, tip * 0.8)
        pen.line(100, tall, 62, tip * 0.8)


@shape
def _lollipop(pen: Pen) -> None:
    pen.tilt, radius = pen.near(0, 14), pen.between(20, 27)
    pen.loop(50, radius, radius)
    if pen.chance(0.45):
        pen.loop(50, radius, radius * 0.6)
    pen.line(50, 2 * radius, pen.near(50, 1.5), 115)


@shape
def _traffic_light(pen: Pen) -> None:
    wide, low = pen.between(34, 46), pen.between(125, 150)
    pen.box(0, 0, wide, 100)
    for y in (18, 50, 82):
        pen.loop(pen.near(wide / 2, 1), pen.near(y, 1), wide * pen.between(0.24, 0.34))
    if pen.chance(0.5):
        pen.line(wide / 2, 100, wide / 2, low)
