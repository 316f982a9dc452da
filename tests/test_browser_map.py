"""Map, ledger and site in a real browser: by keyboard, on a telephone, without a script, and nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from shapely.geometry import box
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.app import create_app
from service.database import connect
from service.ledger.audit import writing
from service.ledger.rows import as_json
from service.ledger.tables import Decision
from service.scenes.tables import SceneRow
from service.settings import Settings
from tests.browsing import OVERFLOW, Visit, needs_chromium, served
from tests.databases import new_database
from tests.leads import TAKEN, plant
from tests.ledgers import site

pytestmark = needs_chromium
PAGES = ("/map", "/map?site=L1", "/ledger", "/ledger/import", "/sites/L1")


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """Tiles are cut out of scenes; a machine that does other things besides is slow at it."""
    expect.set_options(timeout=30_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Leads with imagery on two nights; a third night saw only the western half, and found nothing there."""
    folder = tmp_path_factory.mktemp("map")
    with new_database(folder) as url:
        engine = connect(url)
        plant(engine, folder, nights=2)
        with writing(engine) as session:
            site(session, "X1", x=2_000, state="open", street="古城街道", closed_on=None)
            scenes = session.scalars(select(SceneRow)).all()
            west, south, east, north = scenes[0].west, scenes[0].south, scenes[0].east, scenes[0].north
            half = box(west, south, (west + east) / 2, north)
            session.add(
                SceneRow(
                    id="half", name="half", taken_at=TAKEN[1] + timedelta(days=4), west=west, south=south, east=east,
                    north=north, gsd_m=0.5, coverage=as_json(half), findings_count=0, created_at=TAKEN[1],
                )
            )  # fmt: skip
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def address(engine: Engine, red: Any) -> Iterator[str]:
    assert engine.url.database
    settings = Settings(
        data_dir=Path(engine.url.database).parent, accounts="off",
        database_url=engine.url.render_as_string(hide_password=False),
    )  # fmt: skip
    with served(create_app(settings, load=lambda: red)) as address:
        yield address


def open_map(visit: Visit, path: str = "/map", **options: Any) -> Page:
    page = visit.page(path, **options)
    expect(page.locator("#district[data-ready]")).to_be_attached()
    expect(page.locator("#map .unseen")).to_be_attached()
    return page


def hatched(mark: Locator) -> bool:
    """Whether the middle of a mark lies in what was not observed."""
    return bool(
        mark.evaluate("""(mark) => {
            const path = document.querySelector("#map .unseen"), { x, y, width, height } = mark.getBoundingClientRect();
            const point = new DOMPoint(x + width / 2, y + height / 2).matrixTransform(path.getScreenCTM().inverse());
            return path.isPointInFill(point);
        }""")
    )


def test_sites_findings_and_imagery_are_drawn(visit: Visit) -> None:
    page = open_map(visit, "/map?night=2026-03-04&site=L1")
    expect(page.locator("#map .site-mark")).to_have_count(7)
    expect(page.locator("#map .site-mark.state-rebound_suspected")).to_have_count(5)
    expect(page.locator("#map .finding-outline.kind-new")).to_have_count(5)
    shapes = {
        re.sub(r"^M[-\d.]+ [-\d.]+", "", page.locator(f"#map .state-{state}.site-mark").first.get_attribute("d") or "")
        for state in ("open", "watched", "rebound_suspected")
    }
    assert len(shapes) == 3
    tile = page.locator("#map .scene-tile img.leaflet-tile-loaded").first
    expect(tile).to_be_visible()
    assert tile.evaluate("each => each.naturalWidth") == 256
    expect(page.locator('[name="base"][value="after"]')).to_be_checked()
    expect(page.locator('[name="base"][value="probability"]')).to_be_disabled()
    page.locator(".bases label", has_text="无底图").click()
    expect(page.locator("#map .scene-tile img")).to_have_count(0)


