"""Coordinate systems of ledgers, to and from WGS-84 longitude and latitude. The importer names one; none is guessed.

GCJ-02 (Amap, WeChat; see `datasets.gcj02`) and BD-09 (Baidu) are not in PROJ. The forward formula of BD-09 comes from
the same sources, and so does the way to its inverse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from datasets.gcj02 import Array, gcj02, inverse

_BAIDU_TURN = np.pi * 3000 / 180
_SAME = {"WGS84": "WGS-84", "CGCS2000": "CGCS2000", "EPSG:4326": "EPSG:4326", "EPSG:4490": "EPSG:4490"}


class UnknownSystem(ValueError):
    """No coordinate system has this name."""


@dataclass(frozen=True, slots=True)
class System:
    """A coordinate system.

    Attributes:
        name: `WGS-84`, `CGCS2000`, `GCJ-02`, `BD-09` or `EPSG:n`.
        geographic: whether it counts in degrees.
        encrypted: whether it is one of those that were shifted on purpose and hold in China only.
        to_wgs84, from_wgs84: (N, 2) -> (N, 2); not finite where there is no answer.
    """

    name: str
    geographic: bool
    encrypted: bool
    to_wgs84: Callable[[Array], Array]
    from_wgs84: Callable[[Array], Array]

    def import_geometry(self, geometry: BaseGeometry) -> BaseGeometry:
        """A geometry in this system, in WGS-84."""
        return shapely.transform(geometry, self.to_wgs84)

    def export_geometry(self, geometry: BaseGeometry) -> BaseGeometry:
        """A geometry in WGS-84, in this system."""
        return shapely.transform(geometry, self.from_wgs84)


def bd09(points: Array) -> Array:
    """WGS-84 to BD-09."""
    x, y = gcj02(points).T
    radius = np.hypot(x, y) + 0.00002 * np.sin(y * _BAIDU_TURN)
    angle = np.arctan2(y, x) + 0.000003 * np.cos(x * _BAIDU_TURN)
    return np.stack([radius * np.cos(angle) + 0.0065, radius * np.sin(angle) + 0.006], axis=1)


def _same(points: Array) -> Array:
    return points


@cache
def system(name: str) -> System:
    """The system of this name; upper or lower case, with or without hyphen.

    Raises:
        UnknownSystem: there is none.
    """
    key = name.strip().upper().replace("-", "").replace(" ", "")
    if key in _SAME:
        return System(_SAME[key], True, False, _same, _same)
    if key == "GCJ02":
        return System("GCJ-02", True, True, inverse(gcj02), gcj02)
    if key == "BD09":
        return System("BD-09", True, True, inverse(bd09), bd09)
    try:
        crs = CRS.from_user_input(key) if key.startswith("EPSG:") else None
    except CRSError:
        crs = None
    if crs is None or not (crs.is_geographic or crs.is_projected):
        raise UnknownSystem(name)
    return System(key, crs.is_geographic, False, _through(key, "EPSG:4326"), _through("EPSG:4326", key))


def _through(source: str, target: str) -> Callable[[Array], Array]:
    transformer = Transformer.from_crs(source, target, always_xy=True)

    def apply(points: Array) -> Array:
        return np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)

    return apply


@cache
def local_metres(longitude: float, latitude: float) -> System:
    """Metres around a place: transverse Mercator on its own meridian, true to scale within tens of kilometres."""
    definition = f"+proj=tmerc +lat_0={latitude} +lon_0={longitude} +k=1 +ellps=GRS80 +units=m +no_defs"
    return System("local", False, False, _through(definition, "EPSG:4490"), _through("EPSG:4490", definition))


def around(geometry: Any) -> System:
    """`local_metres` of the middle of a geometry's bounds."""
    west, south, east, north = shapely.bounds(geometry)
    return local_metres(round((west + east) / 2, 1), round((south + north) / 2, 1))


def footprint(geometry: BaseGeometry, radius_m: float | None) -> BaseGeometry:
    """What a site covers, in WGS-84: its polygon, or the circle around its point."""
    if radius_m is None:
        return geometry
    metres = around(geometry)
    return metres.import_geometry(metres.export_geometry(geometry).buffer(radius_m, quad_segs=16))


def area_m2(geometry: BaseGeometry) -> float:
    """Area on the ground of a geometry in WGS-84."""
    return float(around(geometry).export_geometry(geometry).area)
