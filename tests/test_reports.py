"""Reports from the public: no trace of who reports, a token to follow, a named person who decides, and an end."""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import ExifTags, Image
from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from inference.decode import Limits
from inference.reasons import InputError
from service import errors
from service.database import Base
from service.ledger.audit import Actor, verify, writing
from service.ledger.tables import AuditEntry
from service.people.gate import REPORT_MAX_BYTES, STRANGER_MAX_BYTES
from service.public import reports as module
from service.public.errors import ReportNotFound, ReportsBusy, ReportUnusable
from service.public.photographs import MAX_BYTES, Photographs
from service.public.reports import Decision, Photograph, Reports, Said, report_version, said
from service.public.tables import Report
from service.public.throttle import Pace, Throttle
from tests.ledgers import empty_database, site
from tests.people import OWN_PAGE, Clock, House, house

TEXT = "八角北路东口，围墙里新搭了一座蓝顶彩钢棚。"
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
    reports: Reports = running.app.state.services.reports
    for report in reports.page(None, 100):
        reports.photographs.remove(report.id)
    with running.engine.begin() as connection:
        connection.execute(delete(Report))
    reports.throttle._idle_at.clear()
    return running


def photograph(**options: Any) -> bytes:
    """A photograph with all that a telephone writes into it, lying on its side."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "SecretPhone"
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (39.0, 54.0, 0.0)
    buffer = io.BytesIO()
    pixels = np.full((30, 60, 3), 90, np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", exif=exif, **options)
    return buffer.getvalue()


def torn() -> bytes:
    """Half a photograph."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()[: buffer.tell() // 2]


def send(client: TestClient, text: str = TEXT, picture: bytes | None = None, **fields: str) -> Any:
    file = ("a.jpg", picture, "image/jpeg") if picture is not None else ("", b"", "application/octet-stream")
    return client.post("/public/report", data={"text": text, **fields}, files={"photograph": file})


def receive(client: TestClient, **options: Any) -> str:
    """The token of a report, as the next page shows it."""
    answer = send(client, **options)
    assert (answer.status_code, answer.headers["location"]) == (303, "/public/report/received"), answer.text
    shown = re.search(r"<code>([0-9a-f ]+)</code>", client.get("/public/report/received").text)
    assert shown
    return shown.group(1)


def only(place: House) -> Report:
    return Reports(place.engine, Photographs(Path())).page(None, 10)[0]


# --- What is taken ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"text": "  短  "}, "report_text"),
        ({"text": "长" * 2001}, "report_text"),
        ({"place": "远" * 201}, "report_place"),
        ({"lon": "116.2", "lat": "39.9"}, "report_system"),
        ({"lon": "116.2", "lat": "39.9", "crs": "EPSG:4548"}, "report_system"),
        ({"lon": "116.2", "crs": "WGS-84"}, "report_point"),
        ({"lon": "39.9", "lat": "116.2", "crs": "WGS-84"}, "report_point"),
        ({"lon": "nan", "lat": "39.9", "crs": "WGS-84"}, "report_point"),
        ({"lon": "here", "lat": "there", "crs": "WGS-84"}, "report_point"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(fields: dict[str, str], code: str) -> None:
    with pytest.raises(ReportUnusable) as refused:
        said(**({"text": TEXT} | fields))
    assert refused.value.code == code


def test_a_point_is_kept_in_wgs_84_and_none_is_asked_for() -> None:
    assert said(TEXT).point is None
    assert said(TEXT, lon="116.2", lat="39.9", crs="WGS-84").point == (116.2, 39.9)
    shifted = said(TEXT, lon="116.20596", lat="39.90138", crs="GCJ-02").point
    assert shifted == pytest.approx((116.2, 39.9), abs=2e-4)


def test_control_characters_do_not_come_in() -> None:
    given = said("第一行\r\n第二行\x00\x1b[31m红", place="路口\n东\x07侧")
    assert (given.text, given.place) == ("第一行\n第二行[31m红", "路口 东侧")


def test_a_form_that_is_refused_comes_back_as_it_was(place: House) -> None:
    answer = send(place.stranger(accept="text/html"), "短", place="体育场西街")
    assert answer.status_code == 422
    assert "情况说明应为 5 至 2000 字" in answer.text
    assert 'value="体育场西街"' in answer.text
    assert ">短</textarea>" in answer.text


def test_a_program_that_fills_in_everything_is_told_so_and_nothing_is_kept(place: House) -> None:
    answer = send(place.stranger(accept="text/html"), website="https://spam.example")
    assert answer.status_code == 422
    assert "清空“网站”一栏" in answer.text
    assert not place.app.state.services.reports.page(None, 10)


def test_another_site_cannot_send_a_report(place: House) -> None:
    for origin in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "none"}):
        stranger = place.stranger()
        stranger.headers.update(origin)
        assert send(stranger).status_code == 403
    assert not place.app.state.services.reports.page(None, 10)


