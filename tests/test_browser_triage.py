"""A reviewer's day in a real browser: the next lead is there at once, decisions can be taken back, and none is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.triage.tables import Proposal
from tests.browsing import needs_chromium
from tests.towns import Town, open_town, patient_chromium, soon

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with patient_chromium() as found:
        yield found


@pytest.fixture
def town(tmp_path: Path, red: Any, browser: Browser) -> Iterator[Town]:
    with open_town(tmp_path, browser, lambda: red) as made:
        yield made


def press(page: Page, key: str) -> None:
    """A key, and what comes of it is there."""
    page.keyboard.press(key)
    expect(page.locator("#stage")).not_to_have_attribute("aria-busy", "true")


def shown(page: Page) -> str:
    return page.locator(".lead-card").get_attribute("data-site") or ""


def ready(page: Page) -> None:
    """The cards beside the one shown are there, with their pictures."""
    page.wait_for_load_state("networkidle")
    expect(page.locator(".lead-card")).to_have_count(1)


def test_the_next_lead_is_there_without_a_request(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    assert shown(page) == "L1"
    page.context.set_offline(True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    took = page.evaluate("""() => new Promise((resolve) => {
        const began = performance.now();
        new MutationObserver((_, observer) => {
            observer.disconnect();
            requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - began)));
        }).observe(document.getElementById("stage"), { childList: true });
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
    })""")
    assert shown(page) == "L2"
    drawn = page.locator(".lead-card img").evaluate_all("images => images.map((i) => i.complete && i.naturalWidth)")
    assert drawn == [512, 512]
    page.keyboard.press("k")
    assert shown(page) == "L1"
    assert [url for url in asked if "/triage/" in url and town.leads.alerts[1] in url] == []
    with capsys.disabled():
        print(f"\nJ shows the next lead in {took:.0f} ms (two frames included)")


def test_the_line_moves_and_the_dates_blink(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    slider = page.get_by_role("slider", name="整治前与整治后的分界线")
    slider.focus()
    slider.press("ArrowLeft")
    assert slider.input_value() == "49"
    frame = page.locator(".look:not([hidden]) .frame")
    page.keyboard.press("b")
    expect(frame).to_have_attribute("data-shows", "before")
    expect(frame).to_have_attribute("data-shows", "after")
    page.keyboard.press("b")
    expect(frame).not_to_have_attribute("data-shows", "after")
    outline, picture = page.locator(".look:not([hidden]) .outline").bounding_box(), frame.bounding_box()
    assert outline is not None
    assert picture is not None
    assert outline["width"] > 0.1 * picture["width"]


def test_a_decision_is_held_shown_and_taken_back(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    page.keyboard.press("a")
    expect(page.locator("#pending li")).to_contain_text("L1：属实")
    expect(page.locator("#pending li")).to_contain_text("秒后提交")
    assert shown(page) == "L2"
    page.keyboard.press("z")
    expect(page.locator("#pending li")).to_have_count(0)
    expect(page.locator(".lead-card")).to_have_attribute("data-site", "L1")
    page.wait_for_timeout(300)
    assert town.decisions() == []


def test_a_decision_is_sent_after_a_while(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    page.keyboard.press("a")
    soon(lambda: town.decisions() == [("wang", "corroborated")])
    assert shown(page) == "L2"


def test_leaving_the_page_loses_nothing_and_coming_back_acts_once(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    page.keyboard.press("a")
    expect(page.locator("#pending li")).to_have_count(1)
    page.goto(town.address + "/")
    soon(lambda: town.decisions() == [("wang", "corroborated")])
    page.goto(town.address + "/triage")
    expect(page.locator("#pending li")).to_have_count(0)  # the answer is known by now
    page.wait_for_timeout(500)
    assert town.decisions() == [("wang", "corroborated")]


def test_without_a_line_a_decision_waits_and_is_sent_when_there_is_one(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    page.context.set_offline(True)
    page.keyboard.press("a")
    expect(page.locator("#pending li")).to_contain_text("尚未送达")
    assert town.decisions() == []
    page.context.set_offline(False)
    soon(lambda: town.decisions() == [("wang", "corroborated")])


def test_a_rejection_names_its_reason_and_waits_for_another_person(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    page.keyboard.press("r")
    expect(page.locator("#why")).to_be_visible()
    expect(page.locator("#why")).to_contain_text("须由两人驳回")
    page.keyboard.press("7")
    page.locator("#why button[type=submit]").click()
    expect(page.locator("#why")).to_be_visible()  # 「其他」needs words
    page.locator("#why textarea").fill("看不清")
    page.locator("#why textarea").press("Tab")
    page.locator("#why button[type=submit]").click()
    expect(page.locator("#pending li")).to_contain_text("L1：驳回（其他）")
    expect(page.locator("#pending li")).to_contain_text("等另一人复核")
    with Session(town.engine) as session:
        assert session.scalars(select(Proposal.reason)).one() == "other: 看不清"

    other = town.visit("li", "/triage")
    expect(other.locator(".proposal")).to_contain_text("wang")
    expect(other.locator(".proposal")).to_contain_text("其他：看不清")
    assert shown(other) == "L1"
    other.keyboard.press("r")
    other.keyboard.press("1")
    other.keyboard.press("Enter")
    soon(lambda: town.decisions() == [("li", "dismissed")])


def test_somebody_else_was_first_and_that_is_said(town: Town) -> None:
    first, second = town.visit("wang", "/triage"), town.visit("li", "/triage")
    for page in (first, second):
        ready(page)
        page.keyboard.press("a")
    entry = second.locator("#pending li")
    soon(lambda: len(town.decisions()) == 1)
    loser = second if town.decisions()[0][0] == "wang" else first
    entry = loser.locator("#pending li")
    expect(entry).to_contain_text("状态已经变了")
    entry.get_by_role("button", name="知道了").click()
    expect(entry).to_have_count(0)
    assert [text for text in town.complaints if "409" not in text] == []
    town.complaints.clear()  # the browser notes every 4xx in its console


def test_skipping_ends_with_the_skipped_and_the_last_decision_with_a_word(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    order = []
    for key in "sss":
        order.append(shown(page))
        press(page, key)
    expect(page.locator(".position")).to_have_text("第 1 条，共 5 条")
    assert order == ["L1", "L2", "L3"]
    for _ in range(5):
        press(page, "a")
    expect(page.get_by_text("全部看完了")).to_be_visible()
    page.keyboard.press("z")
    expect(page.locator(".lead-card")).to_have_count(1)


def test_keys_are_explained_and_leave_fields_alone(town: Town) -> None:
    page = town.visit("wang", "/triage", locale="en-GB")
    ready(page)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_contain_text("held for 8 seconds")
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    expect(page.locator("#pending li")).to_have_count(0)
    page.keyboard.press("r")
    page.locator("#why textarea").fill("jaz")
    expect(page.locator("#why textarea")).to_have_value("jaz")
    assert shown(page) == "L1"


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_moves_and_nothing_is_wider_than_the_screen(town: Town, width: int) -> None:
    page = town.visit("wang", "/triage", viewport={"width": width, "height": 844})
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    shift = page.evaluate("""() => new Promise((resolve) => {
        let total = 0;
        new PerformanceObserver((list) => list.getEntries().forEach((entry) => (total += entry.value)))
            .observe({ type: "layout-shift", buffered: true });
        setTimeout(() => resolve(total), 300);
    })""")
    assert shift < 0.02


def test_a_key_pressed_twice_does_not_decide_the_same_lead_twice(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    page.route("**/triage/*", lambda route: route.abort())  # no further card arrives
    for _ in range(6):
        page.keyboard.press("a")
    expect(page.get_by_text("连接不上服务器")).to_be_visible()
    sites = page.locator("#pending .what").all_text_contents()
    assert len(sites) == len(set(sites))
    town.complaints.clear()  # the browser notes every request that fails
