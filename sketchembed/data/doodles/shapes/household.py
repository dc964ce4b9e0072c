"""What lies about the house and in the street."""

from __future__ import annotations

import math

from sketchembed.data.doodles.pen import Pen, Point, Shapes, ring

SHAPES = Shapes()


@SHAPES.named("television")
def _television(pen: Pen) -> None:
    tall = pen.between(60, 76)
    pen.box(0, 0, 100, tall)
    right = 92 if pen.chance(0.55) else 74
    if pen.chance(0.8):
        pen.box(8, 8, right, tall - 8)
    if right == 74:
        for number in range(pen.count(1, 3)):
            pen.loop(86, 16 + 15 * number, 4.5)
    if pen.chance(0.7):
        reach = pen.between(18, 30)
        for side in (-1, 1):
            pen.line(50 + 2 * side, 0, 50 + side * reach, -pen.between(22, 32))
    if pen.chance(0.4):
        for x in (16, 84):
            pen.line(x, tall, pen.near(x, 3), tall + 12)


@SHAPES.named("clock")
def _clock(pen: Pen) -> None:
    pen.loop(50, 50, 50)
    hours, minutes = pen.between(0, 360), pen.between(0, 360)
    for angle, reach in ((hours, pen.between(18, 26)), (minutes, pen.between(30, 40))):
        pen.line(
            50, 50, 50 + reach * math.cos(math.radians(angle)), 50 + reach * math.sin(math.radians(angle))
        )
    marks = pen.pick([0, 0, 4, 4, 12])
    for number in range(marks):
        x, y = math.cos(2 * math.pi * number / marks), math.sin(2 * math.pi * number / marks)
        pen.line(50 + 41 * x, 50 + 41 * y, 50 + 47 * x, 50 + 47 * y)
    if pen.chance(0.2):
        pen.dot(50, 50, 2)


@SHAPES.named("power outlet")
def _power_outlet(pen: Pen) -> None:
    wide = pen.between(60, 84)
    pen.box(0, 0, wide, 100)
    middle, gap = wide / 2, wide * pen.between(0.14, 0.2)
    sockets = [30, 72] if pen.chance(0.7) else [50]
    frame = pen.chance(0.35)
    for y in sockets:
        if frame:
            pen.loop(middle, y, wide * 0.36, 17)
        for side in (-1, 1):
            pen.line(middle + side * gap, y - 9, middle + side * gap, y + 2)
        if pen.chance(0.85):
            pen.loop(middle, y + 9, 3.4)
    if len(sockets) == 2 and pen.chance(0.35):
        pen.dot(middle, 51, 2)


@SHAPES.named("umbrella")
def _umbrella(pen: Pen) -> None:
    pen.tilt = pen.near(0, 10)
    tall = pen.between(38, 50)
    pen.arc(50, tall, 50, tall, 180, 360)
    if pen.chance(0.7):
        scallops, wide = pen.pick([3, 4, 5]), 100.0
        spots: list[Point] = [(0, tall)]
        for number in range(scallops):
            x = wide * number / scallops
            spots += [(x + wide / scallops / 2, tall - 7), (x + wide / scallops, tall)]
        pen.curve(*spots)
    else:
        pen.line(0, tall, 100, tall)
    side, low = pen.pick([-1, 1]), pen.between(86, 100)
    pen.curve(
        (50, pen.pick([0, tall - 6])), (50, 60), (50, low), (50 + 7 * side, low + 9), (50 + 15 * side, low)
    )