# --- The token, and nothing else ----------------------------------------------------------------------------


def test_the_token_is_shown_once_and_leads_to_the_report(place: House) -> None:
    stranger = place.stranger(accept="text/html")
    token = receive(stranger)
    assert len(token.replace(" ", "")) == 32
    again = stranger.get("/public/report/received").text
    assert token not in again
    assert "查询码已经显示过" in again
    other = place.stranger(accept="text/html")
    for written in (token, token.upper(), token.replace(" ", ""), token.replace(" ", "-")):
        assert "已收到，等待处理" in other.post("/public/report/status", data={"token": written}).text
    for wrong in ("", "0" * 32, token[:-1], token + "0", "' OR 1=1"):
        answer = other.post("/public/report/status", data={"token": wrong})
        assert (answer.status_code, TEXT in answer.text) == (404, False)
    assert TEXT not in other.post("/public/report/status", data={"token": token}).text  # nobody needs it repeated


def test_the_page_with_the_token_is_kept_by_no_cache(place: House) -> None:
    stranger = place.stranger()
    assert "Max-Age=600" in send(stranger).headers["set-cookie"]
    answer = stranger.get("/public/report/received")
    assert answer.headers["cache-control"] == "no-store"
    assert 'jingdi_report=""' in answer.headers["set-cookie"]


def test_neither_the_token_nor_an_address_is_anywhere_in_the_database(place: House) -> None:
    stranger = place.stranger(**{"x-forwarded-for": "203.0.113.77", "user-agent": "TellTale/1"})
    token = receive(stranger, picture=photograph()).replace(" ", "")
    with place.engine.connect() as connection:
        rows = [str(row) for table in Base.metadata.sorted_tables for row in connection.execute(select(table))]
    everything = "\n".join(rows)
    assert hashlib.sha256(token.encode()).hexdigest() in everything
    for secret in (token, "testclient", "203.0.113.77", "TellTale"):
        assert secret not in everything
    digests = [hashlib.sha256(repr((name, "testclient")).encode()).hexdigest() for name in (None, "report")]
    assert not [digest for digest in digests if digest in everything]


def test_whoever_is_signed_in_reports_without_a_name_too(place: House) -> None:
    receive(place.browser("ana", "analyst"))
    with Session(place.engine) as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.subject == f"report:{only(place).id}")).one()
        assert (entry.actor, entry.human) == ("public", False)
        assert TEXT not in entry.detail


# --- Photographs --------------------------------------------------------------------------------------------


def test_a_photograph_is_shown_upright_and_without_what_the_camera_wrote(place: House) -> None:
    receive(place.stranger(), picture=photograph())
    rita = place.browser("rita", "reviewer")
    answer = rita.get(f"/reports/{only(place).id}/photo.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert b"SecretPhone" not in answer.content
    with Image.open(io.BytesIO(answer.content)) as shown:
        assert (shown.size, dict(shown.getexif())) == ((30, 60), {})


def test_a_large_photograph_is_made_smaller(reports: Reports, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4000, 1000)).save(buffer, "PNG")
    reports.receive(Said(TEXT), Photograph("a.png", io.BytesIO(buffer.getvalue())), Limits(), "a")
    path = reports.photographs.path(reports.page(None, 1)[0].id, "photo.jpg")
    assert path is not None
    with Image.open(path) as shown:
        assert shown.size == (2048, 512)


def test_the_original_is_for_who_may_see_originals_where_they_are_given_out_at_all(tmp_path: Path, red: Any) -> None:
    for folder, options, status in (("a", {}, 403), ("b", {"serve_originals": True}, 200)):
        (tmp_path / folder).mkdir()
        with house(tmp_path / folder, lambda: red, public="on", **options) as made:
            picture = photograph()
            receive(made.stranger(), picture=picture)
            path = f"/reports/{only(made).id}/original"
            answer = made.browser("rita", "reviewer").get(path)
            assert answer.status_code == status
            assert (answer.content == picture) is (status == 200)
            for role in ("analyst", "inspector", "auditor", "administrator"):
                assert made.browser(role, role).get(path).status_code == 403


def test_photographs_and_texts_are_for_reviewers_alone(place: House) -> None:
    receive(place.stranger(), picture=photograph())
    report_id = only(place).id
    for path in ("/reports", f"/reports/{report_id}", f"/reports/{report_id}/photo.jpg"):
        assert place.stranger().get(path).status_code == 401
        for role in ("analyst", "inspector", "auditor", "administrator"):
            assert place.browser(role, role).get(path).status_code == 403
        assert place.browser("rita", "reviewer").get(path).status_code == 200


