"""What a scan saw, as a polygon on the map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from pyproj import Transformer
from rasterio.features import shapes
from rasterio.windows import Window
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from inference.scan.window import OBSERVED

_BLOCK_PX = 2048
_STRAIGHT_PX = 512
"""Straight lines of the grid are bent on the map; a corner every so many pixels keeps them in place."""


def read_coverage(path: Path) -> dict[str, Any] | None:
    """GeoJSON geometry in WGS-84 of what was observed at both dates; None where nothing was.

    Args:
        path: `coverage.tif` of a scan (`inference.scan.window.COVERAGE`), or GeoJSON: a geometry, a feature or a
            collection of features, which are joined.

    Raises:
        OSError, rasterio.errors.RasterioIOError: the file cannot be read.
        ValueError, KeyError, TypeError, shapely.errors.ShapelyError: it holds something else.
    """
    if path.suffix.lower() in (".json", ".geojson"):
        data = json.loads(path.read_bytes())
        features = data["features"] if data["type"] == "FeatureCollection" else [data]
        parts = [shape(each["geometry"] if each["type"] == "Feature" else each) for each in features]
        whole = shapely.union_all(parts)
    else:
        whole = _observed(path)
    return None if whole.is_empty else dict(mapping(whole))


def _observed(path: Path) -> BaseGeometry:
    """Traced block by block, in pixels, so that blocks join without a seam."""
    parts: list[BaseGeometry] = []
    with rasterio.open(path) as file:
        if file.crs is None:
            raise ValueError("no coordinate system")
        for top in range(0, file.height, _BLOCK_PX):
            for left in range(0, file.width, _BLOCK_PX):
                window = Window(left, top, min(_BLOCK_PX, file.width - left), min(_BLOCK_PX, file.height - top))
                seen = (file.read(1, window=window) == OBSERVED).astype(np.uint8)
                traced = shapes(seen, seen.astype(bool))
                parts += [shapely.affinity.translate(shape(outline), left, top) for outline, _ in traced]
        pixels = shapely.segmentize(shapely.union_all(parts), _STRAIGHT_PX)
        t, to_wgs84 = file.transform, Transformer.from_crs(file.crs, 4326, always_xy=True)

    def place(points: Any) -> Any:
        xy = points @ np.array([[t.a, t.d], [t.b, t.e]]) + (t.c, t.f)
        return np.stack(to_wgs84.transform(xy[:, 0], xy[:, 1]), axis=1)

    return shapely.transform(pixels, place)
