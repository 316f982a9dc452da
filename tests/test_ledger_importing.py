"""Ledger files: every row's problem is told, nothing is half written, and what goes out comes back the same."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely.geometry import mapping
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from inference.reasons import LANGUAGES
from service import errors
from service.ledger import fixture
from service.ledger.audit import SYSTEM, Actor, verify, writing
from service.ledger.coordinates import gcj02
from service.ledger.exporting import MEDIA_TYPES, export_ledger
from service.ledger.fields import FIELDS, CellError, match_heading
from service.ledger.importing import Report, import_ledger
from service.ledger.tables import AuditEntry, Courtyard, Site
from tests.ledgers import CLERK, empty_database, square

HEADINGS = {
    "点位编号": "A1", "院编号": "Y1", "院名称": "一号院", "点位名称": "东侧",
    "责任系统": "首钢系统", "街道": "古城街道", "占地面积": "7853.98", "建筑面积": "1,200", "覆绿面积": "",
    "挂账日期": "2015年10月17日", "销账日期": "2017/6/30", "经度": "116.2", "纬度": "39.9", "半径": "50",
}  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with empty_database(tmp_path) as found:
        yield found


def sheet(*rows: dict[str, Any], headings: dict[str, Any] = HEADINGS) -> str:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(headings))
    writer.writeheader()
    for row in rows:
        writer.writerow(headings | row)
    return stream.getvalue()


def take(engine: Engine, data: bytes | str, crs: str = "WGS-84", **options: Any) -> Report:
    data = data.encode() if isinstance(data, str) else data
    return import_ledger(engine, data, crs, CLERK, **options)


def found(report: Report, fatal: bool = True) -> list[tuple[int, str | None, str]]:
    return [(each.row, each.column, each.code) for each in report.problems if each.fatal == fatal]


def stored(engine: Engine) -> list[tuple[Any, ...]]:
    names = [
        field.name
        for field in FIELDS
        if field.name not in ("courtyard_code", "courtyard_name", "lon", "lat", "boundary")
    ]
    with Session(engine) as session:
        return [
            (*(getattr(site, name) for name in names), site.geometry, site.courtyard.code, site.courtyard.name)
            for site in session.scalars(select(Site).order_by(Site.code))
        ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_csv_is_read_in_the_encodings_of_the_office(engine: Engine, encoding: str) -> None:
    report = take(engine, sheet({}).encode(encoding))
    assert (report.written, report.created, report.problems) == (True, ("A1",), ())
    with Session(engine) as session:
        site = session.scalars(select(Site)).one()
        assert (site.system, site.street, site.courtyard.name) == ("shougang", "古城街道", "一号院")
        assert (site.land_m2, site.building_m2, site.greened_m2) == (7853.98, 1200.0, 0.0)
        assert (str(site.opened_on), str(site.closed_on), site.state) == ("2015-10-17", "2017-06-30", "open")
        assert (site.geometry, site.radius_m) == ({"type": "Point", "coordinates": [116.2, 39.9]}, 50.0)


@pytest.mark.parametrize(
    ("heading", "cell", "m2"),
    [
        ("占地面积（亩）", "11.78", 7853.3333),
        ("占地面积(万平方米)", "0.785398", 7853.98),
        ("占地面积(㎡)", "７８５３.９８", 7853.98),
    ],
)
def test_areas_are_taken_in_the_unit_that_the_heading_names(engine: Engine, heading: str, cell: str, m2: float) -> None:
    headings = {heading if key == "占地面积" else key: value for key, value in HEADINGS.items()}
    report = take(engine, sheet({heading: cell}, headings=headings))
    assert report.problems == ()
    assert stored(engine)[0][6] == pytest.approx(m2)


def test_a_unit_that_is_not_known_is_refused() -> None:
    with pytest.raises(CellError, match="unknown_unit"):
        match_heading("占地面积（坪）")
    assert match_heading("备注（长）") is None


BAD_CELLS = [
    ("点位编号", "", "code", "empty"),
    ("点位编号", "A" * 65, "code", "too_long"),
    ("点位名称", "东\x07侧", "name", "control_character"),
    ("责任系统", "首钢", "system", "unknown_choice"),
    ("占地面积", "约三亩", "land_m2", "not_a_number"),
    ("占地面积", "1_000", "land_m2", "not_a_number"),
    ("占地面积", "nan", "land_m2", "not_a_number"),
    ("占地面积", "-1", "land_m2", "negative"),
    ("建筑面积", "", "building_m2", "empty"),
    ("挂账日期", "2017-02-30", "opened_on", "not_a_date"),
    ("挂账日期", "2018-01-01", "closed_on", "closed_before_opened"),
    ("经度", "", "lon", "no_location"),
    ("半径", "", "lon", "no_radius"),
    ("半径", "99999", "lon", "no_radius"),
]


def test_a_dry_run_lists_every_rows_problem_and_writes_nothing(engine: Engine) -> None:
    rows = [{"点位编号": f"B{n}", heading: cell} for n, (heading, cell, _, _) in enumerate(BAD_CELLS)]
    report = take(engine, sheet(*rows, {}), dry_run=True)
    assert found(report) == [(n, column, code) for n, (_, _, column, code) in enumerate(BAD_CELLS, start=2)]
    assert (report.written, report.created) == (False, ("A1",))
    assert report.skipped == tuple(range(2, len(BAD_CELLS) + 2))
    assert stored(engine) == []
    for language in LANGUAGES:
        assert all(each.say(language) and each.remedy(language) for each in report.problems)


def test_one_bad_row_keeps_all_out_unless_bad_rows_are_to_be_skipped(engine: Engine) -> None:
    data = sheet({}, {"点位编号": "A2", "占地面积": "?"})
    assert not take(engine, data).written
    assert stored(engine) == []
    report = take(engine, data, skip_bad=True)
    assert (report.written, report.created, report.skipped) == (True, ("A1",), (3,))
    assert len(stored(engine)) == 1


def test_a_missing_or_doubled_column_keeps_everything_out(engine: Engine) -> None:
    headings = {key: value for key, value in HEADINGS.items() if key != "责任系统"} | {"land_m2": "5", "备注": "无"}
    report = take(engine, sheet({}, headings=headings), skip_bad=True)
    assert found(report) == [(0, "land_m2", "column_twice"), (0, "system", "column_missing")]
    assert found(report, fatal=False) == [(0, "备注", "unknown_column")]
    assert not report.written


def test_codes_stand_once_and_a_courtyard_has_one_name(engine: Engine) -> None:
    data = sheet({}, {}, {"点位编号": "A2", "院名称": "二号院"})
    assert found(take(engine, data)) == [(3, "code", "code_twice"), (4, "courtyard_name", "courtyard_differs")]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "no_rows"),
        (b"  \n", "no_rows"),
        ("点位编号\nA1".encode("utf-16"), "encoding"),
        (b"\xff\xff\xff\xff", "encoding"),
        (b"PK\x03\x04 this is no workbook", "unknown_format"),
        (b"SQLite format 3\0 and no GeoPackage", "unknown_format"),
        (b'{"type": "FeatureCollection"', "unknown_format"),
        (b'{"type": "Feature"}', "unknown_format"),
        (b'{"features": [1]}', "unknown_format"),
        (b'{"features":' * 5000, "unknown_format"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_one_problem(engine: Engine, data: bytes, code: str) -> None:
    report = take(engine, data, skip_bad=True)
    assert code in [each.code for each in report.problems if each.row == 0]
    assert not report.written


def test_the_same_file_again_changes_nothing_and_leaves_no_trace(engine: Engine) -> None:
    data = sheet({}, {"点位编号": "A2"})
    take(engine, data)
    before = stored(engine)
    report = take(engine, data)
    assert (report.created, report.updated, report.unchanged) == ((), (), ("A1", "A2"))
    assert stored(engine) == before
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(AuditEntry)) == 1


def test_a_changed_cell_is_updated_and_the_log_has_old_and_new(engine: Engine) -> None:
    take(engine, sheet({}, {"点位编号": "A2"}))
    report = take(engine, sheet({"街道": "鲁谷街道", "院名称": "甲一号院"}, {"点位编号": "A2", "院名称": "甲一号院"}))
    assert set(report.updated) == {"A1", "A2"}
    with Session(engine) as session:
        entry = session.scalars(select(AuditEntry).order_by(AuditEntry.number.desc())).first()
        assert entry is not None
        assert json.loads(entry.detail)["changes"]["A1"] == {
            "street": ["古城街道", "鲁谷街道"], "courtyard_name": ["一号院", "甲一号院"],
        }  # fmt: skip
        assert session.scalars(select(Courtyard.name)).all() == ["甲一号院"]
        assert verify(session).problem is None


def test_a_column_that_is_not_there_empties_nothing(engine: Engine) -> None:
    take(engine, sheet({}))
    report = take(engine, sheet({}, headings={key: value for key, value in HEADINGS.items() if key != "街道"}))
    assert report.unchanged == ("A1",)
    assert take(engine, sheet({"街道": ""})).updated == ("A1",)
    assert stored(engine)[0][3] is None


def test_an_import_never_changes_the_state_of_a_site(engine: Engine) -> None:
    take(engine, sheet({}, headings=HEADINGS | {"状态": "已销账"}))
    report = take(engine, sheet({}, headings=HEADINGS | {"状态": "挂账"}))
    assert found(report, fatal=False) == [(2, "state", "state_kept")]
    assert "已销账" in report.problems[0].say("zh")
    assert report.unchanged == ("A1",)


@pytest.mark.parametrize("actor", [SYSTEM, Actor("")])
def test_a_named_person_answers_for_an_import(engine: Engine, actor: Actor) -> None:
    with pytest.raises(errors.PersonRequired):
        import_ledger(engine, sheet({}).encode(), "WGS-84", actor)
    assert import_ledger(engine, sheet({}).encode(), "WGS-84", actor, dry_run=True).created == ("A1",)


def test_gcj02_is_undone_and_only_if_it_is_named(engine: Engine) -> None:
    lon, lat = gcj02(np.array([[116.2, 39.9]]))[0]
    take(engine, sheet({"经度": repr(float(lon)), "纬度": repr(float(lat))}), "GCJ-02")
    assert stored(engine)[0][-3]["coordinates"] == [116.2, 39.9]
    take(engine, sheet({"经度": repr(float(lon)), "纬度": repr(float(lat))}), "WGS-84")
    assert stored(engine)[0][-3]["coordinates"] == pytest.approx([lon, lat])


@pytest.mark.parametrize(
    ("crs", "cells", "fatal", "code"),
    [
        ("WGS-84", {"经度": "39.9", "纬度": "116.2"}, True, "swapped"),
        ("WGS-84", {"经度": "40.0", "纬度": "75.0"}, False, "maybe_swapped"),
        ("WGS-84", {"经度": "2.35", "纬度": "48.85"}, False, "outside_china"),
        ("GCJ-02", {"经度": "2.35", "纬度": "48.85"}, False, "outside_china_shifted"),
        ("WGS-84", {"经度": "440000", "纬度": "4419000"}, True, "out_of_range"),
        ("EPSG:4548", {}, True, "degrees_for_metres"),
        ("EPSG:4548", {"经度": "39440000", "纬度": "4419000"}, True, "out_of_range"),
        ("WGS-84", {"占地面积": "100"}, False, "area_differs"),
        ("火星", {}, True, "unknown_crs"),
    ],
)
def test_what_is_suspicious_about_a_place_is_told(
    engine: Engine, crs: str, cells: dict[str, str], fatal: bool, code: str
) -> None:
    assert code in [name for _, _, name in found(take(engine, sheet(cells), crs, dry_run=True), fatal)]


def feature(geometry: Any, **values: Any) -> bytes:
    properties = {
        "code": "A1", "courtyard_code": "Y1", "courtyard_name": "一号院", "name": "东侧", "system": "shougang",
        "land_m2": 10_000, "building_m2": 0,
    }  # fmt: skip
    entry = {"type": "Feature", "properties": properties | values, "geometry": geometry}
    return json.dumps({"type": "FeatureCollection", "features": [entry]}).encode()


BOW_TIE = {
    "type": "Polygon",
    "coordinates": [[[116.2, 39.9], [116.21, 39.91], [116.21, 39.9], [116.2, 39.91], [116.2, 39.9]]],
}


@pytest.mark.parametrize(
    ("geometry", "values", "code"),
    [
        (BOW_TIE, {}, "invalid_polygon"),
        ({"type": "LineString", "coordinates": [[116.2, 39.9], [116.3, 39.9]]}, {}, "not_a_geometry"),
        ({"type": "Polygon", "coordinates": []}, {}, "not_a_geometry"),
        ({"type": "Nonsense"}, {}, "not_a_geometry"),
        (None, {}, "no_location"),
        (mapping(square(0, 0, 100)), {"radius_m": 5}, "radius_of_polygon"),
        ({"type": "Point", "coordinates": [116.2, 39.9]}, {}, "no_radius"),
    ],
)
def test_shapes_that_are_no_sites_are_refused(engine: Engine, geometry: Any, values: dict[str, Any], code: str) -> None:
    assert code in [name for _, _, name in found(take(engine, feature(geometry, **values)))]


def test_a_polygon_with_heights_is_taken_flat(engine: Engine) -> None:
    corners = [[*point, 85.0] for point in mapping(square(0, 0, 100))["coordinates"][0]]
    assert take(engine, feature({"type": "Polygon", "coordinates": [corners]})).problems == ()
    assert len(stored(engine)[0][-3]["coordinates"][0][0]) == 2


@pytest.fixture(scope="module")
def some() -> bytes:
    """Part of the made-up ledger, with polygons and points, and names that try to be formulas."""
    chosen = fixture.features(1)[:40]
    chosen[0]["properties"]["name"], chosen[1]["properties"]["name"] = "=1+1", "'-2"
    chosen[2]["properties"]["name"], chosen[3]["properties"]["name"] = '他说"拆",\n就拆', "@SUM(A1)"
    chosen[4]["properties"] |= {"land_m2": 1234.5678, "state": "rebound_suspected", "sensitivity": 0.35}
    assert {each["geometry"]["type"] for each in chosen} == {"Point", "Polygon"}
    return json.dumps({"type": "FeatureCollection", "features": chosen}).encode()


@pytest.mark.parametrize("crs", ["WGS-84", "GCJ-02", "BD-09", "EPSG:4548"])
@pytest.mark.parametrize("kind", list(MEDIA_TYPES))
def test_what_is_exported_comes_back_the_same(engine: Engine, some: bytes, kind: str, crs: str, tmp_path: Path) -> None:
    take(engine, some)
    before = stored(engine)
    with Session(engine) as session:
        data = export_ledger(session, kind, crs)
    again = take(engine, data, crs)
    assert (len(again.unchanged), again.updated, again.created) == (40, (), ())
    with writing(engine) as session:
        for row in session.scalars(select(Site)):
            session.delete(row)
    assert len(take(engine, data, crs).created) == 40
    assert stored(engine) == before


def test_spreadsheets_get_a_bom_and_no_formulas(engine: Engine, some: bytes) -> None:
    take(engine, some)
    with Session(engine) as session:
        table, book = export_ledger(session, "csv"), export_ledger(session, "xlsx")
    assert table.startswith(b"\xef\xbb\xbf")
    names = [row[3] for row in csv.reader(io.StringIO(table.decode("utf-8-sig"), newline=""))]
    assert names[1:3] == ["'=1+1", "''-2"]
    cell = openpyxl.load_workbook(io.BytesIO(book)).worksheets[0]["D2"]
    assert (cell.value, cell.data_type) == ("=1+1", "s")


def test_a_geopackage_in_another_system_than_named_is_told(engine: Engine, some: bytes) -> None:
    take(engine, some)
    with Session(engine) as session:
        data = export_ledger(session, "gpkg", "EPSG:32650")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = take(engine, data, "EPSG:4548", dry_run=True)
    assert (0, None, "crs_differs") in found(report, fatal=False)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_file_whatever_makes_the_import_fall_over(engine: Engine, data: bytes) -> None:
    for start in (b"", b"PK\x03\x04", b"SQLite format 3\0", b'{"features": [', "点位编号,院编号\n".encode()):
        assert not take(engine, start + data, dry_run=True).written
