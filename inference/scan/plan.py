"""From what a person asks for to the grid and the area of a scan."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from datasets.scene import Grid, Scene, SceneError, check, extent, grid_of
from datasets.scene_sources import is_tiles
from inference.model import FINEST_SCORED_M
from inference.reasons import InputError, Reason


def read_area(path: Path) -> BaseGeometry:
    """Polygons of a GeoJSON file (RFC 7946), in WGS-84.

    Raises:
        InputError: `bad_area`.
        OSError: the file cannot be read.
    """
    return area_of(path.read_text("utf-8-sig"))


def area_of(text: str) -> BaseGeometry:
    """The same, of GeoJSON that has been read.

    Raises:
        InputError: `bad_area`.
    """
    try:
        document = json.loads(text)
        geometry = shapely.union_all([shape(g) for g in _geometries(document)])
    except (ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise InputError(Reason("bad_area", {"detail": f"{type(error).__name__}"})) from error
    if geometry.is_empty or geometry.area == 0:
        raise InputError(Reason("bad_area", {"detail": "0 Polygon"}))
    west, south, east, north = geometry.bounds
    if west < -180 or east > 180 or south < -90 or north > 90:
        raise InputError(Reason("bad_area", {"detail": f"{west:.0f}, {south:.0f}, {east:.0f}, {north:.0f}"}))
    return geometry


def _geometries(document: dict[str, Any]) -> list[dict[str, Any]]:
    if document["type"] == "FeatureCollection":
        return [g for feature in document["features"] for g in _geometries(feature)]
    return [document["geometry"]] if document["type"] == "Feature" else [document]


def grid_for(
    before: Scene, after: Scene, *, area: BaseGeometry | None = None, gsd: float | None = None
) -> tuple[Grid, BaseGeometry | None]:
    """The grid of a scan and its area in the CRS of the grid.

    Args:
        area: in WGS-84; the grid covers it as far as `before` reaches. None for all of `before`.
        gsd: metres on the ground per pixel if not that of `before`, or `FINEST_SCORED_M` where that is finer.

    Raises:
        InputError: a scene cannot be used, the area is missing or lies elsewhere.
    """
    try:
        for scene in (before, after):
            check(scene)
        whole = grid_of(before, gsd=gsd)
        if gsd is None and whole.gsd < FINEST_SCORED_M:
            whole = grid_of(before, gsd=FINEST_SCORED_M)
        if area is None and is_tiles(before):
            raise InputError(Reason("area_needed"))
        top, left, bottom, right = extent(after, whole)
    except SceneError as error:
        raise InputError(Reason(error.code, error.values)) from error
    if top >= whole.height or left >= whole.width or bottom <= 0 or right <= 0:
        raise InputError(Reason("no_overlap"))
    if area is None:
        return whole, None
    try:
        to_map = Transformer.from_crs(4326, CRS.from_user_input(whole.crs), always_xy=True)
        dense = area.segmentize(0.01)  # a straight line in degrees is none on the map
        placed = shapely.transform(dense, lambda p: _stacked(to_map, p))
    except ProjError as error:
        raise InputError(Reason("bad_georeference")) from error
    placed = shapely.make_valid(placed) if not placed.is_valid else placed
    if not all(math.isfinite(v) for v in placed.bounds):
        raise InputError(Reason("area_elsewhere"))
    top, left, bottom, right = whole.pixel_bounds(whole.crs, placed.bounds)
    top, left, bottom, right = max(0, top), max(0, left), min(whole.height, bottom), min(whole.width, right)
    if top >= bottom or left >= right:
        raise InputError(Reason("area_elsewhere"))
    return whole.part(top, left, bottom - top, right - left), placed


def _stacked(transformer: Transformer, points: Any) -> Any:
    return np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)
