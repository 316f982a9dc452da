"""What a scan leaves behind: findings for a GIS and for the web, probabilities, coverage, and an item about the run.

Everything follows from the inputs alone, to the byte: no file says when it was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyogrio
import pystac
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from rasterio.enums import ColorInterp
from rasterio.shutil import copy
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from datasets.scene import GDAL_OPTIONS, Grid
from inference.findings import Kind
from inference.scan.journal import as_json, write_whole
from inference.scan.mosaic import Mosaic, status
from inference.scan.trace import Patch
from inference.scan.window import COVERAGE, LEVELS, NODATA, OUTSIDE
from inference.vectorise import area_error
from model import OUTPUTS

GPKG, GEOJSON, STYLE = "findings.gpkg", "findings.geojson", "findings.qml"
PROBABILITIES, COVERAGE_TIF, ITEM = "probabilities.tif", "coverage.tif", "item.json"
_SIMPLIFY_PX = 0.75
_AT_ONCE = 256
"""So many findings go through a step together: one by one takes three times as long, all at once much memory."""
_GEOD = Geod(ellps="WGS84")
_FIXED_TIME = "2000-01-01T00:00:00.000Z"
_COLOURS = {1: (46, 160, 67), 2: (120, 120, 120), 3: (214, 120, 0), 4: (150, 190, 230), 5: (40, 40, 40),
            6: (250, 240, 120), 7: (200, 0, 0)}  # fmt: skip

Geometries = NDArray[np.object_]
_Shapes = TypeVar("_Shapes", BaseGeometry, Geometries)


@dataclass(frozen=True, slots=True)
class About:
    """What every finding and the item say of the run."""

    before_date: datetime | None
    after_date: datetime | None
    before_name: str
    after_name: str
    model_name: str
    model_version: str
    model_sha256: str


@dataclass(frozen=True, slots=True)
class Located:
    """A patch on the ground.

    Attributes:
        polygon: in the CRS of the grid.
        area_m2, area_error_m2: on the ellipsoid, and its standard error.
    """

    kind: Kind
    probability: float
    polygon: BaseGeometry
    area_m2: float
    area_error_m2: float


def locate(patches: Iterable[Patch], grid: Grid, area_error_px: float) -> list[Located]:
    """Put patches on the map, in their order."""
    to_lonlat, left = _to_lonlat(grid), iter(patches)
    found: list[tuple[tuple[Any, ...], Located]] = []
    while some := list(islice(left, _AT_ONCE)):
        traced = np.array([patch.polygon for patch in some])
        areas = _areas(shapely.transform(_on_map(traced, grid), to_lonlat))
        polygons = _on_map(_simplified(traced), grid)
        for patch, area, polygon in zip(some, areas, polygons, strict=True):
            error = area_error(area, patch.polygon, area_error_px)
            found.append((patch.rank, Located(patch.kind, patch.probability, polygon, area, error)))
    found.sort(key=lambda each: each[0])
    return [located for _, located in found]


def _areas(lonlat: Geometries) -> list[float]:
    """Areas on the ellipsoid in m2, of polygons in degrees."""
    parts, whole = shapely.get_parts(shapely.orient_polygons(lonlat), return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)  # holes turn the other way
    points, ring = shapely.get_coordinates(rings, return_index=True)
    areas = np.zeros(len(lonlat))
    for turn, index in zip(np.split(points, np.flatnonzero(np.diff(ring)) + 1), whole[part], strict=True):
        areas[index] += _GEOD.polygon_area_perimeter(turn[:, 0], turn[:, 1])[0]
    return [float(area) for area in np.abs(areas)]


def _to_lonlat(grid: Grid) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    transformer = Transformer.from_crs(CRS.from_user_input(grid.crs), 4326, always_xy=True)
    return lambda xy: np.stack(transformer.transform(xy[:, 0], xy[:, 1]), axis=1)


def _on_map(geometry: _Shapes, grid: Grid) -> _Shapes:
    t = grid.transform
    placed: _Shapes = shapely.transform(geometry, lambda p: p @ np.array([[t.a, t.d], [t.b, t.e]]) + (t.c, t.f))
    return placed


def _simplified(outlines: Geometries) -> Geometries:
    result = shapely.simplify(outlines, _SIMPLIFY_PX, preserve_topology=True)
    return np.where(shapely.is_valid(result) & ~shapely.is_empty(result), result, outlines)


def _cut(polygon: BaseGeometry) -> BaseGeometry:
    """Longitudes in -180..180; a polygon across the antimeridian becomes two."""
    west, _, east, _ = polygon.bounds
    if east - west <= 180:
        return polygon
    whole = shapely.transform(polygon, lambda p: np.stack([p[:, 0] % 360, p[:, 1]], axis=1))
    parts = [
        part
        for low, shift in ((0, 0), (180, -360))
        for part in _polygons(shapely.affinity.translate(whole & shapely.box(low, -90, low + 180, 90), shift))
    ]
    return shapely.MultiPolygon(parts)


def _polygons(geometry: BaseGeometry) -> list[shapely.Polygon]:
    return [p for p in getattr(geometry, "geoms", [geometry]) if isinstance(p, shapely.Polygon) and not p.is_empty]


# --- Findings ---------------------------------------------------------------------------------------------


def _columns(found: list[Located], about: About) -> dict[str, list[Any]]:
    before, after = (d.isoformat() if d else None for d in (about.before_date, about.after_date))
    return {
        "id": list(range(1, len(found) + 1)),
        "kind": [f.kind for f in found],
        "status": ["suspected"] * len(found),
        "probability": [round(f.probability, 4) for f in found],
        "area_m2": [round(f.area_m2, 1) for f in found],
        "area_error_m2": [round(f.area_error_m2, 1) for f in found],
        "before_date": [before] * len(found),
        "after_date": [after] * len(found),
        "model_sha256": [about.model_sha256] * len(found),
    }


def write_geojson(path: Path, found: list[Located], grid: Grid, about: About) -> None:
    """Findings in WGS-84, cut where they cross the antimeridian: RFC 7946."""
    write_whole(path, _collection(found, grid, about))


def _collection(found: list[Located], grid: Grid, about: About) -> Iterator[bytes]:
    """Piece by piece: all of a city at once takes more memory than the scan of it."""
    columns, to_lonlat = _columns(found, about), _to_lonlat(grid)
    yield b'{"type": "FeatureCollection", "features": [\n'
    for start in range(0, len(found), _AT_ONCE):
        polygons = np.array([each.polygon for each in found[start : start + _AT_ONCE]])
        lonlat = np.array([_cut(each) for each in shapely.transform(polygons, to_lonlat)])
        geometries = shapely.to_geojson(_counter_clockwise(shapely.transform(lonlat, lambda p: p.round(7))))
        for i, geometry in enumerate(geometries, start=start):
            properties = json.dumps({name: values[i] for name, values in columns.items() if name != "id"})
            feature = f'{{"type": "Feature", "id": {i + 1}, "geometry": {geometry}, "properties": {properties}}}'
            yield (",\n" if i else "").encode() + feature.encode()
    yield b"\n]}\n"


def _counter_clockwise(geometries: Geometries) -> Geometries:
    """As RFC 7946 wants them; a multipolygon of one part becomes a polygon."""
    oriented = shapely.orient_polygons(geometries)
    single = (shapely.get_type_id(oriented) == shapely.GeometryType.MULTIPOLYGON) & (
        shapely.get_num_geometries(oriented) == 1
    )
    return np.where(single, shapely.get_geometry(oriented, 0), oriented)


def write_gpkg(path: Path, found: list[Located], windows: list[dict[str, Any]], grid: Grid, about: About) -> None:
    """Layers `findings` and `coverage` (one polygon a window) in the CRS of the grid."""
    partial = path.with_name("partial-" + path.name)
    partial.unlink(missing_ok=True)
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _FIXED_TIME})
    shown = [w for w in windows if status(w) != "outside"]
    boxes = [shapely.box(w["box"][1], w["box"][0], w["box"][3], w["box"][2]) for w in shown]
    coverage: dict[str, list[Any]] = {
        "window": [f"{w['row']}/{w['column']}" for w in shown],
        "status": [status(w) for w in shown],
        "observed_share": [w["observed_share"] for w in shown],
        "reasons": [", ".join(f"{k}: {v} px" for k, v in w["not_observed_px"].items()) for w in shown],
        "shift_px": [w["shift_px"] for w in shown],
        "error": [w["error"] for w in shown],
    }
    _write_layer(partial, "findings", [f.polygon for f in found], _columns(found, about), grid)
    _write_layer(partial, "coverage", [_on_map(b, grid) for b in boxes], coverage, grid)
    partial.replace(path)


def _write_layer(
    path: Path, layer: str, geometry: list[BaseGeometry], columns: dict[str, list[Any]], grid: Grid
) -> None:
    number = ("probability", "area_m2", "area_error_m2", "observed_share", "shift_px")
    kinds = {name: np.float64 if name in number else np.int64 if name == "id" else object for name in columns}
    columns = {("number" if name == "id" else name): values for name, values in columns.items()}
    data = [np.array(v, dtype=t) for v, t in zip(columns.values(), kinds.values(), strict=True)]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(geometry, dtype=object)),
        data,
        np.array(list(columns), dtype=object),
        layer=layer,
        driver="GPKG",
        geometry_type="MultiPolygon",
        promote_to_multi=True,
        crs=grid.crs.to_wkt(),
        append=path.exists(),
        dataset_options=None if path.exists() else {"VERSION": "1.3"},
    )


# --- Rasters ----------------------------------------------------------------------------------------------


def write_rasters(folder: Path, mosaic: Mosaic) -> None:
    """Probabilities and coverage as COG, streamed from the strips.

    Raises:
        RasterioError: the files cannot be written.
    """
    _cog(mosaic.vrt((1, 2, 3), NODATA), folder / PROBABILITIES, "average", _describe_probabilities)
    _cog(mosaic.vrt((4,), OUTSIDE), folder / COVERAGE_TIF, "nearest", _describe_coverage)


def _cog(vrt: str, path: Path, resampling: str, describe: Callable[[Any], None]) -> None:
    partial, source = (path.with_name(f"partial-{path.stem}{suffix}") for suffix in (".tif", ".vrt"))
    source.write_text(vrt, "utf-8")
    try:
        with rasterio.Env(**GDAL_OPTIONS):
            with rasterio.open(source, "r+") as file:
                describe(file)
            copy(
                source, partial, driver="COG", compress="deflate", predictor="standard", level=1, blocksize=512,
                bigtiff="if_safer", overview_resampling=resampling, num_threads="all_cpus",
            )  # fmt: skip
            with rasterio.open(partial) as file:  # GDAL may notice only now that the disk was full
                file.read(1, window=((file.height - 1, file.height), (file.width - 1, file.width)))
        partial.replace(path)
    finally:
        source.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)


def _describe_probabilities(file: Any) -> None:
    file.descriptions = OUTPUTS
    file.scales, file.offsets = (1 / LEVELS,) * 3, (0.0,) * 3


def _describe_coverage(file: Any) -> None:
    file.colorinterp = (ColorInterp.palette,)
    file.write_colormap(1, {value: (*colour, 255) for value, colour in _COLOURS.items()})
    file.update_tags(**{f"value_{value}": name for value, name in enumerate(COVERAGE)})


# --- About the run ----------------------------------------------------------------------------------------


def write_style(path: Path) -> None:
    """How QGIS draws the findings; it takes the file of the same name."""
    write_whole(path, (files("inference.scan") / "findings.qml").read_bytes())


def write_item(path: Path, grid: Grid, about: About, summary: dict[str, Any], fallback_date: datetime) -> None:
    """A STAC item describing the run.

    Args:
        fallback_date: stands in where a date of the imagery is unknown, because STAC insists on one.
    """
    corners = shapely.box(0, 0, grid.width, grid.height).segmentize(max(grid.width, grid.height) / 8)
    footprint = _cut(shapely.transform(_on_map(corners, grid), _to_lonlat(grid)))
    properties = {
        "jingdi:model": {"name": about.model_name, "version": about.model_version, "sha256": about.model_sha256},
        "jingdi:before": {"name": about.before_name, "date": about.before_date and about.before_date.isoformat()},
        "jingdi:after": {"name": about.after_name, "date": about.after_date and about.after_date.isoformat()},
        "jingdi:summary": summary,
        "gsd": round(grid.gsd, 4),
        "proj:shape": [grid.height, grid.width],
        "proj:transform": [float(v) for v in grid.transform][:6],
        "proj:code": f"EPSG:{grid.crs.to_epsg()}" if grid.crs.to_epsg() else None,
    }
    item = pystac.Item(
        id=path.parent.name or "scan",
        geometry=mapping(shapely.orient_polygons(footprint)),
        bbox=[round(v, 7) for v in footprint.bounds],
        datetime=about.after_date or fallback_date,
        start_datetime=about.before_date or about.after_date or fallback_date,
        end_datetime=about.after_date or fallback_date,
        properties=properties,
    )
    cog, text = pystac.MediaType.COG, pystac.MediaType.GEOJSON
    for name, href, media, role in (
        ("findings", GEOJSON, text, "data"),
        ("findings_gpkg", GPKG, pystac.MediaType.GEOPACKAGE, "data"),
        ("probabilities", PROBABILITIES, cog, "data"),
        ("coverage", COVERAGE_TIF, cog, "metadata"),
        ("style", STYLE, "application/xml", "metadata"),
    ):
        item.add_asset(name, pystac.Asset(href=f"./{href}", media_type=media, roles=[role]))
    write_whole(path, as_json(item.to_dict(include_self_link=False)))
