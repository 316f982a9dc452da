"""Two dates picked in a real browser: from the start page to the result by keyboard, and without a script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from service.app import create_app
from service.database import connect
from service.ledger.audit import writing
from service.settings import Settings
from tests.browsing import LAYOUT_SHIFT, OVERFLOW, Visit, needs_chromium, served
from tests.databases import new_database
from tests.dates import put
from tests.ledgers import site

pytestmark = needs_chromium
SITE = "/scenes?site=L1"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[str]:
    """A service with seven dates and a site in their middle."""
    folder = tmp_path_factory.mktemp("pick")
    with new_database(folder) as url:
        settings = Settings(data_dir=folder, accounts="off", database_url=url)
        engine = connect(url)
        put(engine, settings.scene_folders[0])
        with writing(engine) as session:
            site(session, "L1", x=-20, y=-20, side=40)
        with served(create_app(settings, load=lambda: red)) as address:
            yield address
        engine.dispose()


def radio(page: Page, side: str, name: str) -> Any:
    return page.get_by_role("radio", name=re.compile(f"{name} 作为{side}"))


def test_from_the_start_page_to_the_result_with_the_keyboard(visit: Visit) -> None:
    page = visit.page()
    page.get_by_role("link", name="选两期已有影像").focus()
    page.keyboard.press("Enter")
    page.get_by_role("searchbox").focus()
    page.keyboard.type("l1")
    page.keyboard.press("Enter")
    expect(page.locator("#pick[data-on]")).to_be_attached()
    expect(radio(page, "整治前", "old")).to_be_checked()
    expect(radio(page, "整治后", "coarse")).to_be_checked()
    after = page.locator('figure[data-preview="after"]')
    expect(after).to_contain_text("2026-03-06")
    radio(page, "整治后", "coarse").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(radio(page, "整治后", "new")).to_be_checked()
    expect(after).to_contain_text("2026-03-01")
    expect(after.locator("img")).to_have_attribute("src", re.compile("scene-new/after"))
    assert after.locator("img").evaluate("each => each.decode().then(() => each.naturalWidth)") == 480
    page.get_by_role("button", name="开始比对").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/pairs/*")
    expect(page.locator(".verdict")).to_have_attribute("data-verdict", "new")
    expect(page.locator(".sources")).to_contain_text("new L1.tif")
    # On its way the arrow passes a scene that does not show this place; whether its picture is asked for is a race.
    visit.complaints[:] = [each for each in visit.complaints if "scene-blind/after" not in each]


def test_what_cannot_be_compared_is_said_at_once(visit: Visit) -> None:
    page = visit.page(SITE)
    warning = page.locator(".warning")
    expect(warning).to_have_text("")
    radio(page, "整治前", "coarse").check()
    expect(warning).to_have_text("两边选了同一期。")
    radio(page, "整治后", "new").check()
    expect(warning).to_have_text("整治后早于整治前，请对调。")
    radio(page, "整治前", "old").check()
    expect(warning).to_have_text("")


def test_it_works_without_a_script(visit: Visit) -> None:
    page = visit.page("/scenes", java_script_enabled=False)
    page.get_by_role("link", name="L1").click()
    assert page.locator("noscript").evaluate("each => each.getBoundingClientRect().height") > 0
    expect(page.locator(".previews")).not_to_be_visible()
    radio(page, "整治后", "new").check()
    page.get_by_role("button", name="开始比对").click()
    page.wait_for_url("**/pairs/*")


@pytest.mark.parametrize(("locale", "width"), [("zh-CN", 1440), ("zh-CN", 390), ("en-GB", 390)])
def test_nothing_moves_and_nothing_is_cut_off(visit: Visit, locale: str, width: int) -> None:
    page = visit.page(SITE, locale=locale, width=width)
    page.wait_for_load_state("networkidle")
    assert page.evaluate(LAYOUT_SHIFT) < 0.01
    for path in (SITE, "/scenes", "/scenes?lon=1&lat=2"):
        page.goto(visit.address + path)
        assert page.evaluate(OVERFLOW) <= 0, path
    page.goto(visit.address + SITE)
    expect(page.locator(".go .primary")).to_be_in_viewport()
