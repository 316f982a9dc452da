"""The made-up ledger has the district's totals to the last figure, and what does not add up is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely.geometry import shape
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from inference.reasons import LANGUAGES
from service.cli import app
from service.ledger import fixture
from service.ledger.audit import verify
from service.ledger.check import STATED, StatedError, check, read_stated
from service.ledger.coordinates import area_m2, footprint
from service.ledger.importing import import_ledger
from service.ledger.tables import Courtyard, Site
from tests.ledgers import CLERK, NIGHT, empty_database

BRIEF = {
    "collective": (380, 1_440_000, 820_000),
    "state_assets": (74, 50_000, 40_000),
    "shougang": (48, 130_000, 80_000),
    "government_social": (45, 170_000, 60_000),
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with empty_database(tmp_path) as found:
        yield found


@pytest.fixture
def whole(engine: Engine) -> Engine:
    """The made-up ledger, all entries open."""
    report = import_ledger(engine, fixture.geojson(), "WGS-84", CLERK)
    assert (len(report.created), report.problems) == (547, ())
    return engine


def codes(engine: Engine, stated: dict[str, Any] | None = None, now: datetime = NIGHT) -> list[tuple[str, str]]:
    with Session(engine) as session:
        found = check(session, read_stated(STATED) if stated is None else stated, now)
    assert all(each.say(language) for each in found for language in LANGUAGES)
    return [(each.code, each.subject) for each in found]


def test_the_fixture_reproduces_the_brief_to_the_last_figure(whole: Engine) -> None:
    with Session(whole) as session:
        columns = (func.count(), func.sum(Site.land_m2), func.sum(Site.building_m2))
        rows = session.execute(select(Site.system, *columns).group_by(Site.system))
        assert {row[0]: tuple(row[1:]) for row in rows} == BRIEF
        assert tuple(session.execute(select(*columns)).one()) == (547, 1_790_000, 1_000_000)
        assert session.scalar(select(func.sum(Site.greened_m2))) == 210_000
        assert session.scalar(select(func.count()).select_from(Courtyard)) == 528
    assert codes(whole) == []


def test_the_outlines_of_the_fixture_have_the_stated_area_and_do_not_touch() -> None:
    features = fixture.features()
    assert features == fixture.features()
    covered = [footprint(shape(each["geometry"]), each["properties"]["radius_m"]) for each in features]
    for outline, each in zip(covered, features, strict=True):
        assert area_m2(outline) == pytest.approx(each["properties"]["land_m2"], rel=0.01)
    pairs = shapely.STRtree(covered).query(covered, predicate="intersects")
    assert (pairs[0] == pairs[1]).all()


def test_a_ledger_closed_by_the_book_has_its_evidence(engine: Engine) -> None:
    seen = datetime(2026, 2, 1, tzinfo=UTC)
    fixture.load(engine, closed=5, seen_at=seen)
    assert codes(engine) == []
    assert codes(engine, now=seen + timedelta(days=91)) == [("not_observed_since", f"DW000{n}") for n in range(1, 6)]
    with Session(engine) as session:
        assert (verify(session).length, verify(session).problem) == (16, None)


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        ({"land_m2": Site.land_m2 + 10_000}, [("total", "total.land"), ("total", "collective.land")]),
        ({"land_m2": Site.land_m2 + 100}, []),  # stated to 10,000 m2 only
        ({"system": "shougang"}, None),
        (
            {"state": "accepted"},
            [
                ("accepted_without_evidence", "DW0001"),
                ("no_baseline", "DW0001"),
                ("closed_without_date", "DW0001"),
                ("not_observed_since", "DW0001"),
            ],
        ),
        ({"closed_on": NIGHT.date()}, [("open_with_closing_date", "DW0001")]),
    ],
)
def test_each_kind_of_difference_is_found(
    whole: Engine, change: dict[str, Any], differences: list[tuple[str, str]] | None
) -> None:
    with whole.begin() as connection:
        connection.execute(update(Site).where(Site.code == "DW0001").values(change))
    found = codes(whole)
    if differences is None:
        assert {"collective.sites", "shougang.sites"} <= {subject for _, subject in found}
    else:
        assert found == differences


def test_totals_are_compared_to_as_many_digits_as_are_stated(whole: Engine, tmp_path: Path) -> None:
    path = tmp_path / "stated.toml"
    path.write_text("unit_m2 = 1\n[total]\nland = 1790000.0\n[system.shougang]\nbuilding = 80001\n", "utf-8")
    assert codes(whole, read_stated(path)) == [("total", "shougang.building")]


@pytest.mark.parametrize("text", ["[total", "[totals]\nsites = 1", "[system.steel]\nsites = 1", "[total]\nlands = 1"])
def test_a_misspelt_file_of_totals_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stated.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(StatedError):
        read_stated(path)


@pytest.fixture
def run(engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("JINGDI_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("JINGDI_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("JINGDI_LANGUAGE", raising=False)

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["ledger", *map(str, arguments)])

    return invoke


def test_the_commands_import_export_and_check(run: Any, tmp_path: Path) -> None:
    source, copy = tmp_path / "ledger.geojson", tmp_path / "copy.csv"
    source.write_bytes(fixture.geojson())
    assert run("import", source).exit_code == 2  # the coordinate system is never guessed
    assert run("import", source, "--crs", "WGS-84").exit_code == 2  # nobody answers for it
    tried = run("import", source, "--crs", "WGS-84", "--dry-run")
    assert (tried.exit_code, "没有写入" in tried.stdout) == (0, True)
    done = run("import", source, "--crs", "WGS-84", "--actor", "王经办")
    assert (done.exit_code, "新增 547 个" in done.stdout) == (0, True)
    assert run("export", copy).exit_code == 0
    again = run("import", copy, "--crs", "WGS-84", "--actor", "王经办")
    assert "未变 547 个" in again.stdout
    assert run("export", tmp_path / "ledger.doc").exit_code == 2
    assert run("export", copy, "--crs", "Mars").exit_code == 2
    assert run("check").exit_code == 0
    copy.write_text(copy.read_text("utf-8-sig").replace("国资系统", "首钢系统", 1), "utf-8")
    assert run("import", copy, "--crs", "WGS-84", "--actor", "王经办").exit_code == 0
    differs = run("check", "--json")
    assert differs.exit_code == 1
    subjects = {each["subject"] for each in json.loads(differs.stdout)}
    assert {"state_assets.sites", "shougang.sites"} <= subjects


def test_refused_rows_are_listed_and_leave_with_1(run: Any, tmp_path: Path) -> None:
    source = tmp_path / "bad.csv"
    source.write_text("点位编号,院编号\nA1,\n", "utf-8")
    result = run("import", source, "--crs", "WGS-84", "--actor", "王经办")
    assert result.exit_code == 1
    assert "缺少“责任系统”列" in result.stdout
    assert "必填，但为空" in result.stdout