def test_what_a_night_did_not_see_is_hatched(visit: Visit) -> None:
    page = open_map(visit, "/map?site=L1&night=2026-03-04")
    assert page.locator("#map .unseen").get_attribute("fill") == "url(#hatch)"
    chosen = page.locator("#map .site-mark.chosen")
    assert not hatched(chosen)
    before = page.locator("#map .unseen").get_attribute("d")
    page.locator("#later").click()
    expect(page.locator("#now")).to_have_text("2026-03-08")
    expect(page.locator("#map .unseen")).not_to_have_attribute("d", before or "")
    expect(page.locator("#map .finding-outline")).to_have_count(0)
    unseen = [hatched(mark) for mark in page.locator("#map .site-mark.state-rebound_suspected").all()]
    assert True in unseen
    assert False in unseen
    expect(page.locator("#findings-none")).to_have_text(re.compile("没有观测到的范围情况不明"))
    expect(page.locator(".that-night")).to_contain_text("未完整观测")


def test_nights_are_gone_through_by_keyboard(visit: Visit) -> None:
    page = open_map(visit)
    slider = page.get_by_role("slider", name="日期")
    expect(slider).to_have_attribute("aria-valuetext", "2026-03-08")
    expect(page.locator("#later")).to_be_disabled()
    slider.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "2026-03-04")
    expect(page.locator("#now-findings")).to_have_text("疑似图斑 5 处")
    page.wait_for_url("**night=2026-03-04**")
    page.locator("#map").focus()
    page.keyboard.press("[")
    expect(page.locator("#now")).to_have_text("2026-03-01")
    page.keyboard.press("]")
    expect(page.locator("#now")).to_have_text("2026-03-04")


def test_a_site_is_opened_and_closed_by_keyboard(visit: Visit) -> None:
    page = open_map(visit)
    link = page.locator('.site-list a[data-code="L2"]')
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#card-title")).to_be_focused()
    expect(page.locator("#card-title")).to_have_text("L2 2号点位")
    expect(page.locator("#map .site-mark.chosen")).to_have_count(1)
    page.wait_for_url("**/map?site=L2**")
    page.keyboard.press("Escape")
    expect(page.locator("#card-title")).to_have_count(0)
    expect(link).to_be_focused()


def test_the_map_is_moved_and_zoomed_by_keyboard(visit: Visit) -> None:
    page = open_map(visit)
    page.locator("#map").focus()
    zoom, lat, _ = place(page)
    page.keyboard.press("+")
    expect(page).to_have_url(re.compile(f"#{zoom + 1}/"))
    page.keyboard.press("ArrowUp")
    expect(page).not_to_have_url(re.compile(f"/{lat:.5f}/"))
    assert place(page)[1] > lat


def place(page: Page) -> tuple[int, float, float]:
    expect(page).to_have_url(re.compile(r"#\d+/[-\d.]+/[-\d.]+$"))
    zoom, lat, lon = page.evaluate("location.hash").lstrip("#").split("/")
    return int(zoom), float(lat), float(lon)


def test_a_mark_leads_to_its_site_and_the_address_back_to_both(visit: Visit) -> None:
    page = open_map(visit, "/map?site=L3")
    page.locator("#map .site-mark.chosen").click()
    expect(page.locator("#card-title")).to_have_text("L3 3号点位")
    page.locator(".leaflet-control-zoom-out").click()
    found = place(page)
    page.reload()
    expect(page.locator("#district[data-ready]")).to_be_attached()
    assert place(page) == found
    expect(page.locator("#card-title")).to_have_text("L3 3号点位")
    page.get_by_role("link", name="打开点位").click()
    expect(page.locator("h1")).to_have_text("L3 3号点位")


