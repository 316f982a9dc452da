"""The made-up district on several nights: lots that were cleared, and sheds that were put up there again.

For demonstrations. Streets, houses and light are those of `datasets.district`; what stands on a cleared lot is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from datasets.district_layout import Block, Plan
from datasets.district_parts import GRASS, SOIL, Dice, Frame, roof
from datasets.render import PAVED, Box, Look, Point, Shape, Surface, render

_LOT_Z = PAVED + 0.05
"""Above yards, below carriageways: a cleared lot is crossed by the streets that were always there."""


@dataclass(frozen=True, slots=True)
class Shed:
    """A steel roof.

    Attributes:
        x, y: its upper left corner, in metres from that of the scene.
        width, depth: in metres.
        nights: numbers of the nights on which it stands, counted from 0.
    """

    x: float
    y: float
    width: float
    depth: float
    nights: Collection[int]


def nights(
    seed: int,
    *,
    size: int,
    gsd: float,
    lots: Sequence[BaseGeometry],
    sheds: Sequence[Shed],
    looks: Sequence[Look],
    pause: Callable[[], None] = lambda: None,
) -> list[NDArray[np.uint8]]:
    """Pictures of one place, one for each look.

    Args:
        seed: of the district. The same seed gives the same bytes.
        size: side in pixels.
        gsd: metres per pixel.
        lots: in pixels, (x, y) from the upper left corner. Nothing but ground is left there.
        looks: sun, season and haze of each night.
        pause: called now and then; what it raises ends the work.

    Returns:
        (size, size, 3) uint8 RGB for each night.
    """
    scene = _Scene(seed, gsd, lots, sheds, len(looks))

    def shapes_within(area: Box) -> tuple[list[Shape], ...]:
        pause()
        return scene.shapes_within(area)

    pictures, _ = render(shapes_within, looks, size=size, gsd=gsd, seed=seed)
    return pictures


class _Scene:
    def __init__(self, seed: int, gsd: float, lots: Sequence[BaseGeometry], sheds: Sequence[Shed], count: int) -> None:
        self._plan, self._count = Plan(seed, gsd), count
        self._lots = shapely.STRtree(lots)
        self._standing = lru_cache(maxsize=128)(self._without_lots)
        self._cars = [f"{seed} {night} cars" for night in range(count)]
        self._ground = [
            shape for number, lot in enumerate(lots) for shape in _cleared(f"{seed} lot {number}", lot, gsd)
        ]
        self._sheds = [(shed, _shed(f"{seed} shed {number}", shed, gsd)) for number, shed in enumerate(sheds)]

    def shapes_within(self, area: Box) -> tuple[list[Shape], ...]:
        """Everything that may touch a box in pixels, on each night."""
        found: tuple[list[Shape], ...] = tuple([*self._ground] for _ in range(self._count))
        for i, j in self._plan.blocks_within(*area):
            shapes, block = self._standing(i, j)
            for night, seen in enumerate(found):
                seen += shapes
                dice = Dice(f"{self._cars[night]} {i} {j}")
                for slot in block.slots["vehicles"]:
                    if dice.chance(0.35):
                        seen += slot.shapes()
        for shed, roofs in self._sheds:
            for night in shed.nights:
                found[night].extend(roofs)
        return found

    def _without_lots(self, i: int, j: int) -> tuple[list[Shape], Block]:
        block = self._plan.block(i, j)
        low = [shape for shape in block.fixed if shape.z < 0]
        high: list[tuple[Sequence[Point], Sequence[Shape]]]
        high = [(shape.points, (shape,)) for shape in block.fixed if shape.z >= 0]
        high += [(structure.outline, structure.shapes) for structure in block.structures]
        if not high:
            return low, block
        outlines = np.array([Polygon(points) for points, _ in high])
        gone = set(self._lots.query(outlines, predicate="intersects")[0].tolist())
        return low + [shape for k, (_, shapes) in enumerate(high) if k not in gone for shape in shapes], block


def _cleared(seed: str, lot: BaseGeometry, gsd: float) -> list[Shape]:
    """Levelled earth with weeds and paler patches."""
    dice, (west, north, east, south) = Dice(seed), lot.bounds
    earth = dice.varied(SOIL, 0.06)
    shapes = [Shape(_corners(lot), earth, Surface.SOIL, _LOT_Z)]
    for _ in range(int((east - west) * (south - north) * gsd**2 / 60)):
        at = Frame(dice.between(west, east), dice.between(north, south), 1 / gsd, 0).at(0, 0, dice.between(0, 180))
        patch = Polygon(dice.blob(at, dice.between(1.5, 6), dice.between(1, 4), 0.4, 16)).intersection(lot)
        weeds = dice.chance(0.4)
        tone = dice.varied(GRASS if weeds else (150, 138, 122), 0.08)
        if isinstance(patch, Polygon) and not patch.is_empty:
            surface = Surface.GRASS if weeds else Surface.SOIL
            shapes.append(Shape(_corners(patch), tone, surface, _LOT_Z + 0.01))
    return shapes


def _corners(outline: BaseGeometry) -> tuple[Point, ...]:
    return tuple((float(x), float(y)) for x, y in shapely.get_coordinates(outline)[:-1])


def _shed(seed: str, shed: Shed, gsd: float) -> tuple[Shape, ...]:
    dice = Dice(seed)
    frame = Frame.turned((shed.x, shed.y), dice.between(-8, 8), gsd)
    return roof(dice, frame, shed.width, shed.depth, "steel", dice.between(3.5, 6.0))