@pytest.mark.parametrize(
    ("picture", "status", "words"),
    [
        (b"MZ not a picture", 415, "没有提交成功"),
        (torn(), 422, "没有提交成功"),
        (b"\xff\xd8" + bytes(MAX_BYTES), 413, "16 MB"),
    ],
)
def test_a_file_that_is_no_photograph_is_refused_and_nothing_stays(
    place: House, picture: bytes, status: int, words: str
) -> None:
    answer = send(place.stranger(accept="text/html"), picture=picture)
    assert answer.status_code == status
    assert words in answer.text
    parts = place.app.state.services
    assert not parts.reports.page(None, 10)
    assert not list(parts.reports.photographs.folder.glob("*"))


def test_what_strangers_send_is_limited_everywhere_and_on_the_form_to_a_photograph(place: House) -> None:
    stranger = place.stranger()
    for path in ("/public/report/status", "/login"):
        assert stranger.post(path, data={"token": "0" * STRANGER_MAX_BYTES}).status_code == 413, path
    body = b'--x\r\nContent-Disposition: form-data; name="photograph"; filename="a"\r\n\r\n' + bytes(REPORT_MAX_BYTES)
    answer = stranger.post(
        "/public/report", content=body, headers={"content-type": "multipart/form-data; boundary=x"}
    )  # fmt: skip
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_bytes")
    assert "16 MB" in answer.json()["detail"]


def test_if_the_row_cannot_be_written_the_photograph_goes(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(module, "append", fail)
    with pytest.raises(RuntimeError):
        reports.receive(Said(TEXT), Photograph("a.jpg", io.BytesIO(photograph())), Limits(), "a")
    assert not list(reports.photographs.folder.iterdir())
    assert not reports.page(None, 1)


# --- Not too many -------------------------------------------------------------------------------------------


def test_one_source_sends_five_at_once_and_then_one_every_ten_minutes() -> None:
    throttle, clock = Throttle(), Clock()
    for _ in range(5):
        throttle.enter("198.51.100.7", clock.now)
    with pytest.raises(ReportsBusy) as refused:
        throttle.enter("198.51.100.7", clock.now)
    assert refused.value.headers == {"Retry-After": "600"}
    throttle.enter("198.51.100.8", clock.now)
    clock.pass_by(minutes=10)
    throttle.enter("198.51.100.7", clock.now)
    with pytest.raises(ReportsBusy):
        throttle.enter("198.51.100.7", clock.now)


def test_a_network_of_ipv6_is_one_source_and_ipv4_within_ipv6_is_not() -> None:
    throttle, clock = Throttle(one=Pace(1, timedelta(minutes=1))), Clock()
    throttle.enter("2001:db8:1:2::1", clock.now)
    with pytest.raises(ReportsBusy):
        throttle.enter("2001:db8:1:2:ffff::9", clock.now)
    throttle.enter("2001:db8:1:3::1", clock.now)
    throttle.enter("::ffff:198.51.100.7", clock.now)
    throttle.enter("::ffff:198.51.100.8", clock.now)
    with pytest.raises(ReportsBusy):
        throttle.enter("198.51.100.7", clock.now)


def test_many_sources_together_are_slowed_too_and_are_forgotten() -> None:
    throttle, clock = Throttle(all=Pace(20, timedelta(minutes=1))), Clock()
    for number in range(20):
        throttle.enter(f"198.51.100.{number}", clock.now)
    with pytest.raises(ReportsBusy):
        throttle.enter("203.0.113.1", clock.now)
    assert not [source for source in throttle._idle_at if b"198.51" in source]
    clock.pass_by(hours=2)
    throttle.enter("203.0.113.1", clock.now)
    assert len(throttle._idle_at) == 2


def test_the_sixth_report_is_asked_to_wait(place: House) -> None:
    stranger = place.stranger(accept="text/html")
    for _ in range(5):
        assert send(stranger).status_code == 303
    answer = send(stranger)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 600
    assert "请过一会儿再提交" in answer.text
    assert TEXT in answer.text


def test_no_more_are_taken_than_people_can_wait_for(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    for source in ("a", "b"):
        reports.receive(Said(TEXT), None, Limits(), source)
    with pytest.raises(ReportsBusy):
        reports.receive(Said(TEXT), None, Limits(), "c")
    reports.decide(reports.page(None, 1)[0].id, "new", Decision("dismissed", ground="abuse"), WANG)
    reports.receive(Said(TEXT), None, Limits(), "c")


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
