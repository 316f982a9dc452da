"""Rows of a ledger file, checked one by one: what can be imported, and every problem there is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from datasets.gcj02 import in_china
from service.ledger.coordinates import System, area_m2, footprint
from service.ledger.fields import FIELDS, LOCATION, CellError, Problem
from service.ledger.reading import Row, Table

AREA_RATIO = 2.0
"""A footprint this many times larger or smaller than the stated land is worth a warning."""
MAX_RADIUS_M = 5000.0
DECIMALS = 9
"""Of stored degrees: a tenth of a millimetre, so that every system and format gives back what it was given."""


@dataclass(frozen=True, slots=True)
class Record:
    """A row that can be imported.

    Attributes:
        values: column of `Site` -> value, only of what the file has, and `courtyard_code`, `courtyard_name`.
    """

    row: int
    values: dict[str, Any]

    @property
    def code(self) -> str:
        """Code of the site."""
        return str(self.values["code"])


def check_rows(table: Table, system: System) -> tuple[list[Record], list[Problem]]:
    """The good rows, and every problem of the file and of its rows, by row."""
    problems = list(table.problems)
    problems += _about_crs(table, system)
    bad = {problem.row for problem in problems if problem.fatal}
    records: list[Record] = []
    for row in table.rows:
        values, found = _check(row, system)
        problems += found
        if row.number not in bad and not any(problem.fatal for problem in found):
            records.append(Record(row.number, values))
    twice = list(_conflicts(records))
    problems += twice
    bad = {problem.row for problem in twice}
    records = [record for record in records if record.row not in bad]
    return records, sorted(problems, key=lambda problem: problem.row)


def _about_crs(table: Table, system: System) -> list[Problem]:
    if not table.stated_crs:
        return []
    try:
        stated = CRS.from_user_input(table.stated_crs)
    except CRSError:
        return []
    code = stated.to_epsg()
    # Longitude and latitude of a shifted system are usually kept in files that say WGS-84.
    same = system.geographic if stated.is_geographic else system.name == f"EPSG:{code}"
    if same:
        return []
    values = {"stated": table.stated_crs[:40], "named": system.name}
    return [Problem(0, None, "crs_differs", fatal=False, values=values)]


def _check(row: Row, system: System) -> tuple[dict[str, Any], list[Problem]]:
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for field in FIELDS:
        if field.name not in row.cells:
            continue
        try:
            values[field.name] = field.parse(row.cells[field.name], row.factors[field.name])
        except CellError as error:
            problems.append(Problem(row.number, field.name, error.code, values=error.values))
    location = {name: values.pop(name, None) for name in LOCATION}
    opened, closed = values.get("opened_on"), values.get("closed_on")
    if opened and closed and closed < opened:
        problems.append(Problem(row.number, "closed_on", "closed_before_opened"))
    if any(problem.column in LOCATION for problem in problems):
        return values, problems
    try:
        geometry = _location(row.geometry, location)
        found, warnings = _on_earth(geometry, system)
    except CellError as error:
        column = "boundary" if row.geometry is not None or location["boundary"] else "lon"
        return values, [*problems, Problem(row.number, column, error.code, values=error.values)]
    radius = location["radius_m"]
    covers = footprint(found, radius)
    land = values.get("land_m2")
    if land:
        measured = area_m2(covers)
        if not 1 / AREA_RATIO <= measured / land <= AREA_RATIO:
            warnings.append(CellError("area_differs", measured=f"{measured:.0f}", stated=f"{land:.0f}"))
    problems += [Problem(row.number, None, each.code, False, each.values) for each in warnings]
    values |= {"geometry": as_json(found), "radius_m": radius}
    values |= dict(zip(("west", "south", "east", "north"), covers.bounds, strict=True))
    return values, problems


def as_json(geometry: BaseGeometry) -> dict[str, Any]:
    """A geometry as GeoJSON, just as the database gives it back."""
    result: dict[str, Any] = json.loads(json.dumps(mapping(geometry)))
    return result


def _location(geometry: BaseGeometry | None, location: dict[str, Any]) -> BaseGeometry:
    """The one geometry that a row gives, in the file's system."""
    lon, lat, radius = location["lon"], location["lat"], location["radius_m"]
    if geometry is None and location["boundary"]:
        try:
            geometry = shapely.from_wkt(location["boundary"])
        except shapely.errors.GEOSException as error:
            raise CellError("not_a_geometry") from error
    if geometry is None:
        if lon is None or lat is None:
            raise CellError("no_location")
        geometry = shapely.Point(lon, lat)
    geometry = shapely.force_2d(geometry)
    if geometry.is_empty or geometry.geom_type not in ("Point", "Polygon", "MultiPolygon"):
        raise CellError("not_a_geometry")
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise CellError("not_a_geometry")
    if not geometry.is_valid:
        raise CellError("invalid_polygon", why=shapely.is_valid_reason(geometry)[:80])
    if geometry.geom_type == "Point" and not (radius and 0 < radius <= MAX_RADIUS_M):
        raise CellError("no_radius", limit=f"{MAX_RADIUS_M:.0f}")
    if geometry.geom_type != "Point" and radius is not None:
        raise CellError("radius_of_polygon")
    return geometry


def _on_earth(geometry: BaseGeometry, system: System) -> tuple[BaseGeometry, list[CellError]]:
    """The geometry in WGS-84, and what is suspicious about it.

    Raises:
        CellError: it cannot be where the named system puts it.
    """
    points = shapely.get_coordinates(geometry)
    inside = (np.abs(points) <= (180, 90)).all()
    if system.geographic and not inside:
        swapped = bool((np.abs(points[:, ::-1]) <= (180, 90)).all())
        raise CellError("swapped" if swapped else "out_of_range", system=system.name)
    if not system.geographic and inside:
        raise CellError("degrees_for_metres", system=system.name)
    found = shapely.transform(system.import_geometry(geometry), lambda points: np.round(points, DECIMALS))
    points = shapely.get_coordinates(found)
    if not np.isfinite(points).all() or not (np.abs(points) <= (180, 90)).all() or not found.is_valid:
        raise CellError("out_of_range", system=system.name)
    if in_china(points).all():
        return found, []
    if system.geographic and in_china(points[:, ::-1]).all():
        return found, [CellError("maybe_swapped")]
    return found, [CellError("outside_china_shifted" if system.encrypted else "outside_china", system=system.name)]


def _conflicts(records: Iterable[Record]) -> Iterable[Problem]:
    """A code that stands twice, or a courtyard with two names. The first one is right, the later ones are told."""
    rows: dict[str, int] = {}
    courtyards: dict[str, tuple[str, int]] = {}
    for record in records:
        first = rows.setdefault(record.code, record.row)
        if first != record.row:
            yield Problem(record.row, "code", "code_twice", values={"code": record.code, "first": first})
        name = record.values["courtyard_name"]
        known, first = courtyards.setdefault(record.values["courtyard_code"], (name, record.row))
        if known != name:
            yield Problem(record.row, "courtyard_name", "courtyard_differs", values={"name": known, "first": first})
