"""From a scan to the inspector: exactly the rebounds, after two looks, told once; whatever fails, whoever is killed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely.geometry import mapping, shape
from sqlalchemy import select
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from inference.scan.window import COVERAGE, OBSERVED
from service.cli import app
from service.ledger import rebound
from service.ledger.audit import verify, writing
from service.ledger.coverage import read_coverage
from service.ledger.rebound import keep_releasing, release, take_in, tell
from service.ledger.states import move_alert
from service.ledger.tables import Alert, Observation, Site
from service.ledger.watch import Scan
from service.notify.tables import EventRow
from tests import rebounds
from tests.fakes_notify import World, new_world
from tests.ledgers import INSPECTOR, NIGHT, PLAIN, dismiss, shed, site, square


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with new_world(tmp_path) as made:
        yield made


def night(number: int, *sheds: Any) -> Scan:
    return Scan(f"night-{number}", NIGHT + timedelta(days=number), sheds or (shed(10, 10),), square(-500, -500, 1000))


def add(world: World, *codes: str, **values: Any) -> None:
    with writing(world.engine) as session:
        for number, code in enumerate(codes):
            site(session, code, x=100.0 * number, name=f"{code}院", street="古城街道", inspector="甲", **values)


def told(world: World) -> list[tuple[str, str]]:
    with Session(world.engine) as session:
        query = select(EventRow.kind, EventRow.site).order_by(EventRow.created_at, EventRow.site)
        return [tuple(row) for row in session.execute(query)]  # type: ignore[misc]


def test_an_inspector_hears_once_and_not_before_the_second_look(world: World) -> None:
    add(world, "A")
    world.subscribe()
    first = take_in(world.engine, night(0), 20, at=world.clock())
    assert (len(first.outcome.opened), first.dispatched, told(world)) == (1, (), [])
    second = take_in(world.engine, night(1), 20, at=world.clock())
    assert second.dispatched == tuple(first.outcome.opened)
    for again in (night(1), night(2)):
        assert take_in(world.engine, again, 20, at=world.clock()).dispatched == ()
    assert told(world) == [("rebound_suspected", "A")]
    world.send()
    (item,) = world.box.after("wang", 0)
    assert item.title == "疑似反弹：A A院"
    assert "独立观测 2 次" in item.body
    with Session(world.engine) as session:
        assert session.scalars(select(EventRow.url)).all() == [f"/api/v1/ledger/alerts/{second.dispatched[0]}"]


def test_what_cannot_be_told_is_not_taken_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    add(world, "A")
    take_in(world.engine, night(0), 20)
    monkeypatch.setattr(rebound, "enqueue", fail)
    with pytest.raises(OSError, match="disk full"):
        take_in(world.engine, night(1), 20)
    with Session(world.engine) as session:
        assert session.scalars(select(Alert.state)).all() == ["suspected"]
        assert session.scalars(select(Observation.scene)).all() == ["night-0"]
        assert verify(session).problem is None
    monkeypatch.undo()
    assert len(take_in(world.engine, night(1), 20).dispatched) == 1


@pytest.mark.parametrize("decision", ["confirmed", "dismissed"])
def test_a_decision_is_told_to_those_who_were_told_of_the_alert(world: World, decision: str) -> None:
    add(world, "A", "B")
    take_in(world.engine, night(0, shed(10, 10), shed(110, 10)), 20, at=world.clock())
    take_in(world.engine, night(1), 20, at=world.clock())
    with writing(world.engine) as session:
        for alert in session.scalars(select(Alert)).all():
            later = world.clock() + timedelta(hours=1)
            if alert.state == "dispatched" and decision == "confirmed":
                move_alert(session, alert, alert.state, decision, INSPECTOR, "现场核实")
                tell(session, alert, later)
            else:
                dismiss(session, alert, at=later)
    assert told(world) == [("rebound_suspected", "A"), (f"rebound_{decision}", "A")]


def test_what_is_beyond_the_budget_is_told_another_day(world: World) -> None:
    add(world, "A", "B")
    sheds = (shed(10, 10), shed(110, 10, 20))
    take_in(world.engine, night(0, *sheds), 1, at=world.clock())
    take_in(world.engine, night(1, *sheds), 1, at=world.clock())
    assert told(world) == [("rebound_suspected", "B")]
    world.clock.advance(days=1)
    with writing(world.engine) as session:
        assert len(release(session, 1, at=world.clock())) == 1
    assert told(world) == [("rebound_suspected", "B"), ("rebound_suspected", "A")]


def test_what_waits_is_released_in_the_background_even_after_a_failure(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add(world, "A")
    take_in(world.engine, night(0), 20)
    with writing(world.engine) as session:
        alert = session.scalars(select(Alert)).one()
        move_alert(session, alert, "suspected", "corroborated", INSPECTOR, "照片为证")
    stop, calls = threading.Event(), []

    def fail_first(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("no such luck")
        stop.set()
        return release(*arguments, **options)

    monkeypatch.setattr(rebound, "release", fail_first)
    monkeypatch.setattr(rebound, "LOOK_EVERY_S", 0.01)
    keep_releasing(world.engine, 20, stop)
    assert told(world) == [("rebound_suspected", "A")]
    assert "no such luck" in caplog.text


# --- Over HTTP and from files -----------------------------------------------------------------------------


def body(number: int, **values: Any) -> dict[str, Any]:
    properties = {"kind": "new", "status": "suspected", "probability": 0.9, "area_m2": 100.0, "model_sha256": "a" * 64}
    feature = {"type": "Feature", "id": 1, "properties": properties, "geometry": mapping(square(10, 10, 10))}
    return {
        "scene": f"night-{number}",
        "taken_at": (NIGHT + timedelta(days=number)).isoformat(),
        "findings": {"type": "FeatureCollection", "features": [feature]},
        "coverage": mapping(square(-500, -500, 1000)),
    } | values


def test_two_scans_over_http_reach_the_inbox(service: Any) -> None:
    client, engine = service.client, service.client.app.state.services.pairs.engine
    with writing(engine) as session:
        site(session, "A")
    endpoint = client.post("/api/v1/notify/endpoints", json={"channel": "inbox", "address": "operator"}).json()
    client.post("/api/v1/notify/subscriptions", json={"endpoint_id": endpoint["id"]})
    first = client.post("/api/v1/ledger/scans", json=body(0)).json()
    second = client.post("/api/v1/ledger/scans", json=body(1)).json()
    assert (first["seen"], first["dispatched"]) == (["A"], [])
    assert second["dispatched"] == second["corroborated"] == first["opened"]
    deadline = datetime.now() + timedelta(seconds=20)
    while not (items := client.get("/api/v1/notify/inbox").json()["items"]) and datetime.now() < deadline:
        threading.Event().wait(0.05)
    assert [item["title"] for item in items] == ["疑似反弹：A A"]


LINE = {"type": "LineString", "coordinates": [(116, 39), (117, 39)]}
METRES = mapping(shape(body(0)["coverage"]).centroid.buffer(500))


@pytest.mark.parametrize(
    "values",
    [
        {"taken_at": "2026-03-01T10:00:00"},
        {"coverage": LINE},
        {"coverage": METRES},
        {"coverage": {"type": "Polygon", "coordinates": "none"}},
        {"coverage": {}},
        {"findings": {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}}]}},
        {"scene": ""},
        {"model_sha256": "abc"},
    ],
)
def test_a_scan_that_cannot_be_used_is_refused_and_nothing_is_written(service: Any, values: dict[str, Any]) -> None:
    engine = service.client.app.state.services.pairs.engine
    with writing(engine) as session:
        site(session, "A")
    refused = service.client.post("/api/v1/ledger/scans", json=body(0, **values))
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    with Session(engine) as session:
        assert session.scalars(select(Observation)).all() == []


def coverage_tif(path: Path, seen: Any, west: float = 440_000, north: float = 4_420_000) -> Path:
    """A raster of 1 m in EPSG:32650."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "crs": 32650, "height": len(seen), "width": len(seen)}
    with rasterio.open(path, "w", transform=Affine(1, 0, west, 0, -1, north), **profile) as file:
        file.write(seen, 1)
    return path


