"""A scan that is taken in leaves its scene: once, with all its findings, and imagery only from where it may be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import box, mapping, shape
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from inference.model import Model
from service.cli import app
from service.database import connect
from service.ledger.rebound import take_in
from service.ledger.schemas import ScanIn
from service.ledger.tables import Observation
from service.scenes.recording import Record
from service.scenes.runs import NoDate, scene_id, take_in_run
from service.scenes.tables import ScanFinding, SceneRow
from service.settings import Settings
from tests.databases import new_database
from tests.imagery import MagentaModel
from tests.ledgers import NIGHT, site, square
from tests.scenes import TAKEN, scanned


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with new_database(tmp_path) as url:
        yield Settings(data_dir=tmp_path / "var", database_url=url)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = connect(settings.resolved_database_url)
    yield engine
    engine.dispose()


def kept(engine: Engine) -> tuple[list[SceneRow], list[ScanFinding]]:
    with Session(engine) as session:
        findings = session.scalars(select(ScanFinding).order_by(ScanFinding.scene_id, ScanFinding.number))
        return list(session.scalars(select(SceneRow).order_by(SceneRow.id))), list(findings)


def test_a_run_is_kept_with_its_findings_dates_coverage_and_imagery(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scanned(settings, monkeypatch)
    take_in_run(engine, settings, run)
    [scene], findings = kept(engine)
    assert (scene.id, scene.name, scene.taken_at) == ("after_20170920T0300", "after", TAKEN)
    assert scene.before_at == datetime(2016, 6, 1, 3, tzinfo=UTC)
    assert scene.gsd_m == pytest.approx(0.5, rel=1e-3)
    assert (scene.findings_count, [each.kind for each in findings]) == (2, ["new", "remaining"])
    assert scene.before is not None
    assert scene.after == {
        "sources": [str((run.parent / "after.tif").resolve())], "bands": [1, 2, 3], "range": [0.0, 255.0],
    }  # fmt: skip
    assert scene.probability_path == str((run / "probabilities.tif").resolve())
    bounds = box(scene.west, scene.south, scene.east, scene.north)
    assert scene.coverage is not None
    assert scene.coverage["type"] == "MultiPolygon"
    assert bounds.buffer(1e-6).contains(shape(scene.coverage))
    new = findings[0]
    assert new.area_m2 == pytest.approx(60 * 40 / 4, rel=0.02)
    assert new.area_error_m2 is not None
    assert bounds.contains(shape(new.geometry))
    assert shape(new.geometry).bounds == pytest.approx((new.west, new.south, new.east, new.north))


def test_the_same_scene_again_changes_nothing(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scanned(settings, monkeypatch)
    for _ in range(2):
        take_in_run(engine, settings, run, scene="n1")
    first, findings = kept(engine)
    assert ([scene.id for scene in first], len(findings)) == (["n1"], 2)
    take_in_run(engine, settings, run, scene="n2", taken_at=NIGHT)
    assert [scene.id for scene in kept(engine)[0]] == ["n1", "n2"]


def test_imagery_outside_the_allowed_folders_is_not_kept(
    engine: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scanned(settings, monkeypatch)
    elsewhere = settings.model_copy(update={"scene_dirs": (tmp_path / "elsewhere",)})
    take_in_run(engine, elsewhere, run, scene="n1")
    [scene], findings = kept(engine)
    assert (scene.before, scene.after, len(findings)) == (None, None, 2)


def test_a_link_out_of_the_folder_leads_nowhere(
    engine: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scanned(settings, monkeypatch)
    after = run.parent / "after.tif"
    after.rename(tmp_path / "secret.tif")
    after.symlink_to(tmp_path / "secret.tif")
    take_in_run(engine, settings, run, scene="n1")
    [scene], _ = kept(engine)
    assert (scene.before is None, scene.after is None) == (False, True)


def test_a_scene_without_a_date_is_no_look(engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run = scanned(settings, monkeypatch)
    plan = json.loads((run / "plan.json").read_text())
    plan["scenes"]["after"]["captured_at"] = None
    (run / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(NoDate):
        take_in_run(engine, settings, run)
    assert kept(engine) == ([], [])


@pytest.mark.parametrize("name", ["2026 03 报告.tif", "../x/y", "a?b#c", "-.tif", "n" * 300])
def test_any_name_of_imagery_gives_an_id_that_can_stand_in_an_address(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = scanned(settings, monkeypatch)
    plan = json.loads((run / "plan.json").read_text())
    plan["scenes"]["after"]["name"] = name
    (run / "plan.json").write_text(json.dumps(plan))
    given = {
        "scene": scene_id(run, NIGHT),
        "taken_at": NIGHT,
        "findings": {"type": "FeatureCollection", "features": []},
    }
    assert ScanIn.model_validate(given).scene.endswith("20260301T0200")


# --- Scans that come without imagery ----------------------------------------------------------------------


def finding(x: float, y: float, kind: str = "new", **properties: Any) -> dict[str, Any]:
    about = {"kind": kind, "probability": 0.9} | properties
    return {"type": "Feature", "properties": about, "geometry": mapping(square(x, y, 10))}


def posted(*features: dict[str, Any], **fields: Any) -> ScanIn:
    given = {"scene": "n1", "taken_at": NIGHT, "findings": {"type": "FeatureCollection", "features": list(features)}}
    return ScanIn.model_validate(given | fields)


def test_a_scan_over_http_is_kept_with_what_was_removed_and_an_area_of_its_own(engine: Engine) -> None:
    scan = posted(finding(0, 0), finding(50, 0, "removed", area_m2=7, area_error_m2=2))
    take_in(engine, scan.scan, 20, record=scan.record)
    [scene], findings = kept(engine)
    assert [(each.kind, each.number) for each in findings] == [("new", 1), ("removed", 2)]
    assert findings[0].area_m2 == pytest.approx(100, rel=1e-3)
    assert (findings[1].area_m2, findings[1].area_error_m2) == (7, 2)
    assert (scene.west, scene.east) == (findings[0].west, findings[1].east)
    assert (scene.coverage, scene.before, scene.gsd_m) == (None, None, None)


def test_a_scan_that_found_nothing_is_where_it_looked_and_one_that_saw_nothing_is_nowhere(engine: Engine) -> None:
    seen = posted(coverage=mapping(square(-50, -50, 100)))
    take_in(engine, seen.scan, 20, record=seen.record)
    blind = posted(scene="n2")
    take_in(engine, blind.scan, 20, record=blind.record)
    [scene], findings = kept(engine)
    assert (scene.id, findings) == ("n1", [])
    assert shape(scene.coverage).equals(square(-50, -50, 100))


def test_a_night_that_saw_nothing_of_what_was_asked_for_is_kept_as_such(engine: Engine) -> None:
    blind = posted()
    take_in(engine, blind.scan, 20, record=Record((), bounds=(116.1, 39.8, 116.2, 39.9)))
    [scene], _ = kept(engine)
    assert (scene.coverage, scene.west, scene.north) == (None, 116.1, 39.9)


def test_looks_and_scene_are_written_together_or_not_at_all(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with Session(engine) as session, session.begin():
        site(session, "A")

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("service.ledger.rebound.keep", fail)
    scan = posted(finding(10, 10))
    with pytest.raises(OSError, match="no space"):
        take_in(engine, scan.scan, 20, record=scan.record)
    with Session(engine) as session:
        assert session.scalars(select(Observation)).all() == []


@pytest.mark.parametrize("scene", ["", "../n1", "a/b", ".n", "n 1", "n?1", "x" * 129])
def test_an_id_that_cannot_stand_in_an_address_is_refused(scene: str) -> None:
    with pytest.raises(ValueError, match="scene"):
        posted(scene=scene)


# --- Command line -----------------------------------------------------------------------------------------


@pytest.fixture
def jingdi(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    environment = {"JINGDI_DATABASE_URL": settings.database_url, "JINGDI_DATA_DIR": str(settings.data_dir)}
    monkeypatch.setattr(Model, "load", classmethod(lambda cls, *args, **options: MagentaModel()))

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(each) for each in arguments], env=environment)

    return run


def test_jingdi_scan_lays_its_findings_over_the_ledger(
    engine: Engine, settings: Settings, jingdi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = scanned(settings, monkeypatch).parent
    result = jingdi(
        "scan", "--before", files / "before.tif", "--after", files / "after.tif", "--out", files / "b", "--ledger"
    )
    assert result.exit_code == 1, result.output
    [scene], findings = kept(engine)
    assert (scene.name, scene.taken_at, len(findings)) == ("after", TAKEN, 2)
    assert scene.after is not None


def test_jingdi_scan_asks_for_a_date_before_it_scans_for_hours(
    engine: Engine, settings: Settings, jingdi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.scans.DATES", ("", ""))
    files = scanned(settings, monkeypatch).parent
    options = ["--before", files / "before.tif", "--after", files / "after.tif", "--out", files / "b", "--ledger"]
    refused = jingdi("scan", *options)
    assert (refused.exit_code, (files / "b").exists()) == (2, False)
    assert "--taken-at" in refused.output
    assert jingdi("scan", *options, "--taken-at", "2026-03-01T10:00").exit_code == 1
    [scene], _ = kept(engine)
    assert scene.taken_at == NIGHT


def test_jingdi_watch_keeps_the_imagery_of_a_run(
    engine: Engine, settings: Settings, jingdi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scanned(settings, monkeypatch)
    result = jingdi("watch", "--findings", run / "findings.geojson", "--coverage", run / "coverage.tif",
                    "--scene", "n1", "--taken-at", "2026-03-01")  # fmt: skip
    assert result.exit_code == 0, result.output
    [scene], findings = kept(engine)
    assert (scene.id, scene.after is None, len(findings)) == ("n1", False, 2)
    assert scene.taken_at == datetime(2026, 2, 28, 16, tzinfo=UTC)  # midnight in Beijing
