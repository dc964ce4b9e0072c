"""Vehicles, buildings and furniture."""

from __future__ import annotations

import math

from sketchembed.data.doodles.pen import Number, Pen, Point, Shapes

SHAPES = Shapes()


# ---- vehicles ----------------------------------------------------------------------------------


def _wheel_at(pen: Pen, x: Number, y: Number, radius: Number, hub: Number = 0.3) -> None:
    """A wheel, with a hub now and then."""
    pen.loop(x, y, radius)
    if pen.chance(hub):
        pen.loop(x, y, radius * 0.4)


@SHAPES.named("wheel")
def _wheel(pen: Pen) -> None:
    pen.loop(50, 50, 50)
    if pen.chance(0.35):
        pen.loop(50, 50, 41)
    hub = pen.pick([0, 0, 7, 12])
    if hub:
        pen.loop(50, 50, hub)
    spokes, first = pen.count(2, 4), pen.between(0, 180)
    for number in range(spokes):
        angle = math.radians(first + 180 * number / spokes)
        x, y = math.cos(angle), math.sin(angle)
        if hub:
            pen.line(50 + hub * x, 50 + hub * y, 50 + 48 * x, 50 + 48 * y)
            pen.line(50 - hub * x, 50 - hub * y, 50 - 48 * x, 50 - 48 * y)
        else:
            pen.line(50 + 49 * x, 50 + 49 * y, 50 - 49 * x, 50 - 49 * y)


@SHAPES.named("bicycle")
def _bicycle(pen: Pen) -> None:
    pen.flip = pen.chance(0.5)
    radius = pen.between(18, 23)
    for x in (20, 95):
        _wheel_at(pen, x, 60, radius, hub=0.1)
    pen.path((20, 60), (42, 32), (80, 31), (54, 61), (20, 60))
    pen.line(54, 61, 39, pen.near(24, 2))
    pen.line(33, 24, 46, 24)
    pen.path((95, 60), (78, 22), (pen.pick([68, 86]), 19))
    if pen.chance(0.3):
        pen.loop(54, 61, 4)


@SHAPES.named("car")
def _car(pen: Pen) -> None:
    pen.flip = pen.chance(0.4)
    roof, bonnet = pen.between(0, 8), pen.near(28, 2)
    back, front = pen.between(14, 30), pen.between(66, 76)
    if pen.chance(0.6):
        draw = pen.curve if pen.chance(0.25) else pen.path
        draw((0, 52), (1, bonnet), (back, bonnet), (back + 12, roof), (front - 12, roof), (front, bonnet),
             (99, bonnet + 4), (100, 52))  # fmt: skip
        pen.path((0, 52), (100, 52))
    else:
        pen.box(0, bonnet, 100, 52)
        pen.path((back, bonnet), (back + 10, roof), (front - 12, roof), (front, bonnet))
    for x in (pen.near(23, 2), pen.near(77, 2)):
        _wheel_at(pen, x, 53, pen.between(9, 12))
    if pen.chance(0.5):
        pen.line(48, roof + 2, 48, bonnet)
    elif pen.chance(0.5):
        pen.box(back + 14, roof + 5, 46, bonnet - 2)
        pen.box(51, roof + 5, front - 12, bonnet - 2)
    if pen.chance(0.25):
        pen.line(52, bonnet + 8, 58, bonnet + 8)


@SHAPES.named("bus")
def _bus(pen: Pen) -> None:
    pen.flip = pen.chance(0.4)
    tall = pen.between(38, 50)
    pen.box(0, 0, 110, tall)
    windows = pen.count(3, 4)
    wide = 84 / windows
    for number in range(windows):
        x = 6 + number * wide
        pen.box(x, 7, x + wide * 0.72, 7 + tall * 0.34)
    if pen.chance(0.6):
        pen.path((94, tall), (94, 9), (106, 9), (106, tall))
    for x in (pen.near(24, 3), pen.near(84, 3)):
        _wheel_at(pen, x, tall + 1, pen.between(8, 11), hub=0.1)
    if pen.chance(0.25):
        pen.line(0, tall * 0.62, 92, tall * 0.62)


