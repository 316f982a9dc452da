"""The ledger as files that can be imported again without a difference: CSV, xlsx, GeoJSON, GeoPackage."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any

import numpy as np
import openpyxl
import shapely
from openpyxl.cell import WriteOnlyCell
from pyogrio import raw
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy.orm import Session

from service.ledger import listing
from service.ledger.coordinates import System, system
from service.ledger.fields import FIELDS, LOCATION, STATE_NAMES, SYSTEM_NAMES
from service.ledger.listing import EVERYTHING, Wanted
from service.ledger.tables import Site

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "geojson": "application/geo+json",
    "gpkg": "application/geopackage+sqlite3",
}
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_LABELS = {"WGS-84": "EPSG:4326", "CGCS2000": "EPSG:4490", "GCJ-02": None, "BD-09": None}
"""How a GeoPackage names a system; the shifted ones have no number, and none is made up for them."""
_ATTRIBUTES = tuple(field for field in FIELDS if field.name not in LOCATION or field.name == "radius_m")


def export_ledger(session: Session, kind: str, crs: str = "WGS-84", wanted: Wanted = EVERYTHING) -> bytes:
    """Sites, by code, as one file.

    Args:
        kind: one of `MEDIA_TYPES`.
        crs: coordinate system of the file; GeoJSON states none but WGS-84 (RFC 7946), so name it on import.
        wanted: which sites.

    Raises:
        UnknownSystem: there is no such coordinate system.
    """
    writers: dict[str, Callable[[Iterable[Site], System], bytes]] = {
        "csv": _csv, "xlsx": _xlsx, "geojson": _geojson, "gpkg": _geopackage,
    }  # fmt: skip
    return writers[kind](listing.sites(session, wanted), system(crs))


def _geometry(site: Site, target: System) -> BaseGeometry:
    return target.export_geometry(shape(site.geometry))


def _value(site: Site, name: str) -> Any:
    if name.startswith("courtyard_"):
        return getattr(site.courtyard, name.removeprefix("courtyard_"))
    return getattr(site, name)


def _sheet(sites: Iterable[Site], target: System) -> Iterator[list[Any]]:
    """Heading and rows of a spreadsheet in Chinese, a point as longitude and latitude, a polygon as WKT."""
    yield [field.zh for field in FIELDS]
    names: dict[str, dict[Any, str]] = {"system": SYSTEM_NAMES, "state": STATE_NAMES}
    for site in sites:
        geometry = _geometry(site, target)
        point = geometry.geom_type == "Point"
        location: dict[str, Any] = {"radius_m": site.radius_m}
        if point:
            location["lon"], location["lat"] = geometry.coords[0]
        else:
            location["boundary"] = shapely.to_wkt(geometry, rounding_precision=-1)  # as many digits as it takes
        row = []
        for field in FIELDS:
            value = location.get(field.name) if field.name in LOCATION else _value(site, field.name)
            row.append(names[field.name][value] if field.name in names else value)
        yield row


def _csv(sites: Iterable[Site], target: System) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    for row in _sheet(sites, target):
        # A spreadsheet would compute a name that begins like a formula; reading takes the apostrophe off again.
        writer.writerow(f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell for cell in row)
    return stream.getvalue().encode("utf-8-sig")


def _xlsx(sites: Iterable[Site], target: System) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("台账")
    for row in _sheet(sites, target):
        cells = [WriteOnlyCell(sheet, value) for value in row]
        for cell, value in zip(cells, row, strict=True):
            if isinstance(value, str):
                cell.data_type = "s"  # never a formula
        sheet.append(cells)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _geojson(sites: Iterable[Site], target: System) -> bytes:
    features = [
        {
            "type": "Feature",
            "id": site.code,
            "properties": {field.name: _plain(_value(site, field.name)) for field in _ATTRIBUTES},
            "geometry": mapping(_geometry(site, target)),
        }
        for site in sites
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False).encode()


def _geopackage(sites: Iterable[Site], target: System) -> bytes:
    rows = list(sites)
    outlines = np.array([shapely.to_wkb(_geometry(site, target)) for site in rows], dtype=object)
    columns = []
    for field in _ATTRIBUTES:
        values = [_plain(_value(site, field.name)) for site in rows]
        numeric = field.kind in ("area", "length", "number", "share")
        columns.append(np.array(values, dtype=float if numeric else object))
    names = [field.name for field in _ATTRIBUTES]
    label = _LABELS.get(target.name, target.name)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        raw.write(
            stream, outlines, columns, names, layer="ledger", driver="GPKG", geometry_type="Unknown", crs=label
        )  # fmt: skip
    return stream.getvalue()
