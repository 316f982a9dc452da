"""The plan of a made-up district: streets, and blocks of courtyards, works, flats, bare lots and parks.

The plan is endless and a function of the seed alone; a scene is a window on it. Blocks are built when they
are asked for, so a large scene never holds more than a few.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from datasets import district_parts as parts
from datasets.district_parts import ASPHALT, BRICK, CONCRETE, GRASS, OLD_ASPHALT, SOIL, Dice, Frame
from datasets.render import PAVED, Colour, Point, Shape, Surface

Passing = Literal["vehicles", "nets", "greenings", "hoardings"]
PASSING: tuple[Passing, ...] = ("vehicles", "nets", "greenings", "hoardings")
"""What comes and goes without being a structure."""

_PITCH = 78.0  # metres between streets
_MAIN, _SIDE = 15.0, 6.5  # metres of carriageway
_PAVEMENT = 4.2
_WHITE, _YELLOW = (192, 192, 187), (182, 161, 100)


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """Something that may be there at one date and not at the other; drawn up only where it is wanted.

    Attributes:
        place: (x, y) pixels of the scene, about its middle.
    """

    place: Point
    seed: int
    make: Callable[[Dice], tuple[Shape, ...]]

    def shapes(self) -> tuple[Shape, ...]:
        """The same at every call."""
        return self.make(Dice(self.seed))


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """One roof.

    Attributes:
        outline: four corners, (x, y) in pixels of the scene.
        informal: put up without much ado, and so the first to come and go.
        shapes: the roof.
        scar: the ground that is left when it has gone.
    """

    outline: tuple[Point, ...]
    informal: bool
    shapes: tuple[Shape, ...]
    scar: Slot


class Block(Dice):
    """One block and the streets along its north and west. Built once, then only read.

    Attributes:
        fixed: what is there at both dates, without the structures.
        structures: roofs, none over another.
        slots: what a date may or may not have.
    """

    def __init__(self, seed: str) -> None:
        super().__init__(seed)
        self.fixed: list[Shape] = []
        self.structures: list[Structure] = []
        self.slots: dict[Passing, list[Slot]] = {passing: [] for passing in PASSING}

    def build(self, f: Frame, x0: float, y0: float, x1: float, y1: float, kind: str, height: float) -> None:
        """Put up a roof on a rectangle of `f`, unless it is too small for one."""
        w, d = x1 - x0, y1 - y0
        if min(w, d) < 2.2:
            return
        at = f.at(x0, y0)
        shapes = parts.roof(self, at, w, d, kind, height)
        scar = Slot((at.x, at.y), self.fork(), partial(parts.scar, f=at, w=w, d=d))
        self.structures.append(Structure(shapes[0].points, kind == "steel", shapes, scar))

    def offer_area(
        self, passing: Passing, make: Callable[..., tuple[Shape, ...]], f: Frame, w: float, d: float
    ) -> None:
        place = f.point(w / 2, d / 2)
        self.slots[passing].append(Slot(place, self.fork(), partial(make, f=f, w=w, d=d)))

    def offer_vehicle(self, f: Frame, lorries: float = 0.0) -> None:
        make = parts.lorry if self.chance(lorries) else parts.car
        self.slots["vehicles"].append(Slot((f.x, f.y), self.fork(), partial(make, f=f)))

    def plant(self, f: Frame, x0: float, y0: float, x1: float, y1: float, count: float, r: float) -> None:
        """About `count` trees of radius about r."""
        for _ in range(self.count(count) if x1 > x0 and y1 > y0 else 0):
            x, y = self.between(x0, x1), self.between(y0, y1)
            self.fixed += parts.tree(self, f, x, y, r * self.between(0.65, 1.35))


# --- kinds of block: each fills w x d metres from the origin of its frame ----------------------------------


def _courtyards(block: Block, f: Frame, w: float, d: float) -> None:
    """Rows of walled yards with lanes between."""
    dusty = block.varied((146, 138, 124))
    block.fixed += parts.open_ground(block, f, w, d, dusty, Surface.PAVING, 0.4)
    rows = max(1, round(d / 20))
    depth = d / rows
    for row in range(rows):
        y0, y1 = row * depth + 1.6, (row + 1) * depth - 1.6
        x = block.between(0, 1)
        while x < w - 9:
            wide = min(block.between(11, 18), w - x)
            if w - x - wide < 9:
                wide = w - x
            _yard(block, f.at(x, y0), wide - block.between(0.3, 1.4), y1 - y0)
            x += wide
        if block.chance(0.7):
            block.plant(f, 0, y1 + 0.4, w, y1 + 2.6, 2.0, 2.3)
        for _ in range(3):
            heading = block.pick([(1, 0), (1, 180)]) + block.between(-3, 3)
            block.offer_vehicle(f.at(block.between(3, w - 3), y1 + 1.6, heading))


def _yard(block: Block, f: Frame, w: float, d: float) -> None:
    """A house to the north, wings and a gatehouse, and a steel roof over what was open."""
    between, chance = block.between, block.chance
    use = between(0, 1)
    if use < 0.07:
        _vacant(block, f, w, d)
        return
    paved = block.varied(block.pick([(3, CONCRETE), (3, BRICK), (1, SOIL)]), 0.1)
    block.fixed.append(f.rect(0, 0, w, d, paved, Surface.PAVING, PAVED))
    if use < 0.17:
        block.build(f, 0.3, 0.3, w - 0.3, d * between(0.7, 0.97), "flat", between(6.5, 10))
        return
    wall = block.varied((150, 143, 134), 0.1)
    block.fixed += [f.rect(*side, wall, Surface.SLAB, 2.1, 2.1) for side in parts.walls(w, d, 0.32)]
    tiled = "red" if chance(0.3) else "grey"
    north, south, west, east = between(5.2, 6.8), d, 0.0, w
    height = between(3.8, 4.6) + 3 * chance(0.12)
    block.build(f, 0, 0, w, north, "flat" if chance(0.28) else tiled, height)
    if chance(0.6):
        south = d - between(3.4, 4.4)
        gate = between(2.4, 3.4) if chance(0.7) else 0.0
        block.build(f, 0, south, w - gate, d, "flat" if chance(0.5) else tiled, between(3.0, 3.6))
    for right in (False, True):
        if chance(0.62):
            wide = min(between(3.2, 4.4), w * 0.32)
            x0 = w - wide if right else 0.0
            west, east = (west, x0) if right else (wide, east)
            kind = block.pick([(0.25, "steel"), (0.34, "flat"), (0.41, tiled)])
            block.build(f, x0, north + 0.35, x0 + wide, south - 0.35, kind, between(2.8, 3.4))
    open_x, open_y = east - west, south - north
    if chance(0.42) and min(open_x, open_y) > 3.4:
        x0 = west + 0.4 if chance(0.5) else west + open_x * between(0.2, 0.45)
        y1 = south - open_y * between(0.08, 0.3)
        block.build(f, x0, north + 0.4, east - 0.4, y1, "steel", between(2.5, 3.0))
    elif min(open_x, open_y) > 3:
        block.plant(f, west + 1.5, north + 1.5, east - 1.4, south - 1.4, 1.2, between(1.5, 2.8))
        if chance(0.3):
            block.offer_vehicle(f.at((west + east) / 2, (north + south) / 2, between(60, 120)))


def _vacant(block: Block, f: Frame, w: float, d: float) -> None:
    """A plot where nothing stands."""
    block.fixed.append(f.rect(0, 0, w, d, block.varied(SOIL), Surface.SOIL, PAVED))
    for _ in range(5):
        at = f.at(block.between(2, w - 2), block.between(2, d - 2), block.between(0, 180))
        patch = block.blob(at, block.between(1, 3), block.between(0.8, 2), 0.4)
        weeds = block.chance(0.5)
        tone = block.varied(GRASS if weeds else (150, 138, 122))
        block.fixed.append(Shape(patch, tone, Surface.GRASS if weeds else Surface.RUBBLE, PAVED + 0.1))
    if block.chance(0.5):
        block.offer_area("nets", parts.net, f.at(1, 1), w - 2, d - 2)
    else:
        block.offer_area("greenings", parts.greening, f.at(1, 1), w - 2, d - 2)


def _works(block: Block, f: Frame, w: float, d: float) -> None:
    """A yard (大院) of steel sheds and workshops either side of a drive."""
    between, chance = block.between, block.chance
    ground = block.varied(block.pick([(2, CONCRETE), (1, SOIL)]))
    block.fixed += parts.open_ground(block, f, w, d, ground, Surface.PAVING, 1.0)
    block.fixed += [f.rect(*side, BRICK, Surface.SLAB, 2.3, 2.3) for side in parts.walls(w, d, 0.35)[1:]]
    split = w * between(0.42, 0.58)
    for x0, x1 in ((1.5, split - 2.5), (split + 2.5, w - 1.5)):
        y = 1.5
        while y < d - 9:
            y1 = y + min(between(9, 21), d - 1.5 - y)
            if chance(0.14):
                _vacant(block, f.at(x0, y), x1 - x0, y1 - y)
            else:
                far = x1 - between(0, 5)
                cut = x0 + (far - x0) * between(0.4, 0.7) if chance(0.35) else far
                kind = block.pick([(0.78, "steel"), (0.13, "flat"), (0.09, "red")])
                block.build(f, x0, y, cut, y1, kind, between(4.5, 8))
                block.build(f, cut + 0.3, y + between(0, 3), far, y1, "steel", between(3, 4.5))
            y = y1 + between(1, 6)
    for y in np.arange(5, d - 12, 8.0).tolist():
        block.offer_vehicle(f.at(split + between(-1.2, 1.2), y, 90 + between(-4, 4)), lorries=0.5)
    block.plant(f, 0, -1, w, 1, 3, 2.0)


def _flats(block: Block, f: Frame, w: float, d: float) -> None:
    """Rows of walk-up slabs that face south, lawns and trees between, sheds against their ground floors."""
    between, chance = block.between, block.chance
    block.fixed += parts.open_ground(block, f, w, d, block.varied(GRASS, 0.06), Surface.GRASS, 0.7)
    rows = max(1, round(d / 29))
    for row in range(rows):
        y, deep, height = row * d / rows + between(4, 6), between(11, 13), between(14.5, 17.5)
        lane = y + deep + 4
        paved = block.varied(CONCRETE, 0.06)
        block.fixed.append(f.rect(-2, lane, w + 2, lane + 4.4, paved, Surface.PAVING, PAVED))
        cut = w * between(0.42, 0.55) if chance(0.4) else w
        block.build(f, between(1, 5), y, cut - 1.5, y + deep, "flat", height)
        if cut < w:
            block.build(f, cut + 2.5, y + 1.5, w - 2, y + 1.5 + deep, "flat", height)
        for x in np.arange(6, w - 13, 16.0).tolist():
            block.fixed.append(f.rect(x, y + deep, x + 1.8, lane, paved, Surface.PAVING, PAVED))
            if chance(0.4):
                block.build(f, x + 3, y + deep + 1.8, x + between(7, 11), y + deep + 4.2, "steel", 2.6)
        block.plant(f, 1, lane + 5.5, w - 1, min(d, lane + 9), 8, 2.6)
        block.plant(f, 1, y - 4, w - 1, y - 1.5, 4, 2.2)
        for x in np.arange(3, w - 3, 5.6).tolist():
            block.offer_vehicle(f.at(x, lane + 1.2 + between(-0.2, 0.2), between(-3, 3)))


def _lot(block: Block, f: Frame, w: float, d: float) -> None:
    """Cleared ground: earth, tracks, heaps, a row of site huts."""
    between = block.between
    block.fixed += parts.open_ground(block, f, w, d, block.varied(SOIL, 0.06), Surface.SOIL, 2.4)
    for _ in range(4):
        block.fixed += parts.tracks(block, f, w, d, block.varied((138, 121, 98)))
        block.fixed += parts.tracks(block, f.at(w, 0, 90), d, w, block.varied((176, 160, 135)))
    for _ in range(block.count(6)):
        at, r = f.at(between(5, w - 5), between(14, d - 5), between(0, 180)), between(1, 3.2)
        heap = block.varied(block.pick([(2, (148, 128, 102)), (1, (164, 159, 150))]), 0.1)
        block.fixed.append(Shape(block.blob(at, r * 1.4, r, 0.3), heap, Surface.RUBBLE, 0.05, r * 0.5))
    x = between(2, 8)
    while x < w - 14 and block.chance(0.85):
        long = between(7, 20)
        block.build(f, x, 2, min(x + long, w - 2), 2 + between(5, 7.5), "steel", between(2.8, 5.6))
        x += long + between(0.6, 7)
    half = w / 2
    block.offer_area("nets", parts.net, f.at(3, 16, between(-4, 4)), half - 8, d * 0.32)
    block.offer_area("nets", parts.net, f.at(4, d * 0.62, between(-4, 4)), half - 9, d * 0.28)
    block.offer_area("greenings", parts.greening, f.at(half + 2, 14), half - 4, d - 18)
    block.offer_area("hoardings", parts.hoarding, f.at(0.6, 12), w - 1.2, d - 13)
    for _ in range(5):
        at = f.at(between(6, w - 16), between(16, d - 6), between(0, 360))
        block.offer_vehicle(at, lorries=0.7)


def _park(block: Block, f: Frame, w: float, d: float) -> None:
    """Grass, groves, a winding path and sometimes a pavilion."""
    block.fixed += parts.open_ground(block, f, w, d, block.varied(GRASS, 0.06), Surface.GRASS, 1.3)
    phase, xs = block.between(0, 6), np.linspace(-2, w + 2, 26).tolist()
    middle = [(x, d * (0.5 + 0.22 * math.sin(6 * x / w + phase))) for x in xs]
    path = [(x, y - 1.1) for x, y in middle] + [(x, y + 1.1) for x, y in reversed(middle)]
    block.fixed.append(Shape(f.points(path), (168, 159, 142), Surface.PAVING, PAVED))
    for _ in range(7):
        x, y = block.between(0, w), block.between(0, d)
        block.plant(f, x - 9, y - 7, x + 9, y + 7, 12, 2.5)
    if block.chance(0.6):
        block.build(f, w * 0.4, 3, w * 0.4 + 9, 9.5, "grey", 4.2)


_KINDS: tuple[Callable[[Block, Frame, float, float], None], ...] = (
    _courtyards, _works, _courtyards, _lot, _flats, _courtyards, _works, _park,
)  # fmt: skip
"""Dealt out in turn rather than by chance, so that a small scene has some of everything."""


class Plan:
    """The endless plan of one seed.

    Args:
        seed: of everything here.
        gsd: metres per pixel.
    """

    def __init__(self, seed: int, gsd: float) -> None:
        dice = Dice(f"{seed} plan")
        self._seed, self._gsd = seed, gsd
        self._degrees = dice.between(-9, 9)
        corner = dice.between(-_PITCH, 0), dice.between(-_PITCH, 0)
        self._grid = Frame.turned(corner, self._degrees, 1.0)
        self._phase = int(dice.between(0, 24))

    def _crossing(self, i: int, j: int) -> Point:
        """Metres from the scene's upper left corner to a street crossing."""
        dice = Dice(f"{self._seed} crossing {i} {j}")
        return self._grid.point(i * _PITCH + dice.between(-4, 4), j * _PITCH + dice.between(-4, 4))

    def _width(self, line: int, across: int) -> float:
        """Metres of carriageway; every third street is a main road."""
        return _MAIN if (line + self._phase + across) % 3 == 0 else _SIDE

    def blocks_within(self, x0: float, y0: float, x1: float, y1: float) -> list[tuple[int, int]]:
        """Numbers of the blocks that may touch a box given in pixels."""
        grid, columns, rows = self._grid, [], []
        for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1)):
            u, v = x * self._gsd - grid.x, y * self._gsd - grid.y
            columns.append((u * grid.c + v * grid.s) / _PITCH)
            rows.append((v * grid.c - u * grid.s) / _PITCH)
        # A fifth of a block more, since crossings wander and crowns reach out.
        i0, i1 = math.floor(min(columns) - 0.2), math.floor(max(columns) + 0.2)
        j0, j1 = math.floor(min(rows) - 0.2), math.floor(max(rows) + 0.2)
        return [(i, j) for j in range(j0, j1 + 1) for i in range(i0, i1 + 1)]

    def block(self, i: int, j: int) -> Block:
        """Build one block: the same whenever it is asked for."""
        block = Block(f"{self._seed} block {i} {j}")
        nw, ne, sw, se = (self._crossing(i + a, j + b) for b in (0, 1) for a in (0, 1))
        west, north = self._width(i, 0) / 2, self._width(j, 1) / 2
        east, south = self._width(i + 1, 0) / 2, self._width(j + 1, 1) / 2
        self._street(block, nw, ne, north)
        self._street(block, nw, sw, west)
        at, r = Frame.turned(nw, self._degrees, self._gsd), max(west, north) + 0.6
        block.fixed.append(Shape(block.blob(at, r, r, 0.0, 20), ASPHALT, Surface.ASPHALT, PAVED + 0.3))

        along = np.add(ne, se) - np.add(nw, sw)
        turn = math.atan2(along[1], along[0])
        right, down = (math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))
        half_w = min(np.dot(np.subtract(ne, nw), right), np.dot(np.subtract(se, sw), right)) / 2 - _PAVEMENT
        half_d = min(np.dot(np.subtract(sw, nw), down), np.dot(np.subtract(se, ne), down)) / 2 - _PAVEMENT
        x, y = np.mean([nw, ne, sw, se], axis=0).tolist()
        frame = Frame.turned((x, y), math.degrees(turn) + block.between(-1.0, 1.0), self._gsd)
        inner = frame.at(west - float(half_w), north - float(half_d))
        swapped = i ^ Dice(f"{self._seed} pair {i >> 1} {j}").chance(0.5)  # else kinds would line up diagonally
        kind = _KINDS[(swapped + 3 * j + self._phase) % len(_KINDS)]
        kind(block, inner, float(2 * half_w - west - east), float(2 * half_d - north - south))
        return block

    def _street(self, block: Block, start: Point, end: Point, half: float) -> None:
        """Carriageway with marks, pavements with trees, and places for cars."""
        between, chance, main = block.between, block.chance, 2 * half == _MAIN
        long = math.dist(start, end)
        degrees = math.degrees(math.atan2(end[1] - start[1], end[0] - start[0]))
        f = Frame.turned(start, degrees, self._gsd)

        def lay(y0: float, y1: float, tone: Colour, surface: Surface, z: float) -> None:
            block.fixed.append(f.rect(0, y0, long, y1, tone, surface, z))

        tone = block.varied(ASPHALT if main or chance(0.5) else OLD_ASPHALT, 0.04, 2)
        lay(-half - 2.8, half + 2.8, block.varied((158, 152, 143), 0.04, 2), Surface.PAVING, PAVED - 0.5)
        lay(-half - 0.25, half + 0.25, (176, 172, 165), Surface.PAVING, PAVED + 0.1)  # kerbs
        lay(-half, half, tone, Surface.ASPHALT, PAVED + 0.2)
        for _ in range(4):
            x, y = between(0, long - 14), between(-half, half - 2)
            x1, y1 = x + between(3, 14), y + between(0.8, 2)
            block.fixed.append(f.rect(x, y, x1, y1, block.varied(tone, 0.1, 1), Surface.ASPHALT, PAVED + 0.25))

        def mark(x0: float, y0: float, x1: float, y1: float, tone: Colour = _WHITE) -> None:
            block.fixed.append(f.rect(x0, y0, x1, y1, tone, Surface.PAINT, PAVED + 0.4))

        if main:
            for x in np.arange(half + 5, long - half - 6, 9.0).tolist():
                mark(x, -half / 2 - 0.1, x + 4, -half / 2 + 0.1)
                mark(x, half / 2 - 0.1, x + 4, half / 2 + 0.1)
            mark(half + 5, -0.25, long - half - 5, 0.2, _YELLOW)
            for y in np.arange(-half + 0.5, half - 0.5, 1.1).tolist():
                mark(half + 1.5, y, half + 4.5, y + 0.5)
                mark(long - half - 4.5, y, long - half - 1.5, y + 0.5)
        for side in (-half - 1.6, half + 1.6):
            kept, r = between(0.45, 0.95) if main else between(0.0, 0.75), between(1.6, 3.0)
            x = between(8, 12)
            while x < long - 8:
                if chance(kept):
                    at = side + between(-0.9, 0.9)
                    block.fixed += parts.tree(block, f, x, at, r * between(0.6, 1.3))
                x += between(3.2, 8.5)
        for x in np.arange(14, long - 12, 8.5).tolist():
            away = chance(0.5)
            lane = half * block.pick([(1, 0.25), (1, 0.75)]) if main else half - 1.2
            at_x, at_y = x + between(-2, 2), lane if away else -lane
            block.offer_vehicle(f.at(at_x, at_y, 0 if away else 180), lorries=0.12 if main else 0.0)
