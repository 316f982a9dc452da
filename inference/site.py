"""Where a photograph should have been taken: the outline of a site, and how far from it a camera says it stood."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from pyproj import Geod
from shapely.errors import ShapelyError
from shapely.geometry import Point, mapping, shape
from shapely.geometry.base import BaseGeometry
from shapely.ops import nearest_points

from datasets.gcj02 import gcj02, inverse
from datasets.raster import Raster
from inference.reasons import InputError, Reason

Place = tuple[float, float]

MAX_DISTANCE_M = 150.0
"""From the outline of a site to where a photograph of it is taken: across the road, and what a telephone is off by
between buildings (7 to 13 m on average: Merry and Bettinger, "Smartphone GPS accuracy study in an urban environment",
PLOS ONE 2019)."""
MAX_RADIUS_M = 5000.0
_GEOD = Geod(ellps="WGS84")
_AREAS = ("Point", "Polygon", "MultiPolygon")


@dataclass(frozen=True, slots=True)
class Site:
    """A polygon, or a point and a radius in metres; WGS-84 longitude and latitude."""

    geometry: BaseGeometry
    radius_m: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Site:
        """From GeoJSON (a geometry, or one feature with it), or from `longitude,latitude,radius in metres`.

        Raises:
            InputError: `bad_site`.
        """
        try:
            return cls.of(json.loads(text) if text.lstrip().startswith("{") else _circle(text))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, ShapelyError, RecursionError) as error:
            raise InputError(Reason("bad_site")) from error

    @classmethod
    def of(cls, document: dict[str, Any]) -> Site:
        """From GeoJSON, as `document` gives it.

        Raises:
            ValueError: no place on earth, or no outline.
        """
        given = document["geometry"] if document.get("type") == "Feature" else document
        radius_m = float((document.get("properties") or {}).get("radius_m", 0.0))
        geometry = shape(given)
        west, south, east, north = geometry.bounds
        on_earth = -180 <= west <= east <= 180 and -90 <= south <= north <= 90
        if given["type"] not in _AREAS or geometry.is_empty or not geometry.is_valid or not on_earth:
            raise ValueError("not an outline in WGS-84")
        if not (0 < radius_m <= MAX_RADIUS_M if given["type"] == "Point" else radius_m == 0):
            raise ValueError("a point has a radius, a polygon has none")
        return cls(geometry, radius_m)

    @property
    def document(self) -> dict[str, Any]:
        """A GeoJSON feature; a radius stands among its properties."""
        properties = {"radius_m": self.radius_m} if self.radius_m else {}
        return {"type": "Feature", "geometry": json.loads(json.dumps(mapping(self.geometry))), "properties": properties}

    def distance_m(self, place: Place) -> float:
        """Metres on the ellipsoid from a place to the outline; 0 inside."""
        east = math.cos(math.radians(place[1]))  # so that the nearest point in the plane is the nearest on the ground
        there = shapely.transform(self.geometry, lambda xy: xy * (east, 1.0))
        nearest, _ = nearest_points(there, Point(place[0] * east, place[1]))
        _, _, metres = _GEOD.inv(place[0], place[1], nearest.x / east, nearest.y)
        return max(0.0, float(metres) - self.radius_m)


def place_reasons(before: Raster, after: Raster, site: Site | None) -> tuple[list[Reason], list[Reason]]:
    """Why photographs are refused for where they were taken, and what is to be kept in mind about it."""
    sides = ((before.place, "before"), (after.place, "after"))
    found = [place_reason(place, site, side) for place, side in sides if site is not None and place is not None]
    refusals = [reason for reason in found if reason is not None and reason.code == "far_from_site"]
    return refusals, [reason for reason in found if reason is not None and reason not in refusals]


def place_reason(place: Place, site: Site, side: str) -> Reason | None:
    """What is to be said of where a photograph was taken; None if it was at the site.

    `far_from_site` refuses. `gcj02_suspected` is a note: shifted by what GCJ-02 is off, the place and the site fit,
    and the pictures show by themselves whether it is one place.
    """
    distance = site.distance_m(place)
    if distance <= MAX_DISTANCE_M:
        return None
    values = {"side": side, "metres": round(distance)}
    here = np.array([place], dtype=np.float64)
    for whose, shifted in (("photo_position", inverse(gcj02)(here)), ("site_position", gcj02(here))):
        if site.distance_m((float(shifted[0, 0]), float(shifted[0, 1]))) <= MAX_DISTANCE_M:
            return Reason("gcj02_suspected", values | {"whose": whose})
    return Reason("far_from_site", values)


def _circle(text: str) -> dict[str, Any]:
    longitude, latitude, radius_m = (float(part) for part in text.replace("，", ",").split(","))
    point = {"type": "Point", "coordinates": [longitude, latitude]}
    return {"type": "Feature", "geometry": point, "properties": {"radius_m": radius_m}}