@SHAPES.named("train")
def _train(pen: Pen) -> None:
    pen.flip = pen.chance(0.5)
    pen.box(0, 0, 30, 50)  # the cab, its window, the boiler and the chimney
    pen.box(6, 7, 23, 23)
    pen.path((30, 20), (pen.near(84, 2), 20), (86, 50), (30, 50))
    pen.path((66, 20), (64, 3), (78, 3), (76, 20))
    wheels = pen.count(2, 3)
    for number in range(wheels):
        pen.loop(12 + 62 * number / (wheels - 1), 55, pen.between(6, 8.5))
    if pen.chance(0.4):
        pen.path((86, 36), (99, 54), (84, 54))
    if pen.chance(0.3):
        pen.bumps(80, -13, 13, 7, 4, 0.25)


@SHAPES.named("sailboat")
def _sailboat(pen: Pen) -> None:
    pen.flip = pen.chance(0.5)
    pen.polygon((0, 72), (100, 72), (pen.near(80, 4), 95), (pen.near(20, 4), 95))
    mast = pen.near(48, 3)
    pen.line(mast, 0, mast, 72)
    pen.polygon((mast + 2, 2), (mast + pen.between(32, 44), 62), (mast + 2, 62))
    if pen.chance(0.5):
        pen.polygon((mast - 2, 10), (mast - pen.between(22, 36), 62), (mast - 2, 62))
    if pen.chance(0.25):
        turns = pen.count(5, 8)
        pen.zigzag(-12, 101, 112, 101, 6, turns)


# ---- buildings and furniture -------------------------------------------------------------------


@SHAPES.named("house")
def _house(pen: Pen) -> None:
    eaves, peak = pen.between(32, 46), pen.near(50, 4)
    over = pen.pick([0, 0, 0, 5, 10])
    if pen.chance(0.3):
        pen.polygon((8, eaves), (peak, 0), (92, eaves), (92, 100), (8, 100), split=0.3)
        if pen.chance(0.6):
            pen.line(8, eaves, 92, eaves)
    else:
        pen.box(8, eaves, 92, 100)
        if pen.chance(0.5):
            pen.path((8 - over, eaves), (peak, 0), (92 + over, eaves))
        else:
            pen.polygon((8 - over, eaves), (peak, 0), (92 + over, eaves), split=0)
    if pen.chance(0.6):
        x, tall = pen.pick([22, 42, 42, 60]), pen.between(25, 34)
        pen.path((x, 100), (x, 100 - tall), (x + 17, 100 - tall), (x + 17, 100))
        if pen.chance(0.3):
            pen.dot(x + 13, 100 - tall / 2, 1.5)
    for x in (18, 66):
        if pen.chance(0.35):
            y = eaves + 8
            pen.box(x, y, x + 16, y + 15)
            if pen.chance(0.5):
                pen.line(x + 8, y, x + 8, y + 15)
                pen.line(x, y + 7, x + 16, y + 7)
    if pen.chance(0.3):  # a chimney
        pen.path((70, eaves * 0.42), (70, pen.near(0, 3)), (81, 0), (81, eaves * 0.7))


@SHAPES.named("door")
def _door(pen: Pen) -> None:
    pen.flip = pen.chance(0.4)
    wide = pen.between(42, 60)
    pen.box(0, 0, wide, 100)
    pen.dot(wide * 0.85, pen.near(54, 3), pen.between(2, 3.5))
    if pen.chance(0.25):
        pen.box(wide * 0.2, 10, wide * 0.8, 40)
        if pen.chance(0.6):
            pen.box(wide * 0.2, 60, wide * 0.8, 90)


@SHAPES.named("ladder")
def _ladder(pen: Pen) -> None:
    pen.tilt = pen.near(0, 9)
    wide, rungs, spread = pen.between(24, 38), pen.count(3, 7), pen.near(0, 2)
    pen.line(-spread, 0, spread, 100)
    pen.line(wide + spread, 0, wide - spread, 100)
    for number in range(rungs):
        y = pen.near(100 * (number + 0.6) / (rungs + 0.2), 1.5)
        pen.line(pen.near(0, 1), y, wide + pen.near(0, 1), pen.near(y, 1))


