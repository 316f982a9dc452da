"""Somebody reports from a telephone and follows it, a reviewer decides, the bulletin goes to the printer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, expect

from service.app import create_app
from service.ledger.audit import SYSTEM, writing
from service.people.accounts import Accounts
from service.people.sessions import Sessions
from service.public.throttle import Pace
from service.settings import Settings
from tests.browsing import Visit, contrast, needs_chromium, served
from tests.ledgers import site
from tests.people import PASSWORD, cheap_passwords
from tests.printed import add_scene, close, look
from tests.test_bulletin import opened

pytestmark = needs_chromium


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    expect.set_options(timeout=30_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, red: Any) -> FastAPI:
    return create_app(Settings(data_dir=tmp_path_factory.mktemp("public"), public="on"), load=lambda: red)


@pytest.fixture(scope="module")
def address(app: FastAPI) -> Iterator[str]:
    """A service that lets the public in, with a ledger in which something was closed lately."""
    with cheap_passwords(), served(app) as url:
        parts = app.state.services
        parts.reports.throttle.one = Pace(1000, timedelta(seconds=1))
        at = datetime.now(UTC) - timedelta(days=3)
        with writing(parts.pairs.engine) as session:
            for number in range(60):
                site(session, f"S{number:03d}", y=-400.0 - 100 * number, street="八角街道", name="某人的院子")
            seen = opened(session, "SEEN", x=0.0)
            add_scene(session, seen, parts.settings.data_dir / "scenes", "night", at)
            close(session, seen, at, [look(session, seen, at, scene="night")])
        accounts = Accounts(parts.pairs.engine)
        accounts.add(SYSTEM, "rita", "Rita", ["reviewer"])
        accounts.choose("rita", PASSWORD)
        yield url


@pytest.fixture
def office(visit: Visit, app: FastAPI) -> Callable[..., Page]:
    """Opens pages as Rita, a reviewer."""

    def enter(path: str, **options: Any) -> Page:
        token = Sessions(app.state.services.pairs.engine).open("rita")
        cookie = {"name": "jingdi_session", "value": token, "url": visit.address}
        page = visit.page("/public/report/status", **options)
        page.context.add_cookies([cookie])  # type: ignore[list-item]
        page.goto(visit.address + path)
        return page

    return enter


def report(page: Page, text: str) -> str:
    """Sends the form and gives the token that is shown."""
    page.locator("#text").fill(text)
    page.get_by_role("button", name="提交举报").click()
    page.wait_for_url("**/received")
    return page.locator(".token code").inner_text()


def test_from_a_telephone_to_a_decision_and_back(
    visit: Visit, office: Callable[..., Page], before: bytes, tmp_path: Path
) -> None:
    picture = tmp_path / "shed.png"
    picture.write_bytes(before)
    place = {"longitude": 116.2003, "latitude": 39.9003}
    phone = visit.page("/public", width=390, geolocation=place, permissions=["geolocation"], has_touch=True)
    phone.get_by_role("link", name="我要举报").click()
    phone.locator("#street").select_option("八角街道")
    phone.locator("#photograph").set_input_files(picture)
    phone.locator("summary").click()
    phone.locator("#locate").click()
    expect(phone.locator("#located")).to_have_text("已填入当前位置。")
    assert phone.locator("#lon").input_value() == "116.20030"
    assert phone.locator("#crs").input_value() == "WGS-84"
    token = report(phone, "体育场西街路东新搭了一座蓝色铁皮棚，昨天还没有。")
    assert re.fullmatch(r"([0-9a-f]{8} ){3}[0-9a-f]{8}", token)
    phone.reload()
    expect(phone.locator("h1")).to_have_text("查询码已经显示过")

    desk = office("/reports")
    desk.get_by_role("link", name="体育场西街").click()
    expect(desk.locator("img.photograph")).to_be_visible()
    assert (
        desk.locator("img.photograph").evaluate("picture => picture.decode().then(() => picture.naturalWidth)") == 256
    )
    desk.get_by_label("不予受理", exact=True).check()
    expect(desk.locator("#site")).to_be_hidden()
    desk.get_by_label("归入点位").check()
    expect(desk.locator("#ground")).to_be_hidden()
    nearest = desk.locator(".near a").first.inner_text()
    desk.locator("#site").fill(nearest)
    desk.get_by_role("button", name="记录处理").click()
    expect(desk.locator(".report-history")).to_contain_text(f"归入点位 {nearest}")

    phone.get_by_role("link", name="查询处理情况").click()
    phone.locator("#token").fill(token)
    phone.get_by_role("button", name="查询").click()
    expect(phone.locator(".outcome")).to_contain_text("已归入台账中的点位")
    expect(phone.locator(".outcome")).to_contain_text(nearest)
    assert token.replace(" ", "") not in phone.url


def test_a_report_needs_neither_a_script_nor_a_pointer(visit: Visit) -> None:
    page = visit.page("/public/report", java_script_enabled=False)
    expect(page.locator("#locate")).to_be_hidden()
    page.locator("#text").focus()
    page.keyboard.type("没有脚本也能举报的一件事")
    for _ in range(6):  # street, place, coordinates, photograph; the trap for programs is not on the way
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") != "website"
        if page.evaluate("document.activeElement.type") == "submit":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/received")
    expect(page.locator(".token code")).to_be_visible()


def test_the_ledger_is_filtered_and_paged(visit: Visit) -> None:
    page = visit.page("/public")
    expect(page.locator(".public-sites tbody tr")).to_have_count(50)
    page.get_by_label("点位编号").fill("S00")
    page.get_by_role("button", name="筛选").click()
    expect(page.locator(".public-sites tbody tr")).to_have_count(10)
    with page.expect_download() as download:
        page.get_by_role("link", name="下载 CSV").click()
    assert len(Path(download.value.path()).read_text("utf-8-sig").splitlines()) == 11
    assert "某人" not in page.content()
    page.get_by_role("link", name="English").click()
    expect(page.locator("h1")).to_have_text("The ledger, in public")
    expect(page.locator(".public-sites tbody tr")).to_have_count(10)  # the filter stays


def test_the_printer_gets_the_sheet_and_nothing_else(office: Callable[..., Page]) -> None:
    page = office("/bulletin", color_scheme="dark")
    expect(page.locator(".pair img")).to_have_count(2)
    page.emulate_media(media="print")
    for hidden in (".top", ".foot", ".ask"):
        expect(page.locator(hidden)).to_be_hidden()
    expect(page.locator(".sheet")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert contrast(page) == []
