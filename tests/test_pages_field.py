"""The field over HTTP: what one is sent to, photographs that become evidence, and a page that can be installed."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from shapely.geometry import Point
from sqlalchemy import select
from sqlalchemy.orm import Session

from datasets.gcj02 import gcj02, inverse
from service.field.duty import geo_uri, in_gcj02
from service.field.tables import Photograph, Upload
from service.ledger.audit import writing
from service.ledger.tables import Alert, AuditEntry, Site
from service.pages.rendering import STATIC
from tests.imagery import encoded, ground
from tests.leads import Leads, dispatch, plant
from tests.people import House, house
from tests.test_uploads import PIECE

FIELD = "/api/v1/field"
PICTURE = encoded(ground(1, 120, 160), "JPEG", quality=90)


@pytest.fixture
def place(tmp_path: Path, red: Any) -> Iterator[House]:
    with house(tmp_path, lambda: red) as made:
        yield made


@pytest.fixture
def leads(place: House, tmp_path: Path) -> Leads:
    found = plant(place.engine, tmp_path)
    for alert in found.alerts[:3]:
        dispatch(place.engine, alert)
    return found


def upload(client: TestClient, content: bytes = PICTURE) -> str:
    url = client.post("/api/v1/uploads", headers={"Upload-Length": str(len(content))}).headers["location"]
    assert client.patch(url, content=content, headers=PIECE | {"Upload-Offset": "0"}).status_code == 204
    return str(url.rsplit("/", 1)[1])


def take(client: TestClient, alert: str, upload_id: str, **more: Any) -> Any:
    body = {"upload": upload_id, "taken_at": datetime.now(UTC).isoformat()} | more
    return client.post(f"{FIELD}/alerts/{alert}/photographs", json=body)


def decide(client: TestClient, alert: str, verdict: str, code: str, **more: Any) -> Any:
    body = {"expected": "dispatched", "verdict": verdict, "code": code} | more
    return client.post(f"/api/v1/ledger/alerts/{alert}/verdicts", json=body)


def name_inspectors(place: House, *names: str | None) -> None:
    with Session(place.engine) as session, session.begin():
        for row, name in zip(session.scalars(select(Site).order_by(Site.code)), names, strict=False):
            row.inspector = name


# --- What one is sent to ----------------------------------------------------------------------------------


def test_an_inspector_sees_his_own_and_a_reviewer_all(place: House, leads: Leads) -> None:
    zhao, wang = place.browser("zhao", "inspector"), place.browser("wang", "reviewer")
    name_inspectors(place, "ZHAO ", "Zhao", "qian")  # by account or by name, however it is spelt
    assert [item["site_code"] for item in zhao.get(f"{FIELD}/alerts").json()["items"]] == ["L1", "L2"]
    assert [item["site_code"] for item in wang.get(f"{FIELD}/alerts").json()["items"]] == ["L1", "L2", "L3"]
    assert place.browser("sun", "inspector").get(f"{FIELD}/alerts").json()["items"] == []
    assert place.browser("audit", "auditor").get(f"{FIELD}/alerts").status_code == 403


def test_a_lead_is_taken_along_with_its_place_and_its_pictures(place: House, leads: Leads) -> None:
    zhao = place.browser("zhao", "inspector")
    duties = zhao.get(f"{FIELD}/alerts").json()
    item = duties["items"][0]
    assert (duties["person"], item["earlier"], item["photographs"]) == ("zhao", None, 0)
    assert item["area_error_m2"] == 5.0
    inside = leads.outlines["L1"].buffer(1e-5)
    assert inside.contains(Point(item["lon"], item["lat"]))
    assert item["geo"] == geo_uri(item["lon"], item["lat"])
    for side in ("before", "after"):
        picture = zhao.get(item["view"][side])
        assert Image.open(io.BytesIO(picture.content)).size == (512, 512)
    assert item["view"]["outline"].startswith("M")


def test_coordinates_for_map_apps_are_shifted_and_those_of_the_link_are_not() -> None:
    lon, lat = 116.2, 39.9
    assert geo_uri(lon, lat) == "geo:39.900000,116.200000"
    shifted = in_gcj02(lon, lat)
    assert 0.005 < shifted[0] - lon < 0.008
    back = inverse(gcj02)(np.array([shifted]))[0]
    assert back == pytest.approx([lon, lat], abs=2e-6)


# --- Photographs ------------------------------------------------------------------------------------------


def test_a_photograph_becomes_evidence_of_the_decision(place: House, leads: Leads) -> None:
    zhao, alert = place.browser("zhao", "inspector"), leads.alerts[0]
    taken = take(zhao, alert, upload(zhao), sha256=hashlib.sha256(PICTURE).hexdigest())
    assert (taken.status_code, taken.json()["taken_by"], taken.json()["width"]) == (201, "zhao", 160)
    photograph = taken.json()["id"]
    shown = zhao.get(f"{FIELD}/photographs/{photograph}.jpg")
    assert Image.open(io.BytesIO(shown.content)).size == (160, 120)
    assert zhao.get(f"{FIELD}/alerts").json()["items"][0]["photographs"] == 1
    answer = decide(zhao, alert, "not_real", "vehicle", photographs=[photograph])
    assert (answer.json()["outcome"], answer.json()["alert"]["state"]) == ("moved", "dismissed")
    with Session(place.engine) as session:
        log = session.scalars(select(AuditEntry).where(AuditEntry.subject == f"alert:{alert}")).all()
        assert [each.action for each in log][-2:] == ["alert.photographed", "alert.dismissed"]
        assert photograph in log[-1].detail
        assert session.scalars(select(Upload)).all() == []


def test_without_a_photograph_a_dismissal_waits_for_a_reviewer(place: House, leads: Leads) -> None:
    zhao, wang, alert = place.browser("zhao", "inspector"), place.browser("wang", "reviewer"), leads.alerts[0]
    assert decide(zhao, alert, "not_real", "vehicle").json()["outcome"] == "proposed"
    assert zhao.get(f"{FIELD}/alerts").json()["items"][0]["proposed"]
    other = place.browser("qian", "inspector")
    assert decide(other, alert, "not_real", "vehicle").json()["code"] == "proposal_pending"
    assert decide(wang, alert, "not_real", "vehicle").json()["alert"]["state"] == "dismissed"


def test_a_confirmed_rebound_needs_no_second_person(place: House, leads: Leads) -> None:
    zhao = place.browser("zhao", "inspector")
    assert decide(zhao, leads.alerts[0], "real", "structure").json()["alert"]["state"] == "confirmed"


def test_a_photograph_of_another_site_is_no_evidence(place: House, leads: Leads) -> None:
    zhao = place.browser("zhao", "inspector")
    photograph = take(zhao, leads.alerts[1], upload(zhao)).json()["id"]
    answer = decide(zhao, leads.alerts[0], "not_real", "vehicle", photographs=[photograph])
    assert (answer.status_code, answer.json()["code"]) == (422, "evidence_not_found")


def test_an_upload_is_made_a_photograph_once_and_only_when_it_is_all_there(place: House, leads: Leads) -> None:
    zhao, alert = place.browser("zhao", "inspector"), leads.alerts[0]
    begun = zhao.post("/api/v1/uploads", headers={"Upload-Length": "10"}).headers["location"].rsplit("/", 1)[1]
    assert take(zhao, alert, begun).json()["code"] == "upload_unfinished"
    arrived = upload(zhao)
    assert take(zhao, alert, arrived, sha256="0" * 64).json()["code"] == "upload_damaged"
    arrived = upload(zhao)
    first, second = take(zhao, alert, arrived), take(zhao, alert, arrived)
    assert first.json() == second.json()
    assert take(place.browser("qian", "inspector"), alert, arrived).json()["code"] == "upload_not_found"
    with Session(place.engine) as session:
        assert len(session.scalars(select(Photograph)).all()) == 1


def test_what_is_no_picture_is_refused_with_its_reason(place: House, leads: Leads) -> None:
    zhao = place.browser("zhao", "inspector")
    answer = take(zhao, leads.alerts[0], upload(zhao, b"no picture at all"))
    assert (answer.status_code, answer.json()["code"]) == (415, "not_an_image")
    assert take(zhao, "x" * 32, upload(zhao)).json()["code"] == "alert_not_found"


def test_what_a_camera_wrote_is_read_into_fields_and_is_in_nothing_that_is_shown(place: House, leads: Leads) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x8769] = "SECRETCAM", {0x9003: "2026:03:05 10:00:00"}
    exif[0x8825] = {1: "N", 2: (39.0, 54.0, 0.0), 3: "E", 4: (116.0, 12.0, 0.0)}
    zhao = place.browser("zhao", "inspector")
    picture = encoded(ground(2, 60, 80), "JPEG", exif=exif)
    later = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    made = take(zhao, leads.alerts[0], upload(zhao, picture), taken_at=later).json()
    assert (made["lon"], made["lat"]) == pytest.approx((116.2, 39.9))
    assert made["taken_at"] == made["received_at"]  # a clock that is ahead
    shown = zhao.get(f"{FIELD}/photographs/{made['id']}.jpg").content
    assert b"SECRETCAM" not in shown
    assert not Image.open(io.BytesIO(shown)).getexif()


def test_the_last_photograph_of_the_place_lies_over_the_next_and_is_compared_with_it(
    place: House, leads: Leads
) -> None:
    zhao, first = place.browser("zhao", "inspector"), leads.alerts[0]
    take(zhao, first, upload(zhao))
    assert zhao.get(f"{FIELD}/alerts/{first}/earlier.jpg").json()["code"] == "photograph_not_found"  # its own is none
    decide(zhao, first, "real", "structure")
    with writing(place.engine) as session:
        old = session.get_one(Alert, first)
        columns = ("site_id", "probability", "area_m2", "looks", "first_seen_at", "last_seen_at", "opened_at")
        again = Alert(cause="new", state="dispatched", **{name: getattr(old, name) for name in columns})
        session.add(again)
        session.flush()
        next_alert = again.id
    item = next(i for i in zhao.get(f"{FIELD}/alerts").json()["items"] if i["id"] == next_alert)
    assert Image.open(io.BytesIO(zhao.get(item["earlier"]).content)).size == (160, 120)
    made = take(zhao, next_alert, upload(zhao, encoded(ground(1, 120, 160), "JPEG", quality=60))).json()
    assert made["compared"]
    pair = zhao.get(f"/api/v1/pairs/{made['id']}").json()
    assert pair["id"] == made["id"]


# --- The page ---------------------------------------------------------------------------------------------


def test_the_page_can_be_installed(place: House) -> None:
    zhao = place.browser("zhao", "inspector")
    page = zhao.get("/field")
    assert 'rel="manifest" href="/field.webmanifest"' in page.text
    assert "camera=(self), geolocation=(self)" in page.headers["permissions-policy"]
    assert "camera=()" in zhao.get("/").headers["permissions-policy"]
    manifest = zhao.get("/field.webmanifest")
    assert manifest.headers["content-type"].startswith("application/manifest+json")
    known = manifest.json()
    assert (known["start_url"], known["scope"], known["display"]) == ("/field", "/field", "standalone")
    for icon in known["icons"]:
        picture = Image.open(io.BytesIO(zhao.get(icon["src"]).content))
        assert "x".join(map(str, picture.size)) == icon["sizes"]
    assert zhao.get("/field.webmanifest", headers={"Accept-Language": "en"}).json()["name"] == "Jingdi field"


def test_the_worker_keeps_files_that_are_there_in_the_version_of_the_page(place: House) -> None:
    zhao = place.browser("zhao", "inspector")
    worker = zhao.get("/field-worker.js")
    assert worker.headers["content-type"].startswith("text/javascript")
    page = zhao.get("/field").text
    version = re.search(r'data-version="(\w+)"', page)
    assert version
    assert f"base.css?v={version.group(1)}" in page
    lists = re.findall(r"const (?:versioned|modules) = \[([^\]]*)\]", worker.text)
    names = {name for part in lists for name in re.findall(r'"([^"]+)"', part)}
    assert all((STATIC / name).is_file() for name in names)
    loaded = set(re.findall(r"/static/([\w.-]+)\?v=", page))
    assert loaded <= names
    for module in ("field.js", "outbox.js"):
        assert set(re.findall(r'from "\./([\w.]+)"', (STATIC / module).read_text("utf-8"))) <= names


def test_workers_and_manifests_come_from_here_alone(place: House) -> None:
    policy = place.browser("zhao", "inspector").get("/field").headers["content-security-policy"]
    assert "worker-src 'self'" in policy
    assert "manifest-src 'self'" in policy
