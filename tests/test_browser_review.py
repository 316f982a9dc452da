"""Findings corrected in a real browser: by key, by pointer and touch, saved at once, nothing of anybody lost."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from datasets.district import Changes, generate
from service.app import create_app
from service.ledger.audit import SYSTEM
from service.people.accounts import Accounts
from service.people.sessions import Sessions
from service.settings import Settings
from tests.browsing import LAYOUT_SHIFT, OVERFLOW, Visit, needs_chromium, served
from tests.conftest import NEW
from tests.people import COOKIE, PASSWORD, cheap_passwords

pytestmark = needs_chromium
SIZE = 256


@dataclass
class Pair:
    """A finished comparison, new for each test, and what is said of it."""

    browser: Browser
    address: str
    id: str
    report: Any

    @property
    def path(self) -> str:
        return f"/pairs/{self.id}"

    @property
    def review(self) -> Any:
        return self.browser.contexts[0].request.get(f"{self.address}/api/v1{self.path}/review").json()

    @property
    def said(self) -> list[Any]:
        corrections: list[Any] = self.review["corrections"]
        return corrections

    def say(self, *corrections: Any, version: int = 0) -> None:
        """As somebody else."""
        body = {"version": version, "corrections": list(corrections), "actor": {"name": "李强"}}
        answer = self.browser.contexts[0].request.put(f"{self.address}/api/v1{self.path}/review", data=body)
        assert answer.ok, answer.text()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[str]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("review"), accounts="off")
    with served(create_app(settings, load=lambda: red)) as address:
        yield address


def compared(browser: Browser, address: str, before: bytes, after: bytes, page: Page | None = None) -> Pair:
    request = (page.context if page else browser.new_context()).request
    pictures = {
        name: {"name": f"{name}.png", "mimeType": "image/png", "buffer": content}
        for name, content in (("before", before), ("after", after))
    }
    own = {"Sec-Fetch-Site": "same-origin"}
    pair = request.post(f"{address}/api/v1/pairs", multipart={**pictures, "gsd": "0.5"}, headers=own).json()
    while pair["status"] != "done":
        pair = request.get(f"{address}/api/v1/pairs/{pair['id']}").json()
        assert pair["status"] != "failed"
    return Pair(browser, address, pair["id"], pair["report"])


@pytest.fixture
def pair(browser: Browser, address: str, visit: Visit, before: bytes, after: bytes) -> Pair:
    made = compared(browser, address, before, after)
    assert [each["kind"] for each in made.report["findings"]] == ["new", "remaining", "removed"]
    return made


def opened(visit: Visit, pair: Pair, **options: Any) -> Page:
    page = visit.page(pair.path, **options)
    page.locator("#name").fill("王芳")
    page.locator("#name").press("Tab")
    return page


def finding(page: Page, id: str | int) -> Locator:
    return page.locator(f'.finding[data-finding="{id}"]')


def saved(page: Page) -> None:
    expect(page.locator(".review-state")).to_have_attribute("data-state", "saved")


def corner(page: Page, number: int) -> Locator:
    return page.locator(".editor .corner").nth(number)


def drag(page: Page, held: Locator, dx: float, dy: float) -> None:
    box = held.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=4)
    page.mouse.up()


def per_pixel(page: Page) -> float:
    """Pixels of the window for one of the picture."""
    return float(page.locator(".stage").first.evaluate("each => each.getBoundingClientRect().width")) / SIZE


def test_a_finding_is_accepted_and_rejected_by_key_and_stays_so(visit: Visit, pair: Pair) -> None:
    page = opened(visit, pair)
    expect(page.locator(".review-state")).to_contain_text("还没有人更正")
    finding(page, 1).focus()
    page.keyboard.press("a")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("r")
    saved(page)
    expect(page.locator(".review-state")).to_contain_text(re.compile(r"已保存（王芳，\d{4}-\d\d-\d\d \d\d:\d\d）"))
    for _ in range(2):  # as it is left, and as it is found again
        expect(finding(page, 1)).to_contain_text("人工确认属实")
        expect(finding(page, 2)).to_have_accessible_name(re.compile("人工认为不是$"))
        expect(page.locator('.shape[data-finding="2"]')).to_have_attribute("data-said", "rejected")
        expect(page.locator('.mark[data-finding="1"] .said-sign')).to_have_attribute("href", "#sign-accepted")
        expect(finding(page, 3).locator(".finding-said")).to_be_hidden()
        page.reload()
    assert [(each["finding"], each["accepted"]) for each in pair.said] == [(1, True), (2, False)]
    expect(page.locator(".review-state")).to_contain_text("王芳 于")
    finding(page, 2).click()
    page.locator('[data-do="clear"]').click()
    saved(page)
    expect(finding(page, 2)).to_be_focused()
    assert [each["finding"] for each in pair.said] == [1]


def test_an_outline_is_redrawn_by_dragging_and_by_key(visit: Visit, pair: Pair) -> None:
    page = opened(visit, pair)
    finding(page, 1).click()
    page.keyboard.press("e")
    expect(corner(page, 0)).to_be_focused()
    expect(corner(page, 0)).to_have_accessible_name("第 1 个角，共 4 个")
    scale = per_pixel(page)
    assert scale > 2 * page.locator(".frame").bounding_box()["width"] / SIZE  # type: ignore[index]
    drag(page, corner(page, 2), 10 * scale, 6 * scale)
    corner(page, 0).focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowUp")
    page.locator(".editor .middle").nth(0).focus()
    page.keyboard.press("Enter")  # one more corner, and it has the focus
    expect(corner(page, 1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    saved(page)
    expect(page.locator(".editor")).to_have_count(0)
    [said] = pair.said
    x, y = NEW
    corners = [(x - 10, y - 1), (x - 5, y + 10.5), (x, y + 24), (x + 24 + 10, y + 24 + 6), (x + 24, y)]
    assert np.array(said["outline"]) == pytest.approx(np.array(corners), abs=1)
    assert (said["finding"], said["accepted"], said["kind"]) == (1, True, "new")
    page.reload()
    expect(finding(page, 1)).to_contain_text("人工重画")
    expect(page.locator('.shape.hand[data-finding="1"]')).to_be_visible()
    expect(page.locator(".shape:not(.hand)")).to_have_count(3)  # the machine's stay
    assert page.locator("#hand-1").get_attribute("d") != page.locator("#path-1").get_attribute("d")


def test_a_corner_goes_by_key_and_by_two_clicks_and_escape_gives_up(visit: Visit, pair: Pair) -> None:
    page = opened(visit, pair)
    finding(page, 3).click()
    page.locator('.actions [data-do="redraw"]').click()
    corner(page, 1).focus()
    page.keyboard.press("Delete")
    expect(page.locator(".editor .corner")).to_have_count(3)
    page.keyboard.press("Delete")  # three are the fewest
    expect(page.locator(".editor .corner")).to_have_count(3)
    box = corner(page, 0).bounding_box()
    assert box is not None
    corner(page, 0).click()
    frame = page.locator(".frame").bounding_box()
    assert frame is not None
    page.mouse.click(frame["x"] + 40, frame["y"] + 60)
    moved = corner(page, 0).bounding_box()
    assert moved is not None
    assert moved["x"] + moved["width"] / 2 == pytest.approx(frame["x"] + 40, abs=1)
    page.keyboard.press("Escape")
    expect(page.locator(".editor")).to_have_count(0)
    expect(page.locator(".frames:not([data-zoomed])")).to_be_attached()
    expect(finding(page, 3)).to_be_focused()
    assert pair.review["version"] == 0


def test_an_outline_that_crosses_itself_cannot_be_finished(visit: Visit, pair: Pair) -> None:
    page = opened(visit, pair)
    finding(page, 1).click()
    page.keyboard.press("e")
    scale = per_pixel(page)
    drag(page, corner(page, 0), 30 * scale, 12 * scale)
    expect(page.locator(".edit-wrong")).to_contain_text("交叉")
    expect(page.locator('[data-do="finish"]')).to_be_disabled()
    page.keyboard.press("Enter")
    expect(page.locator(".editor")).to_have_count(1)
    drag(page, corner(page, 0), -30 * scale, -12 * scale)
    expect(page.locator(".edit-wrong")).to_have_text("")
    page.locator('[data-do="finish"]').click()
    saved(page)


@pytest.mark.parametrize("mode", ["swipe", "side"])
def test_what_was_overlooked_is_drawn_in_the_zoomed_picture(visit: Visit, pair: Pair, mode: str) -> None:
    page = opened(visit, pair)
    page.locator(f'.view-modes [value="{mode}"]').check(force=True)
    page.locator('[data-zoom="in"]').click()
    page.locator("#draw-kind").select_option("new")
    page.locator('[data-do="draw"]').click()
    frame = page.locator(".frame").last
    expect(frame.locator(".editor .here")).to_be_focused()
    box = frame.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.7, steps=4)
    page.mouse.up()
    page.locator('[data-do="finish"]').click()
    saved(page)
    [said] = pair.said
    (left, top), _, (right, bottom), _ = said["outline"]
    zoom = 1.5
    assert (right - left, bottom - top) == pytest.approx((0.2 * SIZE / zoom, 0.3 * SIZE / zoom), abs=1)
    assert (left + right) / 2 == pytest.approx(SIZE / 2, abs=1)
    assert (said["finding"], said["kind"]) == (None, "new")
    expect(finding(page, "drawn-1")).to_be_focused()
    page.reload()
    expect(finding(page, "drawn-1")).to_contain_text("人工补画")
    expect(page.locator('.mark[data-finding="drawn-1"] text').first).to_have_text("+1")
    finding(page, "drawn-1").click()
    expect(page.locator(".actions").get_by_role("button")).to_have_count(2)
    page.keyboard.press("Delete")
    saved(page)
    expect(page.locator(".drawn-by-hand")).to_be_hidden()
    assert pair.said == []


def test_what_was_overlooked_is_drawn_by_keys_alone(visit: Visit, pair: Pair) -> None:
    page = opened(visit, pair)
    page.locator("#draw-kind").select_option("removed")
    page.locator('[data-do="draw"]').focus()
    page.keyboard.press("Enter")
    expect(page.locator(".editor .here")).to_be_focused()
    page.keyboard.press("Enter")
    expect(corner(page, 0)).to_be_focused()
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Enter")
    saved(page)
    [said] = pair.said
    assert said["kind"] == "removed"
    assert said["outline"][0][1] == pytest.approx(said["outline"][1][1] - 10)


def test_where_nothing_was_found_something_can_be_drawn_and_taken_back(
    visit: Visit, browser: Browser, address: str, as_file: Any
) -> None:
    district = generate(3, size=SIZE, changes=Changes(new=0, removed=0, shift_px=0))
    pair = compared(browser, address, as_file(district.before.pixels), as_file(district.after.pixels))
    assert pair.report["findings"] == []
    page = opened(visit, pair)
    page.locator('[data-do="draw"]').click()
    page.locator(".editor .here").click(position={"x": 200, "y": 200})
    page.keyboard.press("Enter")
    saved(page)
    expect(finding(page, "drawn-1")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Delete")
    expect(page.locator('[data-do="draw"]')).to_be_focused()
    saved(page)
    assert (pair.said, pair.review["version"]) == ([], 2)


def test_it_is_done_with_a_finger_on_a_telephone(visit: Visit, pair: Pair) -> None:
    page = opened(visit, pair, width=390, is_mobile=True, has_touch=True)
    assert page.evaluate(OVERFLOW) <= 0
    finding(page, 1).tap()
    page.locator('.actions [data-do="redraw"]').tap()
    expect(page.locator(".editor .corner")).to_have_count(4)
    assert page.evaluate(OVERFLOW) <= 0
    scale = per_pixel(page)
    box = corner(page, 2).bounding_box()
    assert box is not None
    assert box["width"] >= 44
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    moments = itertools.count(time.time() - 2, 0.1)  # at once it would be a flick, which swallows the tap after it

    def finger(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": at, "y": down} for at, down in places]
        event = {"type": kind, "touchPoints": points, "timestamp": next(moments)}
        touch.send("Input.dispatchTouchEvent", event)

    finger("touchStart", (x, y))
    for share in (0.25, 0.5, 0.75, 1.0):
        finger("touchMove", (x + 12 * scale * share, y + 8 * scale * share))
    finger("touchEnd")
    page.locator('[data-do="finish"]').tap()
    saved(page)
    outline = pair.said[0]["outline"]
    assert outline[2] == pytest.approx([NEW[0] + 24 + 12, NEW[1] + 24 + 8], abs=1)
    page.locator('[data-do="draw"]').tap()
    page.locator(".editor .here").tap()
    expect(page.locator(".editor .corner")).to_have_count(4)
    page.locator('[data-do="finish"]').tap()
    saved(page)
    assert len(pair.said) == 2


def test_what_somebody_else_said_meanwhile_is_kept_and_so_is_what_is_in_the_page(visit: Visit, pair: Pair) -> None:
    page = opened(visit, pair)
    pair.say(
        {"finding": 1, "accepted": False, "kind": "new"},
        {"finding": 2, "accepted": False, "kind": "remaining"},
    )
    finding(page, 1).focus()
    page.keyboard.press("a")
    state = page.locator(".review-state")
    expect(state).to_have_attribute("data-state", "failed")
    expect(state).to_contain_text("别人更正了这一对图片")
    expect(finding(page, 1)).to_contain_text("人工确认属实")
    assert pair.review["version"] == 1
    state.get_by_role("button", name="重新保存").click()
    saved(page)
    expect(finding(page, 2)).to_contain_text("人工认为不是")
    review = pair.review
    assert (review["version"], review["actor"]) == (2, "王芳")
    assert {each["finding"]: each["accepted"] for each in review["corrections"]} == {1: True, 2: False}
    assert [text for text in visit.complaints if "409" not in text] == []
    visit.complaints.clear()  # the browser notes every 4xx in its console


def test_without_a_line_it_says_so_and_saves_again_when_told(visit: Visit, pair: Pair) -> None:
    page = opened(visit, pair)
    page.context.set_offline(True)
    finding(page, 1).focus()
    page.keyboard.press("r")
    expect(page.locator(".review-state")).to_contain_text("连不上服务")
    page.context.set_offline(False)
    page.locator('[data-do="retry"]').click()
    saved(page)
    assert pair.said[0]["accepted"] is False
    assert [text for text in visit.complaints if "INTERNET_DISCONNECTED" not in text] == []
    visit.complaints.clear()


def test_nobody_corrects_without_a_name(visit: Visit, pair: Pair) -> None:
    page = visit.page(pair.path)
    finding(page, 1).focus()
    page.keyboard.press("a")
    expect(page.locator("#name")).to_be_focused()
    expect(finding(page, 1).locator(".finding-said")).to_be_hidden()
    assert pair.review["version"] == 0


def test_without_a_script_it_is_read(visit: Visit, pair: Pair) -> None:
    outline = [[10, 10], [40, 10], [40, 30]]
    pair.say(
        {"finding": 1, "accepted": True, "kind": "new", "outline": outline},
        {"finding": None, "accepted": True, "kind": "removed", "outline": outline},
    )
    page = visit.page(pair.path, java_script_enabled=False)
    expect(finding(page, 1)).to_contain_text("人工重画")
    expect(finding(page, "drawn-1")).to_be_visible()
    expect(page.locator(".shape.hand")).to_have_count(2)
    expect(page.locator(".review-state")).to_contain_text("李强 于")
    expect(page.locator('[data-do="draw"]')).to_be_hidden()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """A service with accounts: its address, and a session of an analyst and of an auditor."""
    folder: Path = tmp_path_factory.mktemp("guarded")
    app = create_app(Settings(data_dir=folder), load=lambda: red)
    with cheap_passwords(), served(app) as address:
        engine = app.state.services.pairs.engine
        accounts = Accounts(engine)
        sessions = {}
        for name, role in (("anna", "analyst"), ("otto", "auditor")):
            accounts.add(SYSTEM, name, name.title(), [role])  # type: ignore[list-item]
            accounts.choose(name, PASSWORD)
            sessions[name] = Sessions(engine).open(name)
        yield address, sessions


def test_a_reader_sees_corrections_and_no_buttons(
    browser: Browser, guarded: tuple[str, dict[str, str]], before: bytes, after: bytes
) -> None:
    address, sessions = guarded

    def window(name: str) -> Page:
        cookie = {"name": COOKIE, "value": sessions[name], "url": address}
        context = browser.new_context(locale="zh-CN", viewport={"width": 1440, "height": 900})
        context.add_cookies([cookie])  # type: ignore[list-item]
        return context.new_page()

    anna = window("anna")
    pair = compared(browser, address, before, after, anna)
    anna.goto(address + pair.path)
    expect(anna.locator("#name")).to_have_count(0)
    finding(anna, 1).focus()
    anna.keyboard.press("a")
    saved(anna)
    expect(anna.locator(".review-state")).to_contain_text("anna")
    otto = window("otto")
    otto.goto(address + pair.path)
    expect(finding(otto, 1)).to_contain_text("人工确认属实")
    expect(otto.locator(".review-state")).to_contain_text("anna 于")
    finding(otto, 2).click()
    expect(finding(otto, 2)).to_have_attribute("aria-pressed", "true")
    otto.keyboard.press("a")
    expect(otto.locator("[data-do]")).to_have_count(0)
    expect(finding(otto, 2).locator(".finding-said")).to_be_hidden()
    for each in (anna, otto):
        assert each.evaluate(LAYOUT_SHIFT) < 0.1
        each.context.close()