def test_coverage_is_what_was_observed_and_holes_stay_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.ledger.coverage._BLOCK_PX", 64)
    seen = np.full((200, 200), OBSERVED, dtype=np.uint8)
    seen[50:80, 60:100] = COVERAGE.index("cloud")
    geometry = read_coverage(coverage_tif(tmp_path / "coverage.tif", seen))
    assert geometry is not None
    outline = shape(geometry)
    assert (outline.geom_type, len(outline.interiors)) == ("Polygon", 1)
    in_metres = PLAIN.export_geometry(outline)
    assert in_metres.area == pytest.approx(200**2 - 30 * 40, rel=2e-3)  # the UTM zone has its own scale
    assert read_coverage(coverage_tif(tmp_path / "coverage.tif", np.zeros((9, 9), dtype=np.uint8))) is None


def test_coverage_as_geojson_is_joined(tmp_path: Path) -> None:
    halves = [square(0, 0, 10), square(10, 0, 10)]
    features = [{"type": "Feature", "properties": {}, "geometry": mapping(half)} for half in halves]
    path = tmp_path / "coverage.geojson"
    for data in ({"type": "FeatureCollection", "features": features}, mapping(halves[0].union(halves[1]))):
        path.write_text(json.dumps(data))
        geometry = read_coverage(path)
        assert geometry is not None
        assert shape(geometry).equals_exact(halves[0].union(halves[1]), 1e-9, normalize=True)


