"""Files of a ledger, read into rows of cells: CSV, xlsx, GeoJSON, GeoPackage. Content decides, not the name."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openpyxl
import shapely
from pyogrio import raw
from pyogrio.errors import DataSourceError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from service.ledger.fields import BY_NAME, CellError, Field, Problem, match_heading

MAX_BYTES = 64 * 2**20
MAX_ROWS = 200_000
_MAX_UNPACKED = 16 * MAX_BYTES
_QUOTED = re.compile(r"'+[=+\-@\t\r]")


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it stands in the file. `geometry` is None in files without a column of shapes.

    Attributes:
        number: as the spreadsheet counts; of GeoJSON and GeoPackage the number of the feature.
        factors: of the unit of each field.
    """

    number: int
    cells: dict[str, Any]
    factors: dict[str, float]
    geometry: BaseGeometry | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A file: its rows, the coordinate system it states itself, and what is wrong with the file or single rows."""

    rows: tuple[Row, ...] = ()
    stated_crs: str | None = None
    problems: tuple[Problem, ...] = ()


class _Unreadable(Exception):
    """The file as a whole cannot be read. The argument is the code of the problem."""


def read(data: bytes) -> Table:
    """Read a file of any of the formats. What is wrong with it is in `problems`; nothing is raised."""
    try:
        if len(data) > MAX_BYTES:
            raise _Unreadable("too_large")
        if not data.strip():
            raise _Unreadable("no_rows")
        return _reader(data)(data)
    except _Unreadable as error:
        limit = {"limit_mb": MAX_BYTES // 2**20, "limit_rows": MAX_ROWS}
        return Table(problems=(Problem(0, None, str(error), values=limit),))


def _reader(data: bytes) -> Callable[[bytes], Table]:
    if data.startswith(b"SQLite format 3\0"):
        return _geopackage
    if data.startswith(b"PK"):
        return _xlsx
    if data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return _geojson
    return _csv


def _csv(data: bytes) -> Table:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise _Unreadable("encoding")
    if "\0" in text:
        raise _Unreadable("unknown_format")
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise _Unreadable("unknown_format") from error
    return _sheet([[cell[1:] if _QUOTED.match(cell) else cell for cell in line] for line in lines])


def _xlsx(data: bytes) -> Table:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > _MAX_UNPACKED:
            raise _Unreadable("too_large")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about parts of the workbook that are not read, such as validation
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # some programs write wrong ones
            lines = [list(line) for line in sheet.iter_rows(values_only=True)]
    except _Unreadable:
        raise
    except Exception as error:  # openpyxl raises whatever its parts raise on a damaged file
        raise _Unreadable("unknown_format") from error
    return _sheet(lines)


def _sheet(lines: Sequence[Sequence[Any]]) -> Table:
    """Rows of a spreadsheet whose first row is the heading; empty rows are passed over."""
    if not lines:
        raise _Unreadable("no_rows")
    columns, problems = _columns(lines[0])
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if all(cell is None or not str(cell).strip() for cell in line):
            continue
        if any(cell is not None and str(cell).strip() for cell in line[len(lines[0]) :]):
            problems.append(Problem(number, None, "extra_cells"))
        cells = {field.name: line[index] if index < len(line) else None for index, (field, _) in columns.items()}
        rows.append(Row(number, cells, {field.name: factor for field, factor in columns.values()}))
    return _table(rows, problems)


def _geojson(data: bytes) -> Table:
    try:
        document = json.loads(data.decode("utf-8-sig"))
        features = document["features"]
        entries = [(feature.get("properties") or {}, feature.get("geometry")) for feature in features]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _Unreadable("unknown_format") from error
    names = list(dict.fromkeys(name for properties, _ in entries for name in properties))
    columns, problems = _columns(names)
    rows = []
    for number, (properties, outline) in enumerate(entries, start=1):
        geometry = None
        try:
            geometry = shape(outline) if outline else None
        except Exception:  # shapely raises many kinds on what is no geometry
            problems.append(Problem(number, "boundary", "not_a_geometry"))
        cells = {field.name: properties.get(names[index]) for index, (field, _) in columns.items()}
        rows.append(Row(number, cells, {field.name: factor for field, factor in columns.values()}, geometry))
    crs = document.get("crs")
    stated = crs.get("properties", {}).get("name") if isinstance(crs, dict) else None
    return _table(rows, problems, str(stated).replace("urn:ogc:def:crs:EPSG::", "EPSG:") if stated else None)


def _geopackage(data: bytes) -> Table:
    if data[68:72] != b"GPKG":  # any other SQLite file must not reach a driver that was not asked for
        raise _Unreadable("unknown_format")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="File .* has GPKG application_id")  # in memory it has no name
            meta, _, outlines, values = raw.read(data, layer=0)
    except (DataSourceError, ValueError, RuntimeError) as error:
        raise _Unreadable("unknown_format") from error
    columns, problems = _columns(meta["fields"])
    rows = []
    for number in range(1, len(outlines) + 1):
        cells = {field.name: _plain(values[index][number - 1]) for index, (field, _) in columns.items()}
        geometry = None if outlines[number - 1] is None else shapely.from_wkb(outlines[number - 1], on_invalid="ignore")
        rows.append(Row(number, cells, {field.name: factor for field, factor in columns.values()}, geometry))
    return _table(rows, problems, meta["crs"])


def _plain(value: Any) -> Any:
    """A cell of numpy as one of Python."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else value.astype("datetime64[D]").item()
    return value.item() if isinstance(value, np.generic) else value


def _columns(headings: Iterable[Any]) -> tuple[dict[int, tuple[Field, float]], list[Problem]]:
    """Index -> field and factor of its unit, and what is wrong with the headings."""
    columns: dict[int, tuple[Field, float]] = {}
    problems: list[Problem] = []
    for index, heading in enumerate(headings):
        name = str(heading or "").strip()
        try:
            found = match_heading(heading)
        except CellError as error:
            problems.append(Problem(0, name, error.code, values=error.values))
            continue
        if found is None:
            if name:
                problems.append(Problem(0, name, "unknown_column", fatal=False, values={"column": name[:40]}))
        elif any(field is found[0] for field, _ in columns.values()):
            problems.append(Problem(0, name, "column_twice", values={"column": name}))
        else:
            columns[index] = found
    present = {field.name for field, _ in columns.values()}
    missing = [field for field in BY_NAME.values() if field.required and field.name not in present]
    problems += [Problem(0, field.name, "column_missing", values={"column": field.zh}) for field in missing]
    return columns, problems


def _table(rows: list[Row], problems: list[Problem], stated_crs: str | None = None) -> Table:
    if len(rows) > MAX_ROWS:
        raise _Unreadable("too_large")
    if not rows:
        problems = [*problems, Problem(0, None, "no_rows")]
    return Table(tuple(rows), stated_crs, tuple(problems))
