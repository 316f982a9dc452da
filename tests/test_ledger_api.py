"""The ledger over HTTP: what can be read, who may change what, and problems in the reader's language."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from service.database import connect
from service.ledger import fixture
from service.ledger.audit import writing
from service.ledger.tables import Observation
from service.ledger.watch import Scan, take_in
from tests.ledgers import NIGHT, shed, site

API = "/api/v1/ledger"
PERSON = {"name": "王经办", "kind": "human"}


@pytest.fixture
def engine(service: Any) -> Any:
    found = connect(service.settings.resolved_database_url)
    yield found
    found.dispose()


def some(count: int = 6) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": fixture.features()[:count]}).encode()


def send(service: Any, data: bytes, **fields: Any) -> Any:
    form = {"crs": "WGS-84", "actor": "王经办", "dry_run": "false"} | fields
    return service.client.post(f"{API}/import", files={"file": ("ledger.geojson", data)}, data=form)


def move(service: Any, path: str, expected: str, target: str, actor: Any = PERSON, **more: Any) -> Any:
    step = {"expected": expected, "target": target, "actor": actor, "reason": "现场核实"} | more
    return service.client.post(f"{API}/{path}/transitions", json=step)


def test_an_import_is_a_dry_run_unless_told_otherwise(service: Any) -> None:
    tried = service.client.post(f"{API}/import", files={"file": ("l", some())}, data={"crs": "WGS-84"})
    assert (tried.status_code, tried.json()["written"], len(tried.json()["created"])) == (200, False, 6)
    assert service.client.get(f"{API}/sites").json()["total"] == 0
    assert send(service, some()).json()["written"]
    page = service.client.get(f"{API}/sites", params={"limit": 2, "offset": 1, "system": "collective"}).json()
    assert (page["total"], [each["code"] for each in page["items"]]) == (6, ["DW0002", "DW0003"])


def test_a_dry_run_tells_every_problem_in_the_readers_language(service: Any) -> None:
    bad = some().replace(b'"collective"', b'"steel"', 1)
    files, headers = {"file": ("l", bad)}, {"Accept-Language": "en"}
    report = service.client.post(f"{API}/import", files=files, data={"crs": "WGS-84"}, headers=headers).json()
    assert [(each["row"], each["column"], each["code"]) for each in report["problems"]] == [
        (1, "system", "unknown_choice")
    ]
    assert report["problems"][0]["column_name"] == "System"
    assert "steel" in report["problems"][0]["detail"]
    refused = send(service, bad)
    assert (refused.status_code, refused.json()["code"]) == (422, "ledger_rows_refused")
    assert service.client.get(f"{API}/sites").json()["total"] == 0
    assert send(service, bad, skip_bad="true").json()["skipped"] == [1]


@pytest.mark.parametrize(
    ("field", "value", "status"), [("actor", "系统", 403), ("dryrun", "true", 422), ("crs", "x" * 50, 422)]
)
def test_an_import_needs_a_person_and_fields_that_are_spelt_right(
    service: Any, field: str, value: str, status: int
) -> None:
    assert send(service, some(), **{field: value}).status_code == status


@pytest.mark.parametrize("kind", ["csv", "xlsx", "geojson", "gpkg"])
def test_an_export_can_be_imported_again(service: Any, kind: str) -> None:
    send(service, some())
    exported = service.client.get(f"{API}/export.{kind}")
    assert exported.status_code == 200
    assert f"ledger.{kind}" in exported.headers["content-disposition"]
    assert len(send(service, exported.content).json()["unchanged"]) == 6


def test_the_list_and_its_files_hold_what_was_asked_for(service: Any) -> None:
    send(service, some())
    asked = {"q": "DW0003", "system": "collective"}
    assert [each["code"] for each in service.client.get(f"{API}/sites", params=asked).json()["items"]] == ["DW0003"]
    exported = service.client.get(f"{API}/export.geojson", params=asked).json()
    assert [feature["id"] for feature in exported["features"]] == ["DW0003"]
    assert service.client.get(f"{API}/export.csv", params={"system": "steel"}).status_code == 422


def test_a_site_is_closed_step_by_step_and_its_history_says_by_whom(service: Any, engine: Any) -> None:
    with writing(engine) as session:
        own = site(session, "A", state="open")
        look = Observation(
            site_id=own.id, scene="s", observed_at=NIGHT, result="clear", observed_share=1.0, recorded_at=NIGHT
        )
        session.add(look)
    cited = [{"kind": "observation", "ref": look.id}]
    assert move(service, "sites/A", "open", "claimed_clear").json()["state"] == "claimed_clear"
    late = move(service, "sites/A", "open", "claimed_clear")
    assert (late.status_code, late.json()["code"]) == (409, "state_changed")
    same = move(service, "sites/A", "claimed_clear", "accepted", evidence=cited)
    assert (same.status_code, same.json()["code"]) == (403, "second_person_required")
    other = {"name": "李验收"}
    bare = move(service, "sites/A", "claimed_clear", "accepted", other)
    assert (bare.status_code, bare.json()["code"]) == (422, "evidence_required")
    assert move(service, "sites/A", "claimed_clear", "accepted", other, evidence=cited).json()["state"] == "accepted"
    history = service.client.get(f"{API}/sites/A/history").json()
    assert [(each["target"], each["actor"]) for each in history["decisions"]] == [
        ("claimed_clear", "王经办"), ("accepted", "李验收"),
    ]  # fmt: skip
    assert [each["result"] for each in history["observations"]] == ["clear"]


def test_an_alert_is_decided_by_a_person_and_the_site_goes_along(service: Any, engine: Any) -> None:
    with writing(engine) as session:
        site(session, "A")
        for night in range(2):
            take_in(session, Scan(f"n{night}", NIGHT + timedelta(days=night), (shed(10, 10), shed(500, 500))))
    [alert] = service.client.get(f"{API}/alerts", params={"state": "corroborated", "site": "A"}).json()["items"]
    path = f"alerts/{alert['id']}"
    program = {"name": "jingdi", "kind": "system"}
    assert move(service, path, "corroborated", "dispatched", program).json()["state"] == "dispatched"
    refused = move(service, path, "dispatched", "confirmed", program)
    assert (refused.status_code, refused.json()["code"]) == (403, "person_required")
    assert move(service, path, "dispatched", "confirmed").json()["state"] == "confirmed"
    assert service.client.get(f"{API}/{path}").json()["state"] == "confirmed"
    assert service.client.get(f"{API}/sites/A").json()["state"] == "rebound_confirmed"
    candidates = service.client.get(f"{API}/candidates").json()
    assert (candidates["total"], candidates["items"][0]["looks"]) == (1, 2)


def test_what_is_not_there_is_a_problem(service: Any, engine: Any) -> None:
    for path, code in (
        ("sites/无", "site_not_found"),
        ("sites/无/history", "site_not_found"),
        ("alerts/x", "alert_not_found"),
    ):
        answer = service.client.get(f"{API}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, code)
    assert move(service, "sites/无", "open", "claimed_clear").status_code == 404
    assert move(service, "alerts/x", "suspected", "dismissed").status_code == 404
    assert move(service, "sites/无", "open", "demolished").status_code == 422
    with Session(engine) as session:
        assert session.query(Observation).count() == 0