def test_jingdi_watch_lays_the_files_of_a_scan_over_the_ledger(world: World, tmp_path: Path) -> None:
    add(world, "A", "B")
    findings = tmp_path / "findings.geojson"
    findings.write_text(json.dumps(body(0)["findings"]))
    coverage = tmp_path / "coverage.geojson"
    coverage.write_text(json.dumps(mapping(square(-50, -50, 190))))  # all of A, a part of B
    environment = {"JINGDI_DATABASE_URL": world.url, "JINGDI_DATA_DIR": str(tmp_path / "var")}

    def watch(scene: str, taken: str, **files: Path) -> Any:
        options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
        return CliRunner().invoke(app, ["watch", "--scene", scene, "--taken-at", taken, *options], env=environment)

    first = watch("n1", "2026-03-01", findings=findings, coverage=coverage)
    assert (first.exit_code, told(world)) == (1, []), first.output
    assert "新增 1 条" in first.output.replace("\n", "")
    second = watch("n2", "2026-03-02T02:00+08:00", findings=findings, coverage=coverage)
    assert (second.exit_code, told(world)) == (1, [("rebound_suspected", "A")])
    again = watch("n2", "2026-03-02T02:00+08:00", findings=findings, coverage=coverage)
    assert (again.exit_code, "没有变化" in again.output) == (0, True)
    with Session(world.engine) as session:
        looks = session.execute(select(Site.code, Observation.result).join(Site).order_by(Site.code)).all()
        assert [tuple(row) for row in looks] == [("A", "new")] * 2 + [("B", "not_observed")] * 2
        assert set(session.scalars(select(Observation.model_sha256))) == {"a" * 64}
    findings.write_text("[]")
    for refused in (watch("n3", "2026-03-03", findings=findings), watch("n3", "yesterday", findings=findings)):
        assert refused.exit_code == 2
        assert "Traceback" not in refused.output


# --- The whole way ----------------------------------------------------------------------------------------


def test_two_nights_one_third_failures_and_kills_leave_exactly_the_five_alerts(world: World, tmp_path: Path) -> None:
    found = rebounds.run(world, tmp_path, closed=60, kills=8, seed=3, wait_s=120)
    rebounds.check(world, found)
    # The one window: killed between the receiver's acceptance and the commit. Three workers, so three at most.
    assert sum(receiver.duplicates for receiver in found.receivers.values()) <= 3 * sum(found.kills.values())
