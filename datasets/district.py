"""A made-up district at two dates, with exact truth: for demonstrations, tests and load tests.

Everything follows from the seed. Structures come and go as `Changes` says; so do things that must not be
taken for structures. Nothing in it is copied from real imagery.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.features import rasterize
from shapely.geometry import Polygon, box

from datasets.district_layout import PASSING, Passing, Plan
from datasets.district_parts import Dice
from datasets.raster import Raster
from datasets.render import Box, Look, Shape, render

Kind = Literal["new", "remaining", "removed"]
Key = tuple[int, int, int]  # block (i, j) and the place within it

_LONLAT = (116.20, 39.91)  # Shijingshan
_UTM = 32650
_SLIVER_M2 = 1.0  # what the edge of the scene leaves of a roof, and nobody could see


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between the dates. More of one thing never moves another.

    Attributes:
        new, removed: structures that stand at one date only; all others remain.
        vehicles: parked or driving at each date, never the same ones.
        nets: dust nets (防尘网) laid at each date, never the same ones.
        greened: bare lots made green (覆绿) by the second date.
        hoardings: site fences (围挡) put up by the second date.
        sun_turn_deg: how much further west the sun stands at the second date.
        season: how much dryer the vegetation is at the second date, -1..1.
        gain: how much brighter the second picture is, as a share.
        shift_px: by how much the second picture misses the grid, in pixels, in a direction the seed decides.
        haze: added haze at the second date, 0..1.

    Vehicles, nets, greened and hoardings are upper limits: a small scene may not have the room.
    """

    new: int = 4
    removed: int = 4
    vehicles: int = 40
    nets: int = 2
    greened: int = 1
    hoardings: int = 1
    sun_turn_deg: float = 18.0
    season: float = 0.3
    gain: float = 0.05
    shift_px: float = 0.5
    haze: float = 0.06

    def __post_init__(self) -> None:
        counts = (self.new, self.removed, self.vehicles, self.nets, self.greened, self.hoardings)
        if min(counts) < 0:
            raise ValueError("numbers of things cannot be negative")
        if not (0 <= self.shift_px <= 4 and 0 <= self.haze < 1 and -1 <= self.season <= 1):
            raise ValueError("shift_px is 0..4, haze 0..1, season -1..1")


@dataclass(frozen=True, slots=True)
class TruthStructure:
    """One structure as it really is.

    Attributes:
        polygon: outline in pixels, (x, y) with the origin at the upper left corner, cut at the scene's edge.
        kind: new, remaining or removed.
        area_m2: its area within the scene, in square metres of the scene's grid.
    """

    polygon: Polygon
    kind: Kind
    area_m2: float


@dataclass(frozen=True, slots=True, eq=False)
class District:
    """Two dates and the truth.

    Attributes:
        before, after: EPSG:32650 near Shijingshan, `captured_at` in UTC.
        structure_before, structure_after: (H, W) bool, where a structure stands.
        change: (H, W) bool, where it stands at one date only.
        vegetation_before, vegetation_after: (H, W) bool, where grass or a crown covers the ground, whatever the season.
        structures: each of them, in no particular order.
    """

    before: Raster
    after: Raster
    structure_before: NDArray[np.bool_]
    structure_after: NDArray[np.bool_]
    change: NDArray[np.bool_]
    vegetation_before: NDArray[np.bool_]
    vegetation_after: NDArray[np.bool_]
    structures: tuple[TruthStructure, ...]


class _Scene:
    """What stands in the window of the plan, and what of it at which date."""

    def __init__(self, seed: int, size: int, gsd: float, changes: Changes) -> None:
        self._plan = Plan(seed, gsd)
        # Neighbouring tiles share blocks, and making them again costs little: keep those of a few tiles.
        self._block = lru_cache(maxsize=128)(self._plan.block)
        frame = box(0, 0, size, size)
        self.outlines: dict[Key, Polygon] = {}
        whole: list[tuple[bool, Key]] = []
        slots: dict[Passing, list[Key]] = {passing: [] for passing in PASSING}
        for i, j in self._plan.blocks_within(0, 0, size, size):
            block = self._block(i, j)
            for k, structure in enumerate(block.structures):
                outline = Polygon(structure.outline)
                inside = outline.intersection(frame)
                if not isinstance(inside, Polygon) or inside.area * gsd**2 < _SLIVER_M2:
                    continue
                self.outlines[i, j, k] = inside
                if inside.area > 0.999 * outline.area:
                    whole.append((structure.informal, (i, j, k)))
            for passing, keys in slots.items():
                for k, slot in enumerate(block.slots[passing]):
                    if min(slot.place) >= 0 and max(slot.place) < size:
                        keys.append((i, j, k))

        # New ones are taken from the front and removed ones from the back, so that asking for more of either
        # keeps those there were. The informal ones wait at both ends.
        first = sorted(Dice(f"{seed} structures").shuffled(whole), key=lambda entry: not entry[0])
        order = [key for _, key in first[0::2] + first[1::2][::-1]]
        if changes.new + changes.removed > len(order):
            raise ValueError(
                f"{changes.new} new and {changes.removed} removed asked for, but only {len(order)} "
                f"structures lie wholly within {size} px"
            )
        self.kinds: dict[Key, Kind] = dict.fromkeys(self.outlines, "remaining")
        self.kinds.update(dict.fromkeys(order[: changes.new], "new"))
        self.kinds.update(dict.fromkeys(order[len(order) - changes.removed :], "removed"))

        some = {passing: Dice(f"{seed} {passing}").shuffled(keys) for passing, keys in slots.items()}
        self._shown: tuple[dict[Passing, set[Key]], dict[Passing, set[Key]]] = (
            {
                "vehicles": set(some["vehicles"][0::2][: changes.vehicles]),
                "nets": set(some["nets"][1::2][: changes.nets]),
            },
            {
                "vehicles": set(some["vehicles"][1::2][: changes.vehicles]),
                "nets": set(some["nets"][0::2][: changes.nets]),
                "greenings": set(some["greenings"][: changes.greened]),
                "hoardings": set(some["hoardings"][: changes.hoardings]),
            },
        )

    def shapes_within(self, area: Box) -> tuple[list[Shape], list[Shape]]:
        """Everything that may touch a box in pixels, at each date."""
        dates: tuple[list[Shape], list[Shape]] = ([], [])
        for i, j in self._plan.blocks_within(*area):
            block = self._block(i, j)
            for date, shapes in enumerate(dates):
                shapes += block.fixed
                for k, structure in enumerate(block.structures):
                    kind = self.kinds.get((i, j, k), "remaining")
                    if kind == ("new", "removed")[date]:
                        shapes += structure.scar.shapes() if kind == "removed" else ()
                    else:
                        shapes += structure.shapes
                for passing, shown in self._shown[date].items():
                    for k, slot in enumerate(block.slots[passing]):
                        if (i, j, k) in shown:
                            shapes += slot.shapes()
        return dates