@SHAPES.named("key")
def _key(pen: Pen) -> None:
    pen.tilt = pen.pick([0, 0, 180, 90, -90, -45]) + pen.near(0, 9)
    bow, half = pen.between(14, 19), pen.between(3, 4.5)
    pen.loop(bow, 0, bow, bow * pen.between(0.8, 1.05))
    if pen.chance(0.5):
        pen.loop(bow, 0, bow * 0.5)
    if pen.chance(0.55):  # a shaft with two sides, teeth below
        start = 2 * bow - 1
        pen.path((start, -half), (100, -half), (100, half), (94, half), (94, half + 9),
                 (87, half + 9), (87, half), (81, half), (81, half + 8), (74, half + 8),
                 (74, half), (start, half))  # fmt: skip
    else:
        pen.line(2 * bow, 0, 100, 0)
        for number in range(pen.count(2, 3)):
            pen.line(98 - 10 * number, 0, 98 - 10 * number, pen.near(13, 2))


@SHAPES.named("envelope")
def _envelope(pen: Pen) -> None:
    tall = pen.between(50, 68)
    pen.box(0, 0, 100, tall)
    tip = tall * pen.between(0.45, 0.65)
    pen.path((0, 0), (pen.near(50, 2), tip), (100, 0))
    if pen.chance(0.3):
        pen.line(0, tall, 38, tip * 0.8)
        pen.line(100, tall, 62, tip * 0.8)


@SHAPES.named("cup")
def _cup(pen: Pen) -> None:
    pen.flip = pen.chance(0.3)
    wide, taper = pen.between(58, 76), pen.between(0, 9)
    if pen.chance(0.6):  # seen from above
        pen.loop(wide / 2, 10, wide / 2, pen.between(6, 11))
        pen.curve((0, 11), (taper / 2, 50), (taper, 88), (wide / 2, 97), (wide - taper, 88),
                  (wide - taper / 2, 50), (wide, 11))  # fmt: skip
    else:
        pen.polygon((0, 5), (taper, 95), (wide - taper, 95), (wide, 5))
    x = wide - taper / 2
    pen.curve((x, 28), (x + 20, 26), (x + 27, 45), (x + 18, 66), (x - 1, 70))
    if pen.chance(0.4):
        pen.curve((x, 36), (x + 12, 35), (x + 17, 46), (x + 11, 59), (x, 61))
    if pen.chance(0.2):
        for number in range(pen.count(2, 3)):
            foot = wide * (0.3 + 0.2 * number)
            pen.curve((foot, -4), (foot + 4, -12), (foot - 3, -19), (foot + 1, -27))


@SHAPES.named("ice cream")
def _ice_cream(pen: Pen) -> None:
    half, rim = pen.between(20, 26), 42
    pen.path((50 - half, rim), (pen.near(50, 2), 105), (50 + half, rim))
    scoops = pen.pick([1, 1, 1, 2])
    if pen.chance(0.55):
        pen.line(50 - half, rim, 50 + half, rim)
        pen.arc(50, rim, half, half, 180, 360)
        for number in range(1, scoops):
            pen.arc(50, rim - number * half * 0.9, half * 0.8, half * 0.85, 165, 375)
    else:
        pen.bumps(50, rim - 8, half + 4, 18, pen.count(5, 7), 0.22)
        for number in range(1, scoops):
            pen.loop(50, rim - 18 - 17 * number, half * 0.75, 15)
    if pen.chance(0.35):  # the waffle
        pen.line(50 - half * 0.6, rim + 1, 50 + half * 0.35, rim + 34)
        pen.line(50 + half * 0.6, rim + 1, 50 - half * 0.35, rim + 34)
    if pen.chance(0.2):
        pen.loop(50, rim - half * scoops - 5, 4)


@SHAPES.named("lollipop")
def _lollipop(pen: Pen) -> None:
    pen.tilt = pen.near(0, 14)
    radius = pen.between(20, 27)
    pen.loop(50, radius, radius)
    if pen.chance(0.45):
        pen.spiral(50, radius, radius * 0.8, pen.between(1.3, 2.4))
    if pen.chance(0.75):
        pen.line(50, 2 * radius, pen.near(50, 1.5), 115)
    else:
        pen.path((48, 2 * radius), (48, 112), (53, 112), (53, 2 * radius))


