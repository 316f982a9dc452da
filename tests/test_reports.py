"""Reports from the public: what is taken, no trace of who sent it, a token to follow it, and not too many."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from inference.decode import Limits
from service.database import Base
from service.ledger.audit import Actor
from service.ledger.tables import AuditEntry
from service.people.gate import REPORT_MAX_BYTES, STRANGER_MAX_BYTES
from service.public import reports as module
from service.public.errors import ReportsBusy, ReportUnusable
from service.public.photographs import MAX_BYTES, Photographs
from service.public.reports import Decision, Photograph, Reports, Said, said
from service.public.throttle import Pace, Throttle
from tests.ledgers import empty_database
from tests.people import Clock, House, house
from tests.reporting import TEXT, only, photograph, receive, send, torn, unheard


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
    reports.decide(reports.page(None, 1)[0].id, "new", Decision("dismissed", ground="abuse"), Actor("王审核"))
    reports.receive(Said(TEXT), None, Limits(), "c")