def _looks(seed: int, changes: Changes) -> tuple[Look, Look]:
    dice = Dice(f"{seed} looks")
    azimuth, elevation = dice.between(138, 158), dice.between(46, 58)
    season, haze, direction = dice.between(0.55, 0.8), dice.between(0.02, 0.06), dice.between(0, 2 * math.pi)
    shift = (changes.shift_px * math.cos(direction), changes.shift_px * math.sin(direction))
    return (
        Look(azimuth, elevation, season, 1.0, haze, (0.0, 0.0), dice.fork()),
        Look(
            azimuth + changes.sun_turn_deg,
            elevation - abs(changes.sun_turn_deg) / 3,  # away from the same hour of the same day it stands lower
            season - changes.season,
            1 + changes.gain,
            haze + changes.haze,
            shift,
            dice.fork(),
        ),
    )


def _place(gsd: float) -> Affine:
    """Transform of a scene whose upper left corner lies at `_LONLAT`, on the grid of its own pixels."""
    x, y = Transformer.from_crs(4326, _UTM, always_xy=True).transform(*_LONLAT)
    return Affine(gsd, 0, round(x / gsd) * gsd, 0, -gsd, round(y / gsd) * gsd)


def _mask(polygons: Sequence[Polygon], size: int) -> NDArray[np.bool_]:
    """(size, size) bool: pixels whose centre lies in a polygon."""
    if not polygons:
        return np.zeros((size, size), np.bool_)
    burnt: NDArray[np.uint8] = rasterize(polygons, out_shape=(size, size), dtype=np.uint8)
    return burnt.astype(np.bool_)


def generate(seed: int, *, size: int = 512, gsd: float = 0.5, changes: Changes | None = None) -> District:
    """Make a district.

    Args:
        seed: not negative. The same seed gives the same bytes. The plan depends on nothing else, so that a
            larger scene shows more of the same streets.
        size: side in pixels. Time grows with the area, memory with the result alone.
        gsd: metres per pixel; the look is made for 0.3 to 1.
        changes: what differs between the dates; `Changes()` if left out.

    Raises:
        ValueError: the scene has too few structures for the changes asked for, or a number makes no sense.
    """
    if seed < 0 or size < 1 or gsd <= 0:
        raise ValueError("seed cannot be negative, size and gsd must be positive")
    changes = changes or Changes()
    scene = _Scene(seed, size, gsd, changes)
    pixels, (green_before, green_after) = render(
        scene.shapes_within, _looks(seed, changes), size=size, gsd=gsd, seed=seed
    )

    truth = tuple(
        TruthStructure(polygon, scene.kinds[key], polygon.area * gsd**2) for key, polygon in scene.outlines.items()
    )
    structure_before = _mask([t.polygon for t in truth if t.kind != "new"], size)
    structure_after = _mask([t.polygon for t in truth if t.kind != "removed"], size)
    crs, transform = CRS.from_epsg(_UTM), _place(gsd)
    days = timedelta(days=int(Dice(f"{seed} days").between(0, 30)))
    taken = (datetime(2016, 6, 1, 3, 12, tzinfo=UTC) + days, datetime(2017, 9, 20, 3, 31, tzinfo=UTC) + days)
    before, after = (
        Raster(p, np.ones((size, size), np.bool_), f"district-{seed}-{t:%Y%m%d}", crs, transform, gsd, t)
        for p, t in zip(pixels, taken, strict=True)
    )
    change = structure_before ^ structure_after
    return District(before, after, structure_before, structure_after, change, green_before, green_after, truth)