def test_search_in_chinese_fills_the_list_and_marks_the_map(visit: Visit) -> None:
    page = open_map(visit)
    page.locator("#q").fill("八角")
    expect(page.locator(".site-list a")).to_have_count(6)
    expect(page.locator("#map .site-mark.faded")).to_have_count(1)
    page.locator("#q").fill("古城街道")
    expect(page.locator(".site-list a")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#card-title")).to_have_text("X1 X1")
    page.locator("#q").fill("没有这里")
    expect(page.locator(".list-head").first).to_contain_text("没有与“没有这里”相符的点位")
    page.locator("#q").fill("")
    expect(page.locator("#map .site-mark.faded")).to_have_count(0)


def test_findings_of_the_night_are_a_list_as_well(visit: Visit) -> None:
    page = open_map(visit, "/map?night=2026-03-04")
    tabs = page.get_by_role("tab")
    tabs.nth(0).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#findings")).to_be_visible()
    rows = page.locator(".finding-list button")
    expect(rows).to_have_count(5)
    expect(rows.first).to_contain_text(re.compile(r"疑似新增.*± 5 平方米.*亩.*概率 95%", re.S))
    rows.nth(1).press("Enter")
    expect(rows.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#map .finding-outline.chosen")).to_have_count(1)
    expect(page).to_have_url(re.compile("#(17|18|19)/"))


def test_states_and_kinds_can_be_left_out(visit: Visit) -> None:
    page = open_map(visit, "/map?night=2026-03-04&site=L1")
    for toggle, drawn in (
        ('[data-state="rebound_suspected"]', ".state-rebound_suspected.site-mark"),
        ('[data-kind="new"]', ".kind-new.finding-outline"),
    ):
        expect(page.locator(f"#map {drawn}").first).to_be_visible()
        page.locator(f".key-toggle{toggle}").click()
        expect(page.locator(f"#map {drawn}").first).to_be_hidden()
        page.locator(f".key-toggle{toggle}").press("Enter")
        expect(page.locator(f"#map {drawn}").first).to_be_visible()


def test_a_lost_server_is_told(visit: Visit) -> None:
    page = open_map(visit)
    page.context.set_offline(True)
    page.locator("#q").fill("八角")
    expect(page.get_by_role("alert")).to_contain_text("连接不上服务器")
    assert all("ERR_INTERNET_DISCONNECTED" in each for each in visit.complaints)
    visit.complaints.clear()


def test_the_pages_are_english_for_who_reads_english(visit: Visit) -> None:
    page = open_map(visit, "/map?night=2026-03-04", locale="en-GB")
    expect(page.locator("#now-findings")).to_have_text("5 suspected structures")
    expect(page.get_by_role("button", name="Zoom in")).to_be_visible()
    for path in PAGES:
        page.goto(visit.address + path)
        page.wait_for_load_state("networkidle")
        text = page.evaluate("document.querySelector('main').innerText")
        assert not re.search("点位编号|销账巡查|疑似反弹|责任系统", text)


# --- Every page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
def test_a_telephone_shows_everything_without_sideways_scrolling(visit: Visit, locale: str) -> None:
    page = visit.page(locale=locale, width=390, is_mobile=True, has_touch=True)
    for path in PAGES:
        page.goto(visit.address + path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate(OVERFLOW) <= 0, path


# --- Without a script -------------------------------------------------------------------------------------


def test_a_site_is_closed_by_two_people_without_a_script(visit: Visit, engine: Engine) -> None:
    page = visit.page("/ledger", java_script_enabled=False)
    page.get_by_role("searchbox").fill("古城")
    page.get_by_role("button", name="筛选").click()
    page.get_by_role("link", name="X1").click()
    page.get_by_label("理由").fill("场光地净")
    page.get_by_label("由谁负责").fill("王经办")
    page.get_by_role("button", name="申报销账").click()
    expect(page.locator(".site-state")).to_contain_text("申报销账")
    accept = page.locator("details[open]")
    accept.get_by_label("理由").fill("现场一致")
    accept.get_by_label("由谁负责").fill("王经办")
    accept.get_by_role("button", name="验收销账").click()
    expect(page.get_by_role("alert")).to_contain_text("缺少依据")
    assert [each for each in visit.complaints if "422" not in each] == []
    visit.complaints.clear()  # the browser notes every 4xx in its console
    with Session(engine) as session:
        assert session.scalars(select(Decision.target)).all() == ["claimed_clear"]


def test_a_ledger_is_imported_without_a_script(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "台账.csv"
    header = "点位编号,院编号,院名称,点位名称,责任系统,占地面积（亩）,建筑面积,经度,纬度,半径"
    file.write_text(f"{header}\nN1,Y9,九号院,新点位,国资系统,3,100,116.3,39.91,25\n", "gb18030")
    page = visit.page("/ledger/import", java_script_enabled=False)
    page.locator("#file").set_input_files(file)
    page.get_by_role("radio", name=re.compile("GCJ-02")).check()
    page.get_by_role("button", name="试导入").click()
    expect(page.locator(".outcome")).to_contain_text("将新增")
    page.get_by_label("由谁负责").fill("王经办")
    page.get_by_role("button", name="写入 1 个点位").click()
    expect(page.get_by_role("status")).to_contain_text("新增 1 个")
    page.goto(f"{visit.address}/sites/N1")
    expect(page.locator(".facts")).to_contain_text("2,000 平方米（3.00 亩）")