@SHAPES.named("fence")
def _fence(pen: Pen) -> None:
    pickets = pen.count(3, 6)
    wide = 120 / pickets
    pointed = pen.chance(0.6)
    half = wide * pen.between(0.22, 0.36)
    for number in range(pickets):
        x, top = (number + 0.5) * wide, pen.near(0, 2.5)
        if pointed:
            pen.path((x - half, 70), (x - half, top + 12), (x, top), (x + half, top + 12), (x + half, 70))
        else:
            pen.line(x, top, x, pen.near(70, 2))
    for y in pen.pick([[35], [22, 50], [22, 50]]):
        pen.line(0, y, 120, y)


@SHAPES.named("stairs")
def _stairs(pen: Pen) -> None:
    pen.flip, steps = pen.chance(0.4), pen.count(3, 6)
    spots: list[Point] = [(0, 100)]
    for number in range(steps):
        x, y = 100 * number / steps, 100 * (steps - number - 1) / steps
        spots += [(x, pen.near(y, 1)), (100 * (number + 1) / steps, pen.near(y, 1))]
    if pen.chance(0.25):
        spots += [(100, 100), (0, 100)]
    pen.path(*spots)


@SHAPES.named("table")
def _table(pen: Pen) -> None:
    tall = pen.between(40, 62)
    if pen.chance(0.5):  # seen from the side
        thick = pen.pick([0, 6, 9])
        if thick:
            pen.box(0, 0, 100, thick)
        else:
            pen.line(0, 0, 100, 0)
        inset = pen.between(3, 12)
        pen.line(inset, thick, pen.near(inset, 2), tall)
        pen.line(100 - inset, thick, pen.near(100 - inset, 2), tall)
    else:  # from above, with four legs
        deep, lean = pen.between(15, 24), pen.between(12, 24)
        pen.polygon((lean, 0), (0, deep), (100 - lean, deep), (100, 0))
        pen.line(0, deep, pen.near(0, 1.5), deep + tall)
        pen.line(100 - lean, deep, pen.near(100 - lean, 1.5), deep + tall)
        pen.line(100, 0, pen.near(100, 1.5), tall * 0.95)
        if pen.chance(0.6):
            pen.line(lean + 3, deep, lean + 3, tall * 0.95)


@SHAPES.named("chair")
def _chair(pen: Pen) -> None:
    pen.flip = pen.chance(0.5)
    seat, wide = pen.between(48, 60), pen.between(38, 50)
    if pen.chance(0.45):  # from the side: the back and a leg in one, then seat and the other leg
        pen.line(0, 0, pen.near(0, 2), 100)
        pen.path((0, seat), (wide, seat), (wide + pen.near(0, 2), 100))
    else:
        deep, lean = pen.between(12, 20), pen.between(8, 18)
        pen.box(0, 0, wide, seat)
        pen.polygon((0, seat), (lean, seat + deep), (wide + lean, seat + deep), (wide, seat))
        for x, y in ((0, seat), (lean, seat + deep), (wide + lean, seat + deep), (wide, seat)):
            pen.line(x, y, pen.near(x, 1), y + pen.near(38, 2))


@SHAPES.named("bed")
def _bed(pen: Pen) -> None:
    pen.flip = pen.chance(0.4)
    pen.line(0, pen.between(-6, 10), 0, 62)
    pen.path((0, 30), (110, pen.near(30, 1)))
    pen.path((0, 48), (110, 48))
    pen.line(110, pen.between(14, 28), 110, 62)
    if pen.chance(0.6):
        pen.loop(18, 23, 14, 6)
    else:
        pen.box(4, 18, 28, 30)
    if pen.chance(0.4):
        pen.curve((34, 30), (48, 14), (80, 16), (108, 29))
