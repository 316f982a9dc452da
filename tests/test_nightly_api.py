"""Schedules, nights and tracks over HTTP: who may change them, what is refused, and a night from end to end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.ledger.audit import verify
from service.ledger.tables import AuditEntry
from service.nightly import due
from service.nightly.tables import Schedule
from tests.conftest import see_red
from tests.nights import NEW, picture, stand_in
from tests.people import House, house
from tests.queues import until

SCHEDULES, NIGHTS, TRACKS = "/api/v1/schedules", "/api/v1/nights", "/api/v1/tracks"
TRIANGLE = {"type": "Polygon", "coordinates": [[[116.1, 39.9], [116.2, 39.9], [116.1, 40.0], [116.1, 39.9]]]}
BODY = {"name": "石景山", "source": "nights/{date}.tif", "cron": "30 2 * * *"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    stand_in(monkeypatch)
    monkeypatch.setattr(due, "LOOK_EVERY_S", 0.1)
    with house(tmp_path, lambda: see_red) as found:
        yield found


@pytest.fixture
def reviewer(place: House) -> Any:
    return place.browser("rita", "reviewer")


def make(client: Any, **changes: Any) -> Any:
    return client.post(SCHEDULES, json=BODY | changes)


def test_a_schedule_is_made_read_changed_and_removed_by_a_reviewer(place: House, reviewer: Any) -> None:
    made = make(reviewer, area=TRIANGLE)
    assert made.status_code == 201, made.text
    schedule = made.json()
    assert (schedule["time_zone"], schedule["policy"], schedule["enabled"]) == ("Asia/Shanghai", "last_accepted", True)
    assert schedule["next_due_at"].endswith("T18:30:00Z")
    assert reviewer.get(SCHEDULES).json() == [schedule]
    assert reviewer.get(f"{SCHEDULES}/{schedule['id']}").json() == schedule
    changed = reviewer.patch(f"{SCHEDULES}/石景山", json={"enabled": False, "area": None, "cron": "0 3 * * *"})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["next_due_at"], changed.json()["area"], changed.json()["cron"]) == (None, None, "0 3 * * *")
    assert changed.json()["source"] == BODY["source"]
    assert reviewer.delete(f"{SCHEDULES}/石景山").status_code == 204
    assert reviewer.get(SCHEDULES).json() == []
    assert reviewer.get(f"{SCHEDULES}/{schedule['id']}").status_code == 404
    with Session(place.engine) as session:
        log = session.scalars(
            select(AuditEntry).where(AuditEntry.action.startswith("schedule.")).order_by(AuditEntry.number)
        )
        assert [(each.actor, each.action) for each in log] == [
            ("rita", "schedule.added"), ("rita", "schedule.changed"), ("rita", "schedule.removed"),
        ]  # fmt: skip
        assert verify(session).problem is None


def test_others_read_and_may_not_change(place: House, reviewer: Any) -> None:
    make(reviewer)
    auditor, stranger = place.browser("audrey", "auditor"), place.stranger()
    for address in (SCHEDULES, f"{SCHEDULES}/石景山", NIGHTS, TRACKS):
        assert auditor.get(address).status_code == 200
        assert stranger.get(address).status_code == 401
    for answer in (make(auditor, name="b"), auditor.patch(f"{SCHEDULES}/石景山", json={"enabled": False})):
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert auditor.delete(f"{SCHEDULES}/石景山").status_code == 403
    assert [each["enabled"] for each in auditor.get(SCHEDULES).json()] == [True]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"cron": "each night"}, 422, "bad_cron"),
        ({"cron": "* * * * *"}, 422, "too_often"),
        ({"time_zone": "Mars/Olympus"}, 422, "bad_time_zone"),
        ({"policy": "fixed"}, 422, "baseline_missing"),
        ({"policy": "fixed", "baseline": "../a.tif"}, 422, "scene_outside"),
        ({"source": "/etc/{date}.tif"}, 422, "scene_outside"),
        ({"source": "https://elsewhere.example/{z}/{x}/{y}.png", "area": TRIANGLE}, 422, "source_refused"),
        ({"source": "https://elsewhere.example/{z}/{x}/{y}.png"}, 422, "area_needed"),
        ({"area": {"type": "Point", "coordinates": [116, 40]}}, 422, "bad_area"),
        ({"policy": "tomorrow"}, 422, "invalid"),
        ({"name": ""}, 422, "invalid"),
        ({"more": 1}, 422, "invalid"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_with_its_reason(
    reviewer: Any, changes: dict[str, Any], status: int, code: str
) -> None:
    answer = make(reviewer, **changes)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert reviewer.get(SCHEDULES).json() == []
    make(reviewer)
    answer = reviewer.patch(f"{SCHEDULES}/石景山", json=changes)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_name_is_used_once(reviewer: Any) -> None:
    make(reviewer)
    again = make(reviewer)
    assert (again.status_code, again.json()["code"]) == (409, "schedule_exists")
    make(reviewer, name="b")
    renamed = reviewer.patch(f"{SCHEDULES}/b", json={"name": "石景山"})
    assert (renamed.status_code, renamed.json()["code"]) == (409, "schedule_exists")
    reviewer.delete(f"{SCHEDULES}/石景山")
    assert reviewer.patch(f"{SCHEDULES}/b", json={"name": "石景山"}).status_code == 200


def test_the_service_scans_what_is_due_and_records_what_it_missed(place: House, reviewer: Any) -> None:
    folder: Path = place.app.state.services.settings.scene_folders[0]
    picture(folder / "base.tif", taken="2026-02-01T03:00")
    picture(folder / "nights" / "a.tif", NEW, taken="2026-03-02T03:00")
    schedule = make(reviewer, policy="fixed", baseline="base.tif", source="nights", cron="0 * * * *").json()
    assert reviewer.get(NIGHTS).json()["items"] == []
    with Session(place.engine) as session, session.begin():  # as if the service had stood still for three hours
        session.execute(update(Schedule).values(checked_until=datetime.now(UTC) - timedelta(hours=3)))
    night = until(
        lambda: (items := reviewer.get(NIGHTS, params={"state": "findings"}).json()["items"]) and items[0], seconds=120
    )
    assert (night["schedule"], night["findings"]) == ("石景山", {"new": 1, "remaining": 0, "removed": 0})
    assert (night["observed_share"], night["taken_at"]) == (1.0, "2026-03-02T03:00:00Z")
    assert (night["before"], night["after"]) == ("base.tif", "a.tif")

    page = reviewer.get(NIGHTS, params={"schedule": schedule["id"], "state": "missed", "limit": 1}).json()
    assert (page["total"], len(page["items"])) == (2, 1)
    [reason] = page["items"][0]["reasons"]
    assert (reason["code"], reason["text"]) == ("service_down", "到期时服务没有运行。")
    assert page["items"][0]["due_at"] < night["due_at"]

    [track] = reviewer.get(TRACKS).json()["items"]
    assert (track["kind"], track["looks"], track["corroborated_at"]) == ("new", 1, None)
    for params, total in (
        ({"corroborated": True}, 0), ({"area": "0,0,1,1"}, 0), ({"area": "116,39,117,41", "kind": "new"}, 1),
    ):  # fmt: skip
        assert reviewer.get(TRACKS, params=params).json()["total"] == total
    assert reviewer.get(TRACKS, params={"area": "nowhere"}).status_code == 422
    scene = reviewer.get(f"/api/v1/scenes/{night['scene_id']}/findings.geojson").json()
    assert scene["features"][0]["properties"]["track_id"] == track["id"]
