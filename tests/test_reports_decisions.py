"""What becomes of reports: a named person decides, whoever reported is told, and what was said is deleted in time."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from inference.decode import Limits
from inference.reasons import InputError
from service import errors
from service.ledger.audit import Actor, verify, writing
from service.ledger.tables import AuditEntry
from service.public.errors import ReportNotFound
from service.public.photographs import Photographs
from service.public.reports import Decision, Photograph, Reports, Said, report_version
from service.public.tables import Report
from tests.ledgers import empty_database, site
from tests.people import OWN_PAGE, Clock, House, house
from tests.reporting import TEXT, only, photograph, receive, unheard

WANG = Actor("王审核")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with empty_database(tmp_path) as found:
        yield found


@pytest.fixture
def reports(engine: Engine, tmp_path: Path) -> Reports:
    return Reports(engine, Photographs(tmp_path / "reports"), clock=Clock())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("reports"), lambda: red, public="on", report_days=90) as made:
        yield made


@pytest.fixture
def place(running: House) -> House:
    """A service that lets the public in, and has not heard from them yet."""
    return unheard(running)


# --- Decisions ----------------------------------------------------------------------------------------------


def decide(client: TestClient, report: Report, **fields: str) -> Any:
    return client.post(f"/reports/{report.id}/decision", data={"version": report_version(report), **fields})


def test_a_reviewer_links_a_report_and_the_reporter_sees_the_state_of_the_site(place: House) -> None:
    with writing(place.engine) as session:
        site(session, "A1", state="rebound_suspected")
    stranger, rita = place.stranger(accept="text/html"), place.browser("rita", "reviewer")
    token = receive(stranger, lon="116.2001", lat="39.9003", crs="WGS-84")
    page = rita.get(f"/reports/{only(place).id}").text
    assert TEXT in page
    assert 'href="/sites/A1"' in page
    assert decide(rita, only(place), decision="linked", site="A1", note="与点位相符").status_code == 303
    found = only(place)
    assert (found.state, found.decided_by, found.note) == ("linked", "rita", "与点位相符")
    told = stranger.post("/public/report/status", data={"token": token}).text
    assert "已归入台账中的点位" in told
    assert "A1" in told
    assert "已销账" in told  # and not that the system suspects anything
    assert "疑似" not in told
    assert "与点位相符" not in told
    assert "rita" not in told.lower()


def test_a_dismissal_has_a_ground_that_the_reporter_is_told(place: House) -> None:
    stranger, rita = place.stranger(accept="text/html"), place.browser("rita", "reviewer")
    token = receive(stranger)
    refused = decide(rita, only(place), decision="dismissed", note="不清楚")
    assert refused.status_code == 422
    assert "缺少不予受理的原因" in refused.text or "须从列表中选择原因" in refused.text
    assert ">不清楚</textarea>" in refused.text
    assert decide(rita, only(place), decision="dismissed", ground="permitted").status_code == 303
    assert "原因：经核对为合法建设。" in stranger.post("/public/report/status", data={"token": token}).text


def test_every_step_is_in_the_audit_log_with_who_took_it_and_without_what_was_said(place: House) -> None:
    rita, max_ = place.browser("rita", "reviewer"), place.browser("max", "reviewer")
    receive(place.stranger(), place="体育场西街")
    decide(rita, only(place), decision="inspection", note="去看看")
    decide(max_, only(place), decision="dismissed", ground="no_structure")
    with Session(place.engine) as session:
        query = select(AuditEntry).where(AuditEntry.subject == f"report:{only(place).id}").order_by(AuditEntry.number)
        entries = session.scalars(query).all()
        steps = [(entry.action, entry.actor, entry.human) for entry in entries]
        assert steps == [
            ("report.received", "public", False), ("report.inspection", "rita", True),
            ("report.dismissed", "max", True),
        ]  # fmt: skip
        assert not [entry for entry in entries if re.search("彩钢|体育场|去看看", entry.detail)]
        assert verify(session).problem is None
    page = rita.get(f"/reports/{only(place).id}?lang=en").text
    assert all(words in page for words in ("Put up for inspection", "Dismissed: no building was found", "max"))


def test_what_was_decided_in_the_meantime_is_not_overwritten(place: House) -> None:
    receive(place.stranger())
    rita, seen = place.browser("rita", "reviewer"), only(place)
    assert decide(rita, seen, decision="inspection").status_code == 303
    late = decide(place.browser("max", "reviewer"), seen, decision="dismissed", ground="abuse")
    assert late.status_code == 409
    assert only(place).state == "inspection"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 422),
        ({"decision": "received"}, 422),
        ({"decision": "linked"}, 404),
        ({"decision": "linked", "site": "Z9"}, 404),
        ({"decision": "inspection", "site": "Z9"}, 404),
        ({"decision": "dismissed", "ground": "because"}, 422),
    ],
)
def test_a_decision_that_makes_no_sense_changes_nothing(place: House, fields: dict[str, str], status: int) -> None:
    receive(place.stranger())
    assert decide(place.browser("rita", "reviewer"), only(place), **fields).status_code == status
    assert only(place).state == "received"


def test_a_program_decides_nothing(place: House) -> None:
    receive(place.stranger())
    program = place.program(place.browser("rita", "reviewer"), "review")
    answer = decide(program, only(place), decision="inspection")
    assert answer.status_code == 403
    assert only(place).state == "received"


def test_without_accounts_somebody_has_to_give_a_name(service: Any) -> None:
    client = service.client
    client.headers.update(OWN_PAGE)
    client.app.state.services.reports.receive(Said(TEXT), None, Limits(), "a")
    report = client.app.state.services.reports.page(None, 1)[0]
    assert 'name="person"' in client.get(f"/reports/{report.id}").text
    options = {"follow_redirects": False}
    data = {"version": "new", "decision": "inspection"}
    assert client.post(f"/reports/{report.id}/decision", data=data, **options).status_code == 403
    data["person"] = "王审核"
    assert client.post(f"/reports/{report.id}/decision", data=data, **options).status_code == 303


@pytest.mark.parametrize("report_id", ["x" * 32, "../../etc/passwd", "%2e%2e"])
def test_reports_that_are_not_there(place: House, report_id: str) -> None:
    rita = place.browser("rita", "reviewer")
    for path in ("", "/photo.jpg", "/original"):
        assert rita.get(f"/reports/{report_id}{path}").status_code in (403, 404)


def test_the_list_teaches_while_it_is_empty_and_then_shows_who_waits_longest(place: House) -> None:
    rita = place.browser("rita", "reviewer")
    assert "这里还没有举报" in rita.get("/reports").text
    stranger = place.stranger()
    for text in ("第一件举报在这里", "第二件举报在这里"):
        receive(stranger, text=text)
    page = rita.get("/reports").text
    assert page.index("第一件") < page.index("第二件")
    newest = place.app.state.services.reports.page(None, 1)[0]
    decide(rita, newest, decision="dismissed", ground="abuse")
    assert "第二件" not in rita.get("/reports").text
    assert "第二件" in rita.get("/reports?state=dismissed").text
    assert rita.get("/reports?state=nonsense").status_code == 422


# --- The end ------------------------------------------------------------------------------------------------


def test_what_was_said_is_deleted_in_time_and_that_it_was_is_on_record(reports: Reports, engine: Engine) -> None:
    clock: Any = reports.clock
    given = Said(TEXT, "八角街道", "路口", (116.2, 39.9))
    token = reports.receive(given, Photograph("a.jpg", io.BytesIO(photograph())), Limits(), "a")
    clock.pass_by(days=89)
    later = reports.receive(Said("第二件举报，之后再删"), None, Limits(), "a")
    reports.decide(reports.follow(token).id, "new", Decision("dismissed", ground="elsewhere", note="打过电话"), WANG)
    assert reports.erase(90) == 0
    clock.pass_by(days=1, seconds=1)
    assert reports.erase(90) == 1
    assert reports.erase(90) == 0
    gone = reports.follow(token)
    assert (gone.text, gone.street, gone.place, gone.lon, gone.lat, gone.note) == ("", None, None, None, None, None)
    assert (gone.state, gone.ground, gone.photographed, gone.erased_at) == ("dismissed", "elsewhere", False, clock.now)
    assert reports.photographs.path(gone.id, "photo.jpg") is None
    assert not (reports.photographs.folder / gone.id).exists()
    assert reports.follow(later).text.startswith("第二件")
    with Session(engine) as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "report.erased")).one()
        assert (entry.human, verify(session).problem) == (False, None)


def test_pages_of_an_erased_report_say_so(place: House) -> None:
    stranger, rita = place.stranger(accept="text/html"), place.browser("rita", "reviewer")
    token = receive(stranger)
    place.app.state.services.reports.erase(0)
    assert "已按期删除" in rita.get("/reports?all=1").text
    assert "按期删除" in rita.get(f"/reports/{only(place).id}").text
    assert "内容、位置和照片已于" in stranger.post("/public/report/status", data={"token": token}).text


def test_photographs_without_a_report_are_swept_once_they_are_old(reports: Reports) -> None:
    reports.receive(Said(TEXT), Photograph("a.jpg", io.BytesIO(photograph())), Limits(), "a")
    orphan, arriving = (reports.photographs.folder / name for name in ("0" * 32, "1" * 32))
    for folder in (orphan, arriving):
        folder.mkdir()
    os.utime(orphan, (time.time() - 7200,) * 2)
    reports.erase(90)
    left = {each.name for each in reports.photographs.folder.iterdir()}
    assert left == {"1" * 32, reports.page(None, 1)[0].id}


def test_reports_are_found_by_nothing_but_their_own(reports: Reports) -> None:
    with pytest.raises(ReportNotFound):
        reports.get("x")
    with pytest.raises(errors.PersonRequired):
        reports.decide("x", "new", Decision("inspection"), Actor("jingdi"))
    with pytest.raises(InputError):
        reports.receive(Said(TEXT), Photograph("a", io.BytesIO(b"")), Limits(), "a")
    assert datetime.now(UTC) > reports.clock()
