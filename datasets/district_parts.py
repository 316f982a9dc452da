"""The things a made-up district consists of: roofs, scars, trees, vehicles, dust nets, turf, hoardings.

Each is drawn in metres, in a `Frame` that knows where it lies in the picture, with `Dice` for what varies.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from datasets.render import NATURAL, PAVED, Colour, Point, Shape, Surface

T = TypeVar("T")

SOIL, GRASS, CONCRETE, BRICK = (158, 140, 115), (98, 106, 75), (156, 153, 145), (136, 125, 114)
ASPHALT, OLD_ASPHALT = (99, 99, 101), (136, 134, 130)
RUST = (140, 116, 97)

_PALETTE: dict[str, list[tuple[float, Colour]]] = {
    "grey": [(1, (110, 110, 109))],
    "red": [(1, (140, 93, 76))],
    "steel": [(5, (80, 113, 155)), (4, (192, 195, 197)), (0.7, (136, 76, 68)), (0.8, (114, 138, 146))],
    "flat": [(4, (150, 146, 138)), (2, (122, 120, 117)), (2, (170, 165, 155)), (0.7, (140, 116, 101))],
    "clutter": [(4, (200, 200, 196)), (3, (94, 94, 94)), (1, (70, 100, 142)), (1, (120, 90, 74))],
    "rubble": [(3, (180, 171, 156)), (2, (134, 114, 94)), (1, (144, 104, 86))],
    "car": [
        (4, (222, 223, 224)),
        (3, (208, 209, 208)),
        (3, (60, 61, 64)),
        (3, (128, 130, 133)),
        (1, (48, 60, 90)),
        (1, (132, 48, 44)),
    ],
    "lorry": [(2, (62, 94, 144)), (2, (192, 192, 188)), (1, (142, 66, 56)), (1, (128, 114, 96))],
    "hoarding": [(3, (80, 117, 160)), (2, (202, 204, 202)), (1, (84, 124, 94))],
}
_CIRCLE = {n: [(math.cos(2 * math.pi * k / n), math.sin(2 * math.pi * k / n)) for k in range(n)] for n in range(6, 21)}


@dataclass(frozen=True, slots=True)
class Frame:
    """A place and a direction. Plain numbers: arrays of four points each would take far longer.

    Attributes:
        x, y: the origin in pixels of the scene.
        c, s: pixels per metre times cosine and sine of the angle from the picture's x axis to the frame's.
    """

    x: float
    y: float
    c: float
    s: float

    @classmethod
    def turned(cls, origin: Point, degrees: float, gsd: float) -> Frame:
        """At `origin`, in metres from the scene's upper left corner."""
        angle = math.radians(degrees)
        return cls(origin[0] / gsd, origin[1] / gsd, math.cos(angle) / gsd, math.sin(angle) / gsd)

    def point(self, x: float, y: float) -> Point:
        """Metres -> pixels."""
        return self.x + x * self.c - y * self.s, self.y + x * self.s + y * self.c

    def points(self, metres: Sequence[Point]) -> tuple[Point, ...]:
        x, y, c, s = self.x, self.y, self.c, self.s
        return tuple([(x + u * c - v * s, y + u * s + v * c) for u, v in metres])

    def at(self, x: float, y: float, degrees: float = 0.0) -> Frame:
        """The same scale, moved and turned."""
        if not degrees:
            return Frame(*self.point(x, y), self.c, self.s)
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        return Frame(*self.point(x, y), self.c * c - self.s * s, self.s * c + self.c * s)

    def rect(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        colour: Colour,
        surface: Surface,
        z: float,
        rise: float = 0.0,
        slope: tuple[float, float] = (0.0, 0.0),
    ) -> Shape:
        """A rectangle; `slope` as a direction of this frame."""
        outline = self.points([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        return Shape(outline, colour, surface, z, rise, self.lean(*slope))

    def lean(self, x: float, y: float) -> tuple[float, float]:
        """A direction of this frame as one of the picture, the length kept."""
        scale = math.hypot(self.c, self.s)
        return (x * self.c - y * self.s) / scale, (x * self.s + y * self.c) / scale


class Dice:
    """Chance with a seed. Python's own generator, which is quick at single numbers."""

    def __init__(self, seed: str | int) -> None:
        self._random = random.Random(seed)
        self.between = self._random.uniform

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def pick(self, options: Sequence[tuple[float, T]]) -> T:
        """One of the options, in proportion to their weights."""
        return self._random.choices([o for _, o in options], [w for w, _ in options])[0]

    def count(self, mean: float) -> int:
        return int(mean * self._random.uniform(0.5, 1.5) + self._random.random())

    def fork(self) -> int:
        """A seed for something that is thrown for later."""
        return self._random.getrandbits(48)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        return self._random.sample(items, len(items))

    def varied(self, colour: Colour, brightness: float = 0.08, hue: float = 3.0) -> Colour:
        throw = self._random.uniform
        k, (r, g, b) = 1 + throw(-brightness, brightness), colour
        return r * k + throw(-hue, hue), g * k + throw(-hue, hue), b * k + throw(-hue, hue)

    def blob(self, at: Frame, rx: float, ry: float, rough: float = 0.25, n: int = 14) -> tuple[Point, ...]:
        """A rough ellipse about the origin of `at`; n is 6..20."""
        throw, low, span = self._random.random, 1 - rough, 2 * rough
        ax, ay, bx, by = rx * at.c, rx * at.s, -ry * at.s, ry * at.c
        outline = []
        for c, s in _CIRCLE[n]:
            r = low + span * throw()
            outline.append((at.x + r * (c * ax + s * bx), at.y + r * (c * ay + s * by)))
        return tuple(outline)


# --- roofs, with the upper left corner of the footprint at the frame's origin ------------------------------


def roof(dice: Dice, f: Frame, w: float, d: float, kind: str, z: float) -> tuple[Shape, ...]:
    """A roof `z` metres up, of kind grey or red (tiles), steel or flat."""
    if kind == "flat":
        return tuple(_flat(dice, f, w, d, z))
    colour = dice.varied(dice.pick(_PALETTE[kind]), 0.13, 4)
    return tuple(_pitched(dice, f, w, d, z, colour, Surface.STEEL if kind == "steel" else Surface.TILE))


def _pitched(dice: Dice, f: Frame, w: float, d: float, z: float, colour: Colour, surface: Surface) -> list[Shape]:
    """Two slopes either side of a ridge along the longer side; sheets of steel fade each at its own pace."""
    steel, along_x = surface is Surface.STEEL, w >= d
    long, half = (w, d / 2) if along_x else (d, w / 2)
    steep, spread = (0.10, 0.055) if steel else (0.32, 0.05)
    count = max(1, round(long / (dice.between(1.6, 3.2) if steel else dice.between(3.5, 8.0))))
    step = long / count
    skylights = steel and long > 14 and dice.chance(0.6)

    def piece(a0: float, b0: float, a1: float, b1: float, tone: Colour, lift: float, side: float) -> Shape:
        if along_x:
            return f.rect(a0, b0, a1, b1, tone, surface, z + lift, 0, (0, steep * side))
        return f.rect(b0, a0, b1, a1, tone, surface, z + lift, 0, (steep * side, 0))

    shapes = [f.rect(0, 0, w, d, colour, surface, z, z)]
    for side in (0, 1):
        for k in range(count):
            odd = steel and dice.chance(0.015)  # rusty, or a sheet from elsewhere
            tone = dice.varied(RUST, 0.1) if odd else dice.varied(colour, spread, 1.5)
            shapes.append(piece(k * step, side * half, (k + 1) * step, half + side * half, tone, 0.01, 2 * side - 1))
            if skylights and k % 3 == 1:
                pale = (colour[0] + 26, colour[1] + 26, colour[2] + 20)
                low, high = half * (0.25 + side), half * (0.75 + side)
                shapes.append(piece(k * step, low, k * step + 0.9, high, pale, 0.02, 2 * side - 1))
    ridge = (colour[0] * 1.1, colour[1] * 1.1, colour[2] * 1.1)
    return [*shapes, piece(0, half - 0.2, long, half + 0.2, ridge, 0.03, 0)]


def _flat(dice: Dice, f: Frame, w: float, d: float, z: float) -> list[Shape]:
    """Concrete or felt behind a parapet, patched, with boxes; stair heads and collectors on tall ones."""
    base = dice.varied(dice.pick(_PALETTE["flat"]))
    shapes = [f.rect(0, 0, w, d, base, Surface.SLAB, z, z)]
    for _ in range(dice.count(2)):
        pw, pd = w * dice.between(0.15, 0.5), d * dice.between(0.2, 0.6)
        x, y = dice.between(0, w - pw), dice.between(0, d - pd)
        shapes.append(f.rect(x, y, x + pw, y + pd, dice.varied(base, 0.11, 2), Surface.SLAB, z + 0.01))
    edge, t = dice.varied((178, 174, 167), 0.1), 0.35
    for side in walls(w, d, t):
        shapes.append(f.rect(*side, edge, Surface.SLAB, z + 0.02, 0.7))
    for _ in range(dice.count(w * d / 34)):
        s, e = dice.between(0.6, 1.7), dice.between(0.6, 1.7)
        x, y = dice.between(t, max(t, w - t - s)), dice.between(t, max(t, d - t - e))
        tone = dice.varied(dice.pick(_PALETTE["clutter"]), 0.1)
        shapes.append(f.rect(x, y, x + s, y + e, tone, Surface.PAINT, z + 0.05, dice.between(0.3, 1.2)))
    stairs = max(1, int(w // 16)) if z > 10 else 0
    for k in range(stairs):
        x, y = (k + 0.5) * w / stairs - 1.6, d * 0.3
        shapes.append(f.rect(x, y, x + 3.2, y + 4, dice.varied(edge, 0.06), Surface.SLAB, z + 2.4, 2.4))
        for row in range(3 if dice.chance(0.7) else 0):
            y = d * 0.72 + row * 1.1
            if y + 0.65 < d - t:
                shapes.append(f.rect(x - 4, y, x + 2.5, y + 0.65, (50, 57, 72), Surface.PAINT, z + 0.06, 0.4))
    return shapes


def scar(dice: Dice, f: Frame, w: float, d: float) -> tuple[Shape, ...]:
    """What a structure leaves: levelled earth, rubble and wheel marks, a little wider than it was."""
    soil = dice.varied((168, 150, 124), 0.07)
    level = dice.blob(f.at(w / 2, d / 2), w * 0.52, d * 0.5, 0.12)
    shapes = [
        f.rect(-0.5, -0.5, w + 0.5, d + 0.5, soil, Surface.SOIL, PAVED + 0.5),
        Shape(level, dice.varied(soil, 0.06), Surface.SOIL, PAVED + 0.51),
    ]
    for _ in range(int(2 + w * d / 28)):
        at = f.at(dice.between(0.1, 0.9) * w, dice.between(0.1, 0.9) * d, dice.between(0, 180))
        r = dice.between(0.4, 0.11 * min(w, d) + 0.6)
        tone = dice.varied(dice.pick(_PALETTE["rubble"]))
        shapes.append(Shape(dice.blob(at, r * 1.5, r, 0.35, 9), tone, Surface.RUBBLE, PAVED + 0.52, 0.25))
    for y in (0.35 * d, 0.35 * d + min(0.3 * d, 1.8)):
        track = dice.varied((140, 122, 100), 0.05)
        shapes.append(f.rect(w * 0.05, y, w * 0.95, y + 0.4, track, Surface.SOIL, PAVED + 0.53))
    return tuple(shapes)


def walls(w: float, d: float, t: float) -> tuple[tuple[float, float, float, float], ...]:
    """Rectangles, t metres thick, along the inside of a w x d one."""
    return (0.0, 0.0, w, t), (0.0, d - t, w, d), (0.0, 0.0, t, d), (w - t, 0.0, w, d)


# --- what is not a structure -------------------------------------------------------------------------------


def tree(dice: Dice, f: Frame, x: float, y: float, r: float) -> list[Shape]:
    """A crown of lumps, r metres in radius: those towards the sun are bright."""
    at, height = f.at(x, y), 2.0 + r * dice.between(0.8, 1.2)
    green = dice.varied((62, 75, 50), 0.17, 5)
    shapes = [Shape(dice.blob(at, r, r, 0.16, 11), green, Surface.CROWN, height, height * 0.85)]
    for _ in range(int(3 + r)):
        angle, out = dice.between(0, 2 * math.pi), math.sqrt(dice.between(0.0, 0.5))
        x, y = out * math.cos(angle), out * math.sin(angle)
        size = r * dice.between(0.25, 0.46)
        lump = dice.blob(at.at(x * r, y * r), size, size, 0.2, 6)
        lean, tone = f.lean(0.55 * x, 0.55 * y), dice.varied(green, 0.14, 2)
        shapes.append(Shape(lump, tone, Surface.CROWN, height + 0.1, slope=lean))
    return shapes


def car(dice: Dice, f: Frame) -> tuple[Shape, ...]:
    """A car, its middle at the origin."""
    r, g, b = colour = dice.varied(dice.pick(_PALETTE["car"]), 0.05, 2)
    glass = (
        r * 0.35 + 30,
        g * 0.35 + 33,
        b * 0.35 + 36,
    )  # what half a metre per pixel leaves of a windscreen
    return (
        f.rect(-2.25, -0.9, 2.25, 0.9, colour, Surface.PAINT, 0.4, 1.2),
        f.rect(0.35, -0.72, 1.0, 0.72, glass, Surface.PAINT, 0.41),
        f.rect(-1.85, -0.66, -1.4, 0.66, glass, Surface.PAINT, 0.41),
    )


def lorry(dice: Dice, f: Frame) -> tuple[Shape, ...]:
    """A lorry, the end of its body at the origin."""
    long, body = dice.between(5, 9), dice.varied(dice.pick(_PALETTE["lorry"]), 0.1)
    cab = dice.varied(dice.pick(_PALETTE["car"][:2]), 0.05)
    return (
        f.rect(0, -1.2, long, 1.2, body, Surface.PAINT, 0.6, 2.8),
        f.rect(long + 0.3, -1.15, long + 2.4, 1.15, cab, Surface.PAINT, 0.6, 2.5),
        f.rect(long + 1.9, -1.0, long + 2.4, 1.0, (70, 75, 80), Surface.PAINT, 0.61),
    )


def net(dice: Dice, f: Frame, w: float, d: float) -> tuple[Shape, ...]:
    """A dust net (防尘网): green mesh over bare earth, in strips with folds, torn here and there."""
    green = dice.varied((88, 119, 90), 0.1, 5)
    sheet = dice.blob(f.at(w / 2, d / 2), w * 0.52, d * 0.52, 0.1, 18)
    shapes = [Shape(sheet, green, Surface.NET, 0.1)]
    strips = max(2, int(w / 4))
    for k in range(strips):
        x, y0, y1 = w * k / strips, d * dice.between(0.03, 0.12), d * dice.between(0.86, 0.97)
        shapes.append(f.rect(x, y0, x + w / strips, y1, dice.varied(green, 0.09), Surface.NET, 0.11))
        seam, fold = f.at(x, y0, dice.between(-2, 2)), dice.varied((110, 138, 108), 0.1)
        shapes.append(seam.rect(0, 0, 0.25, y1 - y0, fold, Surface.NET, 0.12))
    for _ in range(dice.count(2)):
        tear = f.at(w * dice.between(0.1, 0.9), d * dice.between(0.1, 0.9), dice.between(0, 180))
        hole = dice.blob(tear, dice.between(0.6, 2), dice.between(0.4, 1), 0.4, 9)
        shapes.append(Shape(hole, SOIL, Surface.SOIL, 0.13))
    return tuple(shapes)


def greening(dice: Dice, f: Frame, w: float, d: float) -> tuple[Shape, ...]:
    """A lot made green (覆绿): turf and rows of young trees."""
    grass = dice.varied((94, 108, 70), 0.06)
    turf = dice.blob(f.at(w / 2, d / 2), w * 0.58, d * 0.58, 0.08, 20)
    shapes = [Shape(turf, grass, Surface.GRASS, PAVED + 0.2)]
    for _ in range(int(w * d / 60)):
        at = f.at(dice.between(0.1, 0.9) * w, dice.between(0.1, 0.9) * d)
        patch = dice.blob(at, dice.between(1, 4), dice.between(1, 3), 0.3)
        shapes.append(Shape(patch, dice.varied(grass, 0.1, 5), Surface.GRASS, PAVED + 0.21))
    for x in np.arange(2.5, w - 1.5, 4.5).tolist():
        for y in np.arange(2.5, d - 1.5, 4.5).tolist():
            if dice.chance(0.8):
                dx, dy = dice.between(-0.4, 0.4), dice.between(-0.4, 0.4)
                shapes += tree(dice, f, x + dx, y + dy, dice.between(0.7, 1.2))
    return tuple(shapes)


def hoarding(dice: Dice, f: Frame, w: float, d: float) -> tuple[Shape, ...]:
    """A fence of steel sheets (围挡) around a site, open where the lorries go in."""
    tone, t = dice.varied(dice.pick(_PALETTE["hoarding"])), 0.45
    gate = w * dice.between(0.3, 0.6)
    _, *closed = walls(w, d, t)
    sides = ((0.0, 0.0, gate, t), (gate + 6, 0.0, w, t), *closed)
    return tuple(f.rect(*side, tone, Surface.STEEL, 2.2, 2.2) for side in sides)


def open_ground(
    dice: Dice, f: Frame, w: float, d: float, colour: Colour, surface: Surface, patches: float
) -> list[Shape]:
    """Ground with patches of its own kind, of earth and of weeds; the more the larger `patches`."""
    shapes = [f.rect(-2, -2, w + 2, d + 2, colour, surface, NATURAL)]
    worn = (SOIL, (142, 132, 115)) if surface is Surface.GRASS else ((124, 120, 92), (150, 140, 122))
    for _ in range(dice.count(patches * w * d / 150)):
        at = f.at(dice.between(0, w), dice.between(0, d), dice.between(0, 180))
        own = dice.chance(0.55)
        tone = dice.varied(colour if own else dice.pick([(1, worn[0]), (1, worn[1])]), 0.11, 4)
        patch = dice.blob(at, dice.between(1.5, 8), dice.between(1, 4), 0.4, 16)
        layer = NATURAL + dice.between(0.1, 0.2)
        shapes.append(Shape(patch, tone, surface if own else Surface.SOIL, layer))
    return shapes


def tracks(dice: Dice, f: Frame, w: float, d: float, colour: Colour) -> list[Shape]:
    """A pair of wheel marks that wander across."""
    shapes = []
    x, y, heading = 0.0, dice.between(0.2, 0.8) * d, dice.between(-15, 15)
    while 0 <= x < w and 0 <= y < d:
        at = f.at(x, y, heading)
        for side in (-0.9, 0.7):
            shapes.append(at.rect(-0.3, side, 4.4, side + 0.45, colour, Surface.SOIL, NATURAL + 0.5))
        x, y = x + 4 * math.cos(math.radians(heading)), y + 4 * math.sin(math.radians(heading))
        heading += dice.between(-14, 14)
    return shapes