@SHAPES.named("traffic light")
def _traffic_light(pen: Pen) -> None:
    wide = pen.between(34, 46)
    pen.box(0, 0, wide, 100)
    for y in (18, 50, 82):
        pen.loop(pen.near(wide / 2, 1), pen.near(y, 1), wide * pen.between(0.24, 0.34))
    if pen.chance(0.5):
        low = pen.between(125, 150)
        pen.line(wide / 2 - 4, 100, wide / 2 - 4, low)
        if pen.chance(0.6):
            pen.line(wide / 2 + 4, 100, wide / 2 + 4, low)


@SHAPES.named("stop sign")
def _stop_sign(pen: Pen) -> None:
    pen.polygon(*ring(50, 36, 40, 8, 22.5))
    word = pen.chance(0.75)
    if word:
        y = pen.near(36, 1.5)
        pen.path(
            (31, y - 7), (25, y - 8), (23, y - 3), (31, y + 3), (29, y + 8), (22, y + 8), both_ways=False
        )
        pen.line(34, y - 8, 45, y - 8)
        pen.line(39.5, y - 8, 39.5, y + 8)
        pen.loop(53, y, 5, 8)
        pen.path((63, y + 9), (63, y - 8), (71, y - 6), (71, y), (63, y + 1), both_ways=False)
    if not word or pen.chance(0.8):
        low = pen.between(105, 130)
        pen.line(50, 75, pen.near(50, 1.5), low)
        if pen.chance(0.35):
            pen.line(55, 75, pen.near(55, 1.5), low)


@SHAPES.named("eyeglasses")
def _eyeglasses(pen: Pen) -> None:
    half, rise = pen.between(15, 19), pen.between(11, 17)
    for side in (-1, 1):
        if rise > 14:
            pen.loop(50 + side * 25, 50, half, rise)
        else:
            pen.box(50 + side * 25 - half, 50 - rise, 50 + side * 25 + half, 50 + rise)
    pen.curve((25 + half, 47), (50, pen.between(39, 45)), (75 - half, 47))
    reach = pen.between(10, 22)
    if pen.chance(0.85):
        for side in (-1, 1):
            x = 50 + side * (25 + half)
            pen.curve((x, 46), (x + side * reach, 38), (x + side * (reach + 5), 48))


@SHAPES.named("dumbbell")
def _dumbbell(pen: Pen) -> None:
    pen.tilt = pen.pick([0, 0, 0, -35]) + pen.near(0, 8)
    size, half = pen.between(14, 20), pen.between(2.5, 4)
    round_ends = pen.chance(0.55)
    for x in (size, 110 - size):
        if round_ends:
            pen.loop(x, 0, size)
        else:
            pen.box(x - size * 0.45, -size, x + size * 0.45, size)
    inner = 2 * size if round_ends else 1.45 * size
    if pen.chance(0.65):
        for y in (-half, half):
            pen.line(inner, y, 110 - inner, y)
    else:
        pen.line(inner, 0, 110 - inner, 0)


@SHAPES.named("hourglass")
def _hourglass(pen: Pen) -> None:
    half = pen.between(26, 36)
    if pen.chance(0.5):
        pen.polygon((50 - half, 4), (50 + half, 96), (50 - half, 96), (50 + half, 4))
    else:
        for side in (-1, 1):
            pen.curve((50 + side * half, 4), (50 + side * half * 0.8, 28), (50 + side * 4, 50),
                      (50 + side * half * 0.8, 72), (50 + side * half, 96))  # fmt: skip
        for y in (3, 97):
            pen.line(50 - half - 4, y, 50 + half + 4, y)
    if pen.chance(0.45):
        pen.curve((50 - half * 0.6, 92), (50, pen.between(70, 80)), (50 + half * 0.6, 92))
    if pen.chance(0.25):
        for number in range(2):
            pen.dot(50, 60 + 7 * number, 1.2)
